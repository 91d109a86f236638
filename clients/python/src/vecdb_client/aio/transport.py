# Made from transport.py by scripts/make_async.py. Do not edit.
"""The one place that talks: a deadline on every call, retries where they are safe."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import grpc

from vecdb_client.aio.connections import Connection, Connections
from vecdb_client.errors import FailedPrecondition, InvalidArgument, VecdbError
from vecdb_client.protocol import Method, Reply, Request
from vecdb_client.retry import Retries
from vecdb_client.status import error_of
from vecdb_client.target import Target
from vecdb_client.async_wire import Closed

_TIMEOUT_MAX_S: Final = 1e8  # three years: gRPC takes infinity for a moment long past


class Transport:
    """The connections to one server. Tasks of one event loop may share it.

    timeout_s: the deadline of calls that name none.
    """

    def __init__(self, target: Target, *, timeout_s: float, retries: Retries) -> None:
        self.address: Final = target.address
        self.timeout_s: Final = _checked_timeout(timeout_s)
        self._retries = retries
        self._connections = Connections(target)
        self._closed = Closed()

    async def call(
        self,
        method: Method[Request, Reply],
        request: Request | bytes,
        *,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> Reply:
        """Return the server's reply, within timeout_s, retries included.

        request: the message, or its bytes. retry: whether sending it twice does what sending it
        once does. Raises VecdbError.
        """
        body = request if isinstance(request, bytes) else request.SerializeToString()
        reply: Reply = await self._attempts(
            method.name, method.path, method.reply.FromString, body, timeout_s, retry, None
        )
        return reply

    async def call_raw(
        self, path: str, request: bytes, *, timeout_s: float, wait_for_ready: bool = False
    ) -> bytes:
        """Return the reply's bytes of one attempt at a call outside the protocol."""
        reply: bytes = await self._attempts(
            path.strip("/"), path, None, request, timeout_s, False, wait_for_ready
        )
        return reply

    def stream(self, method: Method[Request, Reply], request: Request) -> AsyncIterator[Reply]:
        """Yield the replies of a call that streams: one attempt, without a deadline.

        Raises VecdbError. Ends the call when the caller goes on to something else.
        """
        return self._replies(method, request.SerializeToString(), None)

    def duplex(
        self, method: Method[Request, Reply], requests: AsyncIterator[Request]
    ) -> AsyncIterator[Reply]:
        """Yield the replies of a call to which a stream is sent, as stream() does.

        requests: read beside the caller.
        """
        return self._replies(method, b"", requests)

    async def _replies(
        self, method: Method[Request, Reply], request: bytes, requests: AsyncIterator[Request] | None
    ) -> AsyncIterator[Reply]:
        self._check_open()
        read = method.reply.FromString
        async with self._connections.one(self.timeout_s) as connection:
            try:
                if requests is None:
                    async for one in connection.channel.stream(method.path, read, request):
                        yield one
                else:
                    async for one in connection.channel.duplex(method.path, read, requests):
                        yield one
            except grpc.RpcError as failure:
                raise error_of(failure, method.name) from failure
            except ValueError:
                self._check_open()  # gRPC's word for a channel that was closed meanwhile
                raise

    async def resumed(
        self, method: Method[Request, Reply], request: Callable[[], Request | None]
    ) -> AsyncIterator[Reply]:
        """Yield the replies of a call that streams, opened again where it breaks, to its end.

        request: asked each time for what goes on after the last reply; None when there is nothing
        to go on for. When nothing was heard for the client's timeout_s, however many attempts that
        takes, what was wrong is raised.
        """
        attempt, heard = 0, time.monotonic()
        while (asked := request()) is not None:
            try:
                async for reply in self.stream(method, asked):
                    yield reply
                    attempt, heard = 0, time.monotonic()
            except VecdbError as error:
                attempt += 1
                pause = self._pause_s(error, attempt, heard)
                if pause is None:
                    raise
                await self.wait(pause)
            else:
                return

    def _pause_s(self, error: VecdbError, attempt: int, since: float) -> float | None:
        """Return the seconds to wait before a stream is opened again; None where it is not to be.

        attempt: the first is 1. since: when it was last heard of, in time.monotonic.
        """
        if self._closed.is_set():
            return None
        if error.code == "UNAVAILABLE":
            self._connections.look_soon()
        again = min(attempt, max(1, self._retries.attempts_max - 1))
        return self._retries.pause_s(error, again, since + self.timeout_s - time.monotonic())

    async def wait(self, seconds: float) -> None:
        """Return after some seconds, or at once when the client is closed."""
        await self._closed.wait(seconds)

    async def close(self) -> None:
        """Close the connection. Calls under way raise Cancelled; closing twice is fine."""
        self._closed.set()
        await self._connections.close()

    async def _attempts(
        self,
        name: str,
        path: str,
        read: Callable[[bytes], Any] | None,
        request: bytes,
        timeout_s: float | None,
        retry: bool,
        wait_for_ready: bool | None,
    ) -> Any:  # noqa: ANN401 - what `read` makes of the reply, its bytes without one
        limit = self.timeout_s if timeout_s is None else _checked_timeout(timeout_s)
        deadline = time.monotonic() + limit
        attempt = 1
        failed: Connection | None = None
        while True:
            self._check_open()
            try:
                remaining = deadline - time.monotonic()
                async with self._connections.one(remaining, avoid=failed) as failed:
                    return await failed.channel.call(
                        path,
                        read,
                        request,
                        timeout_s=deadline - time.monotonic(),
                        wait_for_ready=wait_for_ready,
                    )
            except grpc.RpcError as failure:
                error = error_of(failure, name)
                if error.code == "UNAVAILABLE":
                    self._connections.look_soon()
                remaining = deadline - time.monotonic()
                pause = self._retries.pause_s(error, attempt, remaining) if retry else None
                if pause is None:
                    raise error from failure
            except ValueError:
                self._check_open()  # gRPC's word for a channel that was closed meanwhile
                raise
            attempt += 1
            await self.wait(pause)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise FailedPrecondition("the client is closed", reason="CLIENT_CLOSED")


def _checked_timeout(timeout_s: float) -> float:
    if not timeout_s > 0:
        raise InvalidArgument(f"timeout_s is a number of seconds above 0, got {timeout_s!r}")
    return min(timeout_s, _TIMEOUT_MAX_S)
