"""A disk without a byte left: what needs one is refused, what does not goes on, nobody dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.live import LiveServer, lasting, wait_until
from tests.surroundings import MIB, small_disk
from vecdb_client import NO_RETRIES, Client, StorageFull

DIM = 16
COLLECTIONS = 6


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "data", 64 * MIB) as mounted:
        if not mounted:
            pytest.skip("mounting a small file system needs root and the right to mount")
        yield tmp_path / "data"


def test_no_byte_is_left(disk: Path) -> None:
    settings = {
        "embed.enabled": "false",
        "server.workers": 2,
        "storage.open_collections": 2,  # so that they are closed and opened again all the time
        "storage.disk_reserve_bytes": 4 * MIB,
        "storage.tail_points": 64,
    }
    server = LiveServer(disk, settings).start()
    try:
        with server.client(retries=NO_RETRIES, timeout_s=60) as client:
            vectors = np.random.default_rng(1).normal(size=(200, DIM)).astype(np.float32)
            for number in range(COLLECTIONS):
                points = client.create_collection(f"c{number}", dim=DIM)
                points.upsert(ids=list(map(str, range(200))), vectors=vectors)
            there = lasting(server)
            fill(disk / "ballast")
            for number in range(COLLECTIONS):
                assert_reads_go_on(client, f"c{number}", vectors)
                refused_all(client, number, vectors)
            # Deletes live of what storage.disk_reserve_bytes keeps, which is taken here too.
            with contextlib.suppress(StorageFull):
                client.collection("c0").delete(["0"])
            assert lasting(server) == there
            assert client.health() == "SERVING"
            (disk / "ballast").unlink()
            wait_until(lambda: created(client))
            points = client.collection("c1")
            points.upsert(ids=["new"], vectors=vectors[:1])
            assert points.count() == 201
    finally:
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def fill(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def assert_reads_go_on(client: Client, name: str, vectors: np.ndarray) -> None:
    points = client.collection(name)
    assert points.count() == 200
    assert len(points.search(vectors[3], k=5)) == 5
    assert points.get(["7"]).points


def refused_all(client: Client, number: int, vectors: np.ndarray) -> None:
    """What needs room is refused in words."""
    with pytest.raises(StorageFull):
        client.create_collection(f"more{number}", dim=DIM)
    with pytest.raises(StorageFull):
        client.clone_collection(f"c{number}", f"copy{number}")
    with pytest.raises(StorageFull):
        client.collection(f"c{number}").upsert(ids=["x"] * 1, vectors=vectors[:1])


def created(client: Client) -> bool:
    try:
        client.create_collection("afterwards", dim=DIM, if_not_exists=True)
    except StorageFull:
        return False
    return True
