"""What the rest of the server calls to turn content into vectors.

Answers which models there are from the catalogue, whether a worker runs or not, and encodes through
the worker's socket. Leaves the worker's life to process.py, the connection to channel.py.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.batcher import Counters
from vecdb.embed.channel import (
    Description,
    OnHangup,
    Worker,
    WorkerChannel,
    WorkerState,
)
from vecdb.embed.encoded import Encoded, Gathered
from vecdb.embed.encoder import Item, Pair, Role
from vecdb.embed.items import checked_sizes
from vecdb.embed.pb import encoder_pb2 as pb
from vecdb.embed.wire import CALL_BYTES, CALL_ITEMS
from vecdb.errors import (
    DeadlineExceeded,
    DimensionMismatch,
    ModelMismatch,
    NoModel,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.types import Metric

T = TypeVar("T")

# Between two tries of a patient call: doubled each time, and shared out by chance.
PAUSE_S = 0.1
PAUSE_MAX_S = 5.0
# What a patient call leaves of its time to whoever stores what could be encoded.
SPARE_SHARE = 0.1
SPARE_MAX_S = 5.0
LOAD_S = 600.0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the operator configured.

    reason: why it cannot be used, or "". takes: of "text", "image", "pair". gives: "dense",
    "sparse" or "score". dims: shorter vectors that its own can be cut to.
    """

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
    takes: frozenset[str]
    gives: str
    dims: tuple[int, ...]
    source: str
    note: str


@dataclass(frozen=True, slots=True)
class Tokenized:
    """What a model reads of a text. ids: empty where they are not known here."""

    ids: tuple[int, ...]
    tokens: int
    truncated: bool


class Encoders:
    """The models of this server. Safe for any number of threads.

    text_bytes: the most that one text may have, as UTF-8; image_bytes, an image. patient_calls: how
    many calls may wait for a worker to come back, so that others find a thread; more do not.
    """

    def __init__(
        self,
        config: EmbedConfig,
        worker: Worker,
        *,
        text_bytes: int,
        image_bytes: int = 16 << 20,
        patient_calls: int = 8,
    ) -> None:
        known = catalog.load_catalog(config.catalog)
        self._specs = catalog.select(known, config.models, config.model)
        self._fingerprints = {spec.name: catalog.fingerprint(spec) for spec in self._specs}
        # Of a worker elsewhere it is not known here what is installed there.
        self._missing = {
            spec.name: "" if config.worker else catalog.missing(spec) for spec in self._specs
        }
        self._config = config
        self._worker = worker
        self._text_bytes = text_bytes
        self._image_bytes = image_bytes
        self._timeout_s = config.timeout_s
        # A call never has more items than the whole queue holds.
        self._call_items = min(CALL_ITEMS, config.queue_texts)
        self._patience = threading.BoundedSemaphore(patient_calls)
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
        items: Sequence[Item],
        role: Role,
        timeout_s: float | None = None,
        on_hangup: OnHangup | None = None,
        *,
        dim: int = 0,
        patient: bool = False,
    ) -> Encoded:
        """Return the vectors of items: texts, images, or pairs of one query.

        model: name or alias, "" for the default. timeout_s: None for embed.timeout_s. dim: of
        shorter vectors, where the model has them; 0 for its own. patient: for whoever stores the
        rest: what is overloaded or away is asked again until nine tenths of the time have passed,
        and items that have no vector then, or for any other reason, are `refused`.

        Raises NotFound, InvalidArgument that names the item, DeadlineExceeded, ModelMismatch,
        NoModel where none will come by waiting; unless patient, Overloaded and Unavailable with
        retry_after_s.
        """
        began = time.monotonic()
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = began + limit_s
        sizes = checked_sizes(items, self._text_bytes, self._image_bytes)
        spec = self._spec(model)
        _check_dim(spec, dim)
        gathered = Gathered(spec, items)
        patient = patient and self._patience.acquire(blocking=False)
        gone = threading.Event()
        if patient and on_hangup is not None and on_hangup(gone.set) is False:
            gone.set()
        give_up = began + limit_s - min(SPARE_MAX_S, limit_s * SPARE_SHARE)
        try:
            for start, end in self._calls(sizes):
                part = items[start:end]

                def ask(part: Sequence[Item] = part) -> pb.EncodeResponse:
                    return self._call(spec, part, role, deadline, on_hangup)

                if not patient:
                    gathered.add(start, ask())
                    continue
                try:
                    gathered.add(start, _patiently(ask, give_up, gone))
                except VecdbError as error:
                    gathered.refuse(range(start, end), error)
        finally:
            if patient:
                self._patience.release()
        return gathered.encoded(self._fingerprints[spec.name], dim)

    def tokenize(
        self, model: str, texts: Sequence[str], role: Role, timeout_s: float | None = None
    ) -> list[Tokenized]:
        """Return what a model reads of texts. Raises as encode() does."""
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        sizes = checked_sizes(texts, self._text_bytes, self._image_bytes)
        spec = self._spec(model)
        found: list[Tokenized] = []
        wire_role = pb.ROLE_QUERY if role is Role.QUERY else pb.ROLE_DOCUMENT
        for start, end in self._calls(sizes):
            reply = self._usable(spec).tokenize(
                pb.TokenizeRequest(model=spec.name, texts=texts[start:end], role=wire_role),
                _left_s(deadline),
            )
            found += [Tokenized(tuple(one.ids), one.tokens, one.truncated) for one in reply.texts]
        return found

    def load(self, model: str, timeout_s: float | None = None) -> float:
        """Have a model loaded; return the seconds that took, 0.0 when it was. Raises NoModel."""
        name = self._spec(model).name
        return self._reached().load(name, timeout_s or LOAD_S)

    def unload(self, model: str, timeout_s: float | None = None) -> bool:
        """Have a model unloaded, once nobody uses it; return whether it was loaded."""
        name = self._spec(model).name
        return self._reached().unload(name, timeout_s or self._timeout_s)

    def forget(self, timeout_s: float | None = None) -> int:
        """Have the worker keep nothing of what it encoded lately; return how many items it knew.

        0 where there is no worker, nor will be. Raises Unavailable, DeadlineExceeded: a worker that
        cannot be reached may keep it still.
        """
        try:
            return self._reached().forget(self._timeout_s if timeout_s is None else timeout_s)
        except NoModel:
            return 0

    def describe(self, timeout_s: float = 1.0, *, metrics: bool = False) -> Description:
        """Return what the present worker says of itself. Raises Unavailable, DeadlineExceeded."""
        return self._reached().describe(timeout_s, metrics=metrics)

    def counters(self, timeout_s: float = 1.0) -> Counters:
        """Return what the present worker has done. Raises Unavailable, DeadlineExceeded."""
        return self.describe(timeout_s).counters

    def close(self) -> None:
        """Disconnect from the worker; the worker itself is stopped by whoever started it."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _call(
        self,
        spec: catalog.ModelSpec,
        items: Sequence[Item],
        role: Role,
        deadline: float,
        on_hangup: OnHangup | None,
    ) -> pb.EncodeResponse:
        channel = self._usable(spec)
        request = _request(spec.name, items, role)
        reply = channel.encode(request, _left_s(deadline), on_hangup)
        expected = self._fingerprints[spec.name]
        if reply.fingerprint != expected:
            # The packages were upgraded under a running server, and the worker restarted into them.
            raise ModelMismatch(
                f"model {spec.name} of the worker is not the one that this server started with",
                hint="restart the server",
                expected=expected,
                got=reply.fingerprint,
            )
        return reply

    def _usable(self, spec: catalog.ModelSpec) -> WorkerChannel:
        """Return the connection to a worker that has the model. Raises NoModel, Unavailable."""
        state = self._worker.state
        info = self._info(spec, state)
        if not info.ready:
            if state.retry_after_s is None:  # it will not come by waiting
                raise NoModel(f"model {info.name} cannot encode: {info.reason}", model=info.name)
            raise Unavailable(info.reason, retry_after_s=state.retry_after_s, model=info.name)
        return self._channel_to(state)

    def _reached(self) -> WorkerChannel:
        """Return the connection to the present worker. Raises Unavailable, NoModel."""
        state = self._worker.state
        if not state.ready:
            if state.retry_after_s is None:
                raise NoModel(state.reason)
            raise Unavailable(state.reason, retry_after_s=state.retry_after_s)
        return self._channel_to(state)

    def _calls(self, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield the ranges of items to send in one call each."""
        start = total = 0
        for at, size in enumerate(sizes):
            if at > start and (at - start == self._call_items or total + size > CALL_BYTES):
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
            takes=spec.of_kind.takes,
            gives=spec.of_kind.gives,
            dims=spec.dims,
            source=spec.source,
            note=spec.note,
        )

    def _channel_to(self, state: WorkerState) -> WorkerChannel:
        """Return a connection to the worker of that state, the same for all calls to it."""
        with self._lock:
            stale = None
            # A caller that looked at the state just before a restart may come here after it.
            if self._channel is None or state.generation > self._generation:
                stale, self._channel = (
                    self._channel,
                    WorkerChannel(
                        self._worker.address, self._text_bytes + self._image_bytes, self._config
                    ),
                )
                self._generation = state.generation
            channel = self._channel
        if stale is not None:
            stale.close()
        return channel


def _patiently(ask: Callable[[], T], give_up: float, gone: threading.Event) -> T:
    """Return what a call returns, tried again while it is overloaded or away, until give_up.

    gone: set when nobody waits for it any more.
    """
    pause_s = PAUSE_S
    while True:
        try:
            return ask()
        except (Unavailable, Overloaded) as error:
            wait_s = max(pause_s * random.uniform(0.5, 1.0), min(error.retry_after_s or 0.0, 60.0))
            if time.monotonic() + wait_s >= give_up:
                raise
        if gone.wait(wait_s):
            raise DeadlineExceeded("the caller has gone")
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _request(model: str, items: Sequence[Item], role: Role) -> pb.EncodeRequest:
    request = pb.EncodeRequest(
        model=model, role=pb.ROLE_QUERY if role is Role.QUERY else pb.ROLE_DOCUMENT
    )
    for item in items:
        if isinstance(item, bytes):
            request.images.append(item)
        elif isinstance(item, Pair):
            request.query = item.query
            request.texts.append(item.text)
        else:
            request.texts.append(item)
    return request


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise DeadlineExceeded("the texts were not encoded in time")
    return left_s


def _check_dim(spec: catalog.ModelSpec, dim: int) -> None:
    if dim and dim != spec.dim and dim not in spec.dims:
        there = ", ".join(map(str, (spec.dim, *spec.dims)))
        raise DimensionMismatch(
            f"model {spec.name} makes {there} dimensions, got {dim}", expected=there, got=dim
        )
