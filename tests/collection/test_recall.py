"""Recall: estimated on demand, judged on live queries, and ef follows what a space aims at."""

from __future__ import annotations

import re
import urllib.request

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import wait_until
from vecdb.collection.recall import SCALES, WINDOW, Judgement, RecallMonitor, _follow
from vecdb.types import Query
from vecdb_client import F, InvalidArgument, NotFound, Space

DIM = 48
GRAPHS = {"storage__tail_points": 256, "storage__graph_points": 1_000}


def test_estimate_and_live_queries(make_server: MakeServer) -> None:
    server = make_server(**GRAPHS)
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(6_000, DIM)).astype(np.float32)
    with server.client() as client:
        spaces = {
            "loose": Space(DIM, "euclid", target_recall=0.6),
            "tight": Space(DIM, "euclid", target_recall=0.99),
        }
        collection = client.create_collection("c", spaces=spaces)
        assert collection.info().spaces["tight"].target_recall == 0.99
        collection.upsert(
            {"id": f"p{i}", "vectors": {"loose": v, "tight": v}, "payload": {"n": i}}
            for i, v in enumerate(vectors)
        )
        collection.compact()
        loose = collection.estimate_recall(space="loose", efs=[10, 20, 40])
        tight = collection.estimate_recall(space="tight", samples=50)
        assert loose.now.ef < tight.now.ef or tight.now.ef == 0
        assert loose.samples == 100
        assert tight.samples == 50
        assert loose.live_samples == 0
        assert tight.now.recall >= 0.97
        assert loose.now.low <= loose.now.recall <= loose.now.high
        recalls = [one.recall for one in loose.by_ef]
        assert recalls == sorted(recalls)
        assert recalls[0] < 1.0
        # Live queries are kept with their filters, judged and counted.
        for query in rng.normal(size=(5, DIM)).astype(np.float32):
            before = judged(server.metrics)
            collection.search(query, k=5, space="loose", filter=F("n") < 4_000)
            wait_until(lambda before=before: judged(server.metrics) > before)
        assert collection.estimate_recall(space="loose").live_samples == 5
        with pytest.raises(InvalidArgument, match="samples"):
            collection.estimate_recall(space="loose", samples=10_000)
        with pytest.raises((InvalidArgument, NotFound), match="space"):
            collection.estimate_recall(space="none")


def judged(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
        (count,) = re.findall(r"^vecdb_recall_at_k_count ([0-9.]+)", reply.read().decode(), re.M)
    return int(float(count))


def test_ef_follows_what_live_queries_find() -> None:
    monitor = RecallMonitor()
    query = Query(np.zeros(3, np.float32), 10)
    assert not monitor.waiting
    monitor.saw(query)
    monitor.saw(query)  # so soon after the first, it is not kept
    assert monitor.waiting
    assert monitor.live("", 10) == [query]
    watched = monitor._watched[""]
    for expected in SCALES[1:]:
        assert monitor.scale("") < expected
        for _ in range(WINDOW):
            watched.judged.append(Judgement(8, 10, 32, 100))
            _follow(watched, 0.95)
        assert monitor.scale("") == expected
    for _ in range(WINDOW):
        watched.judged.append(Judgement(8, 10, 32, 100))
        _follow(watched, 0.95)
    assert monitor.scale("") == SCALES[-1], "there is an end to it"
    watched.judged.clear()
    for _ in range(WINDOW):
        watched.judged.append(Judgement(10, 10, 32, 100))
        _follow(watched, 0.95)
    assert monitor.scale("") == SCALES[-2]
    assert monitor.scale("another") == 1.0


def test_what_says_its_own_ef_is_not_judged() -> None:
    monitor = RecallMonitor()
    monitor.saw(Query(np.zeros(3, np.float32), 10, ef=12))
    monitor.saw(Query(np.zeros(3, np.float32), 10, exact=True))
    assert not monitor.waiting
