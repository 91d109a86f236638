"""What a worker counts, by model: a small set that the operator configures.

A worker that runs alone serves these to Prometheus itself; one of a node hands them to the server,
which exports them beside its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from vecdb.metrics import Family, families_of
from vecdb.quick_metrics import SECONDS

_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 32768)

Now = Callable[[], Iterable[tuple[str, str, float]]]
"""Returns the gauges: a name, its meaning, its value."""


class Meter:
    """The counters of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.now: Now = tuple

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"vecdb_embed_worker_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
            return Histogram(
                f"vecdb_embed_worker_{name}",
                text,
                labels,
                buckets=tuple(buckets),
                registry=self.registry,
            )

        self.requests = counter("requests", "Calls to encode, by model and role.", "model", "role")
        self.failures = counter(
            "failures", "Calls that failed, by model and reason.", "model", "reason"
        )
        self.items = counter("items", "Texts and images encoded.", "model", "role")
        self.refused = counter("refused_items", "Items that failed by themselves.", "model")
        self.truncated = counter("truncated_items", "Items cut to what the model reads.", "model")
        self.tokens = counter("tokens", "Tokens of the items encoded.", "model", "role")
        self.hits = counter("cache_hits", "Items whose vectors were still known.", "role")
        self.misses = counter("cache_misses", "Items that had to be encoded.", "role")
        self.loads = counter("loads", "Models loaded.", "model")
        self.load_failures = counter("load_failures", "Models that did not load.", "model")
        self.load_time = histogram(
            "load_seconds", "Time that models took to load.", (0.1, 0.5, 1, 5, 10, 30, 60, 300)
        )
        self.prepare = histogram("prepare_seconds", "Time to read the items of a call.", SECONDS)
        self.queued = histogram("queue_seconds", "Time that calls waited for the model.", SECONDS)
        self.inference = histogram("batch_seconds", "Time of a batch.", SECONDS, "model")
        self.batch_items = histogram("batch_items", "Items of a batch.", _ITEMS)
        self.batch_tokens = histogram("batch_tokens", "Tokens of a batch.", _TOKENS)
        self.registry.register(_Now(self))

    def loaded(self, model: str, took_s: float, ok: bool) -> None:
        """Count a load."""
        (self.loads if ok else self.load_failures).labels(model).inc()
        self.load_time.observe(took_s)

    def ran(self, model: str, items: int, tokens: int, took_s: float) -> None:
        """Count a batch."""
        self.inference.labels(model).observe(took_s)
        self.batch_items.observe(items)
        self.batch_tokens.observe(tokens)

    def families(self) -> list[Family]:
        """Return everything counted, as JSON takes it."""
        return families_of([self.registry])


class _Now:
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges now."""
        for name, text, value in self._meter.now():
            yield GaugeMetricFamily(f"vecdb_embed_worker_{name}", text, value=value)
