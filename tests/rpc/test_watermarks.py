"""A node whose memory is all but taken: puts are refused early, the rest goes on, and it heals."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import ask, metrics
from vecdb_client import NO_RETRIES, Collection, MemoryLow, StorageFull, Unavailable

MIB = 1 << 20
DIM = 8_192
BATCH = 50
TAKEN = "vecdb_memory_taken_bytes"


def batch(number: int) -> dict[str, object]:
    vectors = np.random.default_rng(number).normal(size=(BATCH, DIM)).astype(np.float32)
    return {"ids": [f"{number}-{at}" for at in range(BATCH)], "vectors": vectors}


def fill(server: LiveServer, collection: Collection) -> tuple[int, MemoryLow]:
    """Write until it is refused, and told; return how many points were taken, and the refusal."""
    stored = 0
    for number in range(200):
        try:
            collection.upsert(**batch(number))
            stored += BATCH
            collection.search(np.ones(DIM, np.float32), k=1)  # which has them in memory
        except MemoryLow as error:
            # What a request itself takes may be given back again: then there is room for more.
            with contextlib.suppress(AssertionError):
                wait_until(lambda: "error: memory" in readyz(server), timeout_s=2)
                return stored, error
    raise AssertionError("memory does not become low")


def takes(collection: Collection) -> bool:
    try:
        return collection.upsert([{"id": "late", "vector": [1, 2]}]) is not None
    except (MemoryLow, Unavailable):
        return False


def readyz(server: LiveServer) -> str:
    return ask(server, "/readyz")[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_low_memory_refuses_puts_and_heals(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers, storage__tail_points=20_000)
    taken = metrics(server)[TAKEN]
    assert metrics(server)["vecdb_memory_limit_bytes"] > taken > 10 * MIB
    assert "memory" not in readyz(server)
    server.stop()
    # What it takes now, and room for about 1,000 of the vectors below.
    server.settings |= {"limits.memory_bytes": int(taken + 60 * MIB)}
    server.start()
    with server.client(retries=NO_RETRIES) as client:
        small = client.create_collection("small", dim=2)
        small.upsert([{"id": "a", "vector": [1, 2]}])
        large = client.create_collection("large", dim=DIM)
        stored, refused = fill(server, large)
        assert stored > 0
        assert refused.retry_after_s
        assert "limits.memory_bytes" in str(refused)
        # Of the whole node: other collections too, and new ones.
        assert not takes(small)
        with pytest.raises(MemoryLow):
            client.create_collection("another", dim=2)
        # What is read, and what makes room, goes on.
        assert large.count() == stored
        assert small.search([1, 2], k=1)[0].id == "a"
        assert small.delete(["a"]).found == 1
        assert client.health() == "SERVING"
        client.delete_collection("large")
        wait_until(lambda: takes(small), timeout_s=90)
        wait_until(lambda: "error: memory" not in readyz(server))


def test_a_disk_that_is_reserved_is_told(make_server: MakeServer) -> None:
    server = make_server(storage__disk_reserve_bytes=1 << 40)
    with server.client(retries=NO_RETRIES) as client, pytest.raises(StorageFull) as raised:
        client.create_collection("c", dim=2)
    assert raised.value.retry_after_s
    assert "error: disk" in readyz(server)
