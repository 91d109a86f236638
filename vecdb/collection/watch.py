"""What writes changed, in their order, for whoever follows a collection."""

from __future__ import annotations

from dataclasses import dataclass

from vecdb.clock import Clock, wall_clock
from vecdb.collection.points import point_of
from vecdb.errors import Corrupt, HorizonPassed, InvalidArgument
from vecdb.storage.codec import Change
from vecdb.storage.store import ReadTxn, Store
from vecdb.types import Point, Wanted

ITEMS_MAX = 1_000
"""Points and deletions that are taken together."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Ids that were deleted, and then points that were put, as they are by now.

    complete: whether this is all there is up to seq. warnings: points that are left out. truncated:
    whether all points that there were are gone.
    """

    deleted: list[str]
    points: list[Point]
    seq: int
    complete: bool
    warnings: list[str]
    truncated: bool = False


class Watcher:
    """Where one who follows a collection is: all up to `seq` was taken.

    Nothing is kept open between two looks, so that pages are reused however long it takes.
    """

    def __init__(
        self, store: Store, truncated_seq: int, after: int | None, clock: Clock = wall_clock
    ) -> None:
        """Begin behind a write, or with what comes from now on. Raises InvalidArgument.

        truncated_seq: of the truncation that the store begins with, or 0.
        """
        with store.read() as txn:
            applied = txn.state.applied_seq
        if after is not None and after > applied:
            raise InvalidArgument(
                f"after_seq is {after}, the collection is at {applied}",
                field="after_seq",
                hint="after a restore, list the points anew and watch from that reply's commit_seq",
            )
        self._store = store
        self._clock = clock
        self._truncated_seq = truncated_seq
        self.seq = applied if after is None else after
        self._slot = 0  # of the next change, where the first part of it was taken

    def take(self, wanted: Wanted, bytes_max: int) -> Changed | None:
        """Return what comes next, about bytes_max bytes of it; None when there is nothing yet.

        Raises HorizonPassed when the store no longer has it.
        """
        if self.seq < self._truncated_seq:
            self.seq = self._truncated_seq
            return Changed([], [], self.seq, True, [], truncated=True)
        found = Changed([], [], 0, True, [])
        seq, left = self.seq, bytes_max
        with self._store.read() as txn:
            applied = txn.state.applied_seq
            while seq < applied and left > 0 and len(found.points) + len(found.deleted) < ITEMS_MAX:
                change = self._change(txn, seq + 1)
                if not self._slot:
                    found.deleted.extend(name.decode() for name in change.removed)
                left = self._add(txn, change, found, wanted, left)
                seq += 1
                if self._slot:
                    return Changed(found.deleted, found.points, seq, False, found.warnings)
                self.seq = seq
        if not found.points and not found.deleted and not found.warnings and seq == applied:
            return None
        return Changed(found.deleted, found.points, seq, True, found.warnings)

    def _change(self, txn: ReadTxn, seq: int) -> Change:
        change = txn.change(seq)
        if change is None:
            raise HorizonPassed(
                f"what write {seq} changed is not kept any more",
                hint="list the points anew and watch from that reply's commit_seq; "
                "storage.changes_retained says how many writes are kept",
            )
        if b"" in change.removed:
            raise HorizonPassed(
                f"which points write {seq} deleted was erased",
                hint="list the points anew and watch from that reply's commit_seq",
            )
        return change

    def _add(self, txn: ReadTxn, change: Change, found: Changed, wanted: Wanted, left: int) -> int:
        """Add the points of a change, up to a size; return what is left of it."""
        now_ms = self._clock()
        first, end = max(change.first_slot, self._slot), change.first_slot + change.added
        self._slot = 0
        for slot, record in txn.records(first, end):
            if left <= 0 or len(found.points) >= ITEMS_MAX:
                self._slot = slot
                break
            if isinstance(record, Corrupt):
                found.warnings.append(f"a point was left out: {record}")
            elif not record.has_expired(now_ms):
                found.points.append(point_of(record, self._store.schema, wanted))
                left -= len(record.value)
        return left
