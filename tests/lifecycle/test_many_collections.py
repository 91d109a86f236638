"""Ten thousand collections on a node: none is opened at start-up, any answers at once.

VECDB_TEST_COLLECTIONS says how many; `make lifecycle` takes 10,000. Times are of processors where
they can be, since the machine has other work too.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.live import LiveServer, children
from vecdb_client import Client

pytestmark = pytest.mark.takes_turns

COLLECTIONS = int(os.environ.get("VECDB_TEST_COLLECTIONS", "1000"))
OPEN = 64
POINTS, DIM = 3, 8
START_S, FIRST_QUERY_S = 2.0, 0.050
MEMORY_BYTES = 400 << 20
"""Of the server with OPEN collections open, over what it takes with none."""
FILES_EACH = 4
"""A store's data and lock files, and some to spare: there are no segments of three points."""


def name(number: int) -> str:
    return f"c{number:05}"


def matrix(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(POINTS, DIM)).astype("<f4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, where there is one: making a collection is mostly waiting for a disk."""
    memory = Path(os.environ.get("VECDB_TEST_FOLDER", "/dev/shm"))
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("crowd")
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def crowd(folder: Path) -> Iterator[LiveServer]:
    """A node that was restarted with all of its collections."""
    settings = {
        "embed.enabled": "false",
        "storage.open_collections": OPEN,
        "limits.collections": COLLECTIONS + 1,
    }
    server = LiveServer(folder / "data", settings).start()
    with server.client() as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: fill(client, number), range(COLLECTIONS)))
    assert server.stop() == 0
    yield server.start()
    assert server.stop() == 0


def fill(client: Client, number: int) -> None:
    made = client.create_collection(name(number), dim=DIM)
    made.upsert(ids=[f"p{n}" for n in range(POINTS)], vectors=matrix(number))


def pid(server: LiveServer) -> int:
    assert server.process is not None
    return server.process.pid


def files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def memory_bytes(process: int) -> int:
    """Return the memory that is this process's own: pages of files may go at any time."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) << 10


def spent_s(process: int) -> float:
    """Return the seconds of processors that a process took so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_start_does_not_depend_on_them(
    crowd: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    took = spent_s(pid(crowd))
    bare = LiveServer(tmp_path_factory.mktemp("bare") / "data", {"embed.enabled": "false"}).start()
    alone = spent_s(pid(bare))
    assert bare.stop() == 0
    print(f"start: {took:.2f} s of a processor, {alone:.2f} s without collections")
    assert took - alone < START_S / 2  # loading Python and gRPC is the machine's part


def test_the_first_query_of_any_is_quick(crowd: LiveServer) -> None:
    files_before, memory_before = files(pid(crowd)), memory_bytes(pid(crowd))
    chosen = random.Random(7).sample(range(COLLECTIONS), min(COLLECTIONS, 1000))
    took: list[float] = []
    with crowd.client() as client:
        client.health()
        for number in chosen:
            query = matrix(number)[1]
            began = time.perf_counter()
            result = client.collection(name(number)).search(query, k=1)
            took.append(time.perf_counter() - began)
            assert [hit.id for hit in result.hits] == ["p1"]
    took.sort()
    print(f"{len(took)} first queries: p50 {took[len(took) // 2]:.4f} s, max {took[-1]:.4f} s")
    assert took[len(took) // 2] < FIRST_QUERY_S, took
    grown = memory_bytes(pid(crowd)) - memory_before
    print(f"files {files_before} to {files(pid(crowd))}, memory + {grown >> 20} MiB")
    assert files(pid(crowd)) - files_before <= OPEN * FILES_EACH
    assert grown < MEMORY_BYTES


def test_they_are_all_listed(crowd: LiveServer) -> None:
    with crowd.client() as client:
        assert [info.name for info in client.list_collections()] == [
            name(number) for number in range(COLLECTIONS)
        ]
    assert not children(pid(crowd))
