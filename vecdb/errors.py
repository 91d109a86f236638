"""Every error that vecdb raises on purpose. Knows no gRPC: ``rpc/status.py`` maps it to the wire.

VecdbError
├── InvalidArgument          the request is wrong, whatever the state
│   ├── DimensionMismatch    a vector of another length than its space
│   ├── NotFinite            NaN, infinity, or a length that float32 cannot hold
│   ├── ZeroVector           no direction, where the metric is cosine
│   ├── BadFilter            a condition that means nothing
│   ├── BadPayload           not a JSON object
│   ├── BadDocument          bytes that cannot be read as what they are said to be
│   └── LimitExceeded        a documented limit; says which, and its key
├── NotFound                 collection, space, point or model
│   └── PointNotFound        a patch of what is not there
├── AlreadyExists
├── FailedPrecondition       right request, wrong state
│   ├── NoModel              text for a space that no model is bound to
│   ├── ModelMismatch        the space was filled by another model
│   ├── SchemaMismatch       the collection exists with another schema
│   ├── NoLanguageModel      an answer where no language model is configured
│   ├── NotLogged            judgements where questions are not kept
│   ├── PathClash            a payload path that leads into a value of another kind
│   └── ReadOnly             this process opened the data directory to read
├── Conflict                 a compare-and-set lost
│   └── VersionMismatch      if_version is not the point's version
├── HorizonPassed            changes from further back than they are kept
├── Unauthenticated          no key where one is needed, or one that is not, or no longer, known
├── PermissionDenied         a key that may not do this
├── Overloaded               a queue is full; retry_after_s says when to come back
├── QuotaExceeded            a key used all that it may for today
├── StorageFull              disk or map; reads still work
├── MemoryLow                the node's memory is all but taken; reads still work
├── CollectionFull           as many points, or bytes, as its limits allow; deletes make room
├── Unavailable              starting, draining, or a part is being restarted
├── DeadlineExceeded
├── Corrupt                  bytes that fail their checksum; hint names the next command
├── FormatTooNew             written by a later vecdb; left untouched
└── FormatTooOld             written by an earlier vecdb; hint names the command to run
"""

from __future__ import annotations

from typing import ClassVar, Self


class VecdbError(Exception):
    """An error with a message for a person and details for a program.

    field: path of the offending request field, such as ``ops[3].put.id``, or "".
    details: strings for the machine, such as expected and got.
    hint: what to do next, or "".
    retry_after_s: when trying again makes sense, or None when it does not.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        hint: str = "",
        retry_after_s: float | None = None,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.details = {name: str(value) for name, value in details.items()}

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def of_operation(self, position: int) -> Self:
        """Return the error, named after the operation of a request that it came from."""
        self.field = f"ops[{position}]{'.' if self.field else ''}{self.field}"
        self.message = f"operation {position}: {self.message}"
        return self


class InvalidArgument(VecdbError):
    """The request is wrong, whatever the state of the database."""

    reason = "INVALID_ARGUMENT"


class DimensionMismatch(InvalidArgument):
    """A vector of another length than its space."""

    reason = "DIMENSION_MISMATCH"


class NotFinite(InvalidArgument):
    """NaN, infinity, or a vector whose length float32 cannot hold."""

    reason = "NOT_FINITE"


class ZeroVector(InvalidArgument):
    """A vector without a direction, where the metric is cosine."""

    reason = "ZERO_VECTOR"


class BadFilter(InvalidArgument):
    """A filter that means nothing."""

    reason = "BAD_FILTER"


class BadPayload(InvalidArgument):
    """A payload that is not a JSON object."""

    reason = "BAD_PAYLOAD"


class BadDocument(InvalidArgument):
    """Bytes that cannot be read as what they are said to be, or that cost too much to read."""

    reason = "BAD_DOCUMENT"


class LimitExceeded(InvalidArgument):
    """More than a documented limit allows."""

    reason = "LIMIT_EXCEEDED"


class NotFound(VecdbError):
    """No such collection, space, point or model."""

    reason = "NOT_FOUND"


class PointNotFound(NotFound):
    """A patch of a point that is not there."""

    reason = "POINT_NOT_FOUND"


class AlreadyExists(VecdbError):
    """The name is taken."""

    reason = "ALREADY_EXISTS"


class FailedPrecondition(VecdbError):
    """A right request in a wrong state."""

    reason = "FAILED_PRECONDITION"


class NoModel(FailedPrecondition):
    """Text for a space that no model is bound to, or a model that is not configured."""

    reason = "NO_MODEL"


class ModelMismatch(FailedPrecondition):
    """The space was filled by another model than the one at hand."""

    reason = "MODEL_MISMATCH"


class SchemaMismatch(FailedPrecondition):
    """The collection exists with another schema."""

    reason = "SCHEMA_MISMATCH"


class NoLanguageModel(FailedPrecondition):
    """An answer was asked for where no language model is configured."""

    reason = "NO_LANGUAGE_MODEL"


class NotLogged(FailedPrecondition):
    """Judgements or a replay, where questions are not kept."""

    reason = "NOT_LOGGED"


class PathClash(FailedPrecondition):
    """A payload path that leads into, or ends at, a value of another kind than a patch needs."""

    reason = "PATH_CLASH"


class ReadOnly(FailedPrecondition):
    """A write in a process that opened the data directory to read."""

    reason = "READ_ONLY"


class Conflict(VecdbError):
    """A compare-and-set lost."""

    reason = "CONFLICT"


class VersionMismatch(Conflict):
    """An operation's if_version is not the version that the point has."""

    reason = "VERSION_MISMATCH"


class HorizonPassed(VecdbError):
    """What is asked for lies further back than is kept."""

    reason = "HORIZON_PASSED"


class Unauthenticated(VecdbError):
    """No key or token where one is needed, or one that is not, or no longer, good."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(VecdbError):
    """A key or token that is good, but not for this."""

    reason = "PERMISSION_DENIED"


class Overloaded(VecdbError):
    """A bounded queue is full."""

    reason = "OVERLOADED"


class QuotaExceeded(VecdbError):
    """A key used all that it may for today."""

    reason = "QUOTA_EXCEEDED"


class StorageFull(VecdbError):
    """The disk or the map is full; nothing of the write was kept."""

    reason = "STORAGE_FULL"


class MemoryLow(VecdbError):
    """The memory of the node is all but taken; nothing of the write was kept."""

    reason = "MEMORY_LOW"


class CollectionFull(VecdbError):
    """A collection holds as many points, or takes as many bytes, as its limits allow."""

    reason = "COLLECTION_FULL"


class Unavailable(VecdbError):
    """Starting, draining, or a part is being restarted."""

    reason = "UNAVAILABLE"


class DeadlineExceeded(VecdbError):
    """The caller's deadline passed before the answer."""

    reason = "DEADLINE_EXCEEDED"


class Corrupt(VecdbError):
    """Bytes on disk that fail their checksum."""

    reason = "CORRUPT"


class FormatTooNew(VecdbError):
    """Data written by a later vecdb than this one."""

    reason = "FORMAT_TOO_NEW"


class FormatTooOld(VecdbError):
    """Data written by an earlier vecdb than this one, which `vecdb upgrade` brings up to date."""

    reason = "FORMAT_TOO_OLD"


def _every(kind: type[VecdbError]) -> dict[str, type[VecdbError]]:
    found = {kind.reason: kind}
    for child in kind.__subclasses__():
        found |= _every(child)
    return found


BY_REASON = _every(VecdbError)
"""Every error by its reason."""


def by_reason(reason: str) -> type[VecdbError]:
    """Return the error of a reason, as processes of a node tell it to each other."""
    return BY_REASON.get(reason, VecdbError)
