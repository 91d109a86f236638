"""Every error that the client raises on purpose. Knows no gRPC: ``status.py`` does.

VecdbError
├── InvalidArgument        the request is wrong; `violations` name the fields
├── NotFound               collection, point or model
├── AlreadyExists
├── FailedPrecondition     right request, wrong state: NO_MODEL, MODEL_MISMATCH, SCHEMA_MISMATCH ...
├── Conflict               a compare-and-set lost
├── OutOfRange             what is asked for is not kept any more: HORIZON_PASSED
├── ResourceExhausted
│   ├── Overloaded         a queue is full, or a key calls too often; `retry_after_s` says when
│   │                      to come back
│   ├── QuotaExceeded      the key used all that it may for today
│   ├── StorageFull        disk or map; reads still work
│   └── MemoryLow          the server's memory is all but taken; reads still work
├── Unavailable            not reachable, starting, draining, or a part is being restarted
├── DeadlineExceeded       `timeout_s` passed; a write may or may not have been applied
├── Cancelled              the client was closed while the call was under way
├── DataLoss               bytes on the server's disk that fail their checksum
├── Unauthenticated
├── PermissionDenied
├── Unimplemented          the server is older than this client
├── Internal               a bug of the server; the message has the id to look for in its log
└── WriteFailed            some items of a write were refused; `report` names each
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from vecdb_client.types import WriteReport


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of the request, such as ``legs[0].near.vector``, and what is wrong with it."""

    field: str
    description: str


class VecdbError(Exception):
    """An error with a message for a person and details for a program.

    code: name of the gRPC status, such as ``NOT_FOUND``.
    reason: a word such as ``DIMENSION_MISMATCH``, or "" where the server named none.
    metadata: strings for the machine, such as expected and got.
    retry_after_s: when the server asked to be tried again, or None.
    call: the call that failed, such as ``Points.Write``, or "" where nothing was sent.
    report: what a write of many batches got done before it was stopped, else None.
    """

    default_code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        violations: tuple[FieldViolation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        call: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.violations = violations
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.call = call
        self.report: WriteReport | None = None

    def __str__(self) -> str:
        tags = ", ".join(tag for tag in (self.reason or self.code, self.call) if tag)
        return f"{self.message} [{tags}]"


class InvalidArgument(VecdbError):
    """The request is wrong, whatever the state of the database."""

    default_code = "INVALID_ARGUMENT"


class NotFound(VecdbError):
    """No such collection, point or model."""

    default_code = "NOT_FOUND"


class AlreadyExists(VecdbError):
    """The name is taken."""

    default_code = "ALREADY_EXISTS"


class FailedPrecondition(VecdbError):
    """A right request in a wrong state; `reason` says which."""

    default_code = "FAILED_PRECONDITION"


class Conflict(VecdbError):
    """A compare-and-set lost."""

    default_code = "ABORTED"


class OutOfRange(VecdbError):
    """What is asked for lies further back than the server keeps it."""

    default_code = "OUT_OF_RANGE"


class ResourceExhausted(VecdbError):
    """Something is full."""

    default_code = "RESOURCE_EXHAUSTED"


class Overloaded(ResourceExhausted):
    """A bounded queue of the server is full: come back after `retry_after_s`."""


class QuotaExceeded(ResourceExhausted):
    """The key used all that it may for today."""


class StorageFull(ResourceExhausted):
    """The server's disk or map is full; nothing of the write was kept."""


class MemoryLow(ResourceExhausted):
    """The server's memory is all but taken; nothing of the write was kept."""


class Unavailable(VecdbError):
    """Not reachable, starting, draining, or a part of the server is being restarted."""

    default_code = "UNAVAILABLE"


class DeadlineExceeded(VecdbError):
    """The deadline passed before the answer. A write may or may not have been applied."""

    default_code = "DEADLINE_EXCEEDED"


class Cancelled(VecdbError):
    """The client was closed while the call was under way."""

    default_code = "CANCELLED"


class DataLoss(VecdbError):
    """Bytes on the server's disk that fail their checksum."""

    default_code = "DATA_LOSS"


class Unauthenticated(VecdbError):
    """The server does not know who is calling."""

    default_code = "UNAUTHENTICATED"


class PermissionDenied(VecdbError):
    """The caller may not do this."""

    default_code = "PERMISSION_DENIED"


class Unimplemented(VecdbError):
    """The server does not know this call: it is older than this client."""

    default_code = "UNIMPLEMENTED"


class Internal(VecdbError):
    """A bug of the server. The message carries the id to look for in its log."""

    default_code = "INTERNAL"


class WriteFailed(VecdbError):
    """Some items of a write were refused; the others are stored. `report.failures` names each."""

    report: WriteReport

    def __init__(self, report: WriteReport) -> None:
        first = report.failures[0]
        super().__init__(
            f"{len(report.failures):,} of {report.total:,} items failed; the first is item "
            f"{first.index} ({first.id!r}): {first.message}",
            code=first.code,
            reason=first.reason,
        )
        self.report = report

    def __reduce__(self) -> tuple[type[WriteFailed], tuple[WriteReport]]:
        return type(self), (self.report,)
