"""The worker's gRPC service over a Host: messages in, messages out, errors as statuses."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import numpy as np

from vecdb.embed.batcher import Lane
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Item, Pair, Role
from vecdb.embed.host import Encoding, Host
from vecdb.embed.pb import encoder_pb2 as pb
from vecdb.embed.shared_keys import HEADER, SharedKeys
from vecdb.embed.wire import CALL_ITEMS, RETRY_AFTER
from vecdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.types import SparseVector

log = logging.getLogger(__name__)

# Each lane has its share of the calls, so that ingest never takes the threads of searches, and
# neither takes the last ones, which answer Describe.
THREADS = 256
CALLS = {Lane.QUERY: 96, Lane.DOCUMENT: 144}

STATUS: Mapping[type[VecdbError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_ROLES = {pb.ROLE_QUERY: Role.QUERY, pb.ROLE_DOCUMENT: Role.DOCUMENT}


class KeyCheck(grpc.ServerInterceptor):
    """Lets in who has a key; others hear so before anything that they sent is read."""

    def __init__(self, keys: SharedKeys) -> None:
        self._keys = keys
        words = "the embedding worker was not shown a key that it takes"

        def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, words)
            raise AssertionError  # not reached: abort raises

        self._refusal: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return what answers a call."""
        sent = dict(handler_call_details.invocation_metadata).get(HEADER)
        return continuation(handler_call_details) if self._keys.accepts(sent) else self._refusal


class EncoderService:
    """Serves vecdb.worker.v1.Encoder."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._instance = secrets.token_hex(8)
        self._calls = {lane: threading.BoundedSemaphore(most) for lane, most in CALLS.items()}

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a server is given."""
        methods: dict[str, tuple[Callable[..., Any], Any]] = {
            "Describe": (self.describe, pb.DescribeRequest),
            "Encode": (self.encode, pb.EncodeRequest),
            "Tokenize": (self.tokenize, pb.TokenizeRequest),
            "Load": (self.load, pb.LoadRequest),
            "Unload": (self.unload, pb.UnloadRequest),
            "Forget": (self.forget, pb.ForgetRequest),
        }
        return grpc.method_handlers_generic_handler(
            pb.DESCRIPTOR.services_by_name["Encoder"].full_name,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    _with_statuses(method),
                    request.FromString,
                    lambda reply: reply.SerializeToString(),
                )
                for name, (method, request) in methods.items()
            },
        )

    def describe(
        self, request: pb.DescribeRequest, context: grpc.ServicerContext
    ) -> pb.DescribeResponse:
        """Return the models and the counters."""
        counters = self._host.counters()
        return pb.DescribeResponse(
            models=[
                pb.ModelState(
                    name=one.spec.name,
                    fingerprint=one.fingerprint,
                    reason=one.reason,
                    loaded=one.loaded,
                    memory_bytes=one.memory_bytes,
                )
                for one in self._host.states()
            ],
            counters=pb.Counters(
                **{name: getattr(counters, name) for name in pb.Counters.DESCRIPTOR.fields_by_name}
            ),
            metrics=json.dumps(self._host.meter.families()).encode() if request.metrics else b"",
            instance=self._instance,
        )

    def encode(self, request: pb.EncodeRequest, context: grpc.ServicerContext) -> pb.EncodeResponse:
        """Return what becomes of the request's items."""
        items = _items(request)
        if not 1 <= len(items) <= CALL_ITEMS:
            raise InvalidArgument(f"1 to {CALL_ITEMS} items a call, got {len(items)}")
        role = _ROLES.get(request.role, Role.DOCUMENT)
        with self._admitted(Lane.QUERY if role is Role.QUERY else Lane.DOCUMENT):
            encoding = self._host.encode(
                request.model, items, role, _deadline(context), context.add_callback
            )
        spec = self._host.residents.find(request.model)
        return _reply(encoding, spec, self._host.residents.fingerprint(spec.name))

    def tokenize(
        self, request: pb.TokenizeRequest, context: grpc.ServicerContext
    ) -> pb.TokenizeResponse:
        """Return what the model reads of texts."""
        role = _ROLES.get(request.role, Role.DOCUMENT)
        reply = pb.TokenizeResponse()
        with self._admitted(Lane.QUERY):
            for one in self._host.tokenize(
                request.model, list(request.texts), role, _deadline(context)
            ):
                known = isinstance(one.input, np.ndarray) and one.input.dtype == np.int64
                reply.texts.add(
                    ids=one.input if known else (), tokens=len(one.input), truncated=one.truncated
                )
        return reply

    def load(self, request: pb.LoadRequest, context: grpc.ServicerContext) -> pb.LoadResponse:
        """Load a model."""
        took_s = self._host.residents.load(request.model, _deadline(context))
        return pb.LoadResponse(took_ms=round(took_s * 1e3))

    def unload(self, request: pb.UnloadRequest, context: grpc.ServicerContext) -> pb.UnloadResponse:
        """Let go of a model."""
        return pb.UnloadResponse(unloaded=self._host.residents.unload(request.model))

    def forget(self, request: pb.ForgetRequest, context: grpc.ServicerContext) -> pb.ForgetResponse:
        """Keep nothing of what was encoded before."""
        return pb.ForgetResponse(items=self._host.forget())

    @contextmanager
    def _admitted(self, lane: Lane) -> Iterator[None]:
        if not self._calls[lane].acquire(blocking=False):
            raise Overloaded(
                f"{CALLS[lane]} {lane.name.lower()} calls wait for the model already",
                retry_after_s=1.0,
            )
        try:
            yield
        finally:
            self._calls[lane].release()


def _items(request: pb.EncodeRequest) -> list[Item]:
    if request.HasField("query"):
        return [Pair(request.query, text) for text in request.texts]
    return [*request.texts, *request.images]


def _reply(encoding: Encoding, spec: ModelSpec, fingerprint: str) -> pb.EncodeResponse:
    reply = pb.EncodeResponse(
        fingerprint=fingerprint,
        tokens=encoding.tokens,
        truncated=encoding.truncated,
        cached=encoding.cached,
        prepare_ms=encoding.prepare_s * 1e3,
        queue_ms=encoding.queue_s * 1e3,
        inference_ms=encoding.inference_s * 1e3,
    )
    sparse = spec.of_kind.gives == "sparse"
    vectors = np.full((0 if sparse else len(encoding.outputs), spec.dim), np.nan, dtype="<f4")
    for row, output in enumerate(encoding.outputs):
        if isinstance(output, VecdbError):
            reply.refused.add(
                position=row,
                reason=output.reason,
                message=str(output),
                retry_after_ms=round((output.retry_after_s or 0.0) * 1e3),
            )
            if sparse:
                reply.sparse.add()
        elif isinstance(output, SparseVector):
            reply.sparse.add(
                indices=output.indices.astype("<u4").tobytes(),
                values=output.values.astype("<f4").tobytes(),
            )
        else:
            vectors[row] = output
    reply.vectors = vectors.tobytes()
    return reply


def _deadline(context: grpc.ServicerContext) -> float | None:
    """Return when the caller stops waiting, on time.monotonic()."""
    left = context.time_remaining()
    # gRPC says some 9e18 for no deadline, which no lock of Python can wait for.
    endless = left is None or left >= threading.TIMEOUT_MAX
    return None if endless else time.monotonic() + left


def _with_statuses(
    method: Callable[[Any, grpc.ServicerContext], Any],
) -> Callable[[Any, grpc.ServicerContext], Any]:
    """Return a method whose errors end the call with a status of their own."""

    def call(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
        try:
            return method(request, context)
        except VecdbError as error:
            _abort(context, error)
        except Exception:
            log.exception("a call failed")
            context.abort(grpc.StatusCode.INTERNAL, "the embedding worker's log says why")

    return call


def _abort(context: grpc.ServicerContext, error: VecdbError) -> NoReturn:
    if error.retry_after_s is not None:
        context.set_trailing_metadata(((RETRY_AFTER, str(int(error.retry_after_s * 1e3))),))
    code = next(
        (code for family, code in STATUS.items() if isinstance(error, family)),
        grpc.StatusCode.INTERNAL,
    )
    context.abort(code, str(error))
    raise error  # not reached: abort raises
