"""What waits: calls over a channel, pauses, several calls side by side. Here, tasks do.

The names are those of wire.py, which says what each does; what is `async` here is what
scripts/make_async.py has the modules above await.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import grpc

from vecdb_client.channels import Trailers, serialized
from vecdb_client.target import Target

Answer = TypeVar("Answer")
Item = TypeVar("Item")
Flight: TypeAlias = asyncio.Task[Answer]
Recalled: Final = asyncio.CancelledError


class Channel:
    """A connection of its own to a target, for the tasks of one event loop."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._metadata = target.metadata
        self._opened: grpc.aio.Channel | None = None
        self._closed = False

    def _channel(self) -> grpc.aio.Channel:
        """Return the channel, opened at the first call: it belongs to the loop that runs then."""
        if self._closed:
            raise ValueError("the channel is closed")
        if self._opened is None:
            target = self._target
            credentials = target.credentials()
            self._opened = (
                grpc.aio.secure_channel(target.address, credentials, options=target.options)
                if credentials
                else grpc.aio.insecure_channel(target.address, options=target.options)
            )
        return self._opened

    async def call(
        self,
        path: str,
        read: Callable[[bytes], Any] | None,
        request: bytes,
        *,
        timeout_s: float,
        wait_for_ready: bool | None = None,
    ) -> Any:  # noqa: ANN401 - what `read` makes of the reply, its bytes without one
        """Return the reply. Raises grpc.RpcError, ValueError when the channel was closed."""
        invoke: Any = self._channel().unary_unary(path, response_deserializer=read)
        try:
            return await invoke(
                request,
                timeout=timeout_s,
                metadata=self._metadata(),
                wait_for_ready=wait_for_ready,
            )
        except asyncio.CancelledError as error:
            raise self._meant(error) from None

    async def trailers(self, path: str, request: bytes, *, timeout_s: float) -> Trailers:
        """Return the trailing metadata of a call's reply. Raises as call()."""
        invoke: Any = self._channel().unary_unary(path)
        try:
            call = invoke(request, timeout=timeout_s, metadata=self._metadata())
            await call
            return tuple(await call.trailing_metadata() or ())
        except asyncio.CancelledError as error:
            raise self._meant(error) from None

    async def stream(
        self, path: str, read: Callable[[bytes], Any], request: bytes
    ) -> AsyncIterator[Any]:
        """Yield the replies of a call that streams; it ends when the caller goes on. Raises so."""
        invoke: Any = self._channel().unary_stream(path, response_deserializer=read)
        async for reply in self._replies(invoke(request, metadata=self._metadata())):
            yield reply

    async def duplex(
        self, path: str, read: Callable[[bytes], Any], requests: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        """Yield the replies of a call as stream() does. requests: read in a task of gRPC's."""
        invoke: Any = self._channel().stream_stream(
            path, request_serializer=serialized, response_deserializer=read
        )
        async for reply in self._replies(invoke(requests, metadata=self._metadata())):
            yield reply

    async def _replies(self, call: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - gRPC's
        try:
            async for reply in call:
                yield reply
        except asyncio.CancelledError as error:
            raise self._meant(error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Close it; calls under way end as cancelled."""
        self._closed = True
        if self._opened is not None:
            await self._opened.close()

    def _meant(self, error: asyncio.CancelledError) -> BaseException:
        """Return what to raise for a cancelled call: its status, where close() cancelled it.

        gRPC raises CancelledError for both; but the task goes on that nobody asked to end.
        """
        task = asyncio.current_task()
        if self._closed and not (task and task.cancelling()):
            none = grpc.aio.Metadata()
            return grpc.aio.AioRpcError(
                grpc.StatusCode.CANCELLED, none, none, details="the channel was closed"
            )
        return error


class Closed:
    """Whether a client was closed; and pauses, which end then."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        """Return whether it was."""
        return self._event.is_set()

    def set(self) -> None:
        """Say so, and wake who waits."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return after some seconds, or at once when it is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return


class Flights(Generic[Answer]):
    """Calls side by side, as many as the caller starts; the end of the `with` waits for all."""

    def __init__(self, most: int) -> None:
        self._tasks: set[Flight[Answer]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(
        self, call: Callable[..., Coroutine[Any, Any, Answer]], *arguments: object
    ) -> Flight[Answer]:
        """Return the call's flight: it goes on by itself."""
        task = asyncio.create_task(call(*arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def landed(self, flights: Iterable[Flight[Answer]]) -> Flight[Answer]:
        """Return one that is done, once there is one."""
        done, _ = await asyncio.wait(flights, return_when=asyncio.FIRST_COMPLETED)
        return done.pop()

    def recall(self, flights: Iterable[Flight[Answer]]) -> None:
        """Have all end where the caller's task is to end. Else, all have begun: let them be."""
        task = asyncio.current_task()
        if task and task.cancelling():
            for flight in flights:
                flight.cancel()


class Window:
    """How many batches may be under way."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._most = self._entered = 0
        self._closed = False

    async def enter(self) -> bool:
        """Return once there is room, which is taken: True. False once it is closed."""
        while not self._closed and self._entered >= self._most:
            self._changed.clear()
            await self._changed.wait()
        self._entered += not self._closed
        return not self._closed

    def leave(self) -> None:
        """Give room back."""
        self._entered -= 1
        self._changed.set()

    def allow(self, most: int) -> None:
        """Say how many may be under way."""
        self._most = most
        self._changed.set()

    def close(self) -> None:
        """Let nobody enter any more."""
        self._closed = True
        self._changed.set()


async def next_of(items: Iterator[Item]) -> Item | None:
    """Return the next, None at the end. Read in a thread: a source may make it wait."""
    return await asyncio.to_thread(next, items, None)
