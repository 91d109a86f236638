"""One collection: writes go through its writer, reads through snapshots, segments grow behind it.

Threads: any number may write and take snapshots. `_view_lock` guards the reader's view, which is
replaced, never changed; `_build_lock` lets one build at a time choose, make and publish.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vecdb.collection.build import (
    TEMPORARY,
    BuilderProcess,
    BuildJob,
    Built,
    build,
    build_elsewhere,
)
from vecdb.collection.plan import Build, next_build
from vecdb.collection.snapshot import Snapshot
from vecdb.collection.view import View, ViewKeeper
from vecdb.config import StorageConfig
from vecdb.errors import Corrupt, ReadOnly
from vecdb.segment.segment import Segment
from vecdb.storage.codec import SegmentEntry
from vecdb.storage.command import Puts, WriteCommand
from vecdb.storage.environment import disk_full, free_bytes
from vecdb.storage.store import ReadTxn, Store, WriteTxn
from vecdb.storage.writer import Writer
from vecdb.types import Schema, WriteOutcome
from vecdb.write.apply import apply, replayed

log = logging.getLogger(__name__)

RETIRE_S = 30.0
"""Seconds that the files of a replaced segment stay, for readers that are just opening them."""


RETRY_S = 0.5
RETRY_S_MAX = 60.0
"""Seconds until upkeep that failed is tried again: doubled each time, up to this."""


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """One segment's size and state. quarantined: why its files are not used, or ""."""

    number: int
    first: int
    end: int
    rows: int
    dead: int
    bytes: int
    quarantined: str


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """A collection's size and state; bytes are of the store's file and of its map."""

    points: int
    applied_seq: int
    tail_points: int
    segments: tuple[SegmentStats, ...]
    store_bytes: int
    map_bytes: int


class Collection:
    """An open collection. Made by Database."""

    def __init__(
        self,
        folder: Path,
        config: StorageConfig,
        writer: Writer | None,
        verified: set[tuple[str, int]],
    ) -> None:
        """Open the collection of a folder; without a writer, to read.

        verified: uuid and number of segments that were read through by this process; added to.
        """
        self.folder = folder
        self.uuid = folder.name
        self._config = config
        self._writer = writer
        self._store = Store(folder / "store", read_only=writer is None, map_bytes=config.map_bytes)
        self._keeper = ViewKeeper(folder / "segments", self._store.schema)
        self._view: View | None = None
        self._view_lock = threading.Lock()
        self._build_lock = threading.Lock()
        self._retired: list[tuple[float, Path]] = []
        self._read_since = False
        self._retry_at, self._retry_s = 0.0, RETRY_S
        self._maintained: tuple[int, int, set[int]] | None = None
        self._verify_due = writer is not None
        self._verified = verified
        if writer is not None:
            self._sweep()

    @property
    def schema(self) -> Schema:
        """The collection's spaces."""
        return self._store.schema.schema

    def close(self) -> None:
        """Close the store; no snapshot may be open, and no write under way."""
        with self._build_lock:
            # Nobody comes back for these. A reader of another process that was about to open one
            # takes its rows from the store.
            self._remove_retired(math.inf)
            self._store.close()

    # --- writing

    def write(
        self, command: WriteCommand, *, is_wanted: Callable[[], bool] | None = None
    ) -> Future[WriteOutcome]:
        """Return the future of a write: done when it is durable and visible.

        Raises StorageFull for puts while the disk is all but full: what is left is for deletes.
        """
        if any(isinstance(run, Puts) for run in command.runs):
            self._check_space()
        encoded = command.encode()
        run = partial(
            apply,
            command=command,
            digest=hashlib.sha256(encoded).digest(),
            schema=self._store.schema,
            keep=self._config.changes_retained,
        )
        return self._need_writer().submit(self._store, run, size=len(encoded), is_wanted=is_wanted)

    def replay(self, idempotency_key: str, digest: bytes) -> WriteOutcome | None:
        """Return what a write of that key answered, or None. Raises InvalidArgument."""
        with self._store.read() as txn:  # no view: nothing is searched
            return replayed(txn, idempotency_key, digest)

    def _check_space(self) -> None:
        if free_bytes(self.folder) < self._config.disk_reserve_bytes:
            raise disk_full()

    def _need_writer(self) -> Writer:
        if self._writer is None:
            raise ReadOnly("this process opened the data directory to read")
        return self._writer

    # --- reading

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Yield a consistent view that holds every write committed before."""
        self._read_since = True
        with self._snapshot() as snapshot:
            yield snapshot

    @contextmanager
    def _snapshot(self) -> Iterator[Snapshot]:
        while True:
            with self._store.read() as txn:
                view = self._view_of(txn)
                if view is not None:
                    yield Snapshot(self.uuid, txn, view, self._store.schema)
                    return

    def _view_of(self, txn: ReadTxn) -> View | None:
        """Return the view of a transaction, or None when another thread's is newer already."""
        with self._view_lock:
            view = self._view
            if view is None:
                view = self._keeper.load(txn)
            elif view.seq > txn.state.applied_seq or view.epoch > txn.state.epoch:
                return None
            else:
                view = self._keeper.advance(view, txn)
            self._view = view
            return view

    def stats(self) -> CollectionStats:
        """Return sizes and state."""
        with self._store.read() as txn:
            entries = txn.segments()
            state = txn.state
            dead = {e.number: txn.count_tombstones(e.first, e.end) for e in entries}
        view = self._view  # another thread may drop it
        broken = view.broken if view else {}
        return CollectionStats(
            points=state.points,
            applied_seq=state.applied_seq,
            tail_points=state.points - sum(e.rows - dead[e.number] for e in entries),
            segments=tuple(
                SegmentStats(
                    e.number,
                    e.first,
                    e.end,
                    e.rows,
                    dead[e.number],
                    self._segment_bytes(e),
                    broken.get(e.number, ""),
                )
                for e in entries
            ),
            store_bytes=self._store.environment.used_bytes(),
            map_bytes=self._store.environment.map_bytes(),
        )

    def _segment_bytes(self, entry: SegmentEntry) -> int:
        folder = self._segment_folder(entry.number)
        try:
            return sum(file.stat().st_size for file in folder.iterdir())
        except OSError:
            return 0

    def forget_dead_readers(self) -> None:
        """Free the reader slots of killed processes, which keep pages from being reused."""
        self._store.environment.forget_dead_readers()

    # --- segments

    def maintain(self, builders: BuilderProcess | None) -> bool:
        """Do one piece of what is due (verify, build, remove); return whether more may be.

        builders: the process that builds segments, or None for this thread. What fails is tried
        again later, ever less often.
        """
        with self._build_lock:
            if time.monotonic() < self._retry_at:
                return False
            self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)
            self._retry_at = time.monotonic() + self._retry_s
            more = self._maintain(builders)
            self._retry_at, self._retry_s = 0.0, RETRY_S
            return more

    def _maintain(self, builders: BuilderProcess | None) -> bool:
        self._remove_retired(time.monotonic())
        if self._verify_due:
            self._verify_opened()
        broken = set(self._view.broken) if self._view else set()
        with self._store.read() as txn:
            state = txn.state
            seen = (state.applied_seq, state.epoch, broken)
            if seen == self._maintained:
                return False
            entries = txn.segments()
            dead = {e.number: txn.count_tombstones(e.first, e.end) for e in entries}
        due = next_build(entries, state, dead, broken, self._config)
        if due is None:
            self._maintained = seen
            return False
        self._build(due, max(state.next_segment, self._highest_folder() + 1), builders)
        self._refresh()
        return True

    def _build(self, due: Build, number: int, builders: BuilderProcess | None) -> None:
        self._check_space()
        self._sweep_temporary()  # a builder that was killed left its own
        view = self._view
        broken = set(view.broken) if view else set()
        started = time.perf_counter()
        job = BuildJob(self.folder, number, due.first, due.end)
        if builders is None:
            with self._store.read() as txn:
                built = build(job, self._store, txn)
        else:
            built = builders.submit(build_elsewhere, job).result()
        replaced = self._need_writer().submit(self._store, partial(_publish, built)).result()
        now = time.monotonic()
        for old in replaced:
            if old in broken:
                self._quarantine(old)
            else:
                self._retired.append((now + RETIRE_S, self._segment_folder(old)))
        log.info(
            "%s: segment %d (%s) of %d rows, slots %d to %d, in %.2f s",
            self.uuid,
            number,
            due.why,
            built.entry.rows,
            due.first,
            due.end,
            time.perf_counter() - started,
        )

    def _refresh(self) -> None:
        """Let go of replaced files: bring the view up to date, or drop it where nobody reads."""
        with self._view_lock:
            view = self._view
            if view is None or not (self._read_since or view.broken):
                self._view = None
                return
        self._read_since = False
        with self._snapshot():
            pass

    def _verify_opened(self) -> None:
        """Read all segment files that were there at the start; condemn those that fail."""
        with self._snapshot():
            view = self._view
        assert view is not None
        for entry, live in zip(view.entries, view.segments, strict=True):
            key = (self.uuid, entry.number)
            if not isinstance(live.part, Segment) or key in self._verified:
                continue
            try:
                live.part.verify()
                self._verified.add(key)
            except Corrupt as error:
                log.error("%s: quarantined: %s", self.uuid, error)
                with self._view_lock:
                    self._keeper.condemn(entry.number, error.message)
        self._verify_due = False
        with self._snapshot():
            pass

    def _quarantine(self, number: int) -> None:
        folder = self._segment_folder(number)
        if folder.exists():
            shelf = self.folder / "quarantine"
            shelf.mkdir(exist_ok=True)
            folder.rename(shelf / f"{number}-{time.time_ns()}")

    def _segment_folder(self, number: int) -> Path:
        return self.folder / "segments" / str(number)

    def _highest_folder(self) -> int:
        """Return the highest number that a folder has, published or not."""
        parent = self.folder / "segments"
        names = [path.name for path in parent.iterdir()] if parent.exists() else []
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def _remove_retired(self, now: float) -> None:
        due = [folder for at, folder in self._retired if at <= now]
        self._retired = [(at, folder) for at, folder in self._retired if at > now]
        for folder in due:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep_temporary(self) -> None:
        for path in (self.folder / "segments").glob(f"{TEMPORARY}*"):
            log.info("%s: removing %s, which was never finished", self.uuid, path.name)
            shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a build or a merge left behind when the process before this one ended."""
        self._sweep_temporary()
        parent = self.folder / "segments"
        if not parent.exists():
            return
        with self._store.read() as txn:
            listed = {str(entry.number) for entry in txn.segments()}
        for path in parent.iterdir():
            if path.name.isdecimal() and path.name not in listed:
                log.info("%s: removing %s, which is not published", self.uuid, path.name)
                shutil.rmtree(path, ignore_errors=True)


def _publish(built: Built, txn: WriteTxn) -> list[int]:
    """Swap a segment in for those inside its range; return the numbers that it replaces."""
    entry = built.entry
    entries = txn.segments()
    inside = [e for e in entries if entry.first <= e.first and e.end <= entry.end]
    before = [e for e in entries if e.end <= entry.first]
    after = [e for e in entries if e.first >= entry.end]
    if len(inside) + len(before) + len(after) != len(entries):
        raise Corrupt(f"segment {entry.number} would cut another in two")
    txn.put_segments([*before, entry, *after])
    # Slots that had ended when the segment was made are in no segment any more.
    ended = txn.tombstones(entry.first, entry.end)
    txn.forget_tombstones(slot for slot, seq in ended if seq <= built.as_of)
    txn.state.next_segment = max(txn.state.next_segment, entry.number + 1)
    return [e.number for e in inside]
