"""What waits: calls over a channel, pauses, several calls side by side. Here, threads do.

All that blocks in the client is in this file; async_wire.py has the same names for an event loop,
and the modules between the two and the caller are written once (see scripts/make_async.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import grpc

from vecdb_client.channels import Trailers, serialized
from vecdb_client.target import Target

Answer = TypeVar("Answer")
Item = TypeVar("Item")
Flight: TypeAlias = Future[Answer]
Recalled: Final = CancelledError
"""What the result of a flight raises that was recalled."""


class Channel:
    """A connection of its own to a target. Threads may share it."""

    def __init__(self, target: Target) -> None:
        credentials = target.credentials()
        self._metadata = target.metadata
        self._channel = (
            grpc.secure_channel(target.address, credentials, options=target.options)
            if credentials
            else grpc.insecure_channel(target.address, options=target.options)
        )
        self._methods: dict[str, Callable[..., Any]] = {}  # setting a key is atomic

    def call(
        self,
        path: str,
        read: Callable[[bytes], Any] | None,
        request: bytes,
        *,
        timeout_s: float,
        wait_for_ready: bool | None = None,
    ) -> Any:  # noqa: ANN401 - what `read` makes of the reply, its bytes without one
        """Return the reply. Raises grpc.RpcError, ValueError when the channel was closed."""
        invoke = self._methods.get(path)
        if invoke is None:
            opened: Any = self._channel.unary_unary(path, response_deserializer=read)
            invoke = self._methods[path] = opened
        return invoke(
            request,
            timeout=timeout_s,
            metadata=self._metadata(),
            wait_for_ready=wait_for_ready,
        )

    def trailers(self, path: str, request: bytes, *, timeout_s: float) -> Trailers:
        """Return the trailing metadata of a call's reply. Raises as call()."""
        invoke: Any = self._channel.unary_unary(path)
        _, call = invoke.with_call(request, timeout=timeout_s, metadata=self._metadata())
        return tuple(call.trailing_metadata() or ())

    def stream(self, path: str, read: Callable[[bytes], Any], request: bytes) -> Iterator[Any]:
        """Yield the replies of a call that streams; it ends when the caller goes on. Raises so."""
        invoke: Any = self._channel.unary_stream(path, response_deserializer=read)
        return _replies(invoke(request, metadata=self._metadata()))

    def duplex(
        self, path: str, read: Callable[[bytes], Any], requests: Iterator[Any]
    ) -> Iterator[Any]:
        """Yield the replies of a call as stream() does. requests: read in a thread of gRPC's."""
        invoke: Any = self._channel.stream_stream(
            path, request_serializer=serialized, response_deserializer=read
        )
        return _replies(invoke(requests, metadata=self._metadata()))

    def close(self) -> None:
        """Close it; calls under way end as cancelled."""
        self._channel.close()


def _replies(call: Any) -> Iterator[Any]:  # noqa: ANN401 - gRPC's, without types
    try:
        yield from call
    finally:
        call.cancel()


class Closed:
    """Whether a client was closed; and pauses, which end then."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def is_set(self) -> bool:
        """Return whether it was."""
        return self._event.is_set()

    def set(self) -> None:
        """Say so, and wake who waits."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Return after some seconds, or at once when it is closed."""
        self._event.wait(seconds)


class Flights(Generic[Answer]):
    """Calls side by side, at most so many; the end of the `with` waits for all."""

    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, "vecdb-write")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def start(self, call: Callable[..., Answer], *arguments: object) -> Flight[Answer]:
        """Return the call's flight: it goes on by itself."""
        return self._pool.submit(call, *arguments)

    def landed(self, flights: Iterable[Flight[Answer]]) -> Flight[Answer]:
        """Return one that is done, once there is one."""
        done, _ = wait(flights, return_when=FIRST_COMPLETED)
        return done.pop()

    def recall(self, flights: Iterable[Flight[Answer]]) -> None:
        """Have those end that have not begun."""
        for flight in flights:
            flight.cancel()


class Window:
    """How many batches may be under way. Its two ends may be in two threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards the next three
        self._most = self._entered = 0
        self._closed = False

    def enter(self) -> bool:
        """Return once there is room, which is taken: True. False once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._entered < self._most)
            self._entered += not self._closed
            return not self._closed

    def leave(self) -> None:
        """Give room back."""
        with self._changed:
            self._entered -= 1
            self._changed.notify()

    def allow(self, most: int) -> None:
        """Say how many may be under way."""
        with self._changed:
            self._most = most
            self._changed.notify()

    def close(self) -> None:
        """Let nobody enter any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()


def next_of(items: Iterator[Item]) -> Item | None:
    """Return the next, None at the end."""
    return next(items, None)
