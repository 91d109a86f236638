"""What every call goes through: who calls, an id, metrics, and errors turned into statuses.

An error of ours becomes its status with details. Any other is our bug: it is logged with its
traceback and the request's id, and the client gets the id, never the text.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

import grpc

from vecdb.auth.call import REQUEST_ID, Call, enter, leave
from vecdb.auth.scopes import Principal
from vecdb.errors import DeadlineExceeded, Overloaded, Unavailable, VecdbError
from vecdb.metrics import Metrics
from vecdb.rpc import dispatch, status
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.dispatch import never_quick, quick_when, waits
from vecdb.rpc.forward import READS, STATES, Behaviour, Forwarder, Passed, StreamBehaviour
from vecdb.rpc.guard import Admission, Guard
from vecdb.rpc.malformed import Malformed, reading, well_formed
from vecdb.rpc.shares import Kind, OpenCalls, Share, kind_of
from vecdb.rpc.sharing import sharing
from vecdb.rpc.streams import Counted, admitted_replies, each_within

log = logging.getLogger(__name__)

OURS = "vecdb."
HEALTH = "grpc.health.v1.Health"
NOBODY = Principal("", ())
HANDLERS_KEPT = 2_048
"""Handlers of callers' methods; tokens come and go."""


class Failure(NamedTuple):
    """What a caller hears of an error."""

    code: grpc.StatusCode
    text: str
    trailer: tuple[tuple[str, str | bytes], ...]

    def answer(self, context: grpc.ServicerContext) -> NoReturn:
        """End the call with it."""
        context.set_trailing_metadata(self.trailer)
        context.abort(self.code, self.text)


class CallInterceptor(grpc.ServerInterceptor):
    """Wraps calls.

    guard: says who calls, and whether they may.
    streams: streams of ours open at once; more are refused. A behaviour that streams yields None
    where it has nothing to say yet, so that it can be ended.
    working: calls of ours that are worked on at once where the dispatcher does not see to it;
    others wait, and health never does. shares: how many of each kind may be open; kinds that
    are not there have no limit.
    reads: methods that are answered here where there is a forwarder.
    forwarder: where other calls go; None answers all here. counted: whether calls are
    counted here; a call that was forwarded is counted where it came in.
    """

    def __init__(
        self,
        metrics: Metrics,
        guard: Guard,
        working: int,
        streams: int,
        *,
        reads: frozenset[str] = READS,
        forwarder: Forwarder | None = None,
        counted: bool = True,
        shares: Mapping[Kind, Share] = MappingProxyType({}),
    ) -> None:
        self._guard = guard
        self._reads = reads
        self._shares = shares
        # What is not exported is counted all the same: that is cheaper than asking.
        self._metrics = metrics if counted else Metrics()
        if counted and shares:
            metrics.add(OpenCalls(shares.values()), of_each=True)
        self._forwarder = forwarder
        # A token per call that may be worked on. No semaphore: this is C, and every call passes.
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(working):
            self._turns.put(None)
        self._streams = threading.Semaphore(streams)
        self._streams_max = streams
        self._draining = threading.Event()
        # Wrapped, by method and caller.
        self._handlers: dict[tuple[str, Principal], grpc.RpcMethodHandler[Any, Any]] = {}

    def drain(self) -> None:
        """Refuse calls from now on, in words that clients understand; those under way go on."""
        self._draining.set()
        if self._forwarder is not None:
            self._forwarder.end_streams()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call, wrapped for its caller."""
        path = handler_call_details.method
        try:
            principal = self._guard.principal(path, handler_call_details.invocation_metadata)
        except Exception as error:
            # Nothing is read of what a stranger sends.
            return self._refusal(path, error) if continuation(handler_call_details) else None
        wrapped = self._handlers.get((path, principal))
        if wrapped is not None:
            return wrapped
        handler = continuation(handler_call_details)
        # Methods that are not ours are not remembered: a caller may invent any number of them.
        if handler is None:
            return handler
        if handler.unary_unary is None:
            return self._stream(handler, path, principal)
        _, service, method = path.split("/", 2)
        labels = ("unary", service, method)
        if self._is_forwarded(path):
            forwarding = self._forwarding(path, handler, principal)
            wrapped = grpc.unary_unary_rpc_method_handler(
                self._sharing(
                    self._wrapped(forwarding, labels, path, principal, None), labels, path
                )
            )
        else:
            wrapped = grpc.unary_unary_rpc_method_handler(
                self._sharing(
                    self._here(handler.unary_unary, labels, path, principal), labels, path
                ),
                request_deserializer=reading(handler.request_deserializer),
                response_serializer=_unless_serialized(handler.response_serializer),
            )
        if len(self._handlers) >= HANDLERS_KEPT:
            self._handlers.clear()
        self._handlers[path, principal] = wrapped
        return wrapped

    def _refusal(self, path: str, error: Exception) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the handler of a call whose caller is not known, whatever they send."""
        _, service, method = path.split("/", 2)
        labels = ("unary", service, method)

        def refuse(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
            call = self._guard.call(path, NOBODY, context)
            self._guard.refused(call)
            failure = self._failed(error, labels, call)
            self._metrics.started.labels(*labels).inc()
            self._metrics.handled.labels(*labels, failure.code.name).inc()
            failure.answer(context)

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _stream(
        self, handler: grpc.RpcMethodHandler[Any, Any], path: str, principal: Principal
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the handler of a stream, wrapped. They have no turns."""
        _, service, method = path.split("/", 2)
        read = reading(handler.request_deserializer)
        write = _unless_serialized(handler.response_serializer)
        admission = self._guard.admission(path, principal)
        if handler.request_streaming:
            labels = ("bidi_stream", service, method)
            behaviour, made = handler.stream_stream, grpc.stream_stream_rpc_method_handler
        else:
            labels = ("server_stream", service, method)
            behaviour, made = handler.unary_stream, grpc.unary_stream_rpc_method_handler
        if self._forwarder is not None and self._is_forwarded(path):
            behaviour = self._forwarder.stream(path)
            if not handler.request_streaming:
                behaviour = _of_one(behaviour)
            read, write, admission = reading(None), None, None
        assert behaviour is not None  # no call has one reply to a stream
        bounded = self._bounded if service != HEALTH else iter  # which counts its own

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
            call, seen = self._guard.call(path, principal, context), dict[str, None]()
            with Counted(self._metrics, labels) as counted:
                try:
                    replies = admitted_replies(
                        behaviour, admission, seen, many_requests=handler.request_streaming
                    )
                    asked = counted.requests(request, many=handler.request_streaming)
                    yield from counted.replies(
                        each_within((enter, leave), call, lambda: bounded(replies(asked, context)))
                    )
                    if not context.is_active():
                        counted.code = grpc.StatusCode.CANCELLED
                except Exception as error:
                    failure = self._failed(error, labels, call)
                    counted.code = failure.code
                    failure.answer(context)
                except GeneratorExit:
                    counted.code = grpc.StatusCode.CANCELLED
                    raise
                finally:
                    if admission is not None:
                        admission.tell(call, lambda: seen, counted.code.name)

        return made(stream, request_deserializer=read, response_serializer=write)

    def _bounded(self, replies: Iterator[Any]) -> Iterator[Any]:
        """Yield what a stream says, for as long as the server has room, and is not stopping."""
        if not self._streams.acquire(blocking=False):
            raise Overloaded(
                f"{self._streams_max} streams are open already",
                hint="close some, or raise limits.streams",
                retry_after_s=1.0,
            )
        try:
            for reply in replies:
                if self._draining.is_set():
                    raise Unavailable("the server is stopping", retry_after_s=1.0)
                if reply is not None:
                    yield reply
        finally:
            self._streams.release()

    def _here(
        self, behaviour: Behaviour, labels: tuple[str, str, str], path: str, principal: Principal
    ) -> Behaviour:
        """Return what works on a call in this process: in turn, if it is one of ours."""
        if not labels[1].startswith(OURS):
            return self._wrapped(behaviour, labels, path, principal, None)
        admission = self._guard.admission(path, principal)
        quick = getattr(behaviour, "is_quick", never_quick)
        waiting = getattr(behaviour, "waits", False)
        # With a turn to take besides the thread, quick calls would wait for all the others.
        by_thread = dispatch.KNOWN or waiting
        work = _if_wanted(behaviour) if by_thread else self._in_turn(behaviour)

        def is_quick(request: Any) -> bool:  # noqa: ANN401
            return isinstance(request, Malformed) or quick(request)

        found = quick_when(is_quick)(self._wrapped(work, labels, path, principal, admission))
        return waits(found) if waiting else found

    def _sharing(self, behaviour: Behaviour, labels: tuple[str, str, str], path: str) -> Behaviour:
        """Return a behaviour that is held to the share of its kind, if that has one."""
        share = self._shares.get(kind_of(path)) if labels[1].startswith(OURS) else None
        return sharing(behaviour, share, labels, self._metrics) if share else behaviour

    def _failed(self, error: Exception, labels: tuple[str, str, str], call: Call) -> Failure:
        """Return what an error is to the caller; it is counted, and logged where it is a bug."""
        self._metrics.count_error(error)
        return _failure(error, labels, call)

    def _is_forwarded(self, path: str) -> bool:
        return (
            self._forwarder is not None and path.startswith(f"/{OURS}") and path not in self._reads
        )

    def _forwarding(self, path: str, handler: Any, principal: Principal) -> Behaviour:  # noqa: ANN401
        """Return what forwards a call. It takes no turn: the work is done, in turn, elsewhere."""
        assert self._forwarder is not None
        if path not in STATES:
            return self._forwarder.behaviour(path)
        behaviour, read = self._in_turn(handler.unary_unary), reading(handler.request_deserializer)
        admission = self._guard.admission(path, principal)

        def here(body: bytes, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            request = well_formed(read(body))
            if admission is not None:
                admission.check(request)
            return handler.response_serializer(behaviour(request, context))

        return self._forwarder.behaviour(path, here)

    def _wrapped(
        self,
        work: Behaviour,
        labels: tuple[str, str, str],
        path: str,
        principal: Principal,
        admission: Admission | None,
    ) -> Behaviour:
        started = self._metrics.started.labels(*labels)
        received, sent = self._metrics.received.labels(*labels), self._metrics.sent.labels(*labels)
        handling = self._metrics.handling.labels(*labels)
        handled_ok = self._metrics.handled.labels(*labels, "OK")
        is_ours = labels[1].startswith(OURS)  # health goes on saying that nothing serves
        call_of = self._guard.call

        def call(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            started.inc()
            received.inc()
            begun = time.perf_counter()
            this = call_of(path, principal, context)
            before = enter(this)
            try:
                if is_ours and self._draining.is_set():
                    raise Unavailable("the server is stopping", retry_after_s=1.0)
                well_formed(request)
                if admission is not None:
                    admission.check(request)
                reply = work(request, context)
            except Exception as error:
                failure = self._failed(error, labels, this)
                self._metrics.handled.labels(*labels, failure.code.name).inc()
                handling.observe(time.perf_counter() - begun)
                _tell(admission, this, request, failure.code.name)
                failure.answer(context)
            finally:
                leave(before)
            handled_ok.inc()
            sent.inc()
            handling.observe(time.perf_counter() - begun)
            _tell(admission, this, request, "OK")
            return reply

        return call

    def _in_turn(self, behaviour: Behaviour) -> Behaviour:
        turns, wanted = self._turns, _if_wanted(behaviour)

        def work(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            try:
                turns.get_nowait()
            except queue.Empty:
                self._wait(context)
            try:
                return wanted(request, context)
            finally:
                turns.put(None)

        return work

    def _wait(self, context: grpc.ServicerContext) -> None:
        """Take a turn as soon as there is one, within the call's deadline."""
        try:
            self._turns.get(timeout=remaining_s(context))
        except queue.Empty:
            raise DeadlineExceeded("the deadline passed while other calls were worked on") from None


def _if_wanted(behaviour: Behaviour) -> Behaviour:
    """Return a behaviour that does nothing for a caller who is gone: calls may have waited."""

    def work(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
        if not context.is_active():
            raise DeadlineExceeded("the caller is gone")
        return behaviour(request, context)

    return work


def _of_one(stream: StreamBehaviour) -> Callable[[Any, grpc.ServicerContext], Iterator[Any]]:
    """Return what answers one request with a stream that takes many."""
    return lambda body, context: stream(iter((body,)), context)


def _unless_serialized(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    """Return a serializer that lets bytes pass: some behaviours write their reply themselves."""
    if serialize is None:
        return None
    return lambda reply: reply if type(reply) is bytes else serialize(reply)


def _tell(admission: Admission | None, call: Call, request: Any, result: str) -> None:  # noqa: ANN401
    if admission is not None and not isinstance(request, Malformed):
        admission.tell(call, lambda: admission.collections(request), result)


def _failure(error: Exception, labels: tuple[str, str, str], call: Call) -> Failure:
    if isinstance(error, Passed):
        return Failure(error.code, error.text, error.trailer)
    request_id = call.request_id
    code = status.code_of(type(error))
    if isinstance(error, VecdbError) and code is not grpc.StatusCode.INTERNAL:
        if code is grpc.StatusCode.DATA_LOSS:
            log.error("%s/%s failed, request %s: %s", labels[1], labels[2], request_id, error)
        text, details = status.shown(str(error)), status.encode_details(error)
        return Failure(code, text, ((status.DETAILS, details), (REQUEST_ID, request_id)))
    log.error("%s/%s failed, request %s", labels[1], labels[2], request_id, exc_info=error)
    text = f"internal error, request {request_id}: the server's log says more"
    return Failure(grpc.StatusCode.INTERNAL, text, ((REQUEST_ID, request_id),))
