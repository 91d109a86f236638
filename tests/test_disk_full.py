"""A full disk, on a small file system of its own: writes are refused, nothing is lost, it heals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.live import LiveServer, wait_until
from tests.surroundings import MIB, small_disk
from vecdb_client import NO_RETRIES, Collection, StorageFull

DIM = 64
SERVERS: list[LiveServer] = []  # for the fixture, which must unmount after the server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 12 * MIB) as mounted:
        if not mounted:
            pytest.skip("mounting a small file system needs root and the right to mount")
        yield tmp_path / "disk"
        if SERVERS and SERVERS[-1].process is not None and SERVERS[-1].process.poll() is None:
            SERVERS[-1].stop()


def test_a_full_disk_refuses_writes_and_heals(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(4 * MIB))
    settings = {"embed.enabled": "false", "storage.disk_reserve_bytes": MIB}
    server = LiveServer(disk / "data", settings)
    SERVERS.append(server)
    server.start()
    vectors = np.random.default_rng(1).normal(size=(500, DIM)).astype(np.float32)
    with server.client(retries=NO_RETRIES) as client:
        collection = client.create_collection("c", dim=DIM)
        stored, refused = fill(collection, vectors)
        assert "disk is full" in str(refused)
        assert refused.retry_after_s
        assert stored > 0
        assert collection.count() == stored
        assert len(collection.search(vectors[0], k=5)) == 5
        assert client.health() == "SERVING"
        assert collection.delete([f"0-{i}" for i in range(100)]).found == 100
        # Space comes back: the next writes go through, without a restart.
        ballast.unlink()
        wait_until(lambda: healed(collection, vectors))
        assert collection.count() == stored - 100 + 500
    assert server.stop() == 0
    # And a start on a full disk serves what there is.
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    server.log.unlink()  # room for the fixture's own files
    server.start()
    with server.client() as client:
        assert client.collection("c").count() == stored - 100 + 500
    assert server.stop() == 0


def fill(collection: Collection, vectors: np.ndarray) -> tuple[int, StorageFull]:
    """Write until the disk is full; return how much was acknowledged, and the refusal."""
    for number in range(100):
        try:
            collection.upsert(ids=[f"{number}-{i}" for i in range(500)], vectors=vectors)
        except StorageFull as error:
            return 500 * number, error
    raise AssertionError("the disk does not fill up")


def healed(collection: Collection, vectors: np.ndarray) -> bool:
    try:
        collection.upsert(ids=[f"late-{i}" for i in range(500)], vectors=vectors)
    except StorageFull:
        return False
    return True
