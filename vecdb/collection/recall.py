"""How many of the true neighbours searches find: of live queries always, of a sample on demand.

A search that walks a graph is judged by the same search done exactly. A hit is a row whose score is
at least the k-th true one, so that equal vectors stand for each other.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vecdb.collection.asked import AnyQuery
from vecdb.collection.snapshot import Snapshot
from vecdb.segment.vectors import Effort
from vecdb.types import Filter, Query, Space

KEPT = 200
"""Live queries kept, of each space, to estimate with."""
SAW_INTERVAL_S = 0.05
"""Of the queries that come sooner after one that was kept, none is."""
WINDOW = 40
"""Judged queries on which a change of ef is based."""
SLACK = 0.01
SCALES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
CONFIDENCE_Z = 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    """A recall with its 95 % bounds. ef: the largest of the walks, 0 where all was scanned."""

    ef: int
    recall: float
    low: float
    high: float
    search_us: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """One query judged: how many of the true neighbours were found, in how long, with which ef."""

    found: int
    wanted: int
    ef: int
    search_us: int


@dataclass(slots=True)
class _Watched:
    """A space whose live queries are judged."""

    queries: deque[Query]
    judged: deque[Judgement]
    scale_at: int = 0


class RecallMonitor:
    """Of one collection, in one process. Any thread may tell it of queries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _watched and what is in it
        self._watched: dict[str, _Watched] = {}
        self._next_at = 0.0
        self._fresh: Query | None = None

    def saw(self, query: Query) -> None:
        """Keep a live query, unless one was kept just now."""
        now = time.monotonic()
        if now < self._next_at or query.exact or query.ef:
            return
        self._next_at = now + SAW_INTERVAL_S
        with self._lock:
            watched = self._watched.get(query.space)
            if watched is None:
                watched = _Watched(deque(maxlen=KEPT), deque(maxlen=WINDOW))
                self._watched[query.space] = watched
            watched.queries.append(query)
            self._fresh = query

    def saw_legs(self, legs: Iterable[AnyQuery], filter: Filter | None) -> None:
        """Keep a live query of these legs. filter: of all of them."""
        for query in legs:
            # One that two filters narrow is not kept: it would be judged by one of them.
            if isinstance(query, Query) and (filter is None or query.filter is filter):
                self.saw(query)

    def scale(self, space: str) -> float:
        """Return by how much more than measured the live queries of a space need as ef."""
        watched = self._watched.get(space)
        return SCALES[watched.scale_at] if watched else 1.0

    def forget(self, space: str) -> None:
        """Forget what was asked of a space: another has its name now."""
        with self._lock:
            self._watched.pop(space, None)

    def live(self, space: str, count: int) -> list[Query]:
        """Return up to that many of the queries kept, the newest last."""
        with self._lock:
            watched = self._watched.get(space)
            return list(watched.queries)[-count:] if watched else []

    @property
    def waiting(self) -> bool:
        """Whether a query was kept since the last was judged."""
        return self._fresh is not None

    def judge_one(self, snapshot: Snapshot) -> Judgement:
        """Judge the newest live query, and let ef follow what was found lately."""
        query, self._fresh = self._fresh, None
        space = snapshot.space(query.space) if query is not None else None
        if query is None or space is None:
            return Judgement(0, 0, 0, 0)
        (judged,) = judge(snapshot, query, [Effort(scale=self.scale(query.space))])
        with self._lock:
            watched = self._watched.get(query.space)
            if watched is not None:
                watched.judged.append(judged)
                _follow(watched, space.target_recall)
        return judged


def _follow(watched: _Watched, target: float) -> None:
    """Take a step up or down when the window says so; what is judged anew decides the next."""
    if len(watched.judged) < WINDOW:
        return
    recall = sum(j.found for j in watched.judged) / max(1, sum(j.wanted for j in watched.judged))
    if recall < target - SLACK and watched.scale_at < len(SCALES) - 1:
        watched.scale_at += 1
        watched.judged.clear()
    elif recall > target + (1 - target) / 2 and watched.scale_at > 0:
        watched.scale_at -= 1
        watched.judged.clear()


def judge(snapshot: Snapshot, query: Query, efforts: Sequence[Effort]) -> list[Judgement]:
    """Return how searches of several efforts compare with the exact one."""
    true = snapshot.rank(query, Effort(exact=True)).scores
    judged: list[Judgement] = []
    for effort in efforts:
        started = time.perf_counter_ns()
        found = snapshot.rank(query, effort)
        took_us = (time.perf_counter_ns() - started) // 1000
        hits = sum(score >= true[-1] for score in found.scores) if true else 0
        judged.append(Judgement(hits, len(true), max(found.efs, default=0), took_us))
    return judged


def estimates(
    snapshot: Snapshot, queries: Sequence[Query], efforts: Sequence[Effort]
) -> list[Estimate]:
    """Return the recall over some queries, of each effort."""
    judged = [judge(snapshot, query, efforts) for query in queries]
    return [_estimate([of_query[at] for of_query in judged]) for at in range(len(efforts))]


def _estimate(judged: Sequence[Judgement]) -> Estimate:
    shares = [j.found / j.wanted for j in judged if j.wanted]
    recall = statistics.fmean(shares) if shares else 1.0
    spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
    margin = CONFIDENCE_Z * spread / max(1, len(shares)) ** 0.5
    return Estimate(
        max((j.ef for j in judged), default=0),
        recall,
        max(0.0, recall - margin),
        min(1.0, recall + margin),
        int(statistics.median([j.search_us for j in judged])) if judged else 0,
    )


def sample(
    snapshot: Snapshot, space: Space, k: int, count: int, live: Sequence[Query]
) -> list[Query]:
    """Return queries to estimate with: live ones, and more made of stored vectors."""
    queries = [
        replace(query, k=k, ef=0, exact=False)
        for query in live[-count:]
        if len(query.vector) == space.dim  # and not of the space that had the name before
    ]
    chosen = random.Random(len(live))
    while len(queries) < count:
        vector = snapshot.mixed_vector(space, chosen)
        if vector is None:
            break
        queries.append(Query(vector, k, space.name))
    return queries
