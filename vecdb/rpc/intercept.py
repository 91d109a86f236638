"""What every call goes through: an id, metrics, and errors turned into statuses.

An error of ours becomes its status with details. Any other is our bug: it is logged with its
traceback and the request's id, and the client gets the id, never the text.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc

from vecdb.errors import DeadlineExceeded, Unavailable, VecdbError
from vecdb.metrics import Metrics
from vecdb.rpc import status
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.dispatch import never_quick, quick_when

log = logging.getLogger(__name__)

REQUEST_ID = "vecdb-request-id"
OURS = "vecdb."

Behaviour = Callable[[Any, grpc.ServicerContext], Any]


class CallInterceptor(grpc.ServerInterceptor):
    """Wraps unary calls; streams of the standard services pass through.

    working: calls of ours that are worked on at once; others wait, and health never does.
    """

    def __init__(self, metrics: Metrics, working: int) -> None:
        self._metrics = metrics
        # A token per call that may be worked on. No semaphore: this is C, and every call passes.
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(working):
            self._turns.put(None)
        self._draining = threading.Event()
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}  # wrapped, by method

    def drain(self) -> None:
        """Refuse calls from now on, in words that clients understand; those under way go on."""
        self._draining.set()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call, wrapped."""
        wrapped = self._handlers.get(handler_call_details.method)
        if wrapped is not None:
            return wrapped
        handler = continuation(handler_call_details)
        # Methods that are not ours are not remembered: a caller may invent any number of them.
        if handler is None or handler.unary_unary is None:
            return handler
        _, service, method = handler_call_details.method.split("/", 2)
        wrapped = grpc.unary_unary_rpc_method_handler(
            self._wrapped(handler.unary_unary, ("unary", service, method)),
            request_deserializer=handler.request_deserializer,
            response_serializer=_unless_serialized(handler.response_serializer),
        )
        self._handlers[handler_call_details.method] = wrapped
        return wrapped

    def _wrapped(self, behaviour: Behaviour, labels: tuple[str, str, str]) -> Behaviour:
        started = self._metrics.started.labels(*labels)
        handling = self._metrics.handling.labels(*labels)
        handled_ok = self._metrics.handled.labels(*labels, "OK")

        work = self._in_turn(behaviour) if labels[1].startswith(OURS) else behaviour

        def call(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            started.inc()
            begun = time.perf_counter()
            try:
                if self._draining.is_set():
                    raise Unavailable("the server is stopping", retry_after_s=1.0)
                reply = work(request, context)
            except Exception as error:
                code, text, trailer = _failure(error, labels)
                self._metrics.handled.labels(*labels, code.name).inc()
                handling.observe(time.perf_counter() - begun)
                context.set_trailing_metadata(trailer)
                context.abort(code, text)
            handled_ok.inc()
            handling.observe(time.perf_counter() - begun)
            return reply

        if labels[1].startswith(OURS):
            return quick_when(getattr(behaviour, "is_quick", never_quick))(call)
        return call

    def _in_turn(self, behaviour: Behaviour) -> Behaviour:
        turns = self._turns

        def work(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            try:
                turns.get_nowait()
            except queue.Empty:
                self._wait(context)
            try:
                if not context.is_active():
                    raise DeadlineExceeded("the caller is gone")
                return behaviour(request, context)
            finally:
                turns.put(None)

        return work

    def _wait(self, context: grpc.ServicerContext) -> None:
        """Take a turn as soon as there is one, within the call's deadline."""
        try:
            self._turns.get(timeout=remaining_s(context))
        except queue.Empty:
            raise DeadlineExceeded("the deadline passed while other calls were worked on") from None


def _unless_serialized(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    """Return a serializer that lets bytes pass: some behaviours write their reply themselves."""
    if serialize is None:
        return None
    return lambda reply: reply if type(reply) is bytes else serialize(reply)


def _failure(
    error: Exception, labels: tuple[str, str, str]
) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    request_id = uuid.uuid4().hex
    code = status.code_of(type(error))
    if isinstance(error, VecdbError) and code is not grpc.StatusCode.INTERNAL:
        if code is grpc.StatusCode.DATA_LOSS:
            log.error("%s/%s failed, request %s: %s", labels[1], labels[2], request_id, error)
        text, details = status.shown(str(error)), status.encode_details(error)
        return code, text, ((status.DETAILS, details), (REQUEST_ID, request_id))
    log.error("%s/%s failed, request %s", labels[1], labels[2], request_id, exc_info=error)
    text = f"internal error, request {request_id}: the server's log says more"
    return grpc.StatusCode.INTERNAL, text, ((REQUEST_ID, request_id),)
