"""Which models are in memory: loaded when they are asked for, within a limit, let go when idle.

A model in use is never unloaded: who uses one holds it, by `use`. Loading happens outside the
lock, once for all who wait for it. A model that does not load is named with the reason, and is
tried again only when that is asked: files do not mend themselves, and a try may read gigabytes.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from vecdb.embed import catalog
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Encoder, Execution, Pair, Role
from vecdb.embed.exactness import check_precision, outputs, probes
from vecdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    Overloaded,
    VecdbError,
)
from vecdb.memory import resident_bytes
from vecdb.types import F32, SparseVector

log = logging.getLogger(__name__)

# A model that reads 32,768 tokens would be warm after hours.
WARM_WORDS = 512

Load = Callable[[ModelSpec, Execution], Encoder]


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model of this worker. reason: why it cannot be used, or "". memory_bytes: while loaded."""

    spec: ModelSpec
    fingerprint: str
    reason: str = ""
    loaded: bool = False
    memory_bytes: int = 0


@dataclass(slots=True)
class _Resident:
    """One model's place; guarded by the lock of its Residents."""

    spec: ModelSpec
    fingerprint: str
    encoder: Encoder | None = None
    reason: str = ""
    loading: bool = False
    users: int = 0
    used_at: float = 0.0
    bytes: int = 0
    asked_to_go: bool = False


class Residents:
    """The models of a worker. Threads may share it.

    specs: the default model first, which is never unloaded by itself. memory_bytes: what all loaded
    ones may take together. idle_s: how long an unused one stays. told: of each load, with the
    model's name, its seconds and whether it is there now.
    """

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        execution: Execution,
        *,
        memory_bytes: int,
        idle_s: float,
        load: Load | None = None,
        told: Callable[[str, float, bool], object] = lambda name, took_s, ok: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._execution = execution
        self._memory_bytes = memory_bytes
        self._idle_s = idle_s
        self._load = load or load_model
        self._told = told
        self._clock = clock
        self._default = specs[0].name
        self._changed = threading.Condition()  # guards what stands in _models
        self._models: Mapping[str, _Resident] = {
            spec.name: _Resident(spec, catalog.fingerprint(spec), reason=catalog.missing(spec))
            for spec in specs
        }

    def find(self, name: str) -> ModelSpec:
        """Return a model's entry, "" for the default's. Raises InvalidArgument."""
        model = self._models.get(name or self._default)
        if model is None:
            raise InvalidArgument(f"this worker has no model {name!r}")
        return model.spec

    def fingerprint(self, name: str) -> str:
        """Return a model's fingerprint."""
        return self._models[name].fingerprint

    def states(self) -> list[ModelState]:
        """Return how each model is."""
        with self._changed:
            return [
                ModelState(
                    one.spec, one.fingerprint, one.reason, one.encoder is not None, one.bytes
                )
                for one in self._models.values()
            ]

    def preload(self, *, everything: bool) -> None:
        """Load the default model, and all others, in their order, as long as the next fits."""
        for name, one in self._models.items():
            if name != self._default and not everything:
                return
            with self._changed:
                room = self._memory_bytes - self._taken()
                fits = name == self._default or needed_bytes(one.spec) <= room
                wanted = one.encoder is None and not one.reason
            if not (wanted and fits):
                continue
            try:
                with self.use(name):
                    pass
            except VecdbError as error:
                log.error("model %s does not load: %s", name, error)

    @contextmanager
    def use(self, name: str, deadline: float | None = None) -> Iterator[Encoder]:
        """Yield a model, loaded if it was not, which stays as long as it is held.

        deadline: on the clock; the load goes on for whoever asks next. Raises FailedPrecondition
        that says why it does not load, Overloaded while models in use leave no room for it,
        DeadlineExceeded.
        """
        one = self._models[name]
        encoder = self._held(one, deadline)
        try:
            yield encoder
        finally:
            with self._changed:
                one.users -= 1
                one.used_at = self._clock()
                if one.asked_to_go and not one.users:
                    self._let_go(one)
                self._changed.notify_all()

    def load(self, name: str, deadline: float | None = None) -> float:
        """Load a model, also one that did not load before; return its seconds, 0.0 if there."""
        spec = self.find(name)
        with self._changed:
            one = self._models[spec.name]
            if one.encoder is not None:
                return 0.0
            one.reason = catalog.missing(spec)
        began = self._clock()
        with self.use(spec.name, deadline):
            return self._clock() - began

    def unload(self, name: str) -> bool:
        """Let go of a model, once nobody uses it; return whether it was loaded."""
        one = self._models[self.find(name).name]
        with self._changed:
            if one.encoder is None:
                return False
            if one.users:
                one.asked_to_go = True
            else:
                self._let_go(one)
            return True

    def sweep(self) -> None:
        """Let go of models that nobody has used for long."""
        with self._changed:
            now = self._clock()
            for name, one in self._models.items():
                idle = one.encoder is not None and not one.users
                if idle and name != self._default and now - one.used_at >= self._idle_s:
                    log.info("model %s was not used for %.0f s", name, now - one.used_at)
                    self._let_go(one)

    def close(self) -> None:
        """Let go of all models."""
        with self._changed:
            for one in self._models.values():
                if one.encoder is not None:
                    self._let_go(one)

    def _held(self, one: _Resident, deadline: float | None) -> Encoder:
        """Return a model's encoder, counted as in use."""
        with self._changed:
            while one.loading:
                left = None if deadline is None else deadline - self._clock()
                if (left is not None and left <= 0) or not self._changed.wait(left):
                    raise DeadlineExceeded(f"model {one.spec.name} was not loaded in time")
            if one.reason:
                raise FailedPrecondition(one.reason, model=one.spec.name)
            if one.encoder is not None:
                one.users += 1
                return one.encoder
            self._make_room(one)
            one.loading = True
            one.bytes = needed_bytes(one.spec)
        encoder, reason, took_s, taken = self._loaded(one.spec)
        with self._changed:
            one.loading = False
            one.encoder = encoder
            one.reason = reason
            one.used_at = self._clock()
            one.bytes = max(one.bytes, taken) if encoder is not None else 0
            one.users += encoder is not None
            self._changed.notify_all()
        self._told(one.spec.name, took_s, encoder is not None)
        if encoder is None:
            raise FailedPrecondition(reason, model=one.spec.name)
        return encoder

    def _loaded(self, spec: ModelSpec) -> tuple[Encoder | None, str, float, int]:
        """Return the model, warm, or why it does not load; its seconds; how memory grew."""
        began, before = self._clock(), resident_bytes()
        try:
            encoder = self._load(spec, self._execution)
        except Exception as error:
            expected = isinstance(error, VecdbError | ImportError)
            log.error("model %s does not load: %s", spec.name, error, exc_info=not expected)
            return None, f"{spec.name} does not load: {error}", self._clock() - began, 0
        took_s = self._clock() - began
        fingerprint = self._models[spec.name].fingerprint
        log.info("model %s is ready after %.1f s, %s", spec.name, took_s, fingerprint[:16])
        return encoder, "", took_s, resident_bytes() - before

    def _make_room(self, one: _Resident) -> None:
        """Let go of idle models, those used longest ago first, until one more fits."""
        needed = needed_bytes(one.spec)
        if needed > self._memory_bytes:
            raise FailedPrecondition(
                f"model {one.spec.name} needs about {needed} bytes, models may take "
                f"{self._memory_bytes}",
                hint="raise embed.memory_bytes",
            )
        idle = sorted(
            (each for each in self._models.values() if each.encoder is not None and not each.users),
            key=lambda each: (each.spec.name == self._default, each.used_at),
        )
        while self._taken() + needed > self._memory_bytes:
            if not idle:
                raise Overloaded(
                    f"models in use leave no room for {one.spec.name}",
                    retry_after_s=1.0,
                    key="embed.memory_bytes",
                )
            self._let_go(idle.pop(0))

    def _taken(self) -> int:
        return sum(one.bytes for one in self._models.values())

    def _let_go(self, one: _Resident) -> None:
        assert one.encoder is not None
        try:
            one.encoder.close()
        except Exception:
            log.exception("model %s does not close", one.spec.name)
        log.info("model %s is unloaded", one.spec.name)
        one.encoder, one.bytes, one.asked_to_go = None, 0, False


def load_model(spec: ModelSpec, execution: Execution) -> Encoder:
    """Return a model, loaded and warm. Raises from vecdb.errors, and ImportError."""
    # Of the others, some know no precision, and a decoder in float32 may not fit.
    if execution.precision != "float32" and "onnxruntime" in spec.of_kind.libraries:
        encoder = _checked(spec, execution)
    else:
        encoder = _made(spec, execution)
    takes = spec.of_kind.takes
    if spec.of_kind.remote or not takes & {"text", "pair"}:
        return encoder  # whom to ask costs money, and what is the first image is seen then
    for text in ("warm", "warm " * min(spec.max_tokens, WARM_WORDS)):
        item = Pair("warm", text) if "pair" in takes else text
        (read,) = encoder.prepare([item], Role.DOCUMENT)
        if not len(read.input):
            continue  # a vocabulary without that word
        (output,) = encoder.encode([read.input])
        check_output(spec, output)
    return encoder


def _made(spec: ModelSpec, execution: Execution) -> Encoder:
    module, name = spec.of_kind.loader
    # Here and not above, so that a library that does not import is a reason like any other.
    kind = getattr(importlib.import_module(f"vecdb.embed.{module}"), name)
    encoder: Encoder = kind(spec, catalog.resolve_files(spec), execution)
    return encoder


def _checked(spec: ModelSpec, execution: Execution) -> Encoder:
    """Return a model in a smaller precision, which is near to itself in float32."""
    items = probes(spec.of_kind.takes)
    encoder = _made(spec, replace(execution, precision="float32"))
    exact = outputs(encoder, items)
    encoder.close()
    encoder = _made(spec, execution)
    apart = check_precision(spec, execution.precision, exact, outputs(encoder, items))
    log.info("model %s in %s is %.1e from float32", spec.name, execution.precision, apart)
    return encoder


def check_output(spec: ModelSpec, output: F32 | SparseVector | VecdbError) -> None:
    """Raise unless an output is what its model is to give."""
    if isinstance(output, VecdbError):
        raise output
    if spec.of_kind.gives == "sparse":
        if not isinstance(output, SparseVector):
            raise VecdbError(f"model {spec.name} gives no sparse vectors")
        return
    if isinstance(output, SparseVector) or output.shape != (spec.dim,):
        raise VecdbError(f"its vectors are {np.shape(output)}, expected ({spec.dim},)")


def needed_bytes(spec: ModelSpec) -> int:
    """Return about how much memory a model takes, going by its files."""
    if catalog.missing(spec):
        return 0
    files = sum(path.stat().st_size for path in catalog.resolve_files(spec).values())
    return int(files * spec.of_kind.memory_per_byte)


def machine_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
