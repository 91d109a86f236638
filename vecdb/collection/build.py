"""Making a segment from the store, in this process or another. Reads the store, writes files.

Nothing here publishes: a folder that gets its final name is not searched before the store lists it.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from vecdb.collection.plan import Build
from vecdb.collection.view import rows_of
from vecdb.errors import Corrupt, Unavailable
from vecdb.segment.encoding import VERSION as ENCODING_VERSION
from vecdb.segment.encoding import indexed_spaces
from vecdb.segment.memory import Row
from vecdb.segment.segment import GraphBuild, Rows, Segment, sync_folder, write_segment
from vecdb.storage.codec import SegmentEntry
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import ReadTxn, Store
from vecdb.types import Schema

log = logging.getLogger(__name__)

TEMPORARY = "tmp-"
PROGRESS = "progress"
NICE = 10
"""Lowering of the builder's priority: searches and writes come first."""

BEAT_S, HANG_S = 1.0, 120.0
"""Seconds between the signs of life of a builder, and without one after which it is killed."""
GONE_S = 5.0
"""Seconds after which the work of a process that is gone counts as failed."""

P = ParamSpec("P")
T = TypeVar("T")


class BuilderProcess:
    """One process of low priority that builds, started at first use and again when it dies.

    Whoever waits for its work asks end_if_hung() now and then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the rest
        self._pool: ProcessPoolExecutor | None = None
        self._pid: Future[int] | None = None
        self._work: Future[Any] | None = None
        self._closed = False
        self._beats: ctypes.c_uint64 | None = None  # counted up by the process
        self._seen = (0, 0.0)  # how many there were, and since when

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Return the future of a piece of work; BrokenProcessPool when the process died of it."""
        with self._lock:
            if self._closed:
                raise Unavailable("the server is stopping")
            for _ in range(2):
                if self._pool is None:
                    context = multiprocessing.get_context("spawn")
                    self._beats = context.RawValue(ctypes.c_uint64)
                    self._seen = 0, time.monotonic()
                    self._pool = ProcessPoolExecutor(
                        1, context, initializer=_become_builder, initargs=(self._beats,)
                    )
                    self._pid = self._pool.submit(os.getpid)
                try:
                    self._work = given = self._pool.submit(work, *args, **kwargs)
                    return given
                except BrokenProcessPool:
                    self._pool.shutdown(wait=False)
                    self._pool = None
            raise BrokenProcessPool("the builder process dies as soon as it starts")

    def close(self) -> None:
        """End the process; what it was at is begun again at the next start."""
        with self._lock:
            self._closed = True
            if self._pool is None or self._pid is None:
                return
            with suppress(BrokenProcessPool, CancelledError):
                _kill(self._pid.result())
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def end_if_hung(self) -> None:
        """Kill a process without a sign of life; its work then fails, and the next starts anew.

        Work also fails that nobody does any more: before Python 3.12 concurrent.futures forgets
        what it is given just as it finds its process dead.
        """
        with self._lock:
            if self._pool is None or self._pid is None or self._beats is None:
                return
            if self._beats.value != self._seen[0]:
                self._seen = self._beats.value, time.monotonic()
            silent_s = time.monotonic() - self._seen[1]
            if silent_s > HANG_S and self._pid.done():
                with suppress(BrokenProcessPool, CancelledError):
                    _kill(self._pid.result())
            if silent_s > HANG_S + GONE_S or (silent_s > GONE_S and _is_gone(self._pid)):
                self._pool.shutdown(wait=False)
                self._pool = None
                if self._work is not None and not self._work.done():
                    with suppress(InvalidStateError):  # done just now
                        self._work.set_exception(BrokenProcessPool("the builder process is gone"))

    def wait(self, built: Future[T]) -> T:
        """Return what a piece of work gives; BrokenProcessPool when the process died, or hung."""
        while True:
            try:
                return built.result(BEAT_S)
            except TimeoutError:
                if built.done():  # just now, or it was the work that raised this
                    return built.result()
                self.end_if_hung()


class Builders:
    """Flat segments are made at once, beside graphs that take their time."""

    def __init__(self) -> None:
        self.flat = BuilderProcess()
        self.graph = BuilderProcess()

    def close(self) -> None:
        """End both processes."""
        self.graph.close()
        self.flat.close()


def _kill(pid: int) -> None:
    # It may have died long ago, and its number be another's. Not SIGTERM: a process that is stopped
    # would never take it.
    if pid in {child.pid for child in multiprocessing.active_children()}:
        log.info("killing builder %d", pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_gone(pid: Future[int]) -> bool:
    if not pid.done():  # it is starting
        return False
    try:
        return pid.result() not in {child.pid for child in multiprocessing.active_children()}
    except (BrokenProcessPool, CancelledError):
        return True


def _become_builder(beats: ctypes.c_uint64) -> None:
    os.nice(NICE)
    beats.value = 1  # before it takes work: from here on its signs of life are watched
    # Ctrl-C in a terminal reaches every process of it; when to end is the server's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        while parent.is_alive():
            parent.join(BEAT_S)
            beats.value += 1
        os._exit(1)  # the server was killed: nobody waits for this work

    threading.Thread(target=follow, daemon=True).start()


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A segment to make: what, in which collection, under which number. threads: of a graph.

    schema: the collection's; the store has that of its making.
    """

    collection: Path
    number: int
    build: Build
    threads: int
    schema: NumberedSchema


@dataclass(frozen=True, slots=True)
class Built:
    """A segment that can be published. as_of: the applied_seq that it was made from."""

    entry: SegmentEntry
    as_of: int


def build_elsewhere(job: BuildJob) -> Built:
    """Return a finished segment; for a process that does not have the store open."""
    store = Store(job.collection / "store", read_only=True, map_bytes=1 << 20)
    try:
        return build(job, store)
    finally:
        store.close()


def build(job: BuildJob, store: Store) -> Built:
    """Return a finished segment, durable under its name; without rows it has no folder."""
    what, schema = job.build, job.schema
    parent = job.collection / "segments"
    temporary = parent / f"{TEMPORARY}{job.number}-{os.getpid()}"
    parent.mkdir(exist_ok=True)  # not the collection's: it may have been dropped meanwhile
    temporary.mkdir()
    progress = _ProgressFile(temporary / PROGRESS)
    try:
        base = _sound(what.base, parent, schema) if what.base else None
        with store.read() as txn:  # no longer than reading takes: it keeps pages from being reused
            as_of = txn.state.applied_seq
            rows = _rows(txn, what, schema, base)
            if rows is None:
                base = None
                rows = _rows(txn, what, schema, None)
            assert rows is not None
        described: dict[str, object] = {
            "collection": job.collection.name,
            "number": job.number,
            "first": what.first,
            "end": what.end,
            "as_of": as_of,
            "schema": schema.to_plain(),
            "encoding": ENCODING_VERSION,
        }
        graphs = None
        if what.graph:
            graphs = GraphBuild(job.threads or len(os.sched_getaffinity(0)), base, progress.tell)
        written = write_segment(temporary, rows, schema.numbers, described, graphs)
        if written.rows:
            progress.remove()
            temporary.rename(parent / str(job.number))
            sync_folder(parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    entry = SegmentEntry(
        job.number,
        what.first,
        what.end,
        written.rows,
        written.seal if written.rows else 0,
        written.dead,
        what.graph,
        tuple(schema.schema.texts),
    )
    return Built(entry, as_of)


def _sound(entry: SegmentEntry, parent: Path, schema: NumberedSchema) -> Segment | None:
    """Return a segment to grow from, read through; None when it is damaged."""
    try:
        segment = Segment(parent / str(entry.number), entry.seal, schema.schema, schema.numbers)
        segment.verify()
    except Corrupt as error:
        log.warning("a graph is built from its vectors, not from its base: %s", error)
        return None
    return segment


def _rows(txn: ReadTxn, what: Build, schema: NumberedSchema, base: Segment | None) -> Rows | None:
    """Return the rows of a range, those of a base first, or None where the base lacks one."""
    rows = Rows(schema.schema)
    live = rows_of(txn.records(what.first, what.end), schema)
    try:
        rows.extend(live if base is None else _with_ended(base, live, schema.schema))
    except _NotOfBase:
        log.warning("a graph is built from its vectors: its base lacks a row of its slots")
        return None
    return rows


class _NotOfBase(Exception):
    """A live row stands between those of a base, which was made when it could not be read."""


def _with_ended(base: Segment, live: Iterator[Row], schema: Schema) -> Iterator[Row]:
    """Yield all rows of a base, those that have ended too, and then the rest of the live ones.

    Raises _NotOfBase.
    """
    at = {space.name: 0 for space in indexed_spaces(schema)}
    parts = {name: base.vectors(name) for name in at}
    ahead = next(live, None)
    for row, slot in enumerate(base.slots.tolist()):
        ended: dict[str, bytes] = {}
        for name, (vectors, rows) in parts.items():
            place = at[name]
            if place < len(vectors) and (rows is None or rows[place] == row):
                ended[name] = vectors[place].tobytes()
                at[name] += 1
        if ahead is not None and ahead.slot < slot:
            raise _NotOfBase
        if ahead is not None and ahead.slot == slot:
            yield ahead
            ahead = next(live, None)
        else:
            yield Row(slot, b"", ended, alive=False)
    if ahead is not None:
        yield ahead
        yield from live


class _ProgressFile:
    """How far a build is, for whoever looks into its folder: phase, rows done, rows in all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, phase: str, done: int, total: int) -> None:
        self._path.write_text(f"{phase} {done} {total}")

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def bytes_in(segment: Path) -> int:
    """Return the size of a segment's files; 0 of one that is not there, or damaged."""
    try:
        return sum(file.stat().st_size for file in segment.iterdir())
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """A build under way. phase: "read", "insert" or "refine"; done and total: its rows."""

    number: int
    phase: str
    done: int
    total: int


def builds_under_way(segments: Path) -> list[BuildProgress]:
    """Return how far the builds of a collection are."""
    found: list[BuildProgress] = []
    for folder in segments.glob(f"{TEMPORARY}*"):
        number = folder.name.removeprefix(TEMPORARY).partition("-")[0]
        try:
            phase, done, total = (folder / PROGRESS).read_text().split()
            found.append(BuildProgress(int(number), phase, int(done), int(total)))
        except (OSError, ValueError):  # not begun to say, or just finished
            found.append(BuildProgress(int(number), "read", 0, 0))
    return found
