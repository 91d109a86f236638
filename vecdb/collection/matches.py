"""The points that a filter matches, found in one snapshot and read, part by part, in later ones."""

from __future__ import annotations

from typing import NamedTuple

from vecdb.errors import Corrupt
from vecdb.storage.codec import RecordView
from vecdb.storage.store import ReadTxn, Store
from vecdb.types import U64


class Match(NamedTuple):
    """A point that matched and has not been written since. size: bytes of its record."""

    id: str
    version: int
    size: int


class Matches:
    """Points by slot, which is the order of their versions. Between two looks nothing is kept open.

    upto: the newest version there can be. skipped: points met that were written or deleted since.
    damaged: points met whose record fails its checksum. version: that of the last point taken.
    settled: whether all points of that version were taken.
    """

    def __init__(self, store: Store, slots: U64, upto: int) -> None:
        self._store = store
        self._slots: list[int] = slots.tolist()
        self._at = 0
        self.upto = upto
        self.skipped = self.damaged = self.version = 0
        self.settled = False

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def done(self) -> bool:
        """Whether all points were taken."""
        return self._at == len(self._slots)

    def take(self, count: int, bytes_max: int) -> list[Match]:
        """Return up to `count` more points, fewer once their records have bytes_max bytes."""
        return [
            Match(record.id, record.version, len(record.value))
            for _, record in self.take_records(count, bytes_max)
        ]

    def take_records(self, count: int, bytes_max: int) -> list[tuple[int, RecordView]]:
        """Return slot and record of what take() does."""
        taken: list[tuple[int, RecordView]] = []
        size = 0
        with self._store.read() as txn:
            while (record := self._next(txn)) is not None:
                if len(taken) == count or size >= bytes_max:
                    self.settled = record.version != self.version
                    return taken
                taken.append((self._slots[self._at], record))
                size += len(record.value)
                self.version = record.version
                self._at += 1
        self.settled = True
        return taken

    def _next(self, txn: ReadTxn) -> RecordView | None:
        """Return the record of the next point that is as it was, or None past the last."""
        while self._at < len(self._slots):
            try:
                record = txn.record(self._slots[self._at])
            except Corrupt:
                self.damaged += 1
            else:
                if record is not None:
                    return record
                self.skipped += 1
            self._at += 1
        return None


def slot_past(txn: ReadTxn, version: int) -> int:
    """Return the first slot that only points newer than a version can have.

    Slots and versions ascend together, so that one is found by the other.
    """
    low, high = 0, txn.state.next_slot
    if version >= txn.state.applied_seq:
        return high
    while low < high:
        middle = (low + high) // 2
        sound = (
            (slot, record)
            for slot, record in txn.records(middle, high)
            if not isinstance(record, Corrupt)
        )
        slot, record = next(sound, (high, None))
        if record is None or record.version > version:
            high = middle
        else:
            low = slot + 1
    return low
