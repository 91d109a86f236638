"""Which calls are traced: an interceptor around all others, there only where traces are sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import grpc

from vecdb import traces
from vecdb.otel import OpenCall, Tracing
from vecdb.rpc.streams import each_within

OURS = "/vecdb."
_FAILED = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "UNIMPLEMENTED", "DEADLINE_EXCEEDED")
"""Statuses that make a server's span a failed one; the others are its caller's mistakes."""


class TraceInterceptor(grpc.ServerInterceptor):
    """Makes a span of each call, from its headers on: the wait for a thread is part of it."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call, traced if it is sampled."""
        begun = time.perf_counter_ns()
        handler, path = continuation(handler_call_details), handler_call_details.method
        if handler is None or not path.startswith(OURS):
            return handler
        metadata = {
            name: value
            for name, value in handler_call_details.invocation_metadata or ()
            if isinstance(value, str)
        }
        call = self._tracing.call(path, metadata, begun)
        if call is None:
            return handler
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _unary(handler.unary_unary, call, begun), read, write
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                _stream(handler.unary_stream, call), read, write
            )
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                _stream(handler.stream_stream, call), read, write
            )
        return handler


def _unary(behaviour: Callable[..., Any], call: OpenCall, begun: int) -> Callable[..., Any]:
    @wraps(behaviour)  # with the marks by which the dispatcher knows it
    def traced(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
        call.note("wait", begun, time.perf_counter_ns(), {})
        before = traces.enter(call)
        try:
            return behaviour(request, context)
        finally:
            traces.leave(before)
            _end(call, context)

    return traced


def _stream(behaviour: Callable[..., Iterator[Any]], call: OpenCall) -> Callable[..., Any]:
    @wraps(behaviour)
    def traced(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
        try:
            variable = traces.enter, traces.leave
            yield from each_within(variable, call, lambda: behaviour(request, context))
        finally:
            _end(call, context)

    return traced


def _end(call: OpenCall, context: grpc.ServicerContext) -> None:
    code = context.code() or grpc.StatusCode.OK  # type: ignore[attr-defined]
    call.end(code.value[0], code.name, failed=code.name in _FAILED)
