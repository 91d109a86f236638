"""Segments: built in the background, published whole, quarantined and rebuilt when damaged."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, descendants, wait_until
from vecdb.collection.collection import Collection as StoredCollection
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.storage.writer import Writer
from vecdb.types import Metric, Op, Put, Schema, Space
from vecdb.write.prepare import prepare
from vecdb_client import Collection, F

pytestmark = pytest.mark.takes_turns

DIM = 24
SMALL = {"storage__tail_points": 256, "storage__segment_points": 4096}


def fill(collection: Collection, n: int, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    collection.upsert(
        ids=[f"p{i}" for i in range(n)],
        vectors=vectors,
        payloads=[{"n": i, "odd": bool(i % 2), "tag": f"t{i % 7}"} for i in range(n)],
    )
    return vectors


def built(collection: Collection) -> bool:
    stats = collection.stats()
    return bool(stats.segments) and stats.tail_points < SMALL["storage__tail_points"]


def assert_exact(collection: Collection, vectors: np.ndarray, queries: int = 10) -> None:
    """Every answer is that of brute force over all of the vectors."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rng = np.random.default_rng(5)
    for query in rng.normal(size=(queries, DIM)).astype(np.float32):
        scores = unit @ (query / np.linalg.norm(query))
        best = np.sort(scores)[::-1][:10]
        result = collection.search(query, k=10)
        assert [hit.score for hit in result] == pytest.approx(best.tolist(), abs=1e-5)
        odd = np.sort(scores[1::2])[::-1][:10]
        filtered = collection.search(query, k=10, filter=F("odd") == True)  # noqa: E712
        assert [hit.score for hit in filtered] == pytest.approx(odd.tolist(), abs=1e-5)
        assert filtered.matched == len(vectors) // 2


def folders(server: LiveServer) -> list[Path]:
    return sorted(
        path
        for path in server.data.glob("collections/*/segments/*")
        if path.name.isdecimal() and (path / "manifest.json").exists()
    )


def listed(server: LiveServer, collection: Collection) -> list[Path]:
    numbers = {segment.number for segment in collection.stats().segments if segment.rows}
    return [path for path in folders(server) if int(path.name) in numbers]


def test_tail_becomes_segments_and_segments_merge(make_server: MakeServer) -> None:
    server = make_server(**SMALL)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = np.concatenate([fill(collection, 100)])
        assert_exact(collection, vectors)
        assert collection.stats().tail_points == 100
        vectors = fill(collection, 6000)
        wait_until(lambda: built(collection))
        assert_exact(collection, vectors)
        collection.delete([f"p{i}" for i in range(3000)])
        assert collection.count() == 3000
        result = collection.search(vectors[10], k=50)
        assert all(hit.payload["n"] >= 3000 for hit in result)
        # Segments that are mostly dead are built again without their dead.
        wait_until(lambda: sum(s.dead for s in collection.stats().segments) < 1000)
        assert collection.count(F("n") >= 0) == 3000


@pytest.mark.parametrize(
    ("array", "damage"),
    [
        ("vectors-0.npy", "torn"),
        ("codes-0.npy", "torn"),
        ("slots.npy", "flipped"),
        ("vectors-0.npy", "flipped"),
        ("codes-0.npy", "flipped"),
        ("bounds-0.npy", "flipped"),
        ("fields.npy", "flipped"),
        ("fields.npy", "gone"),
        ("manifest.json", "flipped"),
        ("manifest.json", "torn"),
        ("manifest.json", "gone"),
    ],
)
def test_damaged_segment_is_quarantined_and_rebuilt(
    make_server: MakeServer, array: str, damage: str
) -> None:
    server = make_server(**SMALL)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = fill(collection, 2000)
        wait_until(lambda: built(collection))
        victim = listed(server, collection)[0]
    assert server.stop() == 0
    file = victim / array
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(content[: len(content) * 2 // 3])
    else:
        content[len(content) * 3 // 4] ^= 0x10
        file.write_bytes(content)
    server.start()
    with server.client() as client:
        collection = client.collection("c")
        collection.count()  # the first use opens the collection
        # Rebuilt under another number, and the damaged one is kept for a look.
        shelf = victim.parent.parent / "quarantine"
        wait_until(shelf.exists)
        wait_until(lambda: not any(s.quarantined for s in collection.stats().segments))
        assert any(path.name.startswith(f"{victim.name}-") for path in shelf.iterdir())
        assert_exact(collection, vectors)
        assert victim not in listed(server, collection)
    assert f"segment {victim.name}" in server.log.read_text()


def test_search_is_exact_while_a_segment_is_damaged(make_server: MakeServer) -> None:
    server = make_server(**SMALL)
    with server.client() as client:
        vectors = fill(client.create_collection("c", dim=DIM), 2000)
        collection = client.collection("c")
        wait_until(lambda: built(collection))
        victims = listed(server, collection)
    assert server.stop() == 0
    for victim in victims:
        (victim / "codes-0.npy").unlink()
    server.start()
    with server.client() as client:
        assert_exact(client.collection("c"), vectors)


def test_deleting_all_derived_files_loses_nothing(make_server: MakeServer) -> None:
    server = make_server(**SMALL)
    with server.client() as client:
        vectors = fill(client.create_collection("c", dim=DIM), 1500)
        wait_until(lambda: built(client.collection("c")))
        gone = folders(server)
    assert server.stop() == 0
    for folder in gone:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    server.start()
    with server.client() as client:
        collection = client.collection("c")
        assert_exact(collection, vectors)
        wait_until(lambda: not any(s.quarantined for s in collection.stats().segments))
        wait_until(lambda: len(listed(server, collection)) > 0)
        assert_exact(collection, vectors)


def test_leftovers_of_a_dead_build_are_swept(make_server: MakeServer) -> None:
    server = make_server(**SMALL)
    with server.client() as client:
        vectors = fill(client.create_collection("c", dim=DIM), 600)
        wait_until(lambda: built(client.collection("c")))
        parent = folders(server)[0].parent
    assert server.stop() == 0
    (parent / "tmp-77-123").mkdir()
    (parent / "tmp-77-123" / "slots.npy").write_bytes(b"half")
    (parent / "9999").mkdir()
    server.start()
    with server.client() as client:
        assert_exact(client.collection("c"), vectors)
    assert not (parent / "tmp-77-123").exists()
    assert not (parent / "9999").exists()


def test_a_killed_builder_is_started_again(make_server: MakeServer) -> None:
    server = make_server(**SMALL)
    assert server.process is not None
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        vectors = fill(collection, 600)
        wait_until(lambda: built(collection))
        for _ in range(3):
            for child in descendants(server.process.pid):
                os.kill(child, signal.SIGKILL)
            vectors = fill(collection, 1200, seed=_)
            wait_until(lambda: built(collection))
            assert_exact(collection, vectors)


def test_manifest_describes_the_segment(make_server: MakeServer) -> None:
    server = make_server(**SMALL)
    with server.client() as client:
        collection = client.create_collection("c", dim=DIM)
        fill(collection, 300)
        wait_until(lambda: built(collection))
        folder = listed(server, collection)[0]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["rows"] == len(np.load(folder / "slots.npy"))
    assert manifest["arrays"]["vectors-0"]["shape"] == [manifest["rows"], DIM]
    assert manifest["fields"].keys() == {"n", "odd", "tag"}


def test_damage_is_noticed_again_after_the_collection_was_closed(tmp_path: Path) -> None:
    config = StorageConfig(map_bytes=1 << 20, tail_points=16)
    database = Database(tmp_path / "data", config, LimitsConfig())
    schema = Schema((Space("", 2, Metric.DOT),))
    database.create("c", schema)
    vector = np.ones(2, "<f4").tobytes()
    ops: list[Op] = [Put(f"p{n}", b"", {"": vector}) for n in range(40)]
    with database.collection("c") as opened:
        opened.write(prepare(ops, schema, LimitsConfig())).result()
        wait_until(lambda: opened.stats().segments)
        folder = opened.folder
    database.close()
    (file,) = folder.glob("segments/*/codes-0.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    verified: set[tuple[str, int]] = set()
    writer = Writer(queue_jobs_max=8)
    for _ in range(2):  # closed before the segment could be built again
        collection = StoredCollection(folder, config, writer, verified)
        collection._upkeep._verify_next()
        with collection.snapshot():
            assert [s.quarantined for s in collection.stats().segments] != [""]
        collection.close()
    assert not verified
    writer.close()
