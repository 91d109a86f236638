"""Histograms of our own: what they export is what prometheus_client's would."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from vecdb.quick_metrics import FRESH_MAX, SECONDS, Durations, Tally

seconds = st.lists(st.floats(0, 100) | st.sampled_from(SECONDS), max_size=2 * FRESH_MAX, min_size=0)


def exported(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line and "_sum" not in line)


@given(seconds)
def test_buckets_are_those_of_prometheus(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("t_seconds", "Time.", ("kind",))
    ours.register(durations)
    histogram = Histogram("t_seconds", "Time.", ("kind",), buckets=SECONDS, registry=theirs)
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
        series.add(())
        thread.join()
    series.add(())
    buckets, total = series.buckets()
    assert buckets[-1][1] == total == 80 * FRESH_MAX


def test_ones_are_counted_by_many_threads() -> None:
    tally = Tally("t", "Things.", ("kind",))
    ones = tally.labels("a")
    threads = [
        threading.Thread(target=lambda: [ones.inc() for _ in range(5_000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.labels("b")
    registry = CollectorRegistry()
    registry.register(tally)
    for _ in range(2):  # looking does not count
        text = generate_latest(registry).decode()
        assert 't_total{kind="a"} 20000.0' in text
        assert 't_total{kind="b"} 0.0' in text
