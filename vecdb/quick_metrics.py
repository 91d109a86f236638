"""Counters and histograms that cost a call next to nothing; for what every search passes.

prometheus_client's take a lock and do sums for each event, in Python code that is cold by then: six
of them cost a search more than its read transaction. These only note the event, in one call that
the interpreter does not interrupt, and do the sums when they are scraped or some hundred have come.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterable

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

FRESH_MAX = 512
"""Events that wait until they are summed up."""


class Tally:
    """A counter of ones."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...]) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._counts: dict[tuple[str, ...], _Ones] = {}

    def labels(self, *values: str) -> _Ones:
        """Return the count of some label values."""
        return self._counts.setdefault(values, _Ones())

    def describe(self) -> Iterable[Metric]:
        """Return the name, so that registering does not read."""
        return [CounterMetricFamily(self._name, self._help, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """Return the counts now."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, ones in list(self._counts.items()):
            family.add_metric(values, ones.value)
        return [family]


class _Ones:
    """The count of one set of label values. inc: adds one, whatever thread calls it."""

    def __init__(self) -> None:
        self._count = itertools.count()
        self.inc = self._count.__next__

    @property
    def value(self) -> int:
        """How often it was called."""
        return int(repr(self._count)[len("count(") : -1])  # to look without counting


class Durations:
    """A histogram of seconds."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...]) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._series: dict[tuple[str, ...], _Series] = {}

    def labels(self, *values: str) -> _Series:
        """Return the series of some label values."""
        return self._series.setdefault(values, _Series())

    def describe(self) -> Iterable[Metric]:
        """Return the name, so that registering does not read."""
        return [HistogramMetricFamily(self._name, self._help, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        """Return the buckets now."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for values, series in list(self._series.items()):
            series.add(())
            family.add_metric(values, *series.buckets())
        return [family]


class _Series:
    """The durations of one set of label values."""

    def __init__(self) -> None:
        self._fresh: deque[float] = deque()
        self._summing = threading.Lock()  # guards the two below
        self._counts = np.zeros(len(SECONDS) + 1, np.int64)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Add a duration."""
        self._fresh.append(seconds)
        if len(self._fresh) >= FRESH_MAX:
            self.add(())

    def add(self, more: Iterable[float]) -> None:
        """Sum up what was observed, and more."""
        with self._summing:
            fresh = np.array([*_taken(self._fresh), *more])
            places = np.searchsorted(SECONDS, fresh)
            self._counts += np.bincount(places, minlength=len(self._counts))
            self._sum += float(fresh.sum())

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many are up to each bound, the last of them infinite, and their sum."""
        with self._summing:
            counts, total = np.cumsum(self._counts).tolist(), self._sum
        bounds = [*(repr(bound) for bound in SECONDS), "+Inf"]
        return list(zip(bounds, counts, strict=True)), total


class Queries:
    """What is counted of queries: how long each stage took, and their hits."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self._stages = stages
        self._fresh: deque[tuple[dict[str, int], int]] = deque()
        self._summing = threading.Lock()  # guards the two below
        self._series = {name: _Series() for name in stages}
        self._hits = 0

    def count(self, timings_us: dict[str, int], hits: int) -> None:
        """Count a query that was answered; its timings are kept, and must not change."""
        self._fresh.append((timings_us, hits))
        if len(self._fresh) >= FRESH_MAX:
            self._sum_up()

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that registering does not read."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Return the sums now."""
        self._sum_up()
        durations, hits = self._families()
        with self._summing:
            for name, series in self._series.items():
                durations.add_metric((name,), *series.buckets())
            hits.add_metric((), self._hits)
        return durations, hits

    def _families(self) -> tuple[HistogramMetricFamily, CounterMetricFamily]:
        return HistogramMetricFamily(
            "vecdb_query_stage_seconds",
            f"Time of a query's stages: {', '.join(self._stages)}.",
            labels=("stage",),
        ), CounterMetricFamily("vecdb_query_hits", "Hits returned.", labels=())

    def _sum_up(self) -> None:
        with self._summing:
            fresh = _taken(self._fresh)
            for name, series in self._series.items():
                series.add(timings_us[name] / 1e6 for timings_us, _ in fresh)
            self._hits += sum(hits for _, hits in fresh)


def _taken(fresh: deque) -> list:  # type: ignore[type-arg]
    """Return what waits, and take it away; what others add meanwhile waits on."""
    return [fresh.popleft() for _ in range(len(fresh))]
