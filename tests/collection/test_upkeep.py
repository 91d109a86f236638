"""Upkeep of one collection, step by step: what fails is undone, tried again, and ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, process
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from tests.live import alive, wait_until
from vecdb.collection import build as building
from vecdb.collection import upkeep
from vecdb.collection.build import BuilderProcess, BuildJob, Built, build
from vecdb.collection.collection import Collection
from vecdb.collection.plan import Build
from vecdb.collection.upkeep import Upkeep
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.errors import Overloaded, StorageFull
from vecdb.segment.segment import Segment
from vecdb.storage.codec import SegmentEntry, slot_key
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import ReadTxn, Store
from vecdb.storage.writer import Writer
from vecdb.types import Delete, Metric, Op, Put, Schema, Space
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig()
SCHEMA = Schema((Space("", 4, Metric.EUCLID),))
CONFIG = StorageConfig(map_bytes=1 << 20, tail_points=100, graph_points=300, segment_points=1_024)


@pytest.fixture
def writer() -> Iterator[Writer]:
    made = Writer(queue_jobs_max=8)
    yield made
    made.close()


@pytest.fixture
def collection(tmp_path: Path, writer: Writer) -> Iterator[Collection]:
    Store.create(tmp_path / "c" / "store", NumberedSchema.of(SCHEMA), map_bytes=1 << 20)
    made = Collection(tmp_path / "c", CONFIG, writer, set())
    yield made
    made.close()


def write(collection: Collection, ops: list[Op]) -> None:
    collection.write(prepare(ops, SCHEMA, LIMITS)).result()


def put(collection: Collection, first: int, end: int) -> None:
    rows = np.random.default_rng(first).normal(size=(end - first, 4)).astype("<f4")
    write(
        collection, [Put(f"p{first + i}", b"", {"": row.tobytes()}) for i, row in enumerate(rows)]
    )


def delete(collection: Collection, first: int, end: int) -> None:
    write(collection, [Delete(f"p{i}") for i in range(first, end)])


def count(collection: Collection) -> int:
    with collection.snapshot() as snapshot:
        return snapshot.count(None)


def folders(collection: Collection) -> set[str]:
    return {path.name for path in (collection.folder / "segments").iterdir()}


def listed(collection: Collection) -> set[str]:
    return {str(segment.number) for segment in collection.stats().segments}


def upkeep_of(collection: Collection) -> Upkeep:
    assert collection._upkeep is not None
    return collection._upkeep


def now(collection: Collection) -> None:
    """Let what failed be tried again at once."""
    upkeep_of(collection)._retry_at = 0.0


def replaced(collection: Collection) -> set[str]:
    """Return the folders that wait for their removal."""
    return {folder.name for _, folder in upkeep_of(collection)._retired}


def damage(collection: Collection, number: str) -> None:
    """Change the last byte of a segment's codes, in place."""
    with (collection.folder / "segments" / number / "codes-0.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        (last,) = file.read()
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 0xA5]))


class InThisThread:
    """Stands for both builder processes."""

    def __init__(self, collection: Collection) -> None:
        self._store = collection._store
        self.flat = self.graph = self
        self.killed: tuple[bool, ...] = ()
        self.graphs = 0

    def submit(self, _work: object, job: BuildJob) -> Future[Built]:
        done: Future[Built] = Future()
        made = build(job, self._store)
        self.graphs += job.build.graph
        if job.build.graph in self.killed:  # after it had given the folder its name
            done.set_exception(OSError("the process died"))
        else:
            done.set_result(made)
        return done

    def wait(self, built: Future[Built]) -> Built:
        return built.result()


def settle(collection: Collection, builders: Any) -> None:
    """Do all that is due."""
    while collection.maintain(builders):
        pass


def test_a_graph_that_cannot_be_published_now_is_published_later(
    collection: Collection, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(collection, 0, 99)
    put(collection, 99, 400)
    builders: Any = InThisThread(collection)
    settle(collection, builders)
    put(collection, 400, 1_000)

    def refuse(*_: object) -> None:
        raise Overloaded("too many writes wait")

    with monkeypatch.context() as patched:
        for _ in ("flush the tail", "begin the graph"):
            assert collection.maintain(builders)
        assert collection.building
        patched.setattr(writer, "submit", refuse)
        for _ in range(3):
            now(collection)
            with pytest.raises(Overloaded):
                collection.maintain(builders)
    begun = builders.graphs
    now(collection)
    settle(collection, builders)
    assert builders.graphs == begun, "it was not built again"
    assert any(segment.graph for segment in collection.stats().segments)
    assert not collection.building
    assert count(collection) == 1_000


@pytest.mark.parametrize("graph", [False, True], ids=["flat", "graph"])
def test_a_builder_that_died_late_leaves_no_folder(collection: Collection, graph: bool) -> None:
    put(collection, 0, 400)
    builders: Any = InThisThread(collection)
    builders.killed = (graph,)
    for _ in range(3):
        with pytest.raises(OSError, match="died"):
            settle(collection, builders)
        assert folders(collection) <= listed(collection) | replaced(collection)
        now(collection)
    builders.killed = ()
    settle(collection, builders)
    assert listed(collection) <= folders(collection)
    assert count(collection) == 400


def test_a_builder_that_hangs_does_not_keep_the_server_from_stopping() -> None:
    builder = BuilderProcess()
    pid = builder.submit(os.getpid).result(60)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text())
    stopping = threading.Thread(target=builder.close, daemon=True)
    stopping.start()
    stopping.join(20)
    try:
        assert not stopping.is_alive()
        assert not alive(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_builder_that_hangs_is_killed_and_another_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builder = BuilderProcess()
    pid = builder.wait(builder.submit(os.getpid))
    monkeypatch.setattr(building, "HANG_S", 5.0)
    assert builder.wait(builder.submit(sleep, 6.5)) is None, "long work is no hanging"
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(BrokenProcessPool):
        builder.wait(builder.submit(sleep, 0.0))
    wait_until(lambda: not alive(pid))
    assert builder.wait(builder.submit(os.getpid)) != pid
    builder.close()


def test_work_that_the_pool_has_lost_fails_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it comes in while the pool finds its process dead, before Python 3.12."""
    monkeypatch.setattr(process._ExecutorManagerThread, "terminate_broken", lambda *_: None)
    monkeypatch.setattr(building, "GONE_S", 1.0)
    builder = BuilderProcess()
    pid = builder.wait(builder.submit(os.getpid))
    lost = builder.submit(sleep, 60)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(BrokenProcessPool):
        builder.wait(lost)
    assert builder.wait(builder.submit(os.getpid)) != pid
    builder.close()


def test_a_pid_that_is_another_process_by_now_is_not_killed() -> None:
    builder = BuilderProcess()
    pid = builder.submit(os.getpid).result(60)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        reused: Future[int] = Future()
        reused.set_result(other.pid)
        builder._pid = reused
        builder.close()
        assert other.stdin is not None
        other.stdin.write(b"\n")
        other.stdin.close()
        assert other.wait(30) == 0


def test_damaged_tombstones_do_not_have_a_segment_built_for_ever(collection: Collection) -> None:
    put(collection, 0, 200)
    settle(collection, None)
    delete(collection, 0, 60)
    environment = collection._store.environment
    with environment.begin(write=True) as txn:
        for slot in range(61):  # one of them by its key: it names a slot that lives
            txn.put(slot_key(slot), b"damaged", db=environment.databases[b"tombstones"])
    for _ in range(20):
        if not collection.maintain(None):
            break
    else:
        pytest.fail("a segment is built again and again")
    (segment,) = collection.stats().segments
    assert (segment.rows, segment.dead) == (140, 0)
    assert collection.stats().tail_points == 0
    assert count(collection) == 140


def test_segments_are_read_through_one_at_a_time_and_the_tail_does_not_wait(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (0, 120, 240):
        put(collection, first, first + 120)
        collection.maintain(None)
    there = listed(collection)
    assert len(there) == 3
    put(collection, 360, 480)
    read: list[str] = []
    verify = Segment.verify

    def noted(segment: Segment) -> None:
        read.append(segment.folder.name)
        verify(segment)

    monkeypatch.setattr(Segment, "verify", noted)
    upkeep_of(collection)._verified.clear()
    upkeep_of(collection)._verify_due = True
    assert collection.maintain(None)
    assert len(read) == 1
    assert collection.stats().tail_points == 0
    settle(collection, None)
    assert upkeep_of(collection)._verified
    assert not upkeep_of(collection)._verify_due


def test_a_condemned_segment_is_forgotten_once_it_is_replaced(collection: Collection) -> None:
    put(collection, 0, 200)
    settle(collection, None)
    (number,) = listed(collection)
    damage(collection, number)
    collection.suspect(int(number))
    settle(collection, None)
    assert listed(collection) != {number}
    with collection.snapshot(), collection._store.read() as txn:
        view = collection._reader.view
        assert view is not None
        assert collection._reader._keeper.is_current(view, txn, view.schema, collection.clock())
    assert count(collection) == 200


def test_a_record_that_can_be_read_again_is_found_in_a_graph_that_grows(
    collection: Collection,
) -> None:
    put(collection, 0, 400)
    environment = collection._store.environment
    key, points = slot_key(395), environment.databases[b"points"]
    with environment.begin(write=True) as txn:
        sound = bytes(txn.get(key, db=points))
        txn.put(key, b"not readable now", db=points)
    settle(collection, None)
    (segment,) = collection.stats().segments
    assert (segment.rows, segment.graph) == (399, True)
    with environment.begin(write=True) as txn:
        txn.put(key, sound, db=points)
    put(collection, 400, 600)
    settle(collection, None)
    (segment,) = collection.stats().segments
    assert (segment.rows, segment.dead, segment.graph) == (600, 0, True)
    assert count(collection) == 600
    with collection.snapshot() as snapshot:
        slots = snapshot._view.segments[0].part.slots
    assert slots.tolist() == sorted(set(slots.tolist()))


def test_a_build_leaves_the_reserve_of_disk_to_deletes(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(collection, 0, 200)
    settle(collection, None)
    put(collection, 200, 400)
    assert collection.maintain(None)
    size = sum(segment.bytes for segment in collection.stats().segments)
    left = [CONFIG.disk_reserve_bytes + size // 2]
    monkeypatch.setattr(upkeep, "free_bytes", lambda _: left[0])
    with pytest.raises(StorageFull):
        settle(collection, None)
    assert len(listed(collection)) == 2
    # What has ended needs no room: space comes back on a disk that is all but full.
    delete(collection, 0, 150)
    delete(collection, 200, 350)
    now(collection)
    settle(collection, None)
    assert sum(segment.rows for segment in collection.stats().segments) == 100
    put(collection, 400, 3_400)
    left[0] = CONFIG.disk_reserve_bytes + 1_000
    with pytest.raises(StorageFull):
        settle(collection, None)
    left[0] = CONFIG.disk_reserve_bytes + (1 << 20)
    now(collection)
    settle(collection, None)
    assert count(collection) == 3_100


def test_ended_rows_are_counted_once_and_then_kept_up(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    count_tombstones = ReadTxn.count_tombstones

    def noted(txn: ReadTxn, first: int, end: int) -> int:
        counted.append(first)
        return count_tombstones(txn, first, end)

    def true() -> dict[int, int]:
        with collection._store.read() as txn:
            return {e.number: count_tombstones(txn, e.first, e.end) for e in txn.segments()}

    monkeypatch.setattr(ReadTxn, "count_tombstones", noted)
    rng = np.random.default_rng(1)
    for first in range(0, 1_500, 100):
        put(collection, first, first + 100)
        settle(collection, None)
        collection.stats()
        counted.clear()
        for at in rng.integers(0, first + 100, 5).tolist():
            put(collection, at, at + 1)  # ends a slot of a segment, or of the tail
            assert {s.number: s.dead for s in collection.stats().segments} == {
                e.number: e.dead + true()[e.number] for e in entries_of(collection)
            }
        assert not counted
    with collection._store.read() as old:
        known = collection._ended.count(old)
        delete(collection, 100, 110)
        collection.stats()
        assert collection._ended.count(old) == known


def entries_of(collection: Collection) -> tuple[SegmentEntry, ...]:
    with collection._store.read() as txn:
        return txn.segments()


def test_a_build_does_not_make_the_folder_of_a_dropped_collection_again(
    collection: Collection,
) -> None:
    put(collection, 0, 200)
    job = BuildJob(collection.folder, 1, Build(0, 200, "tail"), 1, collection._store.schema)
    shutil.rmtree(collection.folder)
    with pytest.raises(FileNotFoundError):
        build(job, collection._store)
    assert not collection.folder.exists()


def test_beside_a_graph_what_is_damaged_is_built_again(collection: Collection) -> None:
    put(collection, 0, 400)
    builders: Any = InThisThread(collection)
    builders.graph = Never()
    settle(collection, builders)
    assert collection.building
    put(collection, 400, 520)
    settle(collection, builders)
    segment = collection.stats().segments[-1]
    damage(collection, str(segment.number))
    collection.suspect(segment.number)
    settle(collection, builders)
    assert not any(one.quarantined for one in collection.stats().segments)
    assert collection.stats().segments[-1].number != segment.number
    assert collection.building


class Never:
    """Stands for the process of graphs while it is at one."""

    def submit(self, _work: object, _job: BuildJob) -> Future[Built]:
        return Future()

    def end_if_hung(self) -> None:
        pass
