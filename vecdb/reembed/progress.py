"""How far a space and its shadow are from holding the same points; counted, never kept."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from vecdb.collection.snapshot import Snapshot
from vecdb.storage.shadows import is_switched
from vecdb.types import U64, And, Filter, HasSpace, Not, Or, Schema, Space

FAILED_RETRY_S, FAILED_RETRY_S_MAX = 30.0, 3_600.0
"""Seconds until texts that their model refused are tried again: doubled each time, up to this."""
RATE_WINDOW_S = 30.0
"""Seconds over which the rate is taken, about."""


class State(Enum):
    """Where a move stands."""

    NONE = "none"
    FILLING = "filling"
    INCOMPLETE = "incomplete"
    READY = "ready"
    SWITCHED = "switched"


@dataclass(frozen=True, slots=True)
class Overlap:
    """The mean share of the old model's 10 nearest that the new model finds too, with 95 % bounds.

    queries: stored texts that were searched for. by_vectors: by their stored vectors, since one of
    the models cannot encode queries here.
    """

    share: float
    low: float
    high: float
    queries: int
    by_vectors: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Points with a vector in either space, in both, and why the others lack one.

    missing_text: its vector was given as numbers. failed: its model refuses the text.
    """

    total: int = 0
    done: int = 0
    missing_text: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        """Return how many are still to be tried."""
        return self.total - self.done - self.missing_text - self.failed


@dataclass(slots=True)
class Known:
    """What a process has found out of one move. lock guards all of it.

    after: points of versions up to this one were tried, by the number of the space that they
    lacked. textless, failed: slots of those that could not be filled, and why. error: the last.
    page_points: to be filled at a time. seen_seq: all up to this write is filled. measured: whether
    the overlap was asked for, None where there are too few points.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    after: dict[int, int] = field(default_factory=dict)
    textless: list[U64] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    error: str = ""
    retry_at: float = 0.0
    retry_s: float = 0.0
    failed_retry_s: float = 0.0
    failed_retry_at: float = 0.0
    page_points: int = 32
    seen_seq: int = -1
    filled_per_s: float = 0.0
    overlap: Overlap | None = None
    measured: bool = False

    def lacks_text(self, slots: list[int]) -> None:
        """Note points without a text."""
        if slots:
            with self.lock:
                self.textless.append(np.array(slots, np.uint64))

    def fails(self, slot: int, why: str) -> None:
        """Note a point whose text has no vector."""
        with self.lock:
            if not self.failed:
                wait_s = min(max(FAILED_RETRY_S, 2 * self.failed_retry_s), FAILED_RETRY_S_MAX)
                self.failed_retry_s = wait_s
                self.failed_retry_at = time.monotonic() + wait_s
            self.failed[slot] = self.error = why

    def filled(self, count: int, seconds: float) -> None:
        """Note how many points got their vector in some time."""
        rate, share = count / max(seconds, 1e-6), min(1.0, seconds / RATE_WINDOW_S)
        with self.lock:
            before = self.filled_per_s or rate
            self.filled_per_s = before + share * (rate - before)

    def count(self, snapshot: Snapshot, space: str, shadow: str) -> Counts:
        """Return how far the two are at a snapshot, and forget what is not there any more."""
        sides = [snapshot.matches(one, 0, snapshot.seq) for one in lacking(space, shadow)]
        without = np.concatenate(sides)
        with self.lock:
            textless = np.unique(np.concatenate([*self.textless, np.empty(0, np.uint64)]))
            textless = textless[np.isin(textless, without)]
            self.textless = [textless]
            failed = set(self.failed) & set(without.tolist()) if self.failed else set()
            self.failed = {slot: self.failed[slot] for slot in failed}
            total = snapshot.count(Or((HasSpace(space), HasSpace(shadow))))
            return Counts(total, total - len(without), len(textless), len(failed))


def lacking(space: str, shadow: str) -> tuple[Filter, Filter]:
    """Return the filters of the points that one of two spaces has a vector of, and not the other.

    First those that lack the shadow's.
    """
    has_space, has_shadow = HasSpace(space), HasSpace(shadow)
    return And((has_space, Not(has_shadow))), And((has_shadow, Not(has_space)))


def _state_of(schema: Schema, shadow: Space, counts: Counts, known: Known) -> State:
    """Return where the move of a shadow's space stands."""
    if is_switched(schema, shadow):
        return State.SWITCHED
    if counts.left or not known.measured:
        return State.FILLING
    return State.INCOMPLETE if counts.missing_text or counts.failed else State.READY


@dataclass(frozen=True, slots=True)
class Status:
    """A move as it is asked for. space, shadow: as the schema has them; shadow None for none.

    error: why the last try failed, or "". eta_s: None where it cannot be said.
    """

    collection: str
    space: Space
    state: State
    shadow: Space | None = None
    counts: Counts = Counts()
    error: str = ""
    filled_per_s: float = 0.0
    eta_s: float | None = None
    overlap: Overlap | None = None

    @classmethod
    def of(
        cls, collection: str, schema: Schema, shadow: Space, counts: Counts, known: Known
    ) -> Status:
        """Return the status of a move."""
        assert shadow.shadow is not None
        space = schema.space(shadow.shadow.of)
        assert space is not None
        with known.lock:
            waits = known.retry_at > time.monotonic() or counts.failed
            status = cls(
                collection,
                space,
                _state_of(schema, shadow, counts, known),
                shadow,
                counts,
                known.error if waits else "",
                known.filled_per_s if counts.left else 0.0,
                overlap=known.overlap,
            )
        if counts.left and status.filled_per_s:
            return replace(status, eta_s=counts.left / status.filled_per_s)
        return status
