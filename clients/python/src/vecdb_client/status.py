"""Which error a failed call is: gRPC status and its google.rpc details to the tree of errors.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from vecdb_client import errors
from vecdb_client.errors import FieldViolation, VecdbError
from vecdb_client.pb import errors_pb2 as pb

DETAILS_TRAILER: Final = "grpc-status-details-bin"

_BY_CODE: Final[dict[str, type[VecdbError]]] = {
    "INVALID_ARGUMENT": errors.InvalidArgument,
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.AlreadyExists,
    "FAILED_PRECONDITION": errors.FailedPrecondition,
    "ABORTED": errors.Conflict,
    "OUT_OF_RANGE": errors.OutOfRange,
    "RESOURCE_EXHAUSTED": errors.ResourceExhausted,
    "UNAVAILABLE": errors.Unavailable,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "CANCELLED": errors.Cancelled,
    "DATA_LOSS": errors.DataLoss,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "PERMISSION_DENIED": errors.PermissionDenied,
    "UNIMPLEMENTED": errors.Unimplemented,
    "INTERNAL": errors.Internal,
    "UNKNOWN": errors.Internal,
}
_BY_REASON: Final[dict[str, type[VecdbError]]] = {
    "OVERLOADED": errors.Overloaded,
    "QUOTA_EXCEEDED": errors.QuotaExceeded,
    "STORAGE_FULL": errors.StorageFull,
    "MEMORY_LOW": errors.MemoryLow,
}
_ITEM_FIELDS: Final = frozenset(("ops", "ids", "texts", "page_size"))
_CODE_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


def code_name(number: int) -> str:
    """Return the name of a google.rpc.Code, such as NOT_FOUND for 5."""
    return _CODE_NAMES.get(number, "UNKNOWN")


def error_of(failure: grpc.RpcError, call: str) -> VecdbError:
    """Return the error that a failed gRPC call stands for, with the details that it carries.

    call: the method's name, such as ``Points.Write``.
    """
    if not isinstance(failure, (grpc.Call, grpc.aio.AioRpcError)):
        return build_error("UNKNOWN", str(failure), None, call)
    code, text = failure.code().name, failure.details() or ""
    details = details_of(failure.trailing_metadata() or ())
    return build_error(code, text, details, call)


def details_of(trailers: Iterable[tuple[str, str | bytes]]) -> pb.Status | None:
    """Return the google.rpc.Status that the trailers carry, or None.

    A trailer that does not parse (a proxy's, say) is no reason to lose the status itself.
    """
    for key, value in trailers:
        if key == DETAILS_TRAILER and isinstance(value, bytes):
            try:
                return pb.Status.FromString(value)
            except DecodeError:
                return None
    return None


def build_error(code: str, text: str, details: pb.Status | None, call: str) -> VecdbError:
    """Return the error of a status code, its text and its google.rpc details."""
    info = pb.ErrorInfo()
    violations: list[FieldViolation] = []
    retry_after_s = None
    for detail in details.details if details else ():
        name = detail.type_url.rpartition("/")[2]
        try:
            if name == "google.rpc.ErrorInfo":
                info = pb.ErrorInfo.FromString(detail.value)
            elif name == "google.rpc.BadRequest":
                violations += [
                    FieldViolation(one.field, one.description)
                    for one in pb.BadRequest.FromString(detail.value).field_violations
                ]
            elif name == "google.rpc.RetryInfo":
                delay = pb.RetryInfo.FromString(detail.value).retry_delay
                retry_after_s = delay.seconds + delay.nanos / 1e9
        except DecodeError:
            continue
    kind = _BY_CODE.get(code, errors.Internal)
    narrower = _BY_REASON.get(info.reason)
    if narrower is not None and issubclass(narrower, kind):
        kind = narrower
    return kind(
        text or "no message",
        code=code,
        reason=info.reason,
        violations=tuple(violations),
        metadata=info.metadata,
        retry_after_s=retry_after_s,
        call=call,
    )


def over_limit(error: VecdbError) -> bool:
    """Return whether fewer items in one call may get through: split, and send again.

    Either the server named a limit on items or on the reply as a whole, or gRPC (on either side, or
    a proxy between) refused a message for its size.
    """
    if error.reason == "LIMIT_EXCEEDED":
        return _ITEM_FIELDS.issuperset(violation.field for violation in error.violations)
    return error.code == "RESOURCE_EXHAUSTED" and "larger than max" in error.message
