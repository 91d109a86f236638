"""Files that are damaged, below a server that stands and one that runs: no crash loop."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import ask, metrics, whole
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb_client import Client, Collection, DataLoss, VecdbError

pytestmark = pytest.mark.takes_turns

DIM = 16
POINTS = 1_000
GRAPH = {"storage__tail_points": 128, "storage__graph_points": 512}


def torn(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def out_of_range(content: bytes, rng: random.Random) -> bytes:
    """All but the array's head is 0xff: links to rows that are not there, NaN, and the like."""
    return content[:128] + b"\xff" * (len(content) - 128) if len(content) > 128 else b"\xff" * 9


def garbage(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(content))


DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [torn, flipped, out_of_range, garbage]


def filled(client: Client, name: str = "c") -> tuple[Collection, np.ndarray]:
    collection = client.create_collection(name, dim=DIM, metric="euclid")
    vectors = np.random.default_rng(2).normal(size=(POINTS, DIM)).astype(np.float32)
    payloads = [{"n": n, "word": f"w{n % 5}"} for n in range(POINTS)]
    collection.upsert(ids=list(map(str, range(POINTS))), vectors=vectors, payloads=payloads)
    wait_until(lambda: sound(collection) and any(s.graph for s in collection.stats().segments))
    return collection, vectors


def sound(collection: Collection) -> bool:
    stats = collection.stats()
    small = stats.tail_points < GRAPH["storage__tail_points"]
    return small and not stats.builds and not any(s.quarantined for s in stats.segments)


def files(server: LiveServer) -> list[Path]:
    found = [
        path
        for path in server.data.glob("collections/*/segments/*/*")
        if path.parent.name.isdecimal() and path.stat().st_size
    ]
    return sorted(found, key=lambda path: (path.name, path.parent.name))


def assert_finds(collection: Collection, vectors: np.ndarray) -> None:
    for at in range(0, POINTS, 300):
        nearest = np.sort(np.linalg.norm(vectors - vectors[at], axis=1))[:5]
        found = collection.search(vectors[at], k=5, exact=True)
        np.testing.assert_allclose([hit.distance for hit in found], nearest, atol=1e-4)
        assert len(collection.search(vectors[at], k=20)) == 20
    assert collection.count() == POINTS


def test_each_file_of_a_segment_damaged_before_a_start(make_server: MakeServer) -> None:
    server = make_server(**GRAPH)
    with server.client(timeout_s=60) as client:
        collections = [filled(client, f"c{at}") for at in range(10)]
        assert server.stop() == 0
        rng = random.Random(5)
        names = sorted({path.name for path in files(server)})
        assert len(names) > 5
        assert "manifest.json" in names
        # Of every folder of a segment another file: damage shows one by one.
        folders = sorted({path.parent for path in files(server)})
        assert len(folders) >= len(names)
        server.listen = server.address
        for turn, name in enumerate(names):
            victim = next(folder / name for folder in folders if (folder / name).exists())
            folders.remove(victim.parent)
            victim.write_bytes(DAMAGES[turn % len(DAMAGES)](victim.read_bytes(), rng))
        server.start()
        for collection, vectors in collections:
            assert_finds(collection, vectors)
            wait_until(lambda collection=collection: sound(collection), 60)
            assert_finds(collection, vectors)
        shelved = "collections/*/quarantine/*"
        wait_until(lambda: len(list(server.data.glob(shelved))) == len(names), 60)
        log = server.log.read_text()
        assert log.count("quarantined") + log.count("searched in memory") >= len(names)
        assert "Traceback" not in log


def test_files_damaged_below_a_server_that_runs(make_server: MakeServer) -> None:
    server = make_server(server__workers=2, **GRAPH)
    rng = random.Random(6)
    damages = [torn, out_of_range, garbage]
    with server.client(timeout_s=60) as client:
        collections = [filled(client, damage.__name__) for damage in damages]
        for each in collections:
            assert_finds(*each)
        for at, path in enumerate(files(server)):
            content = damages[at % 3](path.read_bytes(), rng)
            with path.open("r+b") as file:  # the very file that is mapped
                file.write(content)
                file.truncate(len(content))
        for collection, vectors in collections:
            ends = [how(collection, vectors[at]) for at in range(20)]  # wrong answers at worst
            assert set(ends) <= {"OK", "UNAVAILABLE", "DATA_LOSS"}
        # Whoever opens them next finds out. That may be the node's next start.
        wait_until(lambda: whole(server), 60)
        restarts = {name: count for name, count in metrics(server).items() if "restarts" in name}
        assert sum(restarts.values()) <= 6, "a crash loop"
        assert server.stop() == 0
        server.listen = server.address
        server.start()
        for collection, vectors in collections:
            wait_until(lambda collection=collection: sound(collection), 60)
            assert_finds(collection, vectors)
        assert ask(server, "/readyz")[0] == 200


def how(collection: Collection, query: np.ndarray) -> str:
    try:
        collection.search(query, k=5)
        return "OK"
    except VecdbError as error:
        return error.code


BREAKS: dict[str, Callable[[Path], object]] = {
    "garbage": lambda file: file.write_bytes(os.urandom(64 << 10)),
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "gone": lambda file: file.unlink(),
}


def test_stores_that_cannot_be_read(make_server: MakeServer) -> None:
    server = make_server(server__workers=2)
    with server.client() as client:
        for name in ["good", *BREAKS]:
            points = client.create_collection(name.replace(" ", "-"), dim=2)
            points.upsert([{"id": str(n), "vector": [1, n]} for n in range(300)])
    assert server.stop() == 0
    for info, destroy in BREAKS.items():
        destroy(store_of(server, info.replace(" ", "-")) / "data.mdb")
    server.start()
    with server.client() as client:
        assert client.collection("good").count() == 300
        for name in BREAKS:
            with pytest.raises(DataLoss, match="is quarantined"):
                client.collection(name.replace(" ", "-")).count()
        # A worker tells the writer, which lists them.
        expected = {name.replace(" ", "-") for name in BREAKS}
        wait_until(lambda: set(quarantined(client)) == expected)
        assert all(quarantined(client).values())
        client.collection("good").upsert([{"id": "new", "vector": [1, 1]}])
        assert client.health() == "SERVING"
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def quarantined(client: Client) -> dict[str, str]:
    return {
        info.name: info.quarantine_reason for info in client.list_collections() if info.quarantined
    }


def store_of(server: LiveServer, name: str) -> Path:
    """Return the folder of a collection's store. The server has been stopped."""
    database = Database(server.data, StorageConfig(), LimitsConfig(), read_only=True)
    try:
        with database.collection(name) as collection:
            return collection.folder / "store"
    finally:
        database.close()
