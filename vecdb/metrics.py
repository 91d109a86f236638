"""What the server counts, under the names that docs and dashboards use. One registry per server.

gRPC metrics follow the names that the gRPC ecosystem's Prometheus interceptors share
(``grpc_server_*``); our own start with ``vecdb_``. Labels are of small, fixed sets: never an id or
anything else that a client chooses, but for the names of the largest collections (ops.data_metric).
deploy/prometheus/METRICS.md explains each; a test holds it to what is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from vecdb import __version__, errors
from vecdb.quick_metrics import SECONDS, Durations, Queries, Tally

QUERY_STAGES = ("embed", "snapshot", "filter", "search", "fetch")

_SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)

Gauges = dict[str, float]

Family = list[Any]
"""A metric as JSON takes it: name, type, meaning, [[sample's name, {label: value}, value], ...]."""


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._observed: list[_Gauges] = []
        self._added: list[Any] = []
        self._of_each: list[Any] = []
        self._process = ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        call = ("grpc_type", "grpc_service", "grpc_method")
        self.started = Tally("grpc_server_started", "Calls started on the server.", call)
        self.received = Tally(
            "grpc_server_msg_received", "Messages of callers that were read.", call
        )
        self.sent = Tally("grpc_server_msg_sent", "Messages that callers were answered.", call)
        self.handled = Tally(
            "grpc_server_handled",
            "Calls completed on the server, whatever their status.",
            (*call, "grpc_code"),
        )
        self.handling = Durations(
            "grpc_server_handling_seconds", "Time that a call took on the server.", call
        )
        self.errors = Tally(
            "vecdb_call_errors",
            "Calls that failed, by reason: LIMIT_EXCEEDED, OVERLOADED, STORAGE_FULL and so on.",
            ("reason",),
        )
        self.build = Gauge(
            "vecdb_build_info", "The version that runs.", ("version",), registry=self.registry
        )
        self.build.labels(__version__).set(1)
        self.write_operations = Counter(
            "vecdb_write_operations",
            "Operations of writes by kind (put, delete, patch) and result (applied, refused, "
            "replayed).",
            ("kind", "result"),
            registry=self.registry,
        )
        self.queries = Queries(QUERY_STAGES)
        for collector in (
            *(self.started, self.received, self.sent, self.handled, self.handling),
            *(self.errors, self.queries),
        ):
            self.registry.register(collector)
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
        self._count_embedding()
        self._count_documents()

    def _count_embedding(self) -> None:
        self.embedded_texts = Counter(
            "vecdb_embed_texts", "Texts encoded, by role.", ("role",), registry=self.registry
        )
        self.embedded_tokens = Counter(
            "vecdb_embed_tokens", "Tokens encoded, by role.", ("role",), registry=self.registry
        )
        self.embed_http = Counter(
            "vecdb_embed_http_requests",
            "Requests to the HTTP port of embeddings, by path and status; 499 of who hung up.",
            ("path", "status"),
            registry=self.registry,
        )
        self.embed_queue = Histogram(
            "vecdb_embed_queue_seconds",
            "Time that texts waited for the model.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.embed_inference = Histogram(
            "vecdb_embed_inference_seconds",
            "Time that the model ran for a call.",
            buckets=SECONDS,
            registry=self.registry,
        )

    def _count_documents(self) -> None:
        self.document_puts = Counter(
            "vecdb_document_puts",
            "Documents put, by what became of them: stored, kept as they were, refused.",
            ("result",),
            registry=self.registry,
        )
        self.document_chunks = Counter(
            "vecdb_document_chunks",
            "Chunks of documents put: added (and encoded), kept, removed.",
            ("what",),
            registry=self.registry,
        )
        self.contexts = Counter(
            "vecdb_contexts",
            "Contexts made, by whether anything relevant was found: some, nothing.",
            ("found",),
            registry=self.registry,
        )
        self.answers = Counter(
            "vecdb_answers",
            "Answers, by how they ended: stop, length, nothing_relevant, other, failed, cancelled.",
            ("ended",),
            registry=self.registry,
        )
        self.answer_first = Histogram(
            "vecdb_answer_first_text_seconds",
            "Time from a language model's request to its first text.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.answer_tokens = Counter(
            "vecdb_answer_tokens",
            "Tokens that the language model says it read and wrote: prompt, answer.",
            ("kind",),
            registry=self.registry,
        )
        self.citations_removed = Counter(
            "vecdb_answer_citations_removed",
            "Citations of passages that do not exist, taken out of answers.",
            registry=self.registry,
        )

    def count_query(self, timings_us: dict[str, int], hits: int, *, complete: bool) -> None:
        """Count a query that was answered. timings_us: of each stage in QUERY_STAGES."""
        self.queries.count(timings_us, hits)
        if not complete:
            self.incomplete.inc()

    def count_error(self, error: Exception) -> None:
        """Count a call that failed, by the reason that its caller is told."""
        reason = getattr(error, "reason", "")
        self.errors.labels(reason if reason in errors.BY_REASON else "INTERNAL").inc()

    def add(self, collector: Any, *, of_each: bool = False) -> None:  # noqa: ANN401
        """Export what a collector of prometheus_client's has, too.

        of_each: whether each process of a node has its own, so that they are added up; else it is
        one process that tells it for all.
        """
        (self._of_each if of_each else self._added).append(collector)
        self.registry.register(collector)

    def observe(self, read: Callable[[], Gauges], help_texts: dict[str, str]) -> None:
        """Export gauges, and counters (..._total), read when scraped. help_texts: by name."""
        self._observed.append(_Gauges(read, help_texts))
        self.registry.register(self._observed[-1])

    def families(self, *, gauges: bool) -> list[Family]:
        """Return everything counted, for another process to add up.

        gauges: also what has to be asked for, which costs something.
        """
        counted = [one for one in vars(self).values() if isinstance(one, _COUNTED)]
        more = (*self._observed, *self._added) if gauges else ()
        collectors = [*counted, self._process, *self._of_each, *more]
        return families_of(collectors)


def families_of(collectors: Iterable[Any]) -> list[Family]:
    """Return what collectors have counted, as JSON takes it."""
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


_COUNTED = (Counter, Gauge, Histogram, Durations, Queries, Tally)


class _Gauges:
    def __init__(self, read: Callable[[], Gauges], help_texts: dict[str, str]) -> None:
        self._read = read
        self._help = help_texts

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that registering does not read."""
        return [one_family(name, text) for name, text in self._help.items()]

    def collect(self) -> Iterable[Metric]:
        """Return the values now."""
        values = self._read()
        for name, text in self._help.items():
            if name in values:
                yield one_family(name, text, values[name])


def one_family(name: str, text: str, value: float | None = None) -> Metric:
    """Return a metric without labels: a counter where its name ends so, else a gauge."""
    if name.endswith("_total"):
        return CounterMetricFamily(name.removesuffix("_total"), text, value=value)
    return GaugeMetricFamily(name, text, value=value)
