"""One collection's LMDB environment: its transactions, and how its map grows. Knows LMDB, alone.

A Store serves any number of reading threads and one writing thread. A transaction of either kind
holds the gate shared; growing the map, which LMDB allows only while no transaction of the process
is open, holds it alone.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import lmdb

from vecdb.errors import Corrupt, FormatTooNew, NotFound, ReadOnly, StorageFull
from vecdb.storage import codec
from vecdb.storage.codec import Change, NumberedSchema, RecordView, SegmentEntry, State, slot_key

_DATABASES = (b"meta", b"ids", b"points", b"tombstones", b"changes", b"requests")
_GROW_AT = 0.8
_MAP_MAX = 1 << 46
_FULL_BYTES = 1 << 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
MAX_READERS = 1024


class MapFull(Exception):
    """The map is full: abort, grow, and apply again. A signal to the writer, never shown."""


class Gate:
    """Shared by transactions, held alone to grow the map. Guards nothing else."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    def enter(self) -> None:
        """Wait until nobody holds the gate alone, and share it."""
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._inside += 1

    def leave(self) -> None:
        """Stop sharing."""
        with self._changed:
            self._inside -= 1
            if not self._inside:
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the gate with nobody inside."""
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._closed = True
            while self._inside:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class Environment:
    """An LMDB environment with named databases, opened to read or to write."""

    def __init__(
        self, path: Path, databases: Sequence[bytes], *, read_only: bool, map_bytes: int
    ) -> None:
        self.path = path
        self.read_only = read_only
        self.gate = Gate()
        data = path / "data.mdb"
        if not data.exists() and read_only:
            raise NotFound(f"no store at {path}")
        # A map must at least hold the file; one that grew keeps its size over a restart.
        size = data.stat().st_size if data.exists() else 0
        while map_bytes * _GROW_AT < size:
            map_bytes *= 2
        try:
            self.env = lmdb.open(
                str(path),
                map_size=map_bytes,
                max_dbs=len(databases),
                max_readers=MAX_READERS,
                max_spare_txns=64,
                readonly=read_only,
                readahead=False,
                create=not read_only,
                mode=0o600,
            )
            self.databases = {
                name: self.env.open_db(name, create=not read_only) for name in databases
            }
        except lmdb.NotFoundError:
            raise Corrupt(f"{path} lacks a database of its format", hint="see FORMAT.md") from None
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
            raise Corrupt(
                f"{path} cannot be opened: {error}", hint="restore it from a backup"
            ) from None
        except (lmdb.DiskError, OSError) as error:
            unusable = Corrupt(f"{path} cannot be opened: {error}")
            raise _full_or(error, unusable, path.parent) from None
        self.env.reader_check()

    def close(self) -> None:
        """Close the environment; no transaction may be open."""
        with self.gate.alone():
            self.env.close()

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[lmdb.Transaction]:
        """Yield a transaction; commit at the end of the block, abort when it raises."""
        if write and self.read_only:
            raise ReadOnly(f"{self.path} was opened to read")
        txn = self._enter(write=write)
        try:
            yield txn
            with _told_when_full(self.path):
                txn.commit()
        except BaseException:
            txn.abort()
            raise
        finally:
            self.gate.leave()

    def _enter(self, *, write: bool) -> lmdb.Transaction:
        while True:
            self.gate.enter()
            try:
                return self.env.begin(write=write, buffers=True)
            except lmdb.MapResizedError:
                # The writer, in another process, grew the map: take its size over.
                self.gate.leave()
                with self.gate.alone():
                    self.env.set_mapsize(0)
            except BaseException:
                self.gate.leave()
                raise

    def used_bytes(self) -> int:
        """Return the bytes of the file that hold pages."""
        used: int = (self.env.info()["last_pgno"] + 1) * self.env.stat()["psize"]
        return used

    def map_bytes(self) -> int:
        """Return the bytes of address space mapped."""
        size: int = self.env.info()["map_size"]
        return size

    def grow(self, *, force: bool = False) -> None:
        """Double the map when it is 80 % full, or at once. Waits for open transactions to end."""
        size = self.map_bytes()
        if not force and self.used_bytes() < size * _GROW_AT:
            return
        if size * 2 > _MAP_MAX:
            raise StorageFull(f"{self.path}: the map has reached {size} bytes")
        with self.gate.alone():
            self.env.set_mapsize(size * 2)


def free_bytes(path: Path) -> int:
    """Return the free space of a path's file system."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def disk_full() -> StorageFull:
    """Return the error of a write that found no space."""
    return StorageFull(
        "the disk is full: nothing of this write was kept, reads and deletes go on",
        hint="free space on the data directory's file system",
        retry_after_s=5.0,
    )


def _full_or(error: Exception, otherwise: Exception, path: Path) -> Exception:
    """Return what to raise for an error that may be a full map or a full disk."""
    if isinstance(error, lmdb.MapFullError):
        return MapFull()
    if isinstance(error, lmdb.DiskError) or getattr(error, "errno", 0) in _NO_SPACE:
        return disk_full()
    # LMDB calls a write that the disk took half of an input/output error.
    if "Input/output error" in str(error) and free_bytes(path) < _FULL_BYTES:
        return disk_full()
    return otherwise


class ReadTxn:
    """A consistent view of a store, as long as its block lasts. Copy what must outlive it."""

    def __init__(self, store: Store, txn: lmdb.Transaction) -> None:
        self._txn = txn
        self._path = store.path
        self._db = store.environment.databases
        self.state = State.decode(self._meta(b"state"))

    def _get(self, database: bytes, key: bytes) -> bytes | None:
        sealed = self._txn.get(key, db=self._db[database])
        return None if sealed is None else codec.unseal(database, key, sealed)

    def _meta(self, key: bytes) -> bytes:
        value = self._get(b"meta", key)
        if value is None:
            raise Corrupt(f"meta/{key.decode()} is missing", hint="restore from a backup")
        return value

    def segments(self) -> tuple[SegmentEntry, ...]:
        """Return the published segments by slot."""
        return codec.decode_segments(self._meta(b"segments"))

    def slots_of(self, ids: Sequence[bytes]) -> dict[bytes, int]:
        """Return the slots of those ids that are there. Raises Corrupt."""
        if not ids:
            return {}
        with self._txn.cursor(db=self._db[b"ids"]) as cursor:
            # getmulti gives each id once, in the order asked, and leaves out those not there.
            return {
                (name := bytes(key)): codec.from_u64(codec.unseal(b"ids", name, sealed))
                for key, sealed in cursor.getmulti(ids)
            }

    def record(self, slot: int) -> RecordView | None:
        """Return the record of a slot, or None when it has ended. Raises Corrupt."""
        sealed = self._txn.get(slot_key(slot), db=self._db[b"points"])
        return None if sealed is None else codec.decode_point(slot, sealed)

    def records(self, first: int, end: int) -> Iterator[tuple[int, RecordView | Corrupt]]:
        """Yield slot and record of each live slot of [first, end), a damaged one as its error."""
        for slot, sealed in self._slots(b"points", first, end):
            try:
                yield slot, codec.decode_point(slot, sealed)
            except Corrupt as error:
                yield slot, error

    def tombstones(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the ended slots of [first, end) that a segment may hold, and when each ended."""
        return [
            (slot, codec.from_u64(codec.unseal(b"tombstones", slot_key(slot), sealed)))
            for slot, sealed in self._slots(b"tombstones", first, end)
        ]

    def changes(self, after: int) -> list[Change] | None:
        """Return the changes past a seq, or None when the first of them is not kept any more."""
        found: list[Change] = []
        for seq, sealed in self._slots(b"changes", after + 1, self.state.applied_seq + 1):
            if seq != after + 1 + len(found):
                return None
            found.append(Change.decode(seq, codec.unseal(b"changes", slot_key(seq), sealed)))
        return found if len(found) == self.state.applied_seq - after else None

    def request(self, key: bytes) -> bytes | None:
        """Return the stored answer to an idempotency key."""
        return self._get(b"requests", key)

    def ids(self, after: bytes) -> Iterator[tuple[bytes, int | Corrupt]]:
        """Yield id and slot in the order of the ids' bytes, those past the given one."""
        with self._txn.cursor(db=self._db[b"ids"]) as cursor:
            found = cursor.set_range(after) if after else cursor.first()
            if found and after and bytes(cursor.key()) == after:
                found = cursor.next()
            if not found:
                return
            for key, sealed in cursor.iternext():
                name = bytes(key)
                try:
                    yield name, codec.from_u64(codec.unseal(b"ids", name, sealed))
                except Corrupt as error:
                    yield name, error

    def _slots(
        self, database: bytes, first: int, end: int
    ) -> Iterator[tuple[int, bytes | memoryview]]:
        with self._txn.cursor(db=self._db[database]) as cursor:
            if not cursor.set_range(slot_key(first)):
                return
            for key, sealed in cursor.iternext():
                slot = codec.slot_of_key(key)
                if slot >= end:
                    return
                yield slot, sealed


class WriteTxn(ReadTxn):
    """The one write transaction of a store. `state` is changed in place and stored at the end."""

    def put_points(
        self, ids: Iterable[tuple[bytes, int]], records: list[tuple[bytes, bytes]]
    ) -> None:
        """Store new records, keyed by slot in ascending order, and point their ids at them."""
        self._putmulti(b"points", records, append=True)
        entries = [(name, codec.seal(b"ids", name, codec.u64(slot))) for name, slot in ids]
        self._putmulti(b"ids", entries)

    def end_slots(self, slots: Iterable[int], seq: int) -> None:
        """Remove the records of slots, leaving a tombstone each."""
        value = codec.u64(seq)
        with self._told():
            for slot in slots:
                key = slot_key(slot)
                self._txn.delete(key, db=self._db[b"points"])
                self._txn.put(
                    key, codec.seal(b"tombstones", key, value), db=self._db[b"tombstones"]
                )

    def forget_ids(self, ids: Iterable[bytes]) -> None:
        """Remove ids."""
        with self._told():
            for name in ids:
                self._txn.delete(name, db=self._db[b"ids"])

    def put_change(self, change: Change) -> None:
        """Store what a write did."""
        self._put(b"changes", slot_key(change.seq), change.encode())

    def put_request(self, key: bytes, value: bytes) -> None:
        """Store the answer to an idempotency key."""
        self._put(b"requests", key, value)

    def trim_changes(self, keep: int) -> None:
        """Drop the changes, and the requests that go with them, of all but the last writes."""
        end = self.state.applied_seq - keep + 1
        old = [
            Change.decode(seq, codec.unseal(b"changes", slot_key(seq), sealed))
            for seq, sealed in self._slots(b"changes", 0, end)
        ]
        with self._told():
            for change in old:
                self._txn.delete(slot_key(change.seq), db=self._db[b"changes"])
                if change.request:
                    self._txn.delete(change.request, db=self._db[b"requests"])

    def put_segments(self, entries: Sequence[SegmentEntry]) -> None:
        """Publish a list of segments."""
        self._put(b"meta", b"segments", codec.encode_segments(entries))
        self.state.epoch += 1

    def forget_tombstones(self, slots: Iterable[int]) -> None:
        """Remove tombstones of slots that no segment holds any more."""
        with self._told():
            for slot in slots:
                self._txn.delete(slot_key(slot), db=self._db[b"tombstones"])

    def put_state(self) -> None:
        """Store the counters; the last thing that a transaction does."""
        self._put(b"meta", b"state", self.state.encode())

    def _told(self) -> AbstractContextManager[None]:
        return _told_when_full(self._path)

    def _put(self, database: bytes, key: bytes, value: bytes) -> None:
        with self._told():
            self._txn.put(key, codec.seal(database, key, value), db=self._db[database])

    def _putmulti(
        self, database: bytes, items: list[tuple[bytes, bytes]], *, append: bool = False
    ) -> None:
        with self._told(), self._txn.cursor(db=self._db[database]) as cursor:
            cursor.putmulti(items, append=append)


@contextmanager
def _told_when_full(path: Path) -> Iterator[None]:
    try:
        yield
    except lmdb.Error as error:
        raise _full_or(error, error, path) from None


class Store:
    """The truth of one collection."""

    def __init__(self, path: Path, *, read_only: bool, map_bytes: int) -> None:
        self.path = path
        self.environment = Environment(path, _DATABASES, read_only=read_only, map_bytes=map_bytes)
        try:
            with self.environment.begin() as txn:
                check_format(path, txn, self.environment.databases[b"meta"])
                sealed = txn.get(b"schema", db=self.environment.databases[b"meta"])
                if sealed is None:
                    raise Corrupt(f"{path}: meta/schema is missing", hint="restore from a backup")
                plain = json.loads(codec.unseal(b"meta", b"schema", sealed))
        except BaseException:
            self.environment.close()
            raise
        self.schema = NumberedSchema.from_plain(plain)

    @staticmethod
    def create(path: Path, schema: NumberedSchema, *, map_bytes: int) -> None:
        """Make an empty store. Durable when it returns."""
        path.mkdir(parents=True)
        environment = Environment(path, _DATABASES, read_only=False, map_bytes=map_bytes)
        try:
            with environment.begin(write=True) as txn:
                for key, value in (
                    (b"format", codec.u32(codec.FORMAT_VERSION)),
                    (b"schema", codec.to_json(schema.to_plain())),
                    (b"state", State().encode()),
                    (b"segments", codec.encode_segments(())),
                ):
                    sealed = codec.seal(b"meta", key, value)
                    txn.put(key, sealed, db=environment.databases[b"meta"])
        finally:
            environment.close()

    def close(self) -> None:
        """Close the environment; no transaction may be open."""
        self.environment.close()

    @contextmanager
    def read(self) -> Iterator[ReadTxn]:
        """Yield a consistent view. Keep the block short: pages it can see are not reused."""
        with self.environment.begin() as txn:
            yield ReadTxn(self, txn)

    @contextmanager
    def write(self) -> Iterator[WriteTxn]:
        """Yield the write transaction; durable when the block ends. Raises MapFull, StorageFull."""
        with self.environment.begin(write=True) as txn:
            write = WriteTxn(self, txn)
            yield write
            write.put_state()


def check_format(path: Path, txn: lmdb.Transaction, meta: Any) -> None:  # noqa: ANN401 - py-lmdb has no types
    """Raise FormatTooNew or Corrupt unless the environment is of this program's format."""
    sealed = txn.get(b"format", db=meta)
    if sealed is None:
        raise Corrupt(f"{path} holds no format version", hint="is this a vecdb data directory?")
    version = codec.from_u32(codec.unseal(b"meta", b"format", sealed))
    if version > codec.FORMAT_VERSION:
        raise FormatTooNew(
            f"{path} is of format {version}, this vecdb reads up to {codec.FORMAT_VERSION}",
            hint="run the vecdb that wrote it, or a later one",
        )
