"""Sums over processes: counters never go back, gauges are those of the living."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vecdb.metrics import QUERY_STAGES, Metrics
from vecdb.ops.totals import Totals


def values(totals: Totals) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for metric in totals.collect()
        for sample in metric.samples
    }


def test_one_process_is_itself() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.started.labels("unary", "s", "m").inc()
    metrics.handling.labels("unary", "s", "m").observe(0.2)
    totals = Totals()
    totals.tell("a", metrics.families(gauges=False))
    registry = CollectorRegistry()
    registry.register(totals)

    def read(registry: CollectorRegistry) -> dict[str, list[object]]:
        text = generate_latest(registry).decode()
        return {
            family.name: sorted(
                (sample.name, sorted(sample.labels.items()), sample.value)
                for sample in family.samples
            )
            for family in text_string_to_metric_families(text)
            if not family.name.startswith(("process_", "python_"))
        }

    assert read(registry) == read(metrics.registry)


def test_gauges_are_read_only_when_they_are_asked_for() -> None:
    read: list[int] = []

    def gauges() -> dict[str, float]:
        read.append(1)
        return {"g": 2.0}

    metrics = Metrics()
    metrics.observe(gauges, {"g": "A gauge."})
    assert "g" not in [family[0] for family in metrics.families(gauges=False)]
    assert read == []
    totals = Totals()
    totals.tell("a", metrics.families(gauges=True))
    totals.tell("a", metrics.families(gauges=False))
    assert values(totals)["g[]"] == 2.0
    totals.end("a")
    assert "g[]" not in values(totals)


EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["count", "tell", "end"])), max_size=60
)


@settings(deadline=None)  # a machine may be busy
@given(EVENTS)
def test_sums_never_go_back_and_lose_only_what_was_not_told(events) -> None:
    totals = Totals()
    living = {name: Metrics() for name in "abc"}
    told = before = 0.0
    untold = dict.fromkeys("abc", 0)
    for name, event in events:
        if event == "count":
            living[name].queries.count(dict.fromkeys(QUERY_STAGES, 5), 1)
            untold[name] += 1
        elif event == "tell":
            totals.tell(name, living[name].families(gauges=False))
            told += untold[name]
            untold[name] = 0
        else:
            totals.end(name)
            living[name] = Metrics()
            untold[name] = 0
        now = values(totals).get("vecdb_query_hits_total[]", 0.0)
        assert now == told >= before
        before = now


def test_facts_and_moments_are_not_added() -> None:
    totals = Totals()
    for name in "ab":
        totals.tell(
            name,
            [
                ["x_info", "gauge", "", [["x_info", {"version": "1"}, 1.0]]],
                ["c", "counter", "", [["c_total", {}, 1.0], ["c_created", {}, 5.0 + ord(name)]]],
                ["process_max_fds", "gauge", "", [["process_max_fds", {}, 9.0]]],
            ],
        )
    assert values(totals) == {
        "x_info['1']": 1.0,
        "c_total[]": 2.0,
        "c_created[]": 5.0 + ord("a"),
        "process_max_fds[]": 9.0,
    }
