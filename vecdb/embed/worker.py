"""The embedding worker: ``python -m vecdb.embed.worker``, a process that turns texts into vectors.

Started and watched by process.py. Says "ready" on its standard output once its models are loaded
and its socket answers; lives while its standard input is open, so it cannot outlive its parent.
A model that does not load is listed with the reason and does not stop the others.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, NoReturn

import grpc
import numpy as np

from vecdb import stop
from vecdb.embed import catalog
from vecdb.embed.batcher import Batcher, Lane
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Encoder, Execution, Role
from vecdb.embed.pb import encoder_pb2 as pb
from vecdb.embed.wire import CALL_TEXTS, READY, RETRY_AFTER
from vecdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.types import F32

log = logging.getLogger("vecdb.embed.worker")

# Calls served at once. Each lane has its share, so that ingest never takes the threads of searches,
# and neither takes the last ones, which answer Describe.
THREADS = 256
CALLS = {Lane.QUERY: 96, Lane.DOCUMENT: 144}
DRAIN_S = 5.0

STATUS: Mapping[type[VecdbError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of this worker. encoder is None when it did not load, and reason says why."""

    spec: ModelSpec
    fingerprint: str
    encoder: Encoder | None
    reason: str = ""


class EncoderService:
    """Describe and Encode over loaded models and a batcher."""

    def __init__(self, models: Sequence[Loaded], default: str, batcher: Batcher) -> None:
        self._models = {model.spec.name: model for model in models}
        self._default = default
        self._batcher = batcher
        self._calls = {lane: threading.BoundedSemaphore(most) for lane, most in CALLS.items()}

    def describe(
        self, request: pb.DescribeRequest, context: grpc.ServicerContext
    ) -> pb.DescribeResponse:
        """Return the models and the counters."""
        counters = self._batcher.counters()
        return pb.DescribeResponse(
            models=[self._info(model) for model in self._models.values()],
            counters=pb.Counters(
                **{name: getattr(counters, name) for name in pb.Counters.DESCRIPTOR.fields_by_name}
            ),
        )

    def encode(self, request: pb.EncodeRequest, context: grpc.ServicerContext) -> pb.EncodeResponse:
        """Return the vectors of the request's texts."""
        lane = Lane.QUERY if request.role == pb.ROLE_QUERY else Lane.DOCUMENT
        try:
            with self._admitted(lane):
                return self._encode(request, lane, context)
        except VecdbError as error:
            _abort(context, error)
        except Exception:
            log.exception("a call failed")
            context.abort(grpc.StatusCode.INTERNAL, "the embedding worker's log says why")
            raise  # not reached: abort raises

    def _encode(
        self, request: pb.EncodeRequest, lane: Lane, context: grpc.ServicerContext
    ) -> pb.EncodeResponse:
        model = self._models.get(request.model or self._default)
        if model is None:
            raise InvalidArgument(f"this worker has no model {request.model!r}")
        if model.encoder is None:
            raise Unavailable(model.reason)
        if not 1 <= len(request.texts) <= CALL_TEXTS:
            raise InvalidArgument(f"1 to {CALL_TEXTS} texts a call, got {len(request.texts)}")
        left = context.time_remaining()
        # gRPC says some 9e18 for no deadline, which no lock of Python can wait for.
        endless = left is None or left >= threading.TIMEOUT_MAX
        deadline = None if endless else time.monotonic() + left
        role = Role.QUERY if lane is Lane.QUERY else Role.DOCUMENT
        tokens = model.encoder.prepare(request.texts, role)
        vectors = np.full((len(tokens), model.spec.dim), np.nan, dtype="<f4")
        reply = pb.EncodeResponse(
            fingerprint=model.fingerprint,
            tokens=[len(text.input) for text in tokens],
            truncated=[text.truncated for text in tokens],
        )
        known = [row for row, text in enumerate(tokens) if len(text.input)]
        if known:
            ticket = self._batcher.submit(
                model.spec.name, [tokens[row].input for row in known], lane, deadline
            )
            # Called when the call ends, however: who hung up frees its place in the queue.
            if not context.add_callback(ticket.cancel):
                ticket.cancel()
            result = ticket.result()
            vectors[known] = result.vectors
            reply.queue_ms = result.queue_s * 1e3
            reply.inference_ms = result.inference_s * 1e3
        reply.vectors = vectors.tobytes()
        return reply

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

    def _info(self, model: Loaded) -> pb.ModelInfo:
        spec = model.spec
        return pb.ModelInfo(
            name=spec.name,
            dim=spec.dim,
            metric=spec.metric.name.lower(),
            max_tokens=spec.max_tokens,
            fingerprint=model.fingerprint,
            ready=model.encoder is not None,
            reason=model.reason,
            license=spec.license,
            is_default=spec.name == self._default,
        )


def load(spec: ModelSpec, threads: int) -> Loaded:
    """Return the model, loaded and warm, or the reason why it is not."""
    digest = catalog.fingerprint(spec)
    try:
        encoder = _encoder(spec, threads)
        for text in ("warm", "warm " * spec.max_tokens):
            (tokens,) = encoder.prepare([text], Role.DOCUMENT)
            if not len(tokens.input):
                continue  # a vocabulary without that word
            vectors = np.asarray(encoder.encode([tokens.input]))
            if vectors.shape != (1, spec.dim):
                raise VecdbError(f"its vectors are {vectors.shape}, expected (1, {spec.dim})")
    except Exception as error:
        log.error("model %s does not load: %s", spec.name, error, exc_info=not _expected(error))
        return Loaded(spec, digest, None, f"{spec.name} does not load: {error}")
    log.info("model %s is ready, fingerprint %s", spec.name, digest[:16])
    return Loaded(spec, digest, encoder)


def serve(
    arguments: argparse.Namespace, stopping: SimpleQueue[str], ready: Callable[[], None]
) -> None:
    """Load the models, call ready, serve until stopping says why, drain for DRAIN_S seconds."""
    known = catalog.load_catalog(arguments.catalog)
    specs = catalog.select(known, arguments.models, arguments.default)
    models = [load(spec, arguments.threads) for spec in specs]
    encoders = {model.spec.name: model.encoder for model in models}

    def encode(model: str, batch: Sequence[Any]) -> F32:
        encoder = encoders[model]
        assert encoder is not None, "a call for a model that did not load is refused"
        vectors: F32 = np.asarray(encoder.encode(batch))
        return vectors

    batcher = Batcher(
        encode,
        queue_texts=arguments.queue_texts,
        batch_tokens=arguments.batch_tokens,
        batch_age_s=arguments.batch_age_ms / 1e3,
    )
    service = EncoderService(models, specs[0].name, batcher)
    server = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="call"),
        options=[
            ("grpc.max_receive_message_length", arguments.message_bytes),
            ("grpc.max_send_message_length", arguments.message_bytes),
        ],
    )
    server.add_generic_rpc_handlers((_handlers(service),))
    # The socket is made inside this call; nobody but the user who runs the server may connect.
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{arguments.socket}")
    finally:
        os.umask(before)
    server.start()
    ready()
    log.info("stopping: %s", stop.wait(stopping))
    server.stop(DRAIN_S).wait()
    batcher.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker and return its exit status."""
    arguments = _parse(argv)
    logging.basicConfig(
        stream=sys.stderr,
        level=arguments.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    # The pipe is for the parent alone: whatever a library prints goes to the log instead.
    parent = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    stopping: SimpleQueue[str] = SimpleQueue()
    stop.on_signals(lambda number: stopping.put(signal.Signals(number).name), (signal.SIGTERM,))
    # Ctrl-C reaches the whole process group; whether to stop is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orphaned = threading.Event()
    watch = threading.Thread(target=_watch_parent, args=(orphaned, stopping), daemon=True)
    watch.start()
    serve(arguments, stopping, lambda: _say_ready(parent))
    if orphaned.is_set():
        # Nobody else is left to remove the directory that the parent made for the socket.
        with suppress(OSError):
            os.unlink(arguments.socket)
        with suppress(OSError):
            os.rmdir(os.path.dirname(arguments.socket))
    return 0


def _say_ready(parent: int) -> None:
    try:
        os.write(parent, READY)
    except BrokenPipeError:
        log.warning("the parent is gone already")


def _watch_parent(orphaned: threading.Event, stopping: SimpleQueue[str]) -> None:
    while os.read(0, 4096):
        pass
    orphaned.set()
    stopping.put("the parent has gone or closed the pipe")


def _encoder(spec: ModelSpec, threads: int) -> Encoder:
    module, name = spec.of_kind.loader
    # Here and not above, so that a library that does not import is a reason like any other.
    kind = getattr(importlib.import_module(f"vecdb.embed.{module}"), name)
    encoder: Encoder = kind(spec, catalog.resolve_files(spec), Execution(threads))
    return encoder


def _expected(error: Exception) -> bool:
    return isinstance(error, VecdbError | ImportError)


def _handlers(service: EncoderService) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        pb.DESCRIPTOR.services_by_name["Encoder"].full_name,
        {
            "Describe": grpc.unary_unary_rpc_method_handler(
                service.describe,
                pb.DescribeRequest.FromString,
                pb.DescribeResponse.SerializeToString,
            ),
            "Encode": grpc.unary_unary_rpc_method_handler(
                service.encode, pb.EncodeRequest.FromString, pb.EncodeResponse.SerializeToString
            ),
        },
    )


def _abort(context: grpc.ServicerContext, error: VecdbError) -> NoReturn:
    if error.retry_after_s is not None:
        context.set_trailing_metadata(((RETRY_AFTER, str(int(error.retry_after_s * 1e3))),))
    code = next(
        (code for family, code in STATUS.items() if isinstance(error, family)),
        grpc.StatusCode.INTERNAL,
    )
    context.abort(code, str(error))
    raise error  # not reached: abort raises


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vecdb.embed.worker", description=__doc__)
    parser.add_argument("--socket", required=True, help="path of the Unix socket to make")
    parser.add_argument("--default", required=True, help="model for calls that name none")
    parser.add_argument("--models", default="", help="comma-separated models to load beside it")
    parser.add_argument("--threads", type=int, required=True, help="threads of inference")
    parser.add_argument("--queue-texts", type=int, required=True)
    parser.add_argument("--batch-tokens", type=int, required=True)
    parser.add_argument("--batch-age-ms", type=int, required=True)
    parser.add_argument("--message-bytes", type=int, required=True)
    parser.add_argument("--catalog", default="", help="a catalogue beside vecdb's own")
    parser.add_argument("--log-level", default="info")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
