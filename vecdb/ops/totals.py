"""What the processes of a node counted, added up.

What a process counted stays in the sums when it has ended, so that no counter goes back while the
node lives; at most what it counted since it last told is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

if TYPE_CHECKING:  # the supervisor adds up, and needs nothing of what counting imports
    from vecdb.metrics import Family

Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Family, sample, labels."""

_COUNTING = ("counter", "histogram")


class Totals:
    """A collector for a registry. Threads may share it.

    fresh: called before a scrape, to have the processes tell what they count now.
    """

    def __init__(self, fresh: Callable[[], object] = lambda: None) -> None:
        self._fresh = fresh
        self._lock = threading.Lock()  # guards the three below
        self._known: dict[str, tuple[str, str]] = {}  # type and meaning of each family
        self._running: dict[str, dict[str, dict[Key, float]]] = {}  # by process and family
        self._ended: dict[Key, float] = {}

    def tell(self, process: str, families: Sequence[Family]) -> None:
        """Take what a process counts now; families that it leaves out stay as they were."""
        with self._lock:
            told = self._running.setdefault(process, {})
            for name, kind, meaning, samples in families:
                self._known.setdefault(name, (kind, meaning))
                told[name] = {
                    (name, sample, tuple(sorted(labels.items()))): value
                    for sample, labels, value in samples
                }

    def end(self, process: str) -> None:
        """Keep what a process counted, and forget its gauges."""
        with self._lock:
            for name, values in self._running.pop(process, {}).items():
                for key, value in values.items() if self._known[name][0] in _COUNTING else ():
                    _add(self._ended, key, value)

    def collect(self) -> Iterable[Metric]:
        """Return the sums now."""
        self._fresh()
        with self._lock:
            sums = dict(self._ended)
            for told in self._running.values():
                for values in told.values():
                    for key, value in values.items():
                        _add(sums, key, value)
            known = dict(self._known)
        found = {name: Metric(name, meaning, kind) for name, (kind, meaning) in known.items()}
        for (name, sample, labels), value in sums.items():
            found[name].add_sample(sample, dict(labels), value)
        return [metric for metric in found.values() if metric.samples or not _is_gauge(metric)]


def _is_gauge(metric: Metric) -> bool:
    return metric.type not in _COUNTING


def _add(sums: dict[Key, float], key: Key, value: float) -> None:
    """Add a sample to what others have: moments are the earliest, facts and limits the largest."""
    _, sample, _ = key
    if sample.endswith(("_created", "_start_time_seconds")):
        sums[key] = min(sums.get(key, value), value)
    elif sample.endswith("_info") or sample == "process_max_fds":
        sums[key] = max(sums.get(key, value), value)
    else:
        sums[key] = sums.get(key, 0.0) + value
