"""A connection to an embedding worker: its calls, and what its failures mean.

Imports no inference library. Which worker, and what is asked of it, client.py knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc

from vecdb.config import EmbedConfig
from vecdb.embed.batcher import Counters
from vecdb.embed.pb import encoder_pb2 as pb
from vecdb.embed.shared_keys import HEADER, SharedKeys
from vecdb.embed.wire import RETRY_AFTER, message_bytes
from vecdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NoModel,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.metrics import Family

RESTARTING = "the embedding worker is restarting"
RESTART_S = 2.0  # about what a restart takes: a second to load, and a little patience

OnHangup = Callable[[Callable[[], None]], bool | None]
"""Registers what to call when nobody waits for the answer any more; False when that is so already.
A gRPC server's ``context.add_callback`` is one."""


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """A model as a worker has it. reason: why it cannot be used, or ""."""

    reason: str = ""
    loaded: bool = False
    memory_bytes: int = 0
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Whether a worker answers.

    reason: why it does not, or "". models: per model it has, why it cannot be used, or "".
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
    """What a worker says of itself. families: what it counted, where that was asked for.

    instance: another for each worker that was started.
    """

    models: dict[str, ResidentModel]
    counters: Counters
    families: list[Family]
    instance: str = ""

    @property
    def reasons(self) -> dict[str, str]:
        """Return, per model, why it cannot be used, or ""."""
        return {name: model.reason for name, model in self.models.items()}


class WorkerChannel:
    """A connection to one worker process. Every method raises from vecdb.errors."""

    def __init__(self, address: str, text_bytes: int, config: EmbedConfig | None = None) -> None:
        """Connect. config: of a worker elsewhere, None for a child. Raises InvalidArgument."""
        cap = message_bytes(text_bytes)
        self._channel = _opened(
            address,
            config if config and config.worker else None,
            options=[
                ("grpc.max_receive_message_length", cap),
                ("grpc.max_send_message_length", cap),
                # Or it would share the connection, and the back-off, of the worker before it.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
                # The machine of a worker elsewhere may be gone without a word.
                ("grpc.keepalive_time_ms", 10_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.max_pings_without_data", 0),
            ],
        )
        service = pb.DESCRIPTOR.services_by_name["Encoder"].full_name

        def method(name: str, request: Any, reply: Any) -> Any:  # noqa: ANN401  # generated classes
            return self._channel.unary_unary(
                f"/{service}/{name}", request.SerializeToString, reply.FromString
            )

        self._describe = method("Describe", pb.DescribeRequest, pb.DescribeResponse)
        self._encode = method("Encode", pb.EncodeRequest, pb.EncodeResponse)
        self._tokenize = method("Tokenize", pb.TokenizeRequest, pb.TokenizeResponse)
        self._load = method("Load", pb.LoadRequest, pb.LoadResponse)
        self._unload = method("Unload", pb.UnloadRequest, pb.UnloadResponse)
        self._forget = method("Forget", pb.ForgetRequest, pb.ForgetResponse)

    def describe(self, timeout_s: float, *, metrics: bool = False) -> Description:
        """Return the worker's models and counters."""
        with _errors():
            reply = self._describe(pb.DescribeRequest(metrics=metrics), timeout=timeout_s)
        counters: dict[str, Any] = {
            name: getattr(reply.counters, name) for name in pb.Counters.DESCRIPTOR.fields_by_name
        }
        models = {
            one.name: ResidentModel(one.reason, one.loaded, one.memory_bytes, one.fingerprint)
            for one in reply.models
        }
        families = json.loads(reply.metrics) if reply.metrics else []
        return Description(models, Counters(**counters), families, reply.instance)

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

    def tokenize(self, request: pb.TokenizeRequest, timeout_s: float) -> pb.TokenizeResponse:
        """Return what a model reads of texts."""
        with _errors():
            reply: pb.TokenizeResponse = self._tokenize(request, timeout=timeout_s)
        return reply

    def load(self, model: str, timeout_s: float) -> float:
        """Have a model loaded; return the seconds that took, 0.0 when it was."""
        with _errors():
            reply: pb.LoadResponse = self._load(pb.LoadRequest(model=model), timeout=timeout_s)
        return reply.took_ms / 1e3

    def unload(self, model: str, timeout_s: float) -> bool:
        """Have a model unloaded; return whether it was loaded."""
        with _errors():
            reply: pb.UnloadResponse = self._unload(
                pb.UnloadRequest(model=model), timeout=timeout_s
            )
        return reply.unloaded

    def forget(self, timeout_s: float) -> int:
        """Have the worker keep nothing of what it encoded; return how many items it knew."""
        with _errors():
            reply: pb.ForgetResponse = self._forget(pb.ForgetRequest(), timeout=timeout_s)
        return reply.items

    def close(self) -> None:
        """Disconnect; calls under way fail with Unavailable."""
        self._channel.close()


def _opened(
    address: str, elsewhere: EmbedConfig | None, options: list[tuple[str, int]]
) -> grpc.Channel:
    """Return a channel: with TLS and the shared key, where the worker is elsewhere and has them."""
    if elsewhere is None or not elsewhere.worker_ca_file:
        channel = grpc.insecure_channel(address, options=options)
    else:
        try:
            trusted = Path(elsewhere.worker_ca_file).read_bytes()
        except OSError as error:
            raise InvalidArgument(
                f"cannot read embed.worker_ca_file = {elsewhere.worker_ca_file}: {error.strerror}"
            ) from None
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(trusted), options)
    if elsewhere is not None and elsewhere.worker_key_file:
        return grpc.intercept_channel(channel, _Keyed(SharedKeys(elsewhere.worker_key_file)))
    return channel


class _Keyed(grpc.UnaryUnaryClientInterceptor):
    """Sends the shared key with each call."""

    def __init__(self, keys: SharedKeys) -> None:
        self._keys = keys

    def intercept_unary_unary(
        self,
        continuation: Callable[[Any, Any], Any],
        client_call_details: Any,  # noqa: ANN401 - a tuple of grpcio's
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Go on, with the key."""
        metadata = [*(client_call_details.metadata or ()), (HEADER, self._keys.header())]
        return continuation(client_call_details._replace(metadata=metadata), request)


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
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return NoModel(message)
    if code is grpc.StatusCode.UNAVAILABLE and retry_after_s is not None:
        return Unavailable(message, retry_after_s=retry_after_s)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return FailedPrecondition(message, hint="give both the same embed.worker_key_file")
    if code is grpc.StatusCode.UNAVAILABLE and ("SSL" in message or "ertificate" in message):
        return FailedPrecondition(
            f"no TLS with the embedding worker: {message[:300]}",
            hint="embed.worker_ca_file holds the authority that its certificate is from",
        )
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        # The connection broke, or was closed because its worker was replaced.
        return Unavailable(RESTARTING, retry_after_s=RESTART_S)
    return VecdbError(f"the embedding worker failed: {code.name} {message}")
