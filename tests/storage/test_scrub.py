"""Overwriting what an LMDB file still holds: the live bytes stay, the others go, and stay gone."""

from __future__ import annotations

import multiprocessing
import random
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.live import REPOSITORY
from vecdb.errors import Corrupt, ReadOnly
from vecdb.storage.environment import Environment
from vecdb.storage.scrub import scrub

pytestmark = pytest.mark.takes_turns

DATABASES = (b"a", b"b")
SIZES = (0, 10, 300, 1_500, 2_100, 4_000, 4_064, 4_065, 9_000, 30_000)
"""Of values: in a leaf beside others, alone in a page of their own, full or not, and in several."""
PAGE = 4_096


def marker(number: int) -> bytes:
    return b"MARK%08d!" % number


def opened(path: Path, *, create: bool = False, read_only: bool = False) -> Environment:
    return Environment(path, DATABASES, read_only=read_only, map_bytes=1 << 24, create=create)


class Kept:
    """An environment, what it must hold, and which markers it held once."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.environment = opened(path, create=True)
        self.data = path / "data.mdb"
        self.held: dict[bytes, dict[bytes, bytes]] = {name: {} for name in DATABASES}
        self.random = random.Random(seed)
        self.made = 0

    def change(self, operations: int, deletes: float) -> None:
        """Commit one transaction of puts, of keys that are there or not, and deletes."""
        chosen = self.random
        with self.environment.begin(write=True) as txn:
            for _ in range(operations):
                name = chosen.choice(DATABASES)
                db, held = self.environment.databases[name], self.held[name]
                known = chosen.choice(list(held)) if held else None
                if known is not None and chosen.random() < deletes:
                    txn.delete(known, db=db)
                    del held[known]
                    continue
                self.made += 1
                key = known if known is not None and chosen.random() < 0.3 else b"k"
                if key == b"k":
                    key = b"%06d" % chosen.randrange(10**6) + marker(self.made)
                value = marker(self.made) + b"x" * chosen.choice(SIZES) + marker(self.made)
                txn.put(key, value, db=db)
                held[key] = value

    def settle(self) -> None:
        """Commit what a scrub needs to have come before it."""
        with self.environment.begin(write=True) as txn:
            for name in DATABASES:
                self.environment.renew(txn, name)
        self.touch()

    def touch(self, times: int = 2) -> None:
        """Commit transactions that only write one value again."""
        for _ in range(times):
            with self.environment.begin(write=True) as txn:
                txn.put(b"touched", b"", db=self.environment.databases[b"a"])
            self.held[b"a"][b"touched"] = b""

    def churn(self) -> None:
        """Fill and empty pages, in whatever memory LMDB made others in before."""
        db = self.environment.databases[b"b"]
        for rows in (300, 40):
            with self.environment.begin(write=True) as txn:
                for row in range(rows):
                    txn.put(b"churn%d" % row, b"y" * (40 + row % 50), db=db)
            with self.environment.begin(write=True) as txn:
                for row in range(rows):
                    txn.delete(b"churn%d" % row, db=db)

    def contents(self) -> dict[bytes, dict[bytes, bytes]]:
        with self.environment.begin() as txn:
            return {
                name: {bytes(k): bytes(v) for k, v in txn.cursor(db=db)}
                for name, db in self.environment.databases.items()
            }

    def left(self) -> set[bytes]:
        """Return the markers in the file that no key or value has any more."""
        data = self.data.read_bytes()
        live = b" ".join(
            part for held in self.held.values() for one in held.items() for part in one
        )
        every = map(marker, range(1, self.made + 1))
        return {one for one in every if one in data and one not in live}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "e")
    yield made
    made.environment.close()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 32),
    rounds=st.lists(
        st.lists(st.sampled_from([1, 5, 50, 300]), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    deletes=st.sampled_from([0.2, 0.5, 0.8]),
)
def test_what_was_deleted_is_gone_and_the_rest_is_there(
    seed: int, rounds: list[list[int]], deletes: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = Kept(tmp_path_factory.mktemp("scrub") / "e", seed)
    try:
        for transactions in rounds:
            for operations in transactions:
                kept.change(operations, deletes)
            kept.settle()
            assert kept.environment.scrub(1.0) is not None
            assert kept.left() == set()
            assert kept.contents() == kept.held
            kept.churn()
            assert kept.left() == set()
            assert kept.contents() == kept.held
    finally:
        kept.environment.close()
    again = opened(kept.data.parent)
    again.close()


def test_a_delete_leaves_bytes_without_a_scrub(kept: Kept) -> None:
    kept.change(300, 0.0)
    kept.change(250, 1.0)
    kept.settle()
    assert kept.left()


def test_memory_that_pages_were_made_in_does_not_bring_them_back(kept: Kept) -> None:
    """Why the environment is opened anew: with the file alone overwritten, deleted bytes return."""
    kept.change(300, 0.0)
    kept.change(250, 1.0)
    kept.settle()
    with kept.environment.begin(write=True):
        scrub(kept.data, kept.environment.env.info()["last_txnid"])
    assert kept.left() == set()
    kept.churn()
    assert kept.left()
    kept.settle()
    assert kept.environment.scrub(1.0) is not None
    kept.churn()
    assert kept.left() == set()


def test_a_second_scrub_finds_nothing(kept: Kept) -> None:
    kept.change(200, 0.3)
    kept.touch()
    first = kept.environment.scrub(1.0)
    assert first is not None
    assert first.pages > 0
    assert kept.environment.scrub(1.0) == (0, 0)


def test_an_empty_environment_is_scrubbed_too(kept: Kept) -> None:
    assert kept.environment.scrub(1.0) is not None


def test_a_file_whose_last_pages_were_never_written_opens_and_is_scrubbed(kept: Kept) -> None:
    """A transaction that takes pages at the end and frees them again leaves them unwritten."""
    kept.change(20, 0.0)
    kept.touch()
    db = kept.environment.databases[b"a"]
    with kept.environment.begin(write=True) as txn:
        txn.put(b"large", b"x" * 1_000_000, db=db)
        txn.delete(b"large", db=db)
    assert kept.data.stat().st_size < kept.environment.used_bytes()
    assert kept.environment.scrub(1.0) is not None
    assert kept.left() == set()
    kept.environment.close()
    kept.environment = opened(kept.data.parent)
    assert kept.contents() == kept.held
    with kept.environment.begin(write=True) as txn:
        txn.put(b"large", b"x" * 900_000, db=kept.environment.databases[b"a"])
    kept.held[b"a"][b"large"] = b"x" * 900_000
    assert kept.contents() == kept.held


def test_only_who_writes_may_scrub(kept: Kept) -> None:
    kept.touch()
    kept.environment.close()
    kept.environment = opened(kept.data.parent, read_only=True)
    with pytest.raises(ReadOnly):
        kept.environment.scrub(1.0)


# --- readers


def read_slowly(path: Path, wire: Connection) -> None:
    environment = opened(path, read_only=True)
    with environment.begin() as txn:
        wire.send("reading")
        wire.recv()
        found = {
            name: {bytes(k): bytes(v) for k, v in txn.cursor(db=db)}
            for name, db in environment.databases.items()
        }
    wire.send(found)
    environment.close()


@contextmanager
def slow_reader(path: Path) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=read_slowly, args=(path, there))
    process.start()
    there.close()
    try:
        assert here.recv() == "reading"
        yield here
    finally:
        here.close()
        process.join(30)
    assert process.exitcode == 0
    process.close()


def test_an_old_reader_of_another_process_is_waited_for(kept: Kept) -> None:
    kept.change(200, 0.0)
    before = kept.contents()
    with slow_reader(kept.data.parent) as wire:
        kept.change(150, 1.0)
        kept.settle()
        assert kept.environment.scrub(0.05) is None
        assert kept.left()
        wire.send("go on")
        assert wire.recv() == before
        assert kept.environment.scrub(10.0) is not None
    assert kept.left() == set()


def test_a_reader_of_the_present_is_not_waited_for_and_reads_on(kept: Kept) -> None:
    kept.change(200, 0.0)
    kept.change(150, 1.0)
    kept.settle()
    with slow_reader(kept.data.parent) as wire:
        assert kept.environment.scrub(0.0) is not None
        wire.send("go on")
        assert wire.recv() == kept.held
    assert kept.left() == set()


def test_a_reader_of_the_last_but_one_state_reads_on(kept: Kept) -> None:
    kept.change(200, 0.0)
    kept.change(150, 1.0)
    kept.touch()
    before = kept.contents()
    with slow_reader(kept.data.parent) as wire:
        kept.change(40, 0.5)
        assert kept.environment.scrub(0.0) is not None
        wire.send("go on")
        assert wire.recv() == before
    assert kept.contents() == kept.held


def test_readers_of_this_process_go_on_but_for_a_moment(kept: Kept) -> None:
    kept.change(200, 0.3)
    kept.touch()
    failed: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        try:
            while not ended.is_set():
                assert kept.contents() == kept.held
                kept.environment.used_bytes()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert kept.environment.scrub(10.0) is not None
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not failed


def test_one_who_keeps_reading_here_has_it_put_off(kept: Kept) -> None:
    kept.change(20, 0.3)
    kept.touch()
    with kept.environment.begin():
        assert kept.environment.scrub(0.02) is None
    assert kept.environment.scrub(0.02) is not None


# --- damage


@pytest.mark.parametrize(
    ("kind", "offset", "value"),
    [
        (None, 0x10, b"\0"),  # the magic number of the first meta page
        (None, 0x14, b"\2"),  # its version
        (None, 0x28, b"\7"),  # its page size
        (1, 0, b"\xff"),  # number of a branch page
        (1, 10, b"\2"),  # kind of a branch page
        (2, 10, b"\x22"),  # kind of a leaf
        (2, 12, b"\x11"),  # where its gap begins
        (2, 14, b"\1"),  # where its gap ends
        (2, 16, b"\xff\xff"),  # where its first node is
        (4, 0, b"\xff"),  # number of an overflow page
        (4, 12, b"\0"),  # how many pages it has
        (4, 12, b"\xff\xff\xff"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_not_written_to(
    kept: Kept, kind: int | None, offset: int, value: bytes
) -> None:
    kept.change(2_000, 0.2)
    kept.touch()
    last = kept.environment.env.info()["last_txnid"]
    kept.environment.close()
    data = bytearray(kept.data.read_bytes())
    # Every page of the kind, since the last may be of no tree.
    pages = [
        page
        for page in range(2, len(data) // PAGE)
        if kind and struct.unpack_from("<QHH", data, page * PAGE) == (page, 0, kind)
    ] or [0]
    for page in pages:
        data[page * PAGE + offset : page * PAGE + offset + len(value)] = value
    kept.data.write_bytes(data)
    with pytest.raises(Corrupt, match="was not scrubbed"):
        scrub(kept.data, last)
    assert kept.data.read_bytes() == data


def test_a_count_that_disagrees_refuses(kept: Kept) -> None:
    kept.change(500, 0.2)
    kept.touch()
    last = kept.environment.env.info()["last_txnid"]
    kept.environment.close()
    data = bytearray(kept.data.read_bytes())
    newest = last & 1
    entries = newest * PAGE + 16 + 24 + 48 + 32  # of the main tree: how many databases there are
    assert data[entries] == len(DATABASES)
    data[entries] += 1
    kept.data.write_bytes(data)
    with pytest.raises(Corrupt, match="entries"):
        scrub(kept.data, last)
    assert kept.data.read_bytes() == data


def test_another_transaction_than_the_last_refuses(kept: Kept) -> None:
    kept.change(50, 0.2)
    with pytest.raises(Corrupt, match="last transaction"):
        scrub(kept.data, kept.environment.env.info()["last_txnid"] - 1)


# --- kill -9

KILLED = """
import sys
from pathlib import Path
from tests.storage.test_scrub import Kept
path = Path(sys.argv[1])
kept = Kept(path)
print("open", flush=True)
while True:
    with kept.environment.begin(write=True) as txn:
        db = kept.environment.databases[b"a"]
        for key, _ in list(txn.cursor(db=db))[:: 2]:
            if bytes(key).startswith(b"extra"):
                txn.delete(bytes(key), db=db)
        for row in range(400):
            txn.put(b"extra%d" % row, b"z" * (row % 7) * 700, db=db)
    kept.touch()
    kept.environment.scrub(1.0)
"""


@pytest.mark.parametrize("turn", range(20))
def test_a_process_that_is_killed_while_it_scrubs_loses_nothing(kept: Kept, turn: int) -> None:
    kept.change(400, 0.2)
    kept.touch()
    kept.environment.close()
    script = [sys.executable, "-c", KILLED, str(kept.data.parent)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        time.sleep(random.Random(turn).uniform(0.0, 0.15))
        process.kill()
    kept.environment = opened(kept.data.parent)
    found = kept.contents()
    extra = {key for key in found[b"a"] if key.startswith(b"extra")}
    assert {key: value for key, value in found[b"a"].items() if key not in extra} == kept.held[b"a"]
    assert found[b"b"] == kept.held[b"b"]
    kept.settle()
    assert kept.environment.scrub(1.0) is not None
    assert kept.contents() == found
    assert kept.left() == set()
