"""What the server counts, under the names that docs and dashboards use. One registry per server.

gRPC metrics follow the names that the gRPC ecosystem's Prometheus interceptors share
(``grpc_server_*``); our own start with ``vecdb_``. Labels are of small, fixed sets: never an id, a
collection name or anything else that a client chooses.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from vecdb import __version__

_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

FRESH_MAX = 512
"""Durations of a series that wait until they are sorted into buckets."""

QUERY_STAGES = ("embed", "snapshot", "filter", "search", "fetch")

_SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)

Gauges = dict[str, float]

Family = list[Any]
"""A metric as JSON takes it: name, type, meaning, [[sample's name, {label: value}, value], ...]."""


class _Series:
    """The durations of one set of label values."""

    def __init__(self) -> None:
        self._fresh: deque[float] = deque()
        self._sorting = threading.Lock()  # guards the two below
        self._counts = np.zeros(len(_SECONDS) + 1, np.int64)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Add a duration."""
        self._fresh.append(seconds)
        if len(self._fresh) >= FRESH_MAX:
            self.sort()

    def sort(self) -> tuple[list[int], float]:
        """Return how many are up to each bound, the last of them infinite, and their sum."""
        with self._sorting:
            fresh = np.array([self._fresh.popleft() for _ in range(len(self._fresh))])
            places = np.searchsorted(_SECONDS, fresh)
            self._counts += np.bincount(places, minlength=len(self._counts))
            self._sum += float(fresh.sum())
            return np.cumsum(self._counts).tolist(), self._sum


class Durations:
    """A histogram of seconds that costs a call next to nothing.

    Durations wait in a list until they are scraped, or some hundred have come, and then are sorted
    into buckets at once. prometheus_client's own takes a lock and walks the buckets for each.
    """

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
        bounds = [*(repr(bound) for bound in _SECONDS), "+Inf"]
        for values, series in list(self._series.items()):
            counts, total = series.sort()
            family.add_metric(values, list(zip(bounds, counts, strict=True)), total)
        return [family]


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._observed: list[_Gauges] = []
        self._process = ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        call = ("grpc_type", "grpc_service", "grpc_method")
        self.started = Counter(
            "grpc_server_started", "Calls started on the server.", call, registry=self.registry
        )
        self.handled = Counter(
            "grpc_server_handled",
            "Calls completed on the server, whatever their status.",
            (*call, "grpc_code"),
            registry=self.registry,
        )
        self.handling = Durations(
            "grpc_server_handling_seconds", "Time that a call took on the server.", call
        )
        self.write_operations = Counter(
            "vecdb_write_operations",
            "Operations of writes by kind (put, delete) and result (applied, refused, replayed).",
            ("kind", "result"),
            registry=self.registry,
        )
        self.query_stage = Durations(
            "vecdb_query_stage_seconds",
            f"Time of a query's stages: {', '.join(QUERY_STAGES)}.",
            ("stage",),
        )
        self.registry.register(self.handling)
        self.registry.register(self.query_stage)
        self._stages = [(name, self.query_stage.labels(name).observe) for name in QUERY_STAGES]
        self.hits = Counter("vecdb_query_hits", "Hits returned.", registry=self.registry)
        self.incomplete = Counter(
            "vecdb_query_incomplete",
            "Queries that left a damaged point out.",
            registry=self.registry,
        )
        self.recall = Histogram(
            "vecdb_recall_at_k",
            "Share of the true neighbours that live queries found, of those judged.",
            buckets=_SHARES,
            registry=self.registry,
        )
        self.embedded_texts = Counter(
            "vecdb_embed_texts", "Texts encoded, by role.", ("role",), registry=self.registry
        )
        self.embedded_tokens = Counter(
            "vecdb_embed_tokens", "Tokens encoded, by role.", ("role",), registry=self.registry
        )
        self.embed_queue = Histogram(
            "vecdb_embed_queue_seconds",
            "Time that texts waited for the model.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.embed_inference = Histogram(
            "vecdb_embed_inference_seconds",
            "Time that the model ran for a call.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def count_query(self, timings_us: dict[str, int], hits: int, *, complete: bool) -> None:
        """Count a query that was answered. timings_us: of each stage in QUERY_STAGES."""
        for stage, observe in self._stages:
            observe(timings_us[stage] / 1e6)
        self.hits.inc(hits)
        if not complete:
            self.incomplete.inc()

    def observe(self, read: Callable[[], Gauges], help_texts: dict[str, str]) -> None:
        """Export gauges that are read when they are scraped. help_texts: name to meaning."""
        self._observed.append(_Gauges(read, help_texts))
        self.registry.register(self._observed[-1])

    def families(self, *, gauges: bool) -> list[Family]:
        """Return everything counted, for another process to add up; gauges cost reading them."""
        counted = [one for one in vars(self).values() if isinstance(one, _COUNTED)]
        collectors = [*counted, self._process, *(self._observed if gauges else ())]
        return [
            [
                metric.name,
                metric.type,
                metric.documentation,
                [[sample.name, sample.labels, sample.value] for sample in metric.samples],
            ]
            for collector in collectors
            for metric in collector.collect()
        ]


_COUNTED = (Counter, Histogram, Durations)


class _Gauges:
    def __init__(self, read: Callable[[], Gauges], help_texts: dict[str, str]) -> None:
        self._read = read
        self._help = help_texts

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that registering does not read."""
        return [GaugeMetricFamily(name, text) for name, text in self._help.items()]

    def collect(self) -> Iterable[Metric]:
        """Return the values now."""
        values = self._read()
        for name, text in self._help.items():
            if name in values:
                yield GaugeMetricFamily(name, text, value=values[name])
        build = GaugeMetricFamily("vecdb_build_info", "The version that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
