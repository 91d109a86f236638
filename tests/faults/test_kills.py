"""kill -9 of the whole node while segments are built, published and merged."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, alive, descendants, wait_until
from vecdb_client import NO_RETRIES, VecdbError

pytestmark = pytest.mark.takes_turns

DIM = 8
ROUNDS = 3
SMALL = {"storage__tail_points": 32, "storage__graph_points": 128, "storage__segment_points": 1_024}


def write(server: LiveServer, first: int, acknowledged: dict[str, np.ndarray]) -> None:
    """Write until the server is gone."""
    rng = np.random.default_rng(first)
    with server.client(retries=NO_RETRIES) as client:
        for number in range(first, first + 1_000):
            vectors = rng.normal(size=(20, DIM)).astype(np.float32)
            ids = [f"{number}-{at}" for at in range(20)]
            try:
                client.collection("c").upsert(ids=ids, vectors=vectors)
            except VecdbError:
                return
            acknowledged.update(zip(ids, vectors, strict=True))


def test_killed_while_segments_are_made(make_server: MakeServer) -> None:
    server = make_server(server__workers=2, **SMALL)
    with server.client() as client:
        client.create_collection("c", dim=DIM, metric="euclid")
    rng = random.Random(3)
    acknowledged: dict[str, np.ndarray] = {}
    for turn in range(ROUNDS):
        assert server.process is not None
        writer = threading.Thread(target=write, args=(server, turn * 1_000, acknowledged))
        writer.start()
        threading.Event().wait(rng.uniform(0.5, 2.0))
        those = descendants(server.process.pid)
        server.kill()
        writer.join(60)
        wait_until(lambda those=those: not any(alive(pid) for pid in those), 30)
        server.start()
        check(server, acknowledged)
    assert len(acknowledged) > 300
    wait_until(lambda: not leftovers(server))
    assert server.stop() == 0
    command = [sys.executable, "-m", "vecdb", "check", "--data", str(server.data)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def check(server: LiveServer, acknowledged: dict[str, np.ndarray]) -> None:
    """All that was acknowledged is there, and search finds what the store holds."""
    with server.client() as client:
        collection = client.collection("c")
        points = list(collection.list(with_vectors=True))
        held = {point.id: np.asarray(point.vector, np.float32) for point in points}
        assert acknowledged.keys() <= held.keys()
        assert all(np.array_equal(held[name], acknowledged[name]) for name in acknowledged)
        acknowledged.update(held)  # a batch whose answer was lost
        matrix = np.array(list(held.values()))
        for query in np.random.default_rng(1).normal(size=(5, DIM)).astype(np.float32):
            found = collection.search(query, k=10, exact=True)
            nearest = np.sort(np.linalg.norm(matrix - query, axis=1))[:10]
            np.testing.assert_allclose([hit.distance for hit in found], nearest, atol=1e-4)
            assert len(collection.search(query, k=10)) == 10


def leftovers(server: LiveServer) -> list[Path]:
    """Return folders that are no segment: of builds that did not come to their end."""
    return [
        path
        for path in server.data.glob("collections/*/segments/*")
        if not (path.name.isdecimal() and (path / "manifest.json").exists())
    ]
