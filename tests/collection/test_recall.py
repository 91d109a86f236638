"""Recall: estimated on demand, judged on live queries, and ef follows what a space aims at."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import wait_until
from tests.rpc.nodes import open_guard
from vecdb import types
from vecdb.collection import judge
from vecdb.collection.recall import SCALES, WINDOW, Judgement, RecallMonitor, _follow
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded
from vecdb.node_status import NodeStatus
from vecdb.rpc.pb.admin_pb2 import EstimateRecallRequest
from vecdb.rpc.services.admin import AdminService
from vecdb.types import Metric, Put, Query, Schema
from vecdb.write.prepare import prepare
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
            "tight": Space(DIM, "manhattan", target_recall=0.99),
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


SCHEMA = Schema((types.Space("", 2, Metric.EUCLID),))


@pytest.fixture
def judged_at(tmp_path: Path) -> Iterator[tuple[Database, list[float]]]:
    told: list[float] = []
    database = Database(tmp_path / "data", StorageConfig(), LimitsConfig(), judged=told.append)
    database.create("c", SCHEMA)
    with database.collection("c") as opened:
        put = Put("p", b"", {"": np.ones(2, "<f4").tobytes()})
        opened.write(prepare([put], SCHEMA, LimitsConfig())).result()
    yield database, told
    if not database._closing.is_set():
        database.close()


def test_a_judgement_that_takes_long_is_given_up(
    judged_at: tuple[Database, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, told = judged_at
    query = Query(np.ones(2, np.float32), 1)
    with database.collection("c") as opened:
        opened.recall.saw(query)
        wait_until(lambda: told == [1.0])
        monkeypatch.setattr(judge, "PATIENCE_S", -1.0)
        wait_until(lambda: opened.recall.saw(query) or opened.recall.waiting)
        wait_until(lambda: not opened.recall.waiting)
    database.close()  # which waits for the judgement under way
    assert told == [1.0]


def test_an_estimate_ends_with_its_caller(judged_at: tuple[Database, list[float]]) -> None:
    class Late:
        def time_remaining(self) -> float:
            return 0.0

    database, _ = judged_at
    admin = AdminService(database, LimitsConfig(), status=NodeStatus, guard=open_guard())
    with pytest.raises(DeadlineExceeded):
        admin.EstimateRecall(
            EstimateRecallRequest(collection="c"),
            Late(),  # type: ignore[arg-type]
        )
