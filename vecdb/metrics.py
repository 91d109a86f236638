"""What the server counts, under the names that docs and dashboards use. One registry per server.

gRPC metrics follow the names that the gRPC ecosystem's Prometheus interceptors share
(``grpc_server_*``); our own start with ``vecdb_``. Labels are of small, fixed sets: never an id, a
collection name or anything else that a client chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from vecdb import __version__

_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

Gauges = dict[str, float]


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
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
        self.handling = Histogram(
            "grpc_server_handling_seconds",
            "Time that a call took on the server.",
            call,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.write_operations = Counter(
            "vecdb_write_operations",
            "Operations of writes by kind (put, delete) and result (applied, refused, replayed).",
            ("kind", "result"),
            registry=self.registry,
        )
        self.query_stage = Histogram(
            "vecdb_query_stage_seconds",
            "Time of a query's stages: embed, snapshot, filter, search, fetch.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.hits = Counter("vecdb_query_hits", "Hits returned.", registry=self.registry)
        self.incomplete = Counter(
            "vecdb_query_incomplete",
            "Queries that left a damaged point out.",
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

    def observe(self, read: Callable[[], Gauges], help_texts: dict[str, str]) -> None:
        """Export gauges that are read when they are scraped. help_texts: name to meaning."""
        self.registry.register(_Gauges(read, help_texts))


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
