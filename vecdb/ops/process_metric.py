"""The processes of a node as metrics. Of the supervisor, and so without what reads data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from vecdb.node_status import ProcessStatus


class ProcessMetric:
    """A collector: how many processes serve, and how often some were started again, by role."""

    def __init__(self, read: Callable[[], Iterable[ProcessStatus]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that registering does not read."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Return the counts now."""
        found = self._families()
        running, restarts = found
        ready: Counter[str] = Counter()
        again: Counter[str] = Counter()
        for one in self._read():
            role, _, _ = one.name.partition(" ")
            ready[role] += one.ready
            again[role] += one.restarts
        for role in ready:
            running.add_metric([role], ready[role])
            restarts.add_metric([role], again[role])
        return found

    def _families(self) -> tuple[GaugeMetricFamily, CounterMetricFamily]:
        return GaugeMetricFamily(
            "vecdb_processes", "Processes that serve.", labels=["role"]
        ), CounterMetricFamily(
            "vecdb_process_restarts", "Times that a process was started again.", labels=["role"]
        )
