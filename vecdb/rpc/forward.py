"""Passing calls on to the writer, from a query worker: bytes in, bytes out, nothing parsed.

What goes with a call goes with it: its deadline, its metadata, its cancellation; and what comes
back with the answer: status, text, details.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from vecdb import traces
from vecdb.auth.call import REQUEST_ID, current
from vecdb.errors import Unavailable
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.guard import PEER
from vecdb.rpc.status import DETAILS, reason_of

TRACEPARENT = "traceparent"

Metadata = tuple[tuple[str, str | bytes], ...]
Behaviour = Callable[[Any, grpc.ServicerContext], Any]
StreamBehaviour = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]

READS = frozenset(
    (
        "/vecdb.v1.Search/Query",
        "/vecdb.v1.Search/QueryBatch",
        "/vecdb.v1.Search/Explain",
        "/vecdb.v1.Admin/EstimateRecall",  # of the queries asked here
        "/vecdb.v1.Admin/Limits",
        "/vecdb.v1.Points/Get",
        "/vecdb.v1.Points/List",
        "/vecdb.v1.Points/Export",
        "/vecdb.v1.Points/Count",
        "/vecdb.v1.Points/Watch",
        "/vecdb.v1.Collections/ListAliases",
        "/vecdb.v1.Points/Aggregate",
        "/vecdb.v1.Documents/Get",
        "/vecdb.v1.Documents/List",
        "/vecdb.v1.Documents/Context",
        "/vecdb.v1.Documents/Answer",
    )
)
"""What a query worker answers from its own maps."""

LOGGED = frozenset(("/vecdb.v1.Documents/Context", "/vecdb.v1.Documents/Answer"))
"""Those that write where questions are logged."""

STATES = frozenset(
    (
        "/vecdb.v1.Collections/Get",
        "/vecdb.v1.Collections/List",
        "/vecdb.v1.Collections/Stats",
        "/vecdb.v1.Admin/Status",
    )
)
"""What a query worker can answer, and the writer knows better: it verifies, builds, quarantines."""

_OF_A_HOP = ("user-agent", "te", "content-type", "content-length")
_CONNECTION = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Passed(Exception):
    """A status that the writer answered, to be answered as it is."""

    def __init__(self, code: grpc.StatusCode, text: str, trailer: Metadata) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.trailer = trailer

    @property
    def reason(self) -> str:
        """The reason that its caller is told, or ""."""
        details = dict(self.trailer).get(DETAILS, b"")
        return reason_of(details) if isinstance(details, bytes) else ""


class _Away(Exception):
    """The writer was not reached, or ended before it answered."""


class Forwarder:
    """A connection to the writer. address: its private socket."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(
            address,
            options=[
                # Both ends have limits of their own, which then are the only ones.
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.use_local_subchannel_pool", 1),
                # A writer that was started again is found again at once.
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )
        self._lock = threading.Lock()  # guards the next
        self._streams: set[Any] = set()

    def behaviour(self, path: str, otherwise: Behaviour | None = None) -> Behaviour:
        """Return what answers a unary method with the writer's answer.

        otherwise: what answers while the writer is away; None raises Unavailable.
        """
        invoke: grpc.UnaryUnaryMultiCallable[Any, Any] = self._channel.unary_unary(path)

        def forward(body: bytes, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            try:
                return _answer(invoke, body, context)
            except _Away:
                if otherwise is not None:
                    return otherwise(body, context)
                raise _writer_away() from None

        return forward

    def stream(self, path: str) -> StreamBehaviour:
        """Return what answers a stream with the writer's answers."""
        invoke: grpc.StreamStreamMultiCallable[Any, Any] = self._channel.stream_stream(path)

        def forward(bodies: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            metadata = _passed_on(context)
            call: Any = invoke(bodies, timeout=remaining_s(context), metadata=metadata)
            with self._lock:
                self._streams.add(call)
            if not context.add_callback(call.cancel):
                call.cancel()
            try:
                yield from call
            except grpc.RpcError:
                if not context.is_active():
                    return  # it was cancelled with the caller's
                code, trailer = call.code(), _theirs(call.trailing_metadata())
                if code in _CONNECTION and REQUEST_ID not in dict(trailer):
                    raise _writer_away() from None
                raise Passed(code, call.details() or "", trailer) from None
            finally:
                call.cancel()
                with self._lock:
                    self._streams.discard(call)

        return forward

    def end_streams(self) -> None:
        """End the streams that are open: this process is stopping."""
        with self._lock:
            streams = list(self._streams)
        for call in streams:
            call.cancel()

    def close(self) -> None:
        """Disconnect; calls under way fail."""
        self._channel.close()


def _writer_away() -> Unavailable:
    return Unavailable(
        "the writer is being started again: reads go on meanwhile", retry_after_s=0.5
    )


def _answer(
    invoke: grpc.UnaryUnaryMultiCallable[Any, Any], body: bytes, context: grpc.ServicerContext
) -> bytes:
    try:
        call = invoke.future(body, timeout=remaining_s(context), metadata=_passed_on(context))
    except ValueError:  # closed: this worker is ending
        raise _Away from None

    def cancel() -> None:
        call.cancel()

    if not context.add_callback(cancel):
        cancel()
    try:
        reply: bytes = call.result()
    except grpc.FutureCancelledError:
        raise _Away from None
    except grpc.RpcError:
        code, trailer = call.code(), _theirs(call.trailing_metadata())
        if code in _CONNECTION and REQUEST_ID not in dict(trailer):
            raise _Away from None
        raise Passed(code, call.details() or "", trailer) from None
    if initial := _theirs(call.initial_metadata()):
        context.send_initial_metadata(initial)
    if trailing := _theirs(call.trailing_metadata()):
        context.set_trailing_metadata(trailing)
    return reply


def _passed_on(context: grpc.ServicerContext) -> Metadata:
    """Return what goes to the writer with a call: the caller's, where from, its id and trace."""
    known = {PEER, REQUEST_ID}
    call, trace = current(), traces.current()
    ours: list[tuple[str, str]] = [(PEER, context.peer())]
    if call is not None:
        ours.append((REQUEST_ID, call.request_id))
    if trace is not None:
        ours.append((TRACEPARENT, trace.traceparent))
        known.add(TRACEPARENT)
    theirs = [pair for pair in _theirs(context.invocation_metadata()) if pair[0] not in known]
    return (*theirs, *ours)


def _theirs(metadata: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
    """Return the metadata that the two ends gave, without what gRPC itself adds on each hop."""
    return tuple(
        (key, value)
        for key, value in metadata or ()
        if key == DETAILS or not (key.startswith(("grpc-", ":")) or key in _OF_A_HOP)
    )
