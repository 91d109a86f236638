"""Readers of a store that were killed, and a map that grows below those that live."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import metrics
from vecdb.database import READERS_INTERVAL_S

pytestmark = pytest.mark.takes_turns

READER = """
import lmdb, sys, time
with lmdb.open(sys.argv[1], readonly=True, max_dbs=16) as environment, environment.begin():
    print("reading", flush=True)
    time.sleep(600)
"""


def store(server: LiveServer) -> Path:
    (found,) = server.data.glob("collections/*/store")
    return found


def read_and_die(server: LiveServer) -> int:
    """Have a process die in a read transaction; return its id, which its slot still has."""
    command = [sys.executable, "-c", READER, str(store(server))]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    with reader.stdout:
        assert reader.stdout.readline() == b"reading\n"
        reader.send_signal(signal.SIGKILL)
        reader.wait()
    assert holds_slot(server, reader.pid)
    return reader.pid


def holds_slot(server: LiveServer, pid: int) -> bool:
    with lmdb.open(str(store(server)), readonly=True, max_dbs=16) as environment:
        return any(line.split()[0] == str(pid) for line in environment.readers().splitlines()[1:])


def test_slots_of_killed_readers_are_freed(make_server: MakeServer) -> None:
    server = make_server()
    with server.client() as client:
        points = client.create_collection("c", dim=2)
        points.upsert([{"id": "a", "vector": [1, 1]}])
        pid = read_and_die(server)  # the timer finds it
        wait_until(lambda: not holds_slot(server, pid), READERS_INTERVAL_S + 30)
        pid = read_and_die(server)  # the next start finds it
        assert server.stop() == 0
        server.listen = server.address
        server.start()
        assert points.count() == 1
        assert not holds_slot(server, pid)


def test_the_map_grows_while_others_read(make_server: MakeServer) -> None:
    server = make_server(server__workers=2, storage__map_bytes=1 << 20)
    failed: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        try:
            with server.client() as client:
                points = client.collection("c")
                while not over.is_set():
                    points.search(np.ones(64), k=3)
                    points.count()
        except BaseException as error:
            failed.append(error)

    with server.client() as client:
        points = client.create_collection("c", dim=64)
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        vectors = np.random.default_rng(1).normal(size=(500, 64)).astype(np.float32)
        for number in range(20):
            points.upsert(ids=[f"{number}-{at}" for at in range(500)], vectors=vectors)
            assert points.count() == 500 * (number + 1)
        over.set()
        for reader in readers:
            reader.join(60)
        assert failed == []
        stats = points.stats()
        assert stats.map_bytes > stats.store_bytes > 1 << 20
        assert metrics(server)["vecdb_store_map_bytes"] >= stats.map_bytes
