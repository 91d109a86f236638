"""One collection's store: what can be read and changed in a transaction, record by record.

Which bytes a record has is codec's business, how an environment is opened and grown is
environment's. With catalog.py these are the files that know LMDB.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb

from vecdb.errors import Corrupt, Unavailable
from vecdb.storage import codec
from vecdb.storage.codec import Change, RecordView, SegmentEntry, State, slot_key
from vecdb.storage.environment import Environment, told_when_full
from vecdb.storage.expiries import DATABASE as EXPIRIES
from vecdb.storage.expiries import Expiries
from vecdb.storage.format import check_format
from vecdb.storage.hits import EncodedHits, Ranked, encode_hits
from vecdb.storage.numbered import NumberedSchema
from vecdb.types import Wanted

T = TypeVar("T")

log = logging.getLogger(__name__)

UNKNOWN_SEQ = (1 << 64) - 1

DATABASES = (b"meta", b"ids", b"points", b"tombstones", b"changes", b"requests", EXPIRIES)


class ReadTxn:
    """A consistent view of a store, as long as its block lasts. Copy what must outlive it.

    numbered: the schema that records are read by.
    """

    def __init__(self, store: Store, txn: lmdb.Transaction) -> None:
        self._txn = txn
        self._store, self.numbered = store, store.schema
        self._path = store.path
        self._db = store.environment.databases
        self.state = self._read_state()

    def _read_state(self) -> State:
        """Return the counters, decoded once for all transactions that see the same."""
        sealed = bytes(self._txn.get(b"state", db=self._db[b"meta"]) or b"")
        known = self._store.known_state
        if known is None or known[0] != sealed:
            known = sealed, State.decode(self._meta(b"state"))
            self._store.known_state = known
        return known[1]

    @property
    def expiries(self) -> Expiries:
        """Which slots expire when."""
        return Expiries(self._txn, self._db[EXPIRIES])

    def close(self) -> None:
        """End what Store.begin_read began; what was read in place may not be touched any more."""
        self._store.environment.end_read(self._txn)

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

    def encode_hits(self, ranked: Ranked, k: int, bytes_max: int, wanted: Wanted) -> EncodedHits:
        """Return the hits of the first k slots that have a sound record.

        No hit is begun past bytes_max bytes.
        """
        first = ranked if len(ranked.slots) <= k else ranked.part(0, k)
        found = self._encode(first, k, bytes_max, wanted)
        if found.damaged and first is not ranked and len(found.hits) <= bytes_max:
            # Rare: only then is what stands behind the first k looked at.
            found = self._encode(ranked, k, bytes_max, wanted)
        return found

    def sealed(self, slot: int) -> bytes | memoryview | None:
        """Return a point's record with its seal, unchecked, or None."""
        found: bytes | memoryview | None = self._txn.get(slot_key(slot), db=self._db[b"points"])
        return found

    def encode_points(
        self, slots: list[int], records: list[bytes | memoryview | None], wanted: Wanted
    ) -> EncodedHits:
        """Return points, of what sealed() gave of each, for those whose record is sound."""
        none = [0.0] * len(slots)
        ranked, schema = Ranked(slots, none, none), self.numbered
        return encode_hits(ranked, records, schema, len(slots), 1 << 62, wanted, as_points=True)

    def _encode(self, ranked: Ranked, k: int, bytes_max: int, wanted: Wanted) -> EncodedHits:
        get, db = self._txn.get, self._db[b"points"]
        records = [get(key, db=db) for key in map(slot_key, ranked.slots)]
        return encode_hits(ranked, records, self.numbered, k, bytes_max, wanted)

    def records(self, first: int, end: int) -> Iterator[tuple[int, RecordView | Corrupt]]:
        """Yield slot and record of each live slot of [first, end), a damaged one as its error."""
        for slot, sealed in self._slots(b"points", first, end):
            try:
                yield slot, codec.decode_point(slot, sealed)
            except Corrupt as error:
                yield slot, error

    def tombstones(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return the ended slots of [first, end) that a segment may hold, and when each ended.

        A damaged one says when it ended no more: UNKNOWN_SEQ.
        """
        found: list[tuple[int, int]] = []
        for slot, sealed in self._slots(b"tombstones", first, end):
            try:
                seq = codec.from_u64(codec.unseal(b"tombstones", slot_key(slot), sealed))
            except Corrupt as error:
                log.error("%s", error)
                seq = UNKNOWN_SEQ
            found.append((slot, seq))
        return found

    def count_tombstones(self, first: int, end: int) -> int:
        """Return how many slots of [first, end) have ended that a segment may hold."""
        return sum(1 for _ in self._slots(b"tombstones", first, end))

    def changes(self, after: int) -> list[Change] | None:
        """Return the changes past a seq, or None when one of them is not kept any more, or bad."""
        found: list[Change] = []
        for seq, sealed in self._slots(b"changes", after + 1, self.state.applied_seq + 1):
            change = self._change(seq, sealed)
            if change is None or seq != after + 1 + len(found):
                return None
            found.append(change)
        return found if len(found) == self.state.applied_seq - after else None

    def change(self, seq: int) -> Change | None:
        """Return what one write changed, or None when it is not kept any more, or bad."""
        sealed = self._txn.get(slot_key(seq), db=self._db[b"changes"])
        return None if sealed is None else self._change(seq, sealed)

    def kept_changes(self) -> list[Change]:
        """Return all changes that are kept, but for those that are bad."""
        found = (self._change(seq, sealed) for seq, sealed in self._slots(b"changes", 0, 1 << 63))
        return [change for change in found if change is not None]

    def _change(self, seq: int, sealed: bytes | memoryview) -> Change | None:
        try:
            return Change.decode(seq, codec.unseal(b"changes", slot_key(seq), sealed))
        except Corrupt as error:  # what it says, the store says too
            log.error("%s", error)
            return None

    def request(self, key: bytes) -> bytes | None:
        """Return the stored answer to an idempotency key."""
        return self._get(b"requests", key)

    def answered(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield seq, idempotency key and answer of the writes that had a key; none that is bad."""
        for seq, sealed in self._slots(b"changes", 0, self.state.applied_seq + 1):
            change = self._change(seq, sealed)
            if change is None or not change.request:
                continue
            try:
                stored = self.request(change.request)
            except Corrupt as error:
                log.error("%s", error)
                continue
            if stored is not None:
                yield seq, change.request, stored

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
    """The one write transaction of a store. `state` is changed in place and stored at the end.

    changed: whether anything was written since somebody last set it to False.
    """

    changed = False

    def _read_state(self) -> State:
        """Return counters of its own: readers share theirs."""
        return State.decode(self._meta(b"state"))

    def put_points(
        self,
        ids: Iterable[tuple[bytes, int]],
        records: list[tuple[bytes, bytes]],
        expiries: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Store new records by ascending slot, ids, and time and slot of those that expire."""
        self._putmulti(b"points", records, append=True)
        if expiries:
            with self._told():
                self.expiries.add(expiries)
        entries = [(name, codec.seal(b"ids", name, codec.u64(slot))) for name, slot in ids]
        self._putmulti(b"ids", entries)

    def end_slots(self, slots: Iterable[int], seq: int) -> None:
        """Remove the records of slots, leaving a tombstone each."""
        value, expiries = codec.u64(seq), self.expiries
        some_expire = bool(expiries)
        with self._told():
            for slot in slots:
                key = slot_key(slot)
                if some_expire:
                    expiries.forget_record(slot, self._txn.get(key, db=self._db[b"points"]))
                self._txn.delete(key, db=self._db[b"points"])
                self._txn.put(
                    key, codec.seal(b"tombstones", key, value), db=self._db[b"tombstones"]
                )

    def forget_expiries(self, entries: Iterable[tuple[int, int]]) -> None:
        """Remove entries, time and slot, that no record stands behind."""
        with self._told():
            self.expiries.forget(entries)

    def forget_ids(self, ids: Iterable[bytes]) -> None:
        """Remove ids."""
        with self._told():
            for name in ids:
                self._txn.delete(name, db=self._db[b"ids"])

    def renew_keys(self) -> None:
        """Have no id, and no idempotency key, in the store that is not one's any more."""
        for database in (b"ids", b"requests"):
            with self._told():
                self._store.environment.renew(self._txn, database)

    def put_change(self, change: Change) -> None:
        """Store what a write did."""
        self._put(b"changes", slot_key(change.seq), change.encode())

    def put_request(self, key: bytes, value: bytes) -> None:
        """Store the answer to an idempotency key."""
        self._put(b"requests", key, value)

    def trim_changes(self, keep: int) -> None:
        """Drop the changes, and the requests that go with them, of all but the last writes."""
        end = self.state.applied_seq - keep + 1
        old = [(seq, self._change(seq, sealed)) for seq, sealed in self._slots(b"changes", 0, end)]
        with self._told():
            for seq, change in old:
                self._txn.delete(slot_key(seq), db=self._db[b"changes"])
                if change is not None and change.request:
                    self._txn.delete(change.request, db=self._db[b"requests"])

    def forget_changes(self) -> None:
        """Remove all changes, and the requests that go with them."""
        with self._told():
            for database in (b"changes", b"requests"):
                self._txn.drop(self._db[database], delete=False)

    def put_segments(self, entries: Sequence[SegmentEntry]) -> None:
        """Publish a list of segments."""
        self._put(b"meta", b"segments", codec.encode_segments(entries))
        self.state.epoch += 1

    def forget_tombstones(self, slots: Iterable[int]) -> None:
        """Remove tombstones of slots that no segment holds any more."""
        with self._told():
            for slot in slots:
                self._txn.delete(slot_key(slot), db=self._db[b"tombstones"])

    def renew_tombstones(self, slots: Iterable[int]) -> None:
        """Write damaged tombstones again: their slots ended by now, at the latest.

        That of a slot which has a record goes: it was another's, until its key was damaged.
        """
        with self._told():
            value, db = codec.u64(self.state.applied_seq), self._db[b"tombstones"]
            for key in map(slot_key, slots):
                if self._txn.get(key, db=self._db[b"points"]) is None:
                    self._txn.put(key, codec.seal(b"tombstones", key, value), db=db)
                else:
                    self._txn.delete(key, db=db)

    def put_state(self) -> None:
        """Store the counters; the last thing that a transaction does."""
        self._put(b"meta", b"state", self.state.encode())

    def _told(self) -> AbstractContextManager[None]:
        """Return the guard that every change is made in."""
        self.changed = True
        return told_when_full(self._path)

    def _put(self, database: bytes, key: bytes, value: bytes) -> None:
        with self._told():
            self._txn.put(key, codec.seal(database, key, value), db=self._db[database])

    def _putmulti(
        self, database: bytes, items: list[tuple[bytes, bytes]], *, append: bool = False
    ) -> None:
        with self._told(), self._txn.cursor(db=self._db[database]) as cursor:
            cursor.putmulti(items, append=append)


class Store:
    """The truth of one collection. schema: of its making, until Collection.tune replaces it."""

    def __init__(self, path: Path, *, read_only: bool, map_bytes: int) -> None:
        self.path = path
        self._ended = False  # guarded by LMDB's lock of writers
        self.known_state: tuple[bytes, State] | None = None  # sealed and decoded, last seen
        self.environment = Environment(path, DATABASES, read_only=read_only, map_bytes=map_bytes)
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
        environment = Environment(
            path, DATABASES, read_only=False, map_bytes=map_bytes, create=True
        )
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
        txn = self.begin_read()
        try:
            yield txn
        finally:
            txn.close()

    def begin_read(self) -> ReadTxn:
        """Return a consistent view whose close() is the caller's, without a block's machinery."""
        txn = self.environment.begin_read()
        try:
            return ReadTxn(self, txn)
        except BaseException:
            self.environment.end_read(txn)
            raise

    @contextmanager
    def write(self) -> Iterator[WriteTxn]:
        """Yield the write transaction; durable when the block ends. Raises MapFull, StorageFull."""
        with self.environment.begin(write=True) as txn:
            if self._ended:
                raise Unavailable(
                    "the collection was truncated meanwhile: send the write again",
                    retry_after_s=0.01,
                )
            write = WriteTxn(self, txn)
            yield write
            write.put_state()

    def change(self, make: Callable[[WriteTxn], T]) -> T:
        """Return what a change in a transaction of its own returns, durably; the map grows for it.

        make: may be called again. Raises StorageFull.
        """

        def attempt() -> T:
            with self.write() as txn:
                return make(txn)

        return self.environment.growing(attempt)

    @contextmanager
    def last(self) -> Iterator[ReadTxn]:
        """Yield what the last write left. None is under way; none comes after, unless this raises.

        LMDB's own lock sees to that: the writer thread waits for the block.
        """
        with self.environment.begin(write=True) as txn:
            yield ReadTxn(self, txn)
            self._ended = True  # before the lock is let go
