"""The one place that talks: a channel, a deadline on every call, retries where they are safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from vecdb_client.errors import FailedPrecondition, InvalidArgument
from vecdb_client.protocol import Method, Reply, Request
from vecdb_client.retry import Retries
from vecdb_client.status import error_of
from vecdb_client.version import VERSION

Answer = TypeVar("Answer")

_TIMEOUT_MAX_S: Final = 1e8  # three years: gRPC takes infinity for a moment long past

_OPTIONS: Final = (
    # Requests are split before they are sent, and replies are bounded by the server.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Notice within 40 s a peer that vanished without a word, while calls are under way.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A restarted server is found again soon, not after gRPC's own second to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A second Client is a second connection, and so may reach a second worker of the server.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"vecdb-python/{VERSION}"),
)


class Transport:
    """A connection to one address. Threads may share it.

    timeout_s: the deadline of calls that name none.
    """

    def __init__(self, address: str, *, timeout_s: float, retries: Retries) -> None:
        self.address: Final = _checked_address(address)
        self.timeout_s: Final = _checked_timeout(timeout_s)
        self._retries = retries
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._closed = threading.Event()
        self._calls: dict[str, Callable[..., Any]] = {}  # by name; setting a key is atomic

    def call(
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
        known = self._calls.get(method.name)
        if known is None:
            known = self._calls[method.name] = self._channel.unary_unary(
                method.path,
                request_serializer=_to_bytes,
                response_deserializer=method.reply.FromString,
            )
        invoke: Callable[..., Reply] = known
        return self._attempts(method.name, invoke, request, timeout_s, retry)

    def call_raw(
        self, path: str, request: bytes, *, timeout_s: float, wait_for_ready: bool = False
    ) -> bytes:
        """Return the reply's bytes of one attempt at a call outside the protocol."""
        invoke: Callable[..., bytes] = self._channel.unary_unary(path)

        def once(body: bytes, timeout: float) -> bytes:
            return invoke(body, timeout=timeout, wait_for_ready=wait_for_ready)

        return self._attempts(path.strip("/"), once, request, timeout_s, retry=False)

    def wait(self, seconds: float) -> None:
        """Return after some seconds, or at once when the client is closed."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Close the connection. Calls under way raise Cancelled; closing twice is fine."""
        self._closed.set()
        self._channel.close()

    def _attempts(
        self,
        name: str,
        invoke: Callable[..., Answer],
        request: Message | bytes,
        timeout_s: float | None,
        retry: bool,
    ) -> Answer:
        limit = self.timeout_s if timeout_s is None else _checked_timeout(timeout_s)
        deadline = time.monotonic() + limit
        attempt = 1
        while True:
            self._check_open()
            try:
                return invoke(request, timeout=deadline - time.monotonic())
            except grpc.RpcError as failure:
                error = error_of(failure, name)
                remaining = deadline - time.monotonic()
                pause = self._retries.pause_s(error, attempt, remaining) if retry else None
                if pause is None:
                    raise error from failure
            except ValueError:
                self._check_open()  # gRPC's word for a channel that was closed meanwhile
                raise
            attempt += 1
            self.wait(pause)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise FailedPrecondition("the client is closed", reason="CLIENT_CLOSED")


def _to_bytes(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _checked_timeout(timeout_s: float) -> float:
    if not timeout_s > 0:
        raise InvalidArgument(f"timeout_s is a number of seconds above 0, got {timeout_s!r}")
    return min(timeout_s, _TIMEOUT_MAX_S)


def _checked_address(address: str) -> str:
    if address.startswith(("http://", "https://", "grpc://")):
        raise InvalidArgument(
            f"an address is host:port or unix:/path, without a scheme: {address!r}"
        )
    return address
