"""One collection: writes go through its writer, reads through snapshots, segments grow behind."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from vecdb.clock import Clock, wall_clock
from vecdb.collection.build import Builders, BuildProgress, builds_under_way, bytes_in
from vecdb.collection.clone import Copied, copied, copied_elsewhere
from vecdb.collection.ended import EndedRows
from vecdb.collection.erasure import Erased, erase
from vecdb.collection.expiry import Expiry
from vecdb.collection.matches import Matches
from vecdb.collection.plan import lacks_texts
from vecdb.collection.reader import Reader
from vecdb.collection.recall import RecallMonitor
from vecdb.collection.snapshot import Snapshot
from vecdb.collection.upkeep import BuildTotals, Upkeep
from vecdb.collection.watch import Watcher
from vecdb.config import StorageConfig
from vecdb.errors import ReadOnly, Unavailable
from vecdb.outcomes import WriteOutcome
from vecdb.room import Room
from vecdb.storage.codec import RecordView
from vecdb.storage.command import Deletes, WriteCommand
from vecdb.storage.environment import StoreUse, disk_full, free_bytes
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.shadows import is_replaced
from vecdb.storage.store import UNKNOWN_SEQ, ReadTxn, Store
from vecdb.storage.writer import Writer
from vecdb.types import U64, Filter, Schema
from vecdb.write.apply import apply, replayed


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """One segment's size and state.

    dead: rows that have ended. graph: whether it was made with graphs. quarantined: why its files
    are not used, or "".
    """

    number: int
    first: int
    end: int
    rows: int
    dead: int
    bytes: int
    quarantined: str
    graph: bool


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """A collection's size and state; bytes are of the store's file and of its map.

    compacting: whether a compaction that was asked for is still to be done. upkeep_error: why the
    last build or check failed, or "". text_pending_points: in segments that lack a text field.
    """

    points: int
    applied_seq: int
    tail_points: int
    segments: tuple[SegmentStats, ...]
    builds: tuple[BuildProgress, ...]
    compacting: bool
    upkeep_error: str
    text_pending_points: int
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
        built: BuildTotals | None = None,
        clock: Clock = wall_clock,
        room: Room | None = None,
    ) -> None:
        """Open the collection of a folder; without a writer, to read.

        verified: uuid and number of segments that were read through by this process; added to.
        built: what builds cost; added to. clock: by which points expire. room: of the node; None
        where only the disk is looked at.
        """
        self.folder = folder
        # A truncation changes the folder, and the uuid stays.
        self.uuid, _, truncated = folder.name.partition("-")
        self._truncated_seq = int(truncated or 0)
        self._config = config
        self._writer = writer
        self._room = room or Room(folder, config.disk_reserve_bytes)
        self._store = Store(folder / "store", read_only=writer is None, map_bytes=config.map_bytes)
        self.clock = clock
        self.ttl_ms = 0
        """How long points are there that are written without an expiry; 0 for ever."""
        self._reader = Reader(folder / "segments", self.uuid, self._store, clock)
        self.recall = RecallMonitor()
        self._ended = EndedRows()
        self._expiry = None if writer is None else Expiry(self._store, writer, clock)
        self._upkeep = (
            None
            if writer is None
            else Upkeep(
                folder,
                config,
                self._store,
                writer,
                self._reader,
                self._ended,
                verified,
                built or BuildTotals(),
            )
        )

    @property
    def schema(self) -> Schema:
        """The collection's spaces and text fields."""
        return self._store.schema.schema

    def tune(self, schema: NumberedSchema, ttl_ms: int) -> None:
        """Take over what the catalog says, its schema unless a later one is known already."""
        before = self._store.schema
        if schema.epoch > before.epoch:
            self._store.schema = schema
            for name, _ in before.numbers.items() - schema.numbers.items():
                self.recall.forget(name)
        self.ttl_ms = ttl_ms

    def close(self) -> None:
        """Close the store; no snapshot may be open, and no write under way."""
        if self._upkeep is not None:
            self._upkeep.close()
        self._store.close()

    # --- writing

    def write(
        self,
        command: WriteCommand,
        *,
        is_wanted: Callable[[], bool] | None = None,
        schema: Schema | None = None,
    ) -> Future[WriteOutcome]:
        """Return the future of a write: done when it is durable and visible.

        schema: that the command was made by. Raises Unavailable where a space of it has made room
        for another one of its name since, and for puts and patches what check_room raises.
        """
        if schema is not None and schema is not self.schema and is_replaced(schema, self.schema):
            raise Unavailable("the schema has changed meanwhile", retry_after_s=0.01)
        if any(not isinstance(run, Deletes) for run in command.runs):
            self.check_room()
        command = replace(command, points_max=self._store.schema.points_max)
        encoded = command.encode()
        run = partial(
            apply,
            command=command,
            digest=hashlib.sha256(encoded).digest(),
            keep=self._config.changes_retained,
        )
        return self._need_writer().submit(self._store, run, size=len(encoded), is_wanted=is_wanted)

    def last(self) -> AbstractContextManager[ReadTxn]:
        """Return the block in which the collection is seen as its last write leaves it.

        Writes under way are done, and those that come later find it ended: they are Unavailable,
        unless the block raises.
        """
        self._need_writer()
        return self._store.last()

    def copy(self, into: Path, is_wanted: Callable[[], bool] | None) -> Copied:
        """Return what was copied into a new folder: all there is at one moment.

        is_wanted: asked now and then while another process copies; None copies in this one. Raises
        StorageFull, also beforehand, DeadlineExceeded, Unavailable.
        """
        needed = self._store.environment.used_bytes() + self._config.disk_reserve_bytes
        if free_bytes(self.folder) < needed:
            raise disk_full()
        if is_wanted is None:
            return copied(self._store, self.folder, into)
        return copied_elsewhere(self.folder, into, is_wanted)

    def replay(self, idempotency_key: str, digest: bytes) -> WriteOutcome | None:
        """Return what a write of that key answered, or None. Raises InvalidArgument."""
        with self._store.read() as txn:  # no view: nothing is searched
            return replayed(txn, idempotency_key, digest)

    def check_room(self) -> None:
        """Return if there is room for puts: what is left otherwise is for deletes.

        Raises StorageFull, MemoryLow.
        """
        self._room.check()

    def _need_writer(self) -> Writer:
        if self._writer is None:
            raise ReadOnly("this process opened the data directory to read")
        return self._writer

    # --- reading

    def snapshot(self, deadline: float = math.inf) -> Snapshot:
        """Return a consistent view that holds every write committed before, for one block.

        deadline: of time.monotonic; work on it that may take long then raises DeadlineExceeded.
        """
        return self._reader.snapshot(deadline)

    def matches(
        self, filter: Filter, after: int, upto: int | None, deadline: float = math.inf
    ) -> Matches:
        """Return the points that a filter matches now, of versions past `after` and up to `upto`.

        upto: None for the newest. deadline: as in snapshot().
        """
        with self.snapshot(deadline) as snapshot:
            upto = snapshot.seq if upto is None else upto
            return Matches(self._store, snapshot.matches(filter, after, upto), upto)

    def among(self, slots: U64) -> Matches:
        """Return the points of some slots, ascending."""
        return Matches(self._store, slots, UNKNOWN_SEQ)

    def points(self) -> int:
        """Return how many points there are, those included that have just expired."""
        with self._store.read() as txn:
            return txn.state.points

    def sample(self, count: int, bytes_max: int) -> list[RecordView]:
        """Return records of about `count` points, drawn evenly; the same ones while none changes.

        Fewer where most of what was ever written is gone, or once they have bytes_max bytes.
        """
        with self._store.read() as txn:
            slots = txn.state.next_slot
        drawn = random.Random(slots).sample(range(slots), min(4 * count, slots))
        found: list[RecordView] = []
        for at in range(0, len(drawn), count):
            part = np.sort(np.array(drawn[at : at + count], np.uint64))
            left = bytes_max - sum(len(record.value) for record in found)
            found += [record for _, record in self.among(part).take_records(count, left)]
            if len(found) >= count or left <= 0:
                break
        return found[:count]

    def watch(self, after: int | None) -> Watcher:
        """Return what follows the writes behind one, or those from now on; see Watcher."""
        return Watcher(self._store, self._truncated_seq, after, self.clock)

    def look(self, deadline: float = math.inf) -> Snapshot:
        """Return what snapshot() returns, to upkeep: it does not count as use."""
        return self._reader.look(deadline)

    def stats(self) -> CollectionStats:
        """Return sizes and state."""
        with self._store.read() as txn:
            entries = txn.segments()
            state = txn.state
            dead = self._ended.count(txn)
        broken = self._reader.broken
        texts = frozenset(self.schema.texts)
        return CollectionStats(
            points=state.points,
            applied_seq=state.applied_seq,
            tail_points=state.points - sum(e.rows - e.dead - dead[e.number] for e in entries),
            segments=tuple(
                SegmentStats(
                    e.number,
                    e.first,
                    e.end,
                    e.rows,
                    e.dead + dead[e.number],
                    bytes_in(self.folder / "segments" / str(e.number)),
                    broken.get(e.number, ""),
                    e.graph,
                )
                for e in entries
            ),
            builds=tuple(builds_under_way(self.folder / "segments")),
            compacting=self._upkeep is not None and self._upkeep.compacting,
            upkeep_error=self.ailment,
            text_pending_points=sum(
                e.rows - e.dead - dead[e.number] for e in entries if lacks_texts(e, texts)
            ),
            store_bytes=self._store.environment.used_bytes(),
            map_bytes=self._store.environment.map_bytes(),
        )

    def forget_dead_readers(self) -> None:
        """Free the reader slots of killed processes, which keep pages from being reused."""
        self._store.environment.forget_dead_readers()

    # --- segments

    @property
    def building(self) -> bool:
        """Whether a graph is being built: closing now would throw the work away."""
        return self._upkeep is not None and self._upkeep.building

    def maintain(self, builders: Builders | None) -> bool:
        """Do one piece of upkeep that is due; return whether more may be. See Upkeep.maintain."""
        upkeep = self._need_upkeep()
        expired = self._expiry is not None and self._expiry.remove(self.write)
        return upkeep.maintain(builders) or expired

    def abandon(self) -> None:
        """Have nobody wait for upkeep any more: the files are about to be removed."""
        gone = Unavailable("the collection was deleted or emptied meanwhile", retry_after_s=1.0)
        self._need_upkeep().abandon(gone)

    def compact(self) -> None:
        """Ask that all there is now be merged into as few segments as can be; see stats()."""
        self._need_upkeep().compact()

    def erase(self, deadline: float) -> Erased:
        """Return what was erased, once no file holds what was deleted before; see erasure.erase.

        maintain() does a part of it, in another thread. Raises Unavailable, Corrupt.
        """
        return erase(self._store, self._need_writer(), self._need_upkeep(), deadline)

    def let_go(self) -> None:
        """Let go of segments that were replaced since somebody last read; for readers alone."""
        self._reader.let_go()

    def use(self) -> StoreUse:
        """Return how much of the store's map and of its slots for readers is in use."""
        return self._store.environment.use()

    @property
    def ailment(self) -> str:
        """Why the last build or check failed, or ""."""
        return self._upkeep.ailment if self._upkeep else ""

    def broken_reasons(self) -> dict[int, str]:
        """Return why the files of segments are not used, by number."""
        return dict(self._reader.broken)

    def broken_segments(self) -> list[int]:
        """Return the segments whose files are not used."""
        return sorted(self._reader.broken)

    def suspect(self, number: int) -> None:
        """Have a segment read through again: another process could not use its files."""
        self._need_upkeep().suspect(number)

    def _need_upkeep(self) -> Upkeep:
        if self._upkeep is None:
            raise ReadOnly("this process opened the data directory to read")
        return self._upkeep
