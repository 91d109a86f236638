"""kill -9 while names change and collections are emptied: each change is done, or never was."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import REPOSITORY
from tests.test_names import SCHEMA, folders, listed, write
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.ops.check import check_database
from vecdb_client import NO_RETRIES, Client, VecdbError

pytestmark = pytest.mark.takes_turns

DIM = 4
ROUNDS = 5

# --- at every step of a truncation

DYING = """
import os, shutil, signal, sys
from pathlib import Path
from vecdb import database as names, folders
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.storage.catalog import Catalog
from vecdb.storage.store import Store

database = names.Database(Path(sys.argv[1]), StorageConfig(map_bytes=1 << 20), LimitsConfig())
left = int(sys.argv[2])

def dying(function):
    def step(*given, **named):
        global left
        result = function(*given, **named)
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return step

Store.create = staticmethod(dying(Store.create))
Store.close = dying(Store.close)
Catalog.apply = dying(Catalog.apply)
Catalog.removed = dying(Catalog.removed)
folders.sync_folder = dying(folders.sync_folder)
names.shutil.rmtree = dying(shutil.rmtree)
print(database.truncate("a").seq)
"""
STEPS_MAX = 20


def prepare_data(data: Path) -> None:
    database = Database(data, StorageConfig(map_bytes=1 << 20), LimitsConfig())
    database.create("a", SCHEMA, metadata=b'{"x":1}')
    database.set_aliases([("live", "a")])
    write(database, "a", ["x", "y"], key="k")
    database.close()


def test_killed_at_any_step_a_truncation_is_done_or_never_was(tmp_path: Path) -> None:
    seen: list[bool] = []
    for steps in range(STEPS_MAX):
        data = tmp_path / f"data-{steps}"
        prepare_data(data)
        ended = subprocess.run(
            [sys.executable, "-c", DYING, str(data), str(steps)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        done = ended.returncode == 0
        assert done or ended.returncode == -signal.SIGKILL, ended.stderr
        database = Database(data, StorageConfig(map_bytes=1 << 20), LimitsConfig())
        truncated = listed(database, "live") == []
        assert truncated or listed(database, "live") == ["x", "y"]
        assert truncated or not done
        assert len(folders(database)) == 1
        info = database.info("a")
        assert (info.metadata, info.aliases) == (b'{"x":1}', ("live",))
        assert write(database, "a", ["x", "y"], key="k").replayed
        assert write(database, "a", ["z"]).commit_seq == (3 if truncated else 2)
        database.close()
        assert [report.findings for report in check_database(data, lambda *_: None)] == [[]]
        seen.append(truncated)
        if done:
            break
    assert seen == sorted(seen), "before its commit never, after it always"
    assert seen.index(True) >= 5
    assert len(seen) - seen.index(True) >= 3


# --- a live server


class Emptier:
    """Fills and empties a collection, moves two aliases; knows what was acknowledged."""

    def __init__(self) -> None:
        self.states = [set[str]()]
        self.aliases = [{"one": "c", "two": "d"}]
        self.seq = 0
        self.number = 0

    def run(self, address: str, rng: random.Random, done: threading.Semaphore) -> None:
        with Client(address, retries=NO_RETRIES) as client:
            collection = client.collection("c")
            while True:
                try:
                    self.step(client, collection, rng)
                except VecdbError:
                    return
                done.release()

    def step(self, client: Client, collection, rng: random.Random) -> None:
        """Do one thing; while it is not acknowledged, both the old state and the new may be."""
        what = rng.randrange(3)
        if what == 0:
            now = self.aliases[-1]
            self.aliases = [now, {"one": now["two"], "two": now["one"]}]
            client.set_aliases(self.aliases[-1])
            self.aliases = self.aliases[-1:]
            return
        before = self.states[-1]
        if what == 1:
            self.states = [before, set()]
            seq = client.truncate_collection("c").commit_seq
        else:
            self.number += 1
            names = {f"{self.number}-{n}" for n in range(5)}
            self.states = [before, before | names]
            vectors = np.ones((5, DIM), np.float32)
            seq = collection.upsert(ids=sorted(names), vectors=vectors).commit_seq
        assert seq > self.seq
        self.seq = seq
        self.states = self.states[-1:]

    def check(self, client: Client) -> None:
        aliases = client.list_aliases()
        assert aliases in self.aliases
        self.aliases = [aliases]
        collection = client.collection("c")
        there = {point.id for point in collection.list()}
        assert there in self.states
        assert collection.count() == len(there)
        assert collection.search([1] * DIM, k=1000).matched == len(there)
        self.states = [there]
        self.seq = max(self.seq, collection.stats().applied_seq)
        assert client.collection("one").info().name == aliases["one"]


@pytest.mark.parametrize("workers", [1, 2], ids=["one", "several"])
def test_acknowledged_changes_survive_kill(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers, storage__map_bytes=1 << 20)
    emptier = Emptier()
    with server.client() as client:
        for name in ("c", "d"):
            client.create_collection(name, dim=DIM)
        client.set_aliases(dict(emptier.aliases[0]))
    rng = random.Random(3)
    for _ in range(ROUNDS):
        done = threading.Semaphore(0)
        thread = threading.Thread(target=emptier.run, args=(server.address, rng, done))
        thread.start()
        for _ in range(rng.randint(5, 60)):
            assert done.acquire(timeout=60)
        server.kill()
        thread.join(60)
        assert not thread.is_alive()
        server.start()
        with server.client() as client:
            emptier.check(client)
        assert len(list((server.data / "collections").iterdir())) == 2
