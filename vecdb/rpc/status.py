"""Which gRPC status each error has, and the google.rpc details that go with it."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError

from vecdb import errors
from vecdb.errors import VecdbError
from vecdb.rpc.pb import errors_pb2 as pb

Code = grpc.StatusCode

CODES: dict[type[VecdbError], grpc.StatusCode] = {
    errors.InvalidArgument: Code.INVALID_ARGUMENT,
    errors.NotFound: Code.NOT_FOUND,
    errors.AlreadyExists: Code.ALREADY_EXISTS,
    errors.FailedPrecondition: Code.FAILED_PRECONDITION,
    errors.Conflict: Code.ABORTED,
    errors.HorizonPassed: Code.OUT_OF_RANGE,
    errors.Unauthenticated: Code.UNAUTHENTICATED,
    errors.PermissionDenied: Code.PERMISSION_DENIED,
    errors.Overloaded: Code.RESOURCE_EXHAUSTED,
    errors.QuotaExceeded: Code.RESOURCE_EXHAUSTED,
    errors.StorageFull: Code.RESOURCE_EXHAUSTED,
    errors.MemoryLow: Code.RESOURCE_EXHAUSTED,
    errors.CollectionFull: Code.RESOURCE_EXHAUSTED,
    errors.Unavailable: Code.UNAVAILABLE,
    errors.DeadlineExceeded: Code.DEADLINE_EXCEEDED,
    errors.Corrupt: Code.DATA_LOSS,
    errors.FormatTooNew: Code.FAILED_PRECONDITION,
    errors.FormatTooOld: Code.FAILED_PRECONDITION,
}
"""By the root of each family; a test holds that every error has one."""

DETAILS = "grpc-status-details-bin"
"""Trailer of a failed call: its google.rpc.Status. Another, auth.call.REQUEST_ID, names it."""

_TYPE = "type.googleapis.com/google.rpc."


def code_of(kind: type[Exception]) -> grpc.StatusCode:
    """Return the status of an error's family."""
    for ancestor in kind.__mro__:
        if ancestor in CODES:
            return CODES[ancestor]
    return Code.INTERNAL


def code_number(reason: str) -> int:
    """Return the number of the status that an error's reason has; 0 for ""."""
    if not reason:
        return 0
    number: int = code_of(errors.by_reason(reason)).value[0]
    return number


TEXT_MAX = 1_000
DETAIL_MAX = 200
DETAILS_MAX = 16
"""Characters of a message and of a detail, and details of an error. Callers' words may be in them
at any length, while gRPC refuses more than 8 KiB of trailers."""


def shown(text: str, most: int = TEXT_MAX) -> str:
    """Return a text as an error may carry it: cut, and valid UTF-8."""
    if not text.isascii():  # on the wire each takes up to twelve
        text = text.encode("utf-8", "backslashreplace").decode()
        most //= 4
    return text if len(text) <= most else text[: most - 1] + "…"


def encode_details(error: VecdbError) -> bytes:
    """Return the google.rpc.Status of an error, for the trailer DETAILS."""
    return status_of(error).SerializeToString()


def reason_of(details: bytes) -> str:
    """Return the reason that encode_details put into a trailer; "" where it is none of ours."""
    try:
        for detail in pb.Status.FromString(details).details:
            if detail.type_url == _TYPE + "ErrorInfo":
                return pb.ErrorInfo.FromString(detail.value).reason
    except DecodeError:
        return ""
    return ""


def status_of(error: VecdbError) -> pb.Status:
    """Return an error as google.rpc.Status."""
    status = pb.Status(code=code_of(type(error)).value[0], message=shown(str(error)))

    def add(kind: str, message: pb.ErrorInfo | pb.BadRequest | pb.RetryInfo) -> None:
        status.details.add(type_url=_TYPE + kind, value=message.SerializeToString())

    details = list(error.details.items())[:DETAILS_MAX]
    metadata = {shown(name, DETAIL_MAX): shown(value, DETAIL_MAX) for name, value in details}
    add("ErrorInfo", pb.ErrorInfo(reason=error.reason, domain="vecdb", metadata=metadata))
    if error.field:
        bad = pb.BadRequest()
        bad.field_violations.add(
            field=shown(error.field, DETAIL_MAX), description=shown(error.message, TEXT_MAX)
        )
        add("BadRequest", bad)
    if error.retry_after_s is not None:
        seconds, rest = divmod(error.retry_after_s, 1)
        delay = pb.RetryInfo.Duration(seconds=int(seconds), nanos=int(rest * 1e9))
        add("RetryInfo", pb.RetryInfo(retry_delay=delay))
    return status
