"""What the rest of the server calls to turn text into vectors.

Answers which models there are from the catalogue, whether a worker runs or not, and encodes through
the worker's socket. Leaves the worker's life to process.py, and imports no inference library.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import numpy as np

from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.batcher import Counters
from vecdb.embed.encoder import Role
from vecdb.embed.pb import encoder_pb2 as pb
from vecdb.embed.wire import CALL_BYTES, CALL_TEXTS, RETRY_AFTER, message_bytes
from vecdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LimitExceeded,
    ModelMismatch,
    NoModel,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.types import F32, Metric

RESTARTING = "the embedding worker is restarting"
RESTART_S = 2.0  # about what a restart takes: a second to load, and a little patience

OnHangup = Callable[[Callable[[], None]], bool | None]
"""Registers what to call when nobody waits for the answer any more; False when that is so already.
A gRPC server's ``context.add_callback`` is one."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the operator configured. reason: why it is not ready, or ""."""

    name: str
    kind: str
    dim: int
    metric: Metric
    max_tokens: int
    fingerprint: str
    ready: bool
    reason: str
    license: str
    aliases: tuple[str, ...]
    query_prompt: str
    document_prompt: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a call of encode() yields, texts in the order given.

    vectors: (n, dim) float32. tokens: of each text after the cut, special tokens included.
    truncated: whether the model read only the beginning of a text. queue_ms, inference_ms: how
    long the texts waited, and how long the batches ran that they were in. refused: by the position
    of a text that the model can say nothing of, why; its vector is NaN, which nothing stores.
    """

    vectors: F32
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    fingerprint: str
    queue_ms: float
    inference_ms: float
    refused: Mapping[int, InvalidArgument] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Whether a worker answers.

    reason: why it does not, or "". models: per model it has, why it is not ready or "".
    generation: counts the workers that were started; each has a new process behind the address.
    """

    ready: bool = False
    reason: str = "the embedding worker has not been started"
    retry_after_s: float | None = None
    generation: int = 0
    models: Mapping[str, str] = field(default_factory=dict)


class Worker(Protocol):
    """Where a worker answers, and whether it does; process.WorkerProcess is one."""

    @property
    def address(self) -> str:
        """Return the gRPC target."""
        ...

    @property
    def state(self) -> WorkerState:
        """Return whether the worker answers now."""
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What a worker says of itself. models: per name, why it is not ready or ""."""

    models: dict[str, str]
    counters: Counters


class WorkerChannel:
    """A connection to one worker process. Every method raises from vecdb.errors."""

    def __init__(self, address: str, text_bytes: int) -> None:
        cap = message_bytes(text_bytes)
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", cap),
                ("grpc.max_send_message_length", cap),
                # Or it would share the connection, and the back-off, of the worker before it.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        service = pb.DESCRIPTOR.services_by_name["Encoder"].full_name
        self._describe = self._channel.unary_unary(
            f"/{service}/Describe",
            pb.DescribeRequest.SerializeToString,
            pb.DescribeResponse.FromString,
        )
        self._encode = self._channel.unary_unary(
            f"/{service}/Encode",
            pb.EncodeRequest.SerializeToString,
            pb.EncodeResponse.FromString,
        )

    def describe(self, timeout_s: float) -> Description:
        """Return the worker's models and counters."""
        with _errors():
            reply = self._describe(pb.DescribeRequest(), timeout=timeout_s)
        counters: dict[str, Any] = {
            name: getattr(reply.counters, name) for name in pb.Counters.DESCRIPTOR.fields_by_name
        }
        return Description({one.name: one.reason for one in reply.models}, Counters(**counters))

    def encode(
        self, request: pb.EncodeRequest, timeout_s: float, on_hangup: OnHangup | None
    ) -> pb.EncodeResponse:
        """Return the worker's reply to one call."""
        reply: pb.EncodeResponse
        with _errors():
            if on_hangup is None:
                reply = self._encode(request, timeout=timeout_s)
            else:
                call = self._encode.future(request, timeout=timeout_s)

                def cancel() -> None:
                    call.cancel()

                if on_hangup(cancel) is False:
                    cancel()
                reply = call.result()
        return reply

    def close(self) -> None:
        """Disconnect; calls under way fail with Unavailable."""
        self._channel.close()


class Encoders:
    """The models of this server. Safe for any number of threads.

    text_bytes: the most that one text may have, as UTF-8.
    """

    def __init__(
        self,
        config: EmbedConfig,
        worker: Worker,
        *,
        text_bytes: int,
    ) -> None:
        known = catalog.load_catalog(config.catalog)
        self._specs = catalog.select(known, config.models, config.model)
        self._fingerprints = {spec.name: catalog.fingerprint(spec) for spec in self._specs}
        self._missing = {spec.name: catalog.missing(spec) for spec in self._specs}
        self._worker = worker
        self._text_bytes = text_bytes
        self._timeout_s = config.timeout_s
        # A call never has more texts than the whole queue holds.
        self._call_texts = min(CALL_TEXTS, config.queue_texts)
        self._lock = threading.Lock()  # guards the two below
        self._channel: WorkerChannel | None = None
        self._generation = 0

    def models(self) -> list[ModelInfo]:
        """Return the configured models, the default first, ready or not."""
        state = self._worker.state
        return [self._info(spec, state) for spec in self._specs]

    def resolve(self, name: str) -> ModelInfo:
        """Return the model of that name or alias, "" for the default. Raises NotFound."""
        return self._info(self._spec(name), self._worker.state)

    def encode(
        self,
        model: str,
        texts: Sequence[str],
        role: Role,
        timeout_s: float | None = None,
        on_hangup: OnHangup | None = None,
    ) -> Encoded:
        """Return the vectors of the texts.

        model: name or alias, "" for the default. timeout_s: None for embed.timeout_s.
        Raises NotFound, InvalidArgument that names the text, Overloaded and Unavailable with
        retry_after_s, DeadlineExceeded, ModelMismatch, NoModel where none will come by waiting.
        """
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        sizes = self._checked(texts)
        state = self._worker.state
        info = self._info(self._spec(model), state)
        if not info.ready:
            if state.retry_after_s is None:  # it will not come by waiting
                raise NoModel(f"model {info.name} cannot encode: {info.reason}", model=info.name)
            raise Unavailable(info.reason, retry_after_s=state.retry_after_s, model=info.name)
        channel = self._channel_to(state)
        vectors = np.empty((len(texts), info.dim), dtype=np.float32)
        tokens: list[int] = []
        truncated: list[bool] = []
        queue_ms = inference_ms = 0.0
        for start, end in self._calls(sizes):
            reply = self._call(channel, info, texts[start:end], role, deadline, on_hangup)
            vectors[start:end] = np.frombuffer(reply.vectors, "<f4").reshape(-1, info.dim)
            tokens += reply.tokens
            truncated += reply.truncated
            queue_ms += reply.queue_ms
            inference_ms += reply.inference_ms
        refused = {
            at: InvalidArgument(
                f"model {info.name} knows no word of the text", field=f"texts[{at}]"
            )
            for at, count in enumerate(tokens)
            if count == 0
        }
        return Encoded(
            vectors,
            tuple(tokens),
            tuple(truncated),
            info.fingerprint,
            queue_ms,
            inference_ms,
            refused,
        )

    def counters(self, timeout_s: float = 1.0) -> Counters:
        """Return what the present worker has done. Raises Unavailable, DeadlineExceeded."""
        state = self._worker.state
        if not state.ready:
            raise Unavailable(state.reason, retry_after_s=state.retry_after_s)
        return self._channel_to(state).describe(timeout_s).counters

    def close(self) -> None:
        """Disconnect from the worker; the worker itself is stopped by whoever started it."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _call(
        self,
        channel: WorkerChannel,
        info: ModelInfo,
        texts: Sequence[str],
        role: Role,
        deadline: float,
        on_hangup: OnHangup | None,
    ) -> pb.EncodeResponse:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the texts were not encoded in time")
        wire_role = pb.ROLE_QUERY if role is Role.QUERY else pb.ROLE_DOCUMENT
        request = pb.EncodeRequest(model=info.name, texts=texts, role=wire_role)
        reply = channel.encode(request, left, on_hangup)
        if reply.fingerprint != info.fingerprint:
            # The packages were upgraded under a running server, and the worker restarted into them.
            raise ModelMismatch(
                f"model {info.name} of the worker is not the one that this server started with",
                hint="restart the server",
                expected=info.fingerprint,
                got=reply.fingerprint,
            )
        return reply

    def _checked(self, texts: Sequence[str]) -> list[int]:
        """Return the UTF-8 size of each text. Raises InvalidArgument that names a bad one."""
        if not texts:
            raise InvalidArgument("no text to encode", field="texts")
        sizes: list[int] = []
        for at, text in enumerate(texts):
            try:
                size = len(text) if text.isascii() else len(text.encode())
            except UnicodeEncodeError as error:
                raise InvalidArgument(
                    f"texts[{at}] is not Unicode: a lone surrogate at character {error.start}",
                    field=f"texts[{at}]",
                ) from None
            if size == 0:
                raise InvalidArgument(f"texts[{at}] is empty", field=f"texts[{at}]")
            if size > self._text_bytes:
                raise LimitExceeded(
                    f"texts[{at}] has {size} bytes, at most {self._text_bytes} are allowed",
                    field=f"texts[{at}]",
                    key="limits.text_bytes",
                )
            sizes.append(size)
        return sizes

    def _calls(self, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield the ranges of texts to send in one call each."""
        start = total = 0
        for at, size in enumerate(sizes):
            if at > start and (at - start == self._call_texts or total + size > CALL_BYTES):
                yield start, at
                start, total = at, 0
            total += size
        yield start, len(sizes)

    def _spec(self, name: str) -> catalog.ModelSpec:
        return catalog.find(self._specs, name) if name else self._specs[0]

    def _info(self, spec: catalog.ModelSpec, state: WorkerState) -> ModelInfo:
        reason = self._missing[spec.name]
        if not reason:
            reason = state.models.get(spec.name, "") if state.ready else state.reason
        return ModelInfo(
            name=spec.name,
            kind=spec.kind,
            dim=spec.dim,
            metric=spec.metric,
            max_tokens=spec.max_tokens,
            fingerprint=self._fingerprints[spec.name],
            ready=not reason,
            reason=reason,
            license=spec.license,
            aliases=spec.aliases,
            query_prompt=spec.query_prompt,
            document_prompt=spec.document_prompt,
        )

    def _channel_to(self, state: WorkerState) -> WorkerChannel:
        """Return a connection to the worker of that state, the same for all calls to it."""
        with self._lock:
            stale = None
            # A caller that looked at the state just before a restart may come here after it.
            if self._channel is None or state.generation > self._generation:
                stale, self._channel = (
                    self._channel,
                    WorkerChannel(self._worker.address, self._text_bytes),
                )
                self._generation = state.generation
            channel = self._channel
        if stale is not None:
            stale.close()
        return channel


@contextmanager
def _errors() -> Iterator[None]:
    """Raise what grpcio raises as one of ours."""
    try:
        yield
    except grpc.RpcError as error:
        raise _error(error) from None
    except grpc.FutureCancelledError:
        raise DeadlineExceeded("the caller has gone") from None
    except ValueError:  # the channel was closed meanwhile, because its worker was replaced
        raise Unavailable(RESTARTING, retry_after_s=RESTART_S) from None


def _error(error: grpc.RpcError) -> VecdbError:
    """Return what a failed call means. Our worker's own errors carry retry-after-ms."""
    code, message = error.code(), error.details() or ""
    trailer = {item.key: item.value for item in error.trailing_metadata() or ()}
    retry_after_s = int(trailer[RETRY_AFTER]) / 1e3 if RETRY_AFTER in trailer else None
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_after_s is not None:
        return Overloaded(message, retry_after_s=retry_after_s)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded("the texts were not encoded in time")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidArgument(message)
    if code is grpc.StatusCode.UNAVAILABLE and retry_after_s is not None:
        return Unavailable(message, retry_after_s=retry_after_s)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        # The connection broke, or was closed because its worker was replaced.
        return Unavailable(RESTARTING, retry_after_s=RESTART_S)
    return VecdbError(f"the embedding worker failed: {code.name} {message}")
