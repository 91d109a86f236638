"""Histograms of our own: what they export is what prometheus_client's would."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from vecdb.metrics import _SECONDS, FRESH_MAX, Durations

seconds = st.lists(
    st.floats(0, 100) | st.sampled_from(_SECONDS), max_size=2 * FRESH_MAX, min_size=0
)


def exported(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line and "_sum" not in line)


@given(seconds)
def test_buckets_are_those_of_prometheus(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("t_seconds", "Time.", ("kind",))
    ours.register(durations)
    histogram = Histogram("t_seconds", "Time.", ("kind",), buckets=_SECONDS, registry=theirs)
    for value in values:
        durations.labels("a").observe(value)
        histogram.labels("a").observe(value)
    durations.labels("b")
    histogram.labels("b")
    assert exported(ours) == exported(theirs)


def test_nothing_is_lost_between_threads() -> None:
    durations = Durations("t_seconds", "Time.", ())
    series = durations.labels()

    def observe() -> None:
        for _ in range(20 * FRESH_MAX):
            series.observe(1.0)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        series.sort()
        thread.join()
    counts, total = series.sort()
    assert counts[-1] == total == 80 * FRESH_MAX
