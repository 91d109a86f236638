"""What keeps one collection's segments in shape: verifies, builds, publishes, removes.

Threads: `_lock` lets one at a time choose, make and publish. A graph takes minutes, so its build
runs beside the others, one at a time, on slots that nothing else touches meanwhile.
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vecdb.collection.build import (
    TEMPORARY,
    Builders,
    BuildJob,
    Built,
    build,
    build_elsewhere,
    bytes_in,
)
from vecdb.collection.ended import EndedRows
from vecdb.collection.plan import Build, compacting_builds, erasing_builds, next_build
from vecdb.collection.publish import swap_in
from vecdb.collection.reader import Reader
from vecdb.config import StorageConfig
from vecdb.errors import Corrupt, Overloaded, StorageFull, VecdbError
from vecdb.segment.encoding import indexed_spaces
from vecdb.segment.segment import Segment
from vecdb.storage.environment import disk_full, free_bytes
from vecdb.storage.store import Store
from vecdb.storage.writer import Writer

log = logging.getLogger(__name__)

RETIRE_S = 30.0
"""Seconds that the files of a replaced segment stay, for readers that are just opening them."""

IDLE_S = 10.0
"""Seconds without a write after which what is left is put into graphs."""

RETRY_S = 0.5
RETRY_S_MAX = 60.0
"""Seconds until upkeep that failed is tried again: doubled each time, up to this."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    job: BuildJob
    built: Future[Built]
    started: float


@dataclass(slots=True)
class BuildTotals:
    """What builds have done and cost since the process started."""

    segments: int = 0
    rows: int = 0
    seconds: float = 0.0
    failures: int = 0


class Upkeep:
    """Of one collection that is open to write."""

    def __init__(
        self,
        folder: Path,
        config: StorageConfig,
        store: Store,
        writer: Writer,
        reader: Reader,
        ended: EndedRows,
        verified: set[tuple[str, int]],
        totals: BuildTotals,
    ) -> None:
        """Sweep what a process before this one left unfinished.

        verified: uuid and number of segments that were read through by this process; added to.
        totals: added to.
        """
        self._folder = folder
        self._uuid = folder.name
        self._config = config
        self._store = store
        self._writer = writer
        self._reader = reader
        self._ended = ended
        self._verified = verified
        self._totals = totals
        self._lock = threading.Lock()
        self._retired: list[tuple[float, Path]] = []
        self._retry_at, self._retry_s = 0.0, RETRY_S
        self._maintained: tuple[int, int, set[int], bool, frozenset[int]] | None = None
        self._last_seq, self._quiet_since = -1, 0.0
        self._verify_due = True
        self._under_way: _UnderWay | None = None
        self._number = 0  # the last that a build got
        self._compact_asked = False
        self._compaction: deque[Build] | None = None  # what is left of the one under way
        self._erasures_asked: deque[Future[None]] = deque()
        self._erasures: list[Future[None]] = []  # that the one under way is for, too
        self._ailment = ""
        self._sweep()

    def close(self) -> None:
        """Let go; the store is closed after this."""
        with self._lock:
            # Nobody comes back for these. A reader of another process that was about to open one
            # takes its rows from the store.
            self._remove_retired(math.inf)

    @property
    def building(self) -> bool:
        """Whether a graph is being built, or a compaction is due."""
        return self._under_way is not None or self.compacting

    @property
    def compacting(self) -> bool:
        """Whether what compact() or erase() asked for is still to be done."""
        asked = self._compact_asked or bool(self._erasures_asked)
        return asked or self._compaction is not None

    @property
    def ailment(self) -> str:
        """Why the last piece of upkeep failed, or "" once one has succeeded."""
        return self._ailment

    def compact(self) -> None:
        """Ask that all there is now be merged into as few segments as can be."""
        self._compact_asked = True

    def erase(self) -> Future[None]:
        """Return what is done once no segment holds a row that has ended by now.

        The files of those before them stay until remove_replaced().
        """
        erased: Future[None] = Future()
        self._erasures_asked.append(erased)
        return erased

    def abandon(self, why: VecdbError) -> None:
        """Tell those who wait for erase() that it does not come; only where nobody maintains."""
        while self._erasures_asked:
            self._erasures.append(self._erasures_asked.popleft())
        while self._erasures:
            self._erasures.pop().set_exception(why)

    def remove_replaced(self) -> int:
        """Remove all files of segments that were replaced, also of damaged ones; return how many.

        For one who knows that nobody reads as of before them any more.
        """
        with self._lock:
            shelf = self._folder / "quarantine"
            kept = list(shelf.iterdir()) if shelf.exists() else []
            removed = len(self._retired) + len(kept)
            self._remove_retired(math.inf)
            for folder in kept:
                shutil.rmtree(folder)
            self._sweep_temporary()
            return removed

    def maintain(self, builders: Builders | None) -> bool:
        """Do one piece of what is due (verify, build, remove); return whether more may be.

        builders: the processes that build segments, or None for this thread. What fails is tried
        again later, ever less often.
        """
        with self._lock:
            if time.monotonic() < self._retry_at:
                return False
            self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)
            self._retry_at = time.monotonic() + self._retry_s
            try:
                more = self._maintain(builders)
            except Exception as error:
                self._totals.failures += 1
                self._ailment = str(error) or type(error).__name__
                raise
            self._retry_at, self._retry_s, self._ailment = 0.0, RETRY_S, ""
            return more

    def _maintain(self, builders: Builders | None) -> bool:
        self._remove_retired(time.monotonic())
        verified = self._verify_due and self._verify_next()
        if self._under_way is not None:
            if self._under_way.built.done():
                self._finish_under_way()
                return True
            if builders is not None:
                builders.graph.end_if_hung()
        if self.compacting and self._under_way is None:
            self._compact(builders)
            return True
        due = self._next()
        if due is None:
            return verified
        self._start(due, builders)
        return True

    def _next(self) -> Build | None:
        broken = set(self._reader.broken)
        with self._store.read() as txn:
            state = txn.state
            idle = self._is_idle(state.applied_seq)
            texts = frozenset(self._store.schema.schema.texts)
            seen = (state.applied_seq, state.epoch, broken, idle, texts)
            if seen == self._maintained:
                return None
            entries = txn.segments()
            ended = self._ended.count(txn)
        busy = self._under_way.job.build if self._under_way else None
        due = next_build(entries, state, ended, broken, self._config, busy, idle=idle, texts=texts)
        # Beside what a compaction has planned the tail alone is seen to, beside a graph's build
        # whatever is no graph.
        waits = due is not None and (
            (due.graph and busy is not None) or (due.why != "tail" and self.compacting)
        )
        if due is None or waits:
            self._maintained = seen
            return None
        return due

    def _is_idle(self, seq: int) -> bool:
        """Return whether nothing was written for a while."""
        now = time.monotonic()
        if seq != self._last_seq:
            self._last_seq, self._quiet_since = seq, now
        return now - self._quiet_since >= IDLE_S

    def _compact(self, builders: Builders | None) -> None:
        """Do the next step of a compaction; no graph is being built."""
        if self._compaction is None:
            while self._erasures_asked:
                self._erasures.append(self._erasures_asked.popleft())
            if self._compact_asked:
                self._flush_tail(builders)
            with self._store.read() as txn:
                entries = txn.segments()
                ended = self._ended.count(txn)
            planned = compacting_builds if self._compact_asked else erasing_builds
            self._compact_asked = False
            self._compaction = deque(planned(entries, ended, self._config))
        elif self._compaction:
            self._start(self._compaction[0], builders)
            self._compaction.popleft()
        else:
            self._compaction = None
            self._maintained = None
            while self._erasures:
                self._erasures.pop().set_result(None)

    def _flush_tail(self, builders: Builders | None) -> None:
        """Put what is in the tail now into flat segments."""
        with self._store.read() as txn:
            entries, end = txn.segments(), txn.state.next_slot
        first = entries[-1].end if entries else 0
        while first < end:
            upto = min(end, first + self._config.segment_points)
            self._start(Build(first, upto, "compact"), builders)
            first = upto

    def _start(self, due: Build, builders: Builders | None) -> None:
        """Build and publish; a graph is only begun, where there is a process for it."""
        if free_bytes(self._folder) < self._config.disk_reserve_bytes + self._bytes_of(due):
            raise disk_full()
        self._sweep_temporary()  # a builder that was killed left its own
        self._number = max(self._next_number(), self._number + 1)
        # Of no earlier schema than the slots that were seen when this was planned.
        schema = self._store.schema
        job = BuildJob(self._folder, self._number, due, self._config.build_threads, schema)
        started = time.perf_counter()
        if builders is not None and due.graph:
            built = builders.graph.submit(build_elsewhere, job)
            self._under_way = _UnderWay(job, built, started)
            return
        try:
            if builders is None:
                self._publish(job, build(job, self._store), started)
            else:
                self._publish(
                    job, builders.flat.wait(builders.flat.submit(build_elsewhere, job)), started
                )
        except BaseException:
            self._discard(job)
            raise

    def _bytes_of(self, due: Build) -> int:
        """Return about how many bytes a segment will have."""
        with self._store.read() as txn:
            entries, ended = txn.segments(), self._ended.count(txn)
            found = [
                (entry, entry.rows - entry.dead - ended[entry.number])
                for entry in entries
                if entry.rows and due.overlaps(entry)
            ]
        size = sum(
            bytes_in(self._segment_folder(entry.number)) * max(0, live) // entry.rows
            for entry, live in found
        )
        tail = due.end - max(due.first, entries[-1].end if entries else 0)
        each = sum(space.dim for space in indexed_spaces(self._store.schema.schema))
        return size + max(0, tail) * each * 5  # a float32 and a byte

    def _finish_under_way(self) -> None:
        assert self._under_way is not None
        done = self._under_way
        self._maintained = None
        try:
            self._publish(done.job, done.built.result(), done.started)
        except (Overloaded, StorageFull):
            raise  # nothing is wrong with what was built, only with the moment
        except BaseException:
            self._under_way = None
            self._discard(done.job)
            if done.job.build.why in ("compact", "erase") and self._compaction is not None:
                self._compaction.appendleft(done.job.build)
            raise
        self._under_way = None

    def _publish(self, job: BuildJob, built: Built, started: float) -> None:
        broken = set(self._reader.broken)
        replaced = self._writer.submit(self._store, partial(swap_in, built)).result()
        took_s = time.perf_counter() - started
        self._totals.segments += 1
        self._totals.rows += built.entry.rows
        self._totals.seconds += took_s
        now = time.monotonic()
        for old in replaced:
            if old in broken:
                self._quarantine(old)
            else:
                self._retired.append((now + RETIRE_S, self._segment_folder(old)))
        log.info(
            "%s: segment %d (%s%s) of %d rows, slots %d to %d, in %.2f s",
            self._uuid,
            job.number,
            job.build.why,
            ", with graphs" if job.build.graph else "",
            built.entry.rows,
            built.entry.first,
            built.entry.end,
            took_s,
        )
        self._reader.refresh()

    def _discard(self, job: BuildJob) -> None:
        """Remove what a build that failed has left under its number, unless it is published."""
        with self._store.read() as txn:
            published = any(entry.number == job.number for entry in txn.segments())
        if not published:
            shutil.rmtree(self._segment_folder(job.number), ignore_errors=True)

    def suspect(self, number: int) -> None:
        """Have a segment read through again: another process could not use its files."""
        self._verified.discard((self._uuid, number))
        self._verify_due = True

    def _verify_next(self) -> bool:
        """Return whether there was a segment to read through; it is condemned if it is damaged.

        One at a time: hundreds of gigabytes take long, and what else is due, or a stop, does not
        wait for them.
        """
        self._verify_due = False  # before: another process may suspect one meanwhile
        try:
            found = self._verify_one()
        except BaseException:
            self._verify_due = True
            raise
        if found:
            self._verify_due = True
        return found

    def _verify_one(self) -> bool:
        with self._reader.look():
            view = self._reader.view
        assert view is not None
        for entry, live in zip(view.entries, view.segments, strict=True):
            key = (self._uuid, entry.number)
            if not isinstance(live.part, Segment) or key in self._verified:
                continue
            try:
                live.part.verify()
                self._verified.add(key)
            except Corrupt as error:
                log.error("%s: quarantined: %s", self._uuid, error)
                self._reader.condemn(entry.number, error.message)
                with self._reader.look():
                    pass
            return True
        return False

    # --- folders

    def _quarantine(self, number: int) -> None:
        folder = self._segment_folder(number)
        if folder.exists():
            shelf = self._folder / "quarantine"
            shelf.mkdir(exist_ok=True)
            folder.rename(shelf / f"{number}-{time.time_ns()}")

    def _segment_folder(self, number: int) -> Path:
        return self._folder / "segments" / str(number)

    def _next_number(self) -> int:
        """Return a number that no segment had, published or not."""
        parent = self._folder / "segments"
        names = [path.name for path in parent.iterdir()] if parent.exists() else []
        highest = max((int(name) for name in names if name.isdecimal()), default=0)
        with self._store.read() as txn:
            return max(txn.state.next_segment, highest + 1)

    def _remove_retired(self, now: float) -> None:
        due = [folder for at, folder in self._retired if at <= now]
        self._retired = [(at, folder) for at, folder in self._retired if at > now]
        for folder in due:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep_temporary(self) -> None:
        mine = f"{TEMPORARY}{self._under_way.job.number}-" if self._under_way else None
        for path in (self._folder / "segments").glob(f"{TEMPORARY}*"):
            if mine is not None and path.name.startswith(mine):
                continue
            log.info("%s: removing %s, which was never finished", self._uuid, path.name)
            shutil.rmtree(path, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a build or a merge left behind when the process before this one ended."""
        self._sweep_temporary()
        parent = self._folder / "segments"
        if not parent.exists():
            return
        with self._store.read() as txn:
            listed = {str(entry.number) for entry in txn.segments()}
        for path in parent.iterdir():
            if path.name.isdecimal() and path.name not in listed:
                log.info("%s: removing %s, which is not published", self._uuid, path.name)
                shutil.rmtree(path, ignore_errors=True)
