"""Segments with graphs, through a real server: searched, grown, compacted, killed, damaged."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, command_of, descendants, wait_until
from vecdb_client import Collection, F, Search, Space

pytestmark = pytest.mark.takes_turns

DIM, K = 24, 10
EF = 28
"""Small enough that a walk costs less than a scan of so few rows, which would be exact."""
GRAPHS = {"storage__tail_points": 256, "storage__graph_points": 1_000}


def made(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(30, DIM))
    rows = centres[rng.integers(0, 30, n)] + 0.5 * rng.normal(size=(n, DIM))
    return rows.astype(np.float32)


def put(collection: Collection, vectors: np.ndarray, first: int = 0) -> None:
    ids = [f"p{first + i}" for i in range(len(vectors))]
    payloads = [{"n": first + i, "percent": (first + i) % 100} for i in range(len(vectors))]
    collection.upsert(ids=ids, vectors=vectors, payloads=payloads)


def settled(collection: Collection, segments: int | None = None) -> bool:
    """Whether nothing is left to build. In one look: between two the next build may begin."""
    stats = collection.stats()
    return (
        not stats.builds
        and any(segment.graph for segment in stats.segments)
        and stats.tail_points < GRAPHS["storage__tail_points"]
        and segments in (None, len(stats.segments))
    )


def recall(
    collection: Collection, vectors: np.ndarray, live: np.ndarray, percent: int = 100
) -> float:
    """Return recall@10 by score over the live rows that a filter lets through; k always come."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    allowed = live & (np.arange(len(vectors)) % 100 < percent)
    chosen = None if percent == 100 else F("percent") < percent
    queries = made(40, seed=99)
    found = 0
    for query in queries:
        scores = np.where(allowed, unit @ (query / np.linalg.norm(query)), -2)
        least = np.partition(scores, -K)[-K] - 1e-6
        result = collection.search(query, k=K, filter=chosen, ef=EF)
        assert len({hit.id for hit in result}) == K
        assert result.matched == allowed.sum()
        rows = [int(hit.id[1:]) for hit in result]
        assert allowed[rows].all()
        found += int((scores[rows] >= least).sum())
    return found / (K * len(queries))


def test_graphs_are_built_searched_and_grown(make_server: MakeServer) -> None:
    server = make_server(**GRAPHS)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = made(6_000)
        put(collection, vectors[:4_000])
        wait_until(lambda: settled(collection))
        live = np.arange(6_000) < 4_000
        for percent in (100, 50, 10, 3):
            assert recall(collection, vectors, live, percent) >= 0.95
        assert "walk" in collection.search(vectors[0], ef=EF).plan
        assert "walk" not in collection.search(vectors[0], exact=True).plan
        # A quarter more makes the graph grow, dead rows and all.
        collection.delete([f"p{i}" for i in range(0, 4_000, 20)])
        put(collection, vectors[4_000:], 4_000)
        wait_until(lambda: settled(collection, segments=1))
        (segment,) = collection.stats().segments
        assert segment.rows == 6_000
        assert segment.dead == 200
        live = np.ones(6_000, np.bool_)
        live[0:4_000:20] = False
        for percent in (100, 50, 10, 3):
            assert recall(collection, vectors, live, percent) >= 0.95
    assert server.stop() == 0
    server.start()
    with server.client() as client:
        collection = client.collection("c")
        assert recall(collection, vectors, live) >= 0.95
        collection.compact()
        (segment,) = collection.stats().segments
        assert (segment.rows, segment.dead, segment.graph) == (5_800, 0, True)
        assert recall(collection, vectors, live) >= 0.95


def test_shapes_of_queries_over_a_graph(make_server: MakeServer) -> None:
    """Groups and batches walk as single queries do; k groups come, however the values lie."""
    server = make_server(**GRAPHS)
    vectors = made(4_000)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near_first = np.argsort(-(unit @ unit[0]))
    place = np.empty(4_000, np.int64)
    place[near_first] = np.arange(4_000)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        # The nearest 3,000 share a value; the others have one of forty.
        values = [f"{at % 40}" if at >= 3_000 else "near" for at in place.tolist()]
        collection.upsert(
            ids=[f"p{i}" for i in range(4_000)],
            vectors=vectors,
            payloads=[{"value": value} for value in values],
        )
        wait_until(lambda: settled(collection))
        found = collection.search(vectors[0], k=3, group="value", group_size=2, ef=EF)
        assert "walk" in found.plan
        assert len(found.groups) == 3
        assert [len(group.hits) for group in found.groups] == [2] * 3
        assert found.groups[0].value == "near"
        for group in found.groups:
            assert {values[int(hit.id[1:])] for hit in group.hits} == {group.value}
            alone = collection.search(vectors[0], k=2, filter=F("value") == group.value, exact=True)
            if group.value != "near":  # which is walked, not scanned
                assert [hit.id for hit in group.hits] == [hit.id for hit in alone]
        queries = made(40, seed=99)
        searches: list[Search] = [{"query": query, "k": K, "ef": EF} for query in queries]
        searches += [{**one, "filter": F("value") == "near"} for one in searches]
        plans: list[str] = []
        for one, batched in zip(searches, collection.search_batch(searches), strict=True):
            plans.append(batched.plan)
            single = collection.search(**one)
            assert [(hit.id, hit.score) for hit in batched] == [
                (hit.id, hit.score) for hit in single
            ]
            assert batched.plan == single.plan
        assert "walk" in plans[0]
        (leg,) = collection.explain(searches[0]).legs
        assert any("walk" in part.plan for part in leg.parts)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclid", "manhattan"])
def test_exact_is_exact_and_walks_find_nearly_all(make_server: MakeServer, metric: str) -> None:
    server = make_server(**GRAPHS)
    with server.client() as client:
        space = Space(DIM, metric, m=8, ef_construction=64)  # type: ignore[arg-type]
        collection = client.create_collection("c", spaces={"": space})
        assert collection.info().spaces[""].m == 8
        vectors = made(3_000)
        put(collection, vectors)
        wait_until(lambda: settled(collection))
        found = 0
        for query in made(20, seed=5):
            true = np.sort(_scores(vectors, query, metric))[::-1][:K]
            result = collection.search(query, k=K, exact=True)
            assert [h.score for h in result] == pytest.approx(true.tolist(), rel=1e-5, abs=1e-5)
            walked = collection.search(query, k=K)
            # Inner products now and then need an ef with which a scan of so few costs less.
            assert "walk" in walked.plan or metric == "dot"
            found += sum(h.score >= true[-1] - 1e-5 * abs(true[-1]) for h in walked)
        assert found / (20 * K) >= 0.95


def _scores(vectors: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    wide, asked = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "dot":
        return wide @ asked
    if metric == "euclid":
        return -np.linalg.norm(wide - asked, axis=1)
    if metric == "manhattan":
        return -np.abs(wide - asked).sum(axis=1)
    return wide @ asked / np.linalg.norm(wide, axis=1) / np.linalg.norm(asked)


def test_space_of_deleted_points_is_given_back(make_server: MakeServer) -> None:
    server = make_server(**GRAPHS, storage__changes_retained=16)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = made(4_000)
        put(collection, vectors)
        collection.compact()
        before = collection.stats()
        collection.delete([f"p{i}" for i in range(4_000) if i % 10])
        collection.compact()
        after = collection.stats()
        assert sum(s.bytes for s in after.segments) < 0.15 * sum(s.bytes for s in before.segments)
        # The store's pages are not given back, but used again: all this would be twelve times it.
        for _ in range(12):
            put(collection, vectors)
            collection.delete([f"p{i}" for i in range(4_000) if i % 10])
        assert collection.stats().store_bytes < 6 * before.store_bytes
        # Replaced files go once nobody can be about to open them.
        folder = next(server.data.glob("collections/*/segments"))
        wait_until(lambda: _folders(folder) <= _listed(collection), timeout_s=60)


def _folders(segments: Path) -> set[str]:
    return {path.name for path in segments.iterdir() if path.name.isdecimal()}


def _listed(collection: Collection) -> set[str]:
    return {str(s.number) for s in collection.stats().segments}


def builders(server: LiveServer) -> Iterator[int]:
    assert server.process is not None
    for pid in descendants(server.process.pid):
        if b"multiprocessing.spawn" in command_of(pid):
            yield pid


def test_killed_builder_begins_again(make_server: MakeServer) -> None:
    server = make_server(**GRAPHS, storage__build_threads=1)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = made(12_000)
        put(collection, vectors)
        wait_until(lambda: any(b.phase == "insert" for b in collection.stats().builds))
        for pid in builders(server):
            os.kill(pid, signal.SIGKILL)
        assert collection.search(vectors[3]).hits[0].id == "p3"
        collection.upsert([{"id": "late", "vector": vectors[0]}])
        wait_until(lambda: settled(collection), timeout_s=60)
        assert recall(collection, vectors, np.ones(len(vectors), np.bool_), 50) >= 0.95


@pytest.fixture(scope="module")
def with_a_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a stopped server: a graph that has grown, with dead rows."""
    settings = {"embed.enabled": "false"}
    settings |= {name.replace("__", "."): str(value) for name, value in GRAPHS.items()}
    server = LiveServer(tmp_path_factory.mktemp("graph") / "data", dict(settings)).start()
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = made(2_600)
        put(collection, vectors[:2_000])
        collection.compact()
        collection.delete([f"p{i}" for i in range(0, 100)])
        put(collection, vectors[2_000:], 2_000)
        wait_until(lambda: settled(collection, segments=1))
    assert server.stop() == 0
    return server.data


@pytest.mark.parametrize("array", ["links0-0", "upper-rows-0", "upper-links-0", "dead"])
@pytest.mark.parametrize("damage", ["flipped", "torn", "gone"])
def test_damaged_graph_is_quarantined_and_rebuilt(
    make_server: MakeServer, with_a_graph: Path, tmp_path: Path, array: str, damage: str
) -> None:
    data = shutil.copytree(with_a_graph, tmp_path / "data")
    (file,) = data.glob(f"collections/*/segments/*/{array}.npy")
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(content[: len(content) * 2 // 3])
    else:
        for at in range(128, len(content), 7):
            content[at] ^= 0xA5
        file.write_bytes(content)
    server = make_server(**GRAPHS)
    with server.client() as client:
        collection = client.collection("c")
        collection.count()  # the first use opens the collection
        vectors, live = made(2_600), np.arange(2_600) >= 100
        wait_until(lambda: list(server.data.glob("collections/*/quarantine/*")))
        wait_until(lambda: settled(collection))
        assert not any(s.quarantined for s in collection.stats().segments)
        assert recall(collection, vectors, live) >= 0.95


def test_damaged_base_is_not_grown_from(make_server: MakeServer) -> None:
    server = make_server(**GRAPHS)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = made(4_000)
        put(collection, vectors[:2_000])
        collection.compact()
        (file,) = server.data.glob("collections/*/segments/*/links0-0.npy")
        with file.open("r+b") as content:  # in place: the server has it mapped
            content.seek(2_000)
            content.write(os.urandom(20_000))
        assert len(collection.search(vectors[0], k=K)) == K  # worse, but alive and sound
        put(collection, vectors[2_000:], 2_000)
        wait_until(lambda: settled(collection, segments=1))
        assert recall(collection, vectors, np.ones(4_000, np.bool_)) >= 0.95
