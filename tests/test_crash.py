"""kill -9 in a loop: what was acknowledged is there, what was not is there whole or not at all."""

from __future__ import annotations

import os
import random
import signal
import threading
import urllib.request
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, alive, descendants, wait_until
from vecdb_client import NO_RETRIES, Client, VecdbError

pytestmark = pytest.mark.takes_turns

DIM = 16
BATCH = 40
ROUNDS = 8


@dataclass
class Writer:
    """Writes batches of its own ids until the server dies; remembers what was acknowledged."""

    number: int
    acknowledged: dict[str, tuple[int, np.ndarray]] = field(default_factory=dict)
    unclear: list[tuple[list[str], int]] = field(default_factory=list)
    generation: int = 0

    def run(self, address: str, written: threading.Semaphore) -> None:
        rng = np.random.default_rng((self.number, self.generation))
        with Client(address, retries=NO_RETRIES) as client:
            collection = client.collection("c")
            while True:
                self.generation += 1
                # Some ids are new, some are written again: updates must survive as well.
                first = int(rng.integers(0, self.generation * BATCH // 2 + 1))
                ids = [f"w{self.number}-{first + i}" for i in range(BATCH)]
                vectors = rng.normal(size=(BATCH, DIM)).astype(np.float32)
                payloads = [{"generation": self.generation}] * BATCH
                try:
                    collection.upsert(
                        ids=ids, vectors=vectors, payloads=payloads, batch_size=BATCH, parallel=1
                    )
                except VecdbError:
                    self.unclear.append((ids, self.generation))
                    return
                for name, vector in zip(ids, vectors, strict=True):
                    self.acknowledged[name] = (self.generation, vector)
                written.release()


def check(server: LiveServer, writers: list[Writer]) -> None:
    with server.client() as client:
        collection = client.collection("c")
        for writer in writers:
            names = list(writer.acknowledged)
            found = collection.get(names, with_vectors=True)
            assert not found.missing
            assert not found.damaged
            stored = {point.id: point for point in found.points}
            ids, unclear = writer.unclear[-1]
            now = {p.id: p.payload["generation"] for p in collection.get(ids).points}
            applied = [name for name in ids if now.get(name) == unclear]
            assert len(applied) in (0, BATCH), "a batch was applied in part"
            for name, (generation, vector) in writer.acknowledged.items():
                if name in applied:
                    continue
                assert stored[name].payload == {"generation": generation}
                assert np.array_equal(np.array(stored[name].vector, np.float32), vector)
            for name in applied:
                again = collection.get([name], with_vectors=True).points[0]
                writer.acknowledged[name] = (unclear, np.array(again.vector, np.float32))
        # Search agrees with the store: every point is found, and found as itself.
        everything = collection.count()
        assert everything == sum(len(writer.acknowledged) for writer in writers)
        sample = random.sample(names, 20)
        for name in sample:
            vector = writers[-1].acknowledged[name][1]
            result = collection.search(vector, k=3)
            assert result.complete
            assert result.matched == everything
            assert name in [hit.id for hit in result if hit.score > 0.9999]


def ready(server: LiveServer) -> bool:
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as reply:
        body = reply.read().decode()
    return all(f'vecdb_processes{{role="{role}"}} 0' not in body for role in ("writer", "worker"))


def kill_one(server: LiveServer, rng: random.Random) -> None:
    """kill -9 of a process of the node, of whatever kind; those left go on."""
    assert server.process is not None
    try:
        os.kill(rng.choice(descendants(server.process.pid)), signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile


@pytest.mark.parametrize(
    ("workers", "whole"), [(1, True), (2, True), (2, False)], ids=["one", "several", "one of them"]
)
def test_acknowledged_points_survive_kill(
    make_server: MakeServer, workers: int, whole: bool
) -> None:
    server = make_server(
        server__workers=workers, storage__tail_points=512, storage__segment_points=8192
    )
    with server.client() as client:
        client.create_collection("c", dim=DIM)
    writers = [Writer(n) for n in range(3)]
    rng = random.Random(7)
    for _ in range(ROUNDS if whole else ROUNDS // 2):
        wait_until(lambda: ready(server), 60)
        written = threading.Semaphore(0)
        threads = [
            threading.Thread(target=writer.run, args=(server.address, written))
            for writer in writers
        ]
        for thread in threads:
            thread.start()
        for _ in range(rng.randint(5, 60)):
            assert written.acquire(timeout=60)
        if whole:
            server.kill()
        else:
            while any(thread.is_alive() for thread in threads):  # those that were cut off
                kill_one(server, rng)
                threading.Event().wait(rng.random())
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if whole:
            server.start()
        else:
            # Processes killed again and again come back later than a client is patient.
            wait_until(lambda: ready(server), 120)
            # Of a write whose worker was killed the writer may be about to finish the commit.
            with server.client(timeout_s=120) as client:
                client.collection("c").delete("what comes after it")
        check(server, writers)


def test_children_end_with_a_killed_server(make_server: MakeServer) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    server = make_server(embed=True, storage__tail_points=64)
    assert server.process is not None
    with server.client() as client:
        client.wait_ready(60, service="vecdb.v1.Models")
        collection = client.create_collection("c", dim=4)
        collection.upsert(ids=[str(i) for i in range(200)], vectors=np.eye(200, 4) + 1)
        wait_until(lambda: collection.stats().segments)
    children = descendants(server.process.pid)
    assert len(children) >= 2, "an embedding worker and a builder were running"
    server.kill()
    for child in children:
        wait_until(lambda child=child: not alive(child))
