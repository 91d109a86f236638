"""Putting right what a check finds in one store, as far as its records say what is right.

Records are the truth: whatever can be derived from them is. A record that fails its checksum is
lost; it is removed by an ordinary delete of its id, so that those who follow hear of it. Nobody
else may have the store open to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vecdb.errors import Corrupt
from vecdb.storage.codec import RecordView
from vecdb.storage.expiries import NEVER
from vecdb.storage.store import UNKNOWN_SEQ, Store, WriteTxn

_EVERY = 1_000
_ALL = 1 << 63


@dataclass(slots=True)
class Repaired:
    """What was done to a store, in words, and what is still to be done.

    lost: ids whose records cannot be read, to be deleted as anybody deletes.
    """

    done: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def repair_store(store: Store) -> Repaired:
    """Return what was put right, durably, in one transaction, and the ids that are lost.

    Raises Corrupt where the store cannot be read, StorageFull.
    """
    return store.change(lambda txn: _Repair(txn).run())


class _Repair:
    """One repair. Looks first, changes then: no cursor sees what it changes."""

    def __init__(self, txn: WriteTxn) -> None:
        self._txn = txn
        self._repaired = Repaired()
        self._nameless: list[int] = []  # damaged ones that no id leads to
        self._damaged: set[int] = set()  # slots of records that fail their checksum
        self._unnamed: list[tuple[bytes, int]] = []  # ids that do not name their record's slot
        self._superseded: list[int] = []  # slots whose id names another sound record
        self._expiries: dict[int, int] = {}
        self._live = 0
        self._last = -1

    def run(self) -> Repaired:
        self._read_records()
        self._repair_ids()
        self._remove_unnamed()
        self._repair_expiries()
        self._repair_tombstones()
        self._repair_counts()
        return self._repaired

    def _read_records(self) -> None:
        for slot, record in self._txn.records(0, _ALL):
            self._last = slot
            if not isinstance(record, RecordView):
                self._damaged.add(slot)
                continue
            name = record.id.encode()
            named = self._slot_of(name)
            if named is not None and named != slot and self._is_of(named, record.id):
                self._superseded.append(min(slot, named))
                if slot < named:
                    continue
                self._expiries.pop(named, None)  # it was taken for the point's a while ago
                self._live -= 1
            if named != slot:
                self._unnamed.append((name, slot))
            self._live += 1
            if record.expires_at_ms:
                self._expiries[slot] = record.expires_at_ms

    def _slot_of(self, name: bytes) -> int | None:
        try:
            return self._txn.slots_of([name]).get(name)
        except Corrupt:
            return None

    def _record(self, slot: int) -> RecordView | None:
        try:
            return self._txn.record(slot)
        except Corrupt:
            return None

    def _is_of(self, slot: int, name: str) -> bool:
        record = self._record(slot)
        return record is not None and record.id == name

    def _repair_ids(self) -> None:
        if self._unnamed:
            self._txn.put_points(self._unnamed, [])
            self._did(len(self._unnamed), "ids name their records again")
        gone, named = [], set()
        for name, slot in self._txn.ids(b""):
            if isinstance(slot, int) and slot in self._damaged:
                named.add(slot)
                self._repaired.lost.append(name.decode(errors="replace"))
            elif not isinstance(slot, int) or self._record(slot) is None:
                gone.append(name)
        if gone:
            self._txn.forget_ids(gone)
            self._did(len(gone), "ids without a record were removed", gone)
        self._nameless = sorted(self._damaged - named)

    def _remove_unnamed(self) -> None:
        """Remove records that no id leads to: nobody could ask for them to be deleted."""
        state = self._txn.state
        for slots, what in (
            (self._nameless, "records that cannot be read, nor whose ids, were removed"),
            (self._superseded, "records whose id has a later one were removed"),
        ):
            if slots:
                self._txn.end_slots(sorted(slots), state.applied_seq)
                self._did(len(slots), what)

    def _repair_expiries(self) -> None:
        expected = {(at, slot) for slot, at in self._expiries.items()}
        there = set(self._txn.expiries.due(NEVER))
        surplus = there - expected
        if surplus:
            self._txn.forget_expiries(surplus)
            self._did(len(surplus), "expiries of no record were removed")
        if expected - there:
            self._txn.expiries.add(sorted(expected - there))
            self._did(len(expected - there), "expiries of records were noted again")

    def _repair_tombstones(self) -> None:
        state = self._txn.state
        damaged, wrong = [], []
        for slot, seq in self._txn.tombstones(0, _ALL):
            if seq == UNKNOWN_SEQ:
                damaged.append(slot)
            elif slot >= max(state.next_slot, self._last + 1) or self._record(slot) is not None:
                wrong.append(slot)
            elif seq > state.applied_seq:
                damaged.append(slot)
        if damaged:
            self._txn.renew_tombstones(damaged)
            self._did(len(damaged), "tombstones were written again")
        if wrong:
            self._txn.forget_tombstones(wrong)
            self._did(len(wrong), "tombstones of slots that have not ended were removed")

    def _repair_counts(self) -> None:
        state = self._txn.state
        points = self._live + len(self._repaired.lost)  # these go later, by a delete
        if state.points != points:
            self._repaired.done.append(f"the count of points was {state.points}, not {points}")
            state.points = points
        if state.next_slot <= self._last:
            self._repaired.done.append(f"the next slot was {state.next_slot}, not past the last")
            state.next_slot = self._last + 1

    def _did(self, count: int, what: str, names: list[bytes] | None = None) -> None:
        shown = [name.decode(errors="replace") for name in (names or [])[:10]]
        self._repaired.done.append(f"{count} {what}" + (f": {', '.join(shown)}" if shown else ""))


def batches(ids: list[str]) -> Iterator[list[str]]:
    """Yield ids in the sizes that they are deleted in."""
    for first in range(0, len(ids), _EVERY):
        yield ids[first : first + _EVERY]
