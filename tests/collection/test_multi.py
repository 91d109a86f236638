"""Multi-dense spaces as they grow: tail, segments, graphs; killed, damaged, compacted, checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import wait_until
from tests.rpc.test_multi import maxsim
from vecdb.collection.asked import Asked
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.multi import MultiQuery, MultiSpace, MultiVector, Rerank
from vecdb.ops.check import check_database
from vecdb.storage.codec import slot_key
from vecdb.types import Metric, Op, Put, Schema, Wanted
from vecdb.write.prepare import prepare
from vecdb_client import Client, Collection, DeadlineExceeded, Delete, F, MultiDenseSpace

DIM, K, MIB = 32, 10, 1 << 20
GRAPHS = {"storage__tail_points": 128, "storage__graph_points": 600}
WORDS = np.random.default_rng(0).normal(size=(400, DIM))


def tokens(seed: int, n: int, topic: int) -> np.ndarray:
    """Return vectors of tokens: most are words of a topic, all of them a little off."""
    rng = np.random.default_rng(seed)
    of_topic = np.random.default_rng(10_000 + topic).integers(0, len(WORDS), 12)
    chosen = np.where(rng.random(n) < 0.6, rng.choice(of_topic, n), rng.integers(0, 400, n))
    return (WORDS[chosen] + 0.4 * rng.normal(size=(n, DIM))).astype(np.float32)


def put(collection: Collection, count: int, first: int = 0) -> dict[str, np.ndarray]:
    made = {f"p{n}": tokens(n, 4 + n % 20, n % 60) for n in range(first, first + count)}
    collection.upsert(
        ids=list(made),
        vectors={"tokens": list(made.values())},
        payloads=[{"n": n, "percent": n % 100} for n in range(first, first + count)],
    )
    return made


def create(client: Client) -> Collection:
    return client.create_collection("late", spaces={"tokens": MultiDenseSpace(DIM)})


def true_scores(points: dict[str, np.ndarray], query: np.ndarray) -> dict[str, float]:
    return {name: maxsim(query, vectors) for name, vectors in points.items()}


def assert_found(collection: Collection, points: dict[str, np.ndarray], least: float) -> None:
    """Scores are true, k come back, exact is exact, and recall@10 is at least so much."""
    found = wanted = 0
    for seed in range(12):
        query = tokens(5_000 + seed, 8, seed)
        scores = true_scores(points, query)
        best = sorted(scores.values(), reverse=True)[:K]
        result = collection.search(query, space="tokens", k=K)
        assert len({hit.id for hit in result}) == K
        assert result.complete
        for hit in result:
            assert hit.score == pytest.approx(scores[hit.id], rel=1e-5)
        assert [hit.score for hit in result] == sorted([h.score for h in result], reverse=True)
        exact = collection.search(query, space="tokens", k=K, exact=True)
        assert [hit.score for hit in exact] == pytest.approx(best, rel=1e-5)
        found += sum(hit.score >= best[-1] - 1e-4 for hit in result)
        wanted += K
    assert found / wanted >= least


def built(collection: Collection) -> bool:
    stats = collection.stats()
    return bool(stats.segments) and not stats.builds and stats.tail_points < 128


def test_from_the_tail_to_graphs_and_back_after_a_kill(make_server: MakeServer) -> None:
    server = make_server(**GRAPHS)
    with server.client() as client:
        collection = create(client)
        points = put(collection, 100)
        assert_found(collection, points, 1)
        points |= put(collection, 1_400, 100)
        wait_until(lambda: built(collection) and any(s.graph for s in collection.stats().segments))
        assert_found(collection, points, 0.9)
    server.kill()
    server.start()
    with server.client() as client:
        collection = client.collection("late")
        points |= put(collection, 300, 1_500)
        gone = [f"p{n}" for n in range(0, 1_800, 3)]
        collection.write([Delete(name) for name in gone])
        points = {name: vectors for name, vectors in points.items() if name not in gone}
        assert_found(collection, points, 0.9)
        collection.compact(timeout_s=60)
        assert_found(collection, points, 0.9)
        few = {name: v for name, v in points.items() if int(name[1:]) % 100 < 2}
        query = tokens(1, 8, 5)
        chosen = collection.search(query, space="tokens", k=8, filter=F("percent") < 2)
        scores = sorted(true_scores(few, query).values(), reverse=True)[:8]
        assert [hit.score for hit in chosen] == pytest.approx(scores, rel=1e-5)
    assert server.stop() == 0
    assert all(not report.findings for report in check_database(server.data, lambda *_: None))


def test_a_space_that_few_points_have_vectors_in(make_server: MakeServer) -> None:
    server = make_server(**GRAPHS)
    with server.client() as client:
        spaces = {"tokens": MultiDenseSpace(DIM), "other": MultiDenseSpace(4, "dot")}
        collection = client.create_collection("late", spaces=spaces)
        points = put(collection, 400)
        other = {f"p{n}": np.full((2, 4), n, np.float32) for n in range(0, 400, 40)}
        for name, vectors in other.items():
            both = {"other": vectors, "tokens": points[name]}
            collection.upsert([{"id": name, "vectors": both}])
        wait_until(lambda: built(collection))
        collection.compact(timeout_s=60)
        assert_found(collection, points, 0.99)
        for exact in (False, True):
            result = collection.search([[1, 0, 0, 0]], space="other", k=20, exact=exact)
            assert [hit.score for hit in result] == [float(n) for n in range(360, -1, -40)]


def test_an_exact_search_ends_with_its_deadline(make_server: MakeServer) -> None:
    server = make_server()
    with server.client() as client:
        collection = create(client)
        collection.upsert(
            ids=[f"p{n}" for n in range(2_000)],
            vectors={"tokens": [tokens(n % 7, 60, 1) for n in range(2_000)]},
        )
        query = tokens(1, 1_000, 1)
        collection.search(query[:1], space="tokens")  # what is in memory by now takes no more time
        with pytest.raises(DeadlineExceeded):
            collection.search(query, space="tokens", exact=True, timeout_s=0.1)
        few = collection.search(query[:4], space="tokens", ef=20, k=20)
        assert len(few) == 20
        assert "likeliest 20," in few.plan


def test_a_damaged_record_costs_its_own_place_and_is_named(tmp_path: Path) -> None:
    schema = Schema(multi_spaces=(MultiSpace("tokens", DIM, Metric.COSINE),))
    database = Database(tmp_path / "data", StorageConfig(), LimitsConfig())
    database.create("late", schema)
    made = [tokens(n, 5, n) for n in range(20)]
    query = MultiQuery(made[7], 3, "tokens")
    with database.collection("late") as collection:
        ops: list[Op] = []
        for n, vectors in enumerate(made):
            several = {"tokens": MultiVector(vectors.tobytes(), DIM)}
            ops.append(Put(f"p{n}", b"", {}, multi=several))
        collection.write(prepare(ops, schema, LimitsConfig())).result()
        with collection.snapshot() as snapshot:
            assert snapshot.query(query, Wanted(), MIB).complete
        environment = collection._store.environment
        with environment.env.begin(write=True) as txn:
            key, points = slot_key(7), environment.databases[b"points"]
            value = bytearray(txn.get(key, db=points))
            value[-9] ^= 1
            txn.put(key, bytes(value), db=points)
        for exact in (False, True):
            with collection.snapshot() as snapshot:
                result = snapshot.query(replace(query, exact=exact), Wanted(), MIB)
                assert result.found == 3
                assert not result.complete
                assert "points/7" in result.warnings[0]
        rerank, wide = Rerank(made[3], "tokens", 20), replace(query, k=20)
        with collection.snapshot() as snapshot:
            result = snapshot.query(Asked((wide,), 20, rerank=rerank), Wanted(), MIB)
            assert (result.found, result.complete) == (19, False)
    database.close()
