"""What a worker does with a call: finds the model, reads the items, has them encoded.

Puts together residents.py (which models are in memory), batcher.py (who goes next), cache.py (what
was encoded lately) and meter.py (what is counted). Knows no wire: serving.py is that.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vecdb.config import EmbedConfig
from vecdb.embed.batcher import Batcher, Counters, Lane
from vecdb.embed.cache import Kept, VectorCache
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import (
    HERE,
    Batching,
    Encoder,
    Execution,
    Item,
    Output,
    Outputs,
    Pair,
    Prepared,
    Role,
)
from vecdb.embed.meter import Meter
from vecdb.embed.residents import ModelState, Residents, check_output, machine_bytes
from vecdb.errors import InvalidArgument, VecdbError

OnHangup = Callable[[Callable[[], None]], object]
"""Registers what to call when nobody waits any more; returns False when that is so already."""
_TAKEN = {str: "text", bytes: "image", Pair: "pair"}
_LANES = {Role.QUERY: Lane.QUERY, Role.DOCUMENT: Lane.DOCUMENT}


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a call yields, items in the order given.

    outputs: of each item its vector, sparse vector or score, or why there is none. tokens: of each
    after the cut. cached: how many were known. *_s: where the time went.
    """

    outputs: list[Output]
    tokens: list[int]
    truncated: list[bool]
    cached: int
    prepare_s: float
    queue_s: float
    inference_s: float


class _Hosted(NamedTuple):
    """A loaded model, as the batcher tells them apart."""

    name: str
    encoder: Encoder

    def __str__(self) -> str:
        return self.name


class Host:
    """The models of a worker, from preload() to close(). Threads may share it."""

    def __init__(self, specs: Sequence[ModelSpec], config: EmbedConfig) -> None:
        self._config = config
        self.meter = Meter()
        self.meter.now = self._gauges
        threads = config.threads or len(os.sched_getaffinity(0))
        self.residents = Residents(
            specs,
            Execution(threads, config.device, config.precision),
            memory_bytes=config.memory_bytes or machine_bytes() // 2,
            idle_s=config.idle_s,
            told=self.meter.loaded,
        )
        self._cache = VectorCache(config.cache_bytes)
        self._lock = threading.Lock()  # guards the one below
        self._batchers: dict[str, Batcher] = {"": self._batcher(HERE)}

    def encode(
        self,
        model: str,
        items: Sequence[Item],
        role: Role,
        deadline: float | None = None,
        on_hangup: OnHangup = lambda cancel: None,
    ) -> Encoding:
        """Return what becomes of items, by a model's name, "" for the default.

        deadline: on time.monotonic(). Raises what Residents.use and Batcher.submit do.
        """
        spec = self.residents.find(model)
        self.meter.requests.labels(spec.name, role.name.lower()).inc()
        try:
            return self._encode(spec, items, role, deadline, on_hangup)
        except VecdbError as error:
            self.meter.failures.labels(spec.name, error.reason).inc()
            raise
        except Exception:
            self.meter.failures.labels(spec.name, VecdbError.reason).inc()
            raise

    def tokenize(
        self, model: str, texts: Sequence[str], role: Role, deadline: float | None = None
    ) -> list[Prepared]:
        """Return what the model reads of texts. Raises InvalidArgument that names a text."""
        spec = self.residents.find(model)
        _check_taken(spec, texts)
        with self.residents.use(spec.name, deadline) as encoder:
            return encoder.prepare(texts, role)

    def forget(self) -> int:
        """Keep nothing of what was encoded before; return of how many items there was something."""
        return self._cache.forget()

    def states(self) -> list[ModelState]:
        """Return how each model is."""
        return self.residents.states()

    def counters(self) -> Counters:
        """Return what was done so far and what waits now, by all batchers together.

        The time of a running batch is of those that compute here: a service has its own deadline.
        """
        with self._lock:
            here, *others = (batcher.counters() for batcher in self._batchers.values())
        fields = [field.name for field in dataclasses.fields(Counters) if field.name != "running_s"]
        sums = {name: sum(getattr(one, name) for one in (here, *others)) for name in fields}
        return Counters(**sums, running_s=here.running_s)

    def close(self) -> None:
        """Finish what runs, fail what waits, let go of the models."""
        with self._lock:
            batchers = list(self._batchers.values())
        for batcher in batchers:
            batcher.close()
        self.residents.close()

    def _encode(
        self,
        spec: ModelSpec,
        items: Sequence[Item],
        role: Role,
        deadline: float | None,
        on_hangup: OnHangup,
    ) -> Encoding:
        _check_taken(spec, items)
        keys = [
            self._cache.key(self.residents.fingerprint(spec.name), role, item) for item in items
        ]
        found = [self._cache.get(role, key) if key else None for key in keys]
        # Items that are there twice are encoded once.
        fresh = list(
            dict.fromkeys(item for item, kept in zip(items, found, strict=True) if kept is None)
        )
        made: dict[Item, Kept] = {}
        spent = (0.0, 0.0, 0.0)
        if fresh:
            with self.residents.use(spec.name, deadline) as encoder:
                made, spent = self._made(spec, encoder, fresh, role, deadline, on_hangup)
        kept = [
            made[item] if known is None else known for item, known in zip(items, found, strict=True)
        ]
        for key, known, one in zip(keys, found, kept, strict=True):
            if known is None:
                self._cache.put(role, key, one)
        self._count(spec, role, kept, fresh=len(fresh))
        return Encoding(
            [one.output for one in kept],
            [one.tokens for one in kept],
            [one.truncated for one in kept],
            len(items) - len(fresh),
            *spent,
        )

    def _made(
        self,
        spec: ModelSpec,
        encoder: Encoder,
        items: list[Item],
        role: Role,
        deadline: float | None,
        on_hangup: OnHangup,
    ) -> tuple[dict[Item, Kept], tuple[float, float, float]]:
        """Return what becomes of items, none twice, and the seconds of each step."""
        began = time.monotonic()
        prepared = _prepared(encoder, items, role)
        prepare_s = time.monotonic() - began
        self.meter.prepare.observe(prepare_s)
        made: dict[Item, Kept] = {}
        asked: list[tuple[Item, Prepared]] = []
        for item, one in zip(items, prepared, strict=True):
            if isinstance(one, VecdbError):
                made[item] = Kept(one, 0, False)
            elif not len(one.input):
                nothing = InvalidArgument(f"model {spec.name} knows no word of the text")
                made[item] = Kept(nothing, 0, False)
            else:
                asked.append((item, one))
        if not asked:
            return made, (prepare_s, 0.0, 0.0)
        ticket = self._batcher_of(spec.name, encoder.batching).submit(
            _Hosted(spec.name, encoder), [one.input for _, one in asked], _LANES[role], deadline
        )
        # Called when the call ends, however: who hung up frees its place in the queue.
        if on_hangup(ticket.cancel) is False:
            ticket.cancel()
        result = ticket.result()
        self.meter.queued.observe(result.queue_s)
        for (item, one), output in zip(asked, result.outputs, strict=True):
            if not isinstance(output, VecdbError):
                check_output(spec, output)
                if isinstance(output, np.ndarray):
                    output = output.copy()  # or it would keep the whole batch's array
            made[item] = Kept(output, len(one.input), one.truncated)
        return made, (prepare_s, result.queue_s, result.inference_s)

    def _count(self, spec: ModelSpec, role: Role, kept: list[Kept], fresh: int) -> None:
        lane = role.name.lower()
        self.meter.items.labels(spec.name, lane).inc(len(kept))
        self.meter.tokens.labels(spec.name, lane).inc(sum(one.tokens for one in kept))
        self.meter.misses.labels(lane).inc(fresh)
        self.meter.hits.labels(lane).inc(len(kept) - fresh)
        self.meter.truncated.labels(spec.name).inc(sum(one.truncated for one in kept))
        self.meter.refused.labels(spec.name).inc(
            sum(isinstance(one.output, VecdbError) for one in kept)
        )

    def _batcher_of(self, model: str, batching: Batching) -> Batcher:
        """Return the queue that a model's items stand in."""
        name = model if batching.at_once else ""
        with self._lock:
            if name not in self._batchers:
                self._batchers[name] = self._batcher(batching)
            return self._batchers[name]

    def _batcher(self, batching: Batching) -> Batcher:
        return Batcher(
            _run,
            queue_texts=self._config.queue_texts,
            queue_tokens=self._config.queue_tokens,
            batch_tokens=self._config.batch_tokens,
            batch_age_s=self._config.batch_age_ms / 1e3,
            batching=batching,
            ran=self.meter.ran,
        )

    def _gauges(self) -> Iterable[tuple[str, str, float]]:
        counters, states = self.counters(), self.states()
        yield "waiting_items", "Items that wait for a model.", counters.waiting_texts
        yield "waiting_tokens", "Tokens of the items that wait.", counters.waiting_tokens
        yield "padded_tokens", "Tokens encoded, padding included.", counters.padded_tokens
        yield "cache_bytes", "Bytes of the vectors that are kept.", self._cache.bytes
        yield "loaded_models", "Models in memory.", sum(one.loaded for one in states)
        yield (
            "model_bytes",
            "About the memory that loaded models take.",
            sum(one.memory_bytes for one in states),
        )


def _run(model: _Hosted, inputs: Sequence[object], deadline: float | None) -> Outputs:
    return model.encoder.encode(inputs, deadline)


def _prepared(encoder: Encoder, items: Sequence[Item], role: Role) -> list[Prepared | VecdbError]:
    """Return what the model reads of each item, or why it cannot be read."""
    try:
        return list(encoder.prepare(items, role))
    except InvalidArgument as error:
        if len(items) == 1:
            return [error]
    read: list[Prepared | VecdbError] = []
    for item in items:
        try:
            read += encoder.prepare([item], role)
        except InvalidArgument as error:
            read.append(error)
    return read


def _check_taken(spec: ModelSpec, items: Sequence[Item]) -> None:
    kinds = {_TAKEN[type(item)] for item in items}
    if wrong := sorted(kinds - spec.of_kind.takes):
        raise InvalidArgument(
            f"model {spec.name} takes {' and '.join(sorted(spec.of_kind.takes))}, got {wrong[0]}"
        )
