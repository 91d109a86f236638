"""The conditions of a node as a metric. Of the supervisor too, and so without what reads data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from vecdb.conditions import NAMES, STATES, Condition, worst


class ConditionMetric:
    """A collector: 1 for the state that each condition is in, 0 for the two others."""

    def __init__(self, read: Callable[[], Iterable[Condition]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return the name, so that registering does not read."""
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        """Return the states now."""
        found = list(self._read())
        family = self._family()
        for name in NAMES:
            now = worst(one for one in found if one.name == name)
            for state in STATES:
                family.add_metric([name, state], float(state == now))
        return [family]

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "vecdb_condition",
            "1 for the state (ok, warning, error) that a condition is in; see vecdb status.",
            labels=["name", "state"],
        )
