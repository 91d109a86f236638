"""Messages that are not what their call takes: refused as the caller's mistake, not as ours.

grpcio answers them with INTERNAL, and writes a traceback into the log for each. Here what does not
parse becomes a `Malformed`, which is refused where all other mistakes are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from vecdb.errors import InvalidArgument


class Malformed:
    """Stands for a message that could not be read."""


Read = Callable[[bytes], Any]


def reading(read: Read | None) -> Read:
    """Return a deserializer that gives a Malformed for what it cannot read; None: bytes pass."""

    def attempt(body: bytes) -> Any:  # noqa: ANN401
        try:
            return body if read is None else read(body)
        except DecodeError:
            return Malformed()

    return attempt


def well_formed(request: Any) -> Any:  # noqa: ANN401
    """Return a request that could be read. Raises InvalidArgument for one that could not."""
    if isinstance(request, Malformed):
        raise InvalidArgument(
            "the message is not one that this call takes: it is cut off, nested more than 100 "
            "deep, or has text that is not UTF-8",
            hint="generate the client from the proto files of this version",
        )
    return request


def all_well_formed(requests: Iterator[Any]) -> Iterator[Any]:
    """Yield the requests of a stream, until it ends or its caller is gone.

    Raises InvalidArgument at the first that could not be read.
    """
    try:
        yield from map(well_formed, requests)
    except grpc.RpcError:
        return  # how grpcio says that the call was cancelled
