"""What one reader searches: a consistent set of parts, and how it catches up with the store.

A View belongs to one applied_seq and never changes. The next one is made from it and the changes
since, or from the store alone where those are not kept any more. Whatever file cannot be read, its
rows are taken from the store instead, and the segment is named as broken.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from vecdb import kernel
from vecdb.errors import Corrupt
from vecdb.query.search import Part
from vecdb.segment.bitmaps import all_rows, grown, pack, unpack
from vecdb.segment.encoding import encoded_point
from vecdb.segment.memory import MemoryRows, Row
from vecdb.segment.segment import Segment
from vecdb.storage.codec import Change, RecordView, SegmentEntry
from vecdb.storage.multi import decode_multi
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.sparse import decode_sparse
from vecdb.storage.store import ReadTxn
from vecdb.types import U64, Bitmap

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Live:
    """A part and which of its rows are alive; None for all. dead: how many are not.

    Bits of `alive` past the last row are set, so that rows that are appended are alive.
    """

    part: Part
    alive: Bitmap | None
    dead: int = 0

    def without(self, wanted: U64) -> Live:
        """Return the part with the rows of those slots dead too."""
        rows = np.searchsorted(self.part.slots, wanted)
        rows = rows[rows < self.part.rows]
        # A slot that the part does not hold was gone before it was built.
        rows = rows[np.isin(self.part.slots[rows], wanted)]
        if not len(rows):
            return self
        before = all_rows(self.part.rows) if self.alive is None else self.alive
        alive = before & ~kernel.row_bits(rows.astype(np.uint32), self.part.rows)
        return Live(self.part, alive, self.part.rows - kernel.count_bits(alive, self.part.rows))


@dataclass(frozen=True, slots=True)
class View:
    """All live rows of a collection at one seq: those of each segment, by slot, and the tail.

    Rows whose time had come at `time_ms` are dead like those that have ended. expired: their slots,
    ascending, as long as the store has them. It is all true until `expires_next_ms`.
    """

    seq: int
    epoch: int
    schema: NumberedSchema
    entries: tuple[SegmentEntry, ...]
    segments: tuple[Live, ...]
    tail: Live
    tail_first: int
    broken: dict[int, str]
    """Why a segment's files are not used, by its number."""
    time_ms: int
    expires_next_ms: int
    expired: U64

    @property
    def parts(self) -> tuple[Live, ...]:
        """Everything there is to search."""
        return (*self.segments, self.tail)

    def without(self, slots: U64) -> View:
        """Return the view with the rows of those slots, ascending, dead too."""
        if not len(slots):
            return self
        bounds = np.array([e.first for e in self.entries] + [self.tail_first], np.uint64)
        cuts = np.searchsorted(slots, bounds).tolist()
        segments = tuple(
            live.without(slots[start:stop])
            for live, (start, stop) in zip(self.segments, pairwise(cuts), strict=True)
        )
        return replace(self, segments=segments, tail=self.tail.without(slots[cuts[-1] :]))


def rows_of(
    records: Iterable[tuple[int, RecordView | Corrupt]], schema: NumberedSchema
) -> Iterator[Row]:
    """Yield the rows of records; a damaged one is left out and logged."""
    numbers = schema.numbers
    dense = {numbers[space.name]: space.name for space in schema.schema.spaces}
    sparse = {numbers[space.name]: space.name for space in schema.schema.sparse_spaces}
    multi = {numbers[space.name]: space for space in schema.schema.multi_spaces}
    for slot, record in records:
        if isinstance(record, Corrupt):
            log.error("left out of search: %s", record)
            continue
        cells = record.vector_bytes()
        vectors = {dense[number]: cell for number, cell in cells.items() if number in dense}
        if len(vectors) == len(cells):
            yield Row(slot, record.payload, vectors, expires_at_ms=record.expires_at_ms)
            continue
        for number, space in multi.items():
            if number in cells:
                held = decode_multi(cells[number], space.dim)
                vectors[space.name] = encoded_point(held, space.metric).tobytes()
        others = {sparse[n]: decode_sparse(cell) for n, cell in cells.items() if n in sparse}
        yield Row(slot, record.payload, vectors, others, expires_at_ms=record.expires_at_ms)


def _less(slots: U64, gone: U64) -> U64:
    """Return the slots without those gone; both ascend."""
    at = np.searchsorted(slots, gone)
    there = at < len(slots)
    there[there] = slots[at[there]] == gone[there]
    return np.delete(slots, at[there]) if there.any() else slots


class ViewKeeper:
    """Makes views of one collection. Callers take turns: see Collection."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._condemned: dict[int, str] = {}

    def condemn(self, number: int, reason: str) -> None:
        """Never use a segment's files again."""
        self._condemned[number] = reason

    def is_current(self, view: View, txn: ReadTxn, schema: NumberedSchema, now_ms: int) -> bool:
        """Return whether a view is that of a transaction for certain. Needs no turn."""
        state = txn.state
        return (
            view.seq == state.applied_seq
            and view.epoch == state.epoch
            and view.schema is schema
            and now_ms < view.expires_next_ms
            and not self._condemned
        )

    def load(self, txn: ReadTxn, schema: NumberedSchema, now_ms: int) -> View:
        """Return the view of a transaction at a time, from the store alone."""
        return self._build(txn, None, schema, now_ms)

    def advance(self, view: View, txn: ReadTxn, schema: NumberedSchema, now_ms: int) -> View:
        """Return the view of a newer transaction, or schema.

        At a time that is no earlier than the view's.
        """
        now_ms = max(now_ms, view.time_ms)  # a clock may be set back: what has expired, has
        if view.schema is not schema:
            if view.schema.numbering != schema.numbering:
                return self.load(txn, schema, now_ms)
            view = replace(view, schema=schema)
        changes = txn.changes(view.seq)
        if changes is None:
            log.info("changes after %d are not kept any more: loading afresh", view.seq)
            return self.load(txn, schema, now_ms)
        caught_up = self._apply(view, changes, txn) if changes else view
        broken = self._condemned.keys() - caught_up.broken.keys()
        if txn.state.epoch != caught_up.epoch or broken & {e.number for e in caught_up.entries}:
            return self._build(txn, caught_up, schema, now_ms)
        due = txn.expiries.between(view.time_ms, now_ms)
        return replace(
            caught_up.without(due),
            time_ms=now_ms,
            expires_next_ms=txn.expiries.next_after(now_ms),
            expired=np.union1d(caught_up.expired, due) if len(due) else caught_up.expired,
        )

    def _apply(self, view: View, changes: list[Change], txn: ReadTxn) -> View:
        ended = np.array(sorted(slot for c in changes for slot in c.ended), np.uint64)
        tail = view.tail
        assert isinstance(tail.part, MemoryRows)
        first, end = changes[0].first_slot, txn.state.next_slot
        if txn.state.epoch != view.epoch and (entries := txn.segments()):
            # What segments hold by now is not read into the tail only to be cut from it.
            first = max(first, entries[-1].end)
        # Slots that have ended since are not in the store any more, and so never appended.
        rows = list(rows_of(txn.records(first, end), view.schema))
        fresh = tail.part.append(rows)
        alive = None if tail.alive is None else grown(tail.alive, fresh.rows)
        tail = Live(fresh, alive, tail.dead)
        late = [row.slot for row in rows if 0 < row.expires_at_ms <= view.time_ms]
        expired = _less(view.expired, ended)
        if late:
            expired = np.union1d(expired, np.array(late, np.uint64))
        caught_up = replace(view, seq=txn.state.applied_seq, tail=tail, expired=expired)
        return caught_up.without(np.array(sorted([*ended.tolist(), *late]), np.uint64))

    def _build(self, txn: ReadTxn, view: View | None, schema: NumberedSchema, now_ms: int) -> View:
        """Return the view of a transaction's segment list, keeping what an older view has open.

        view: of the same seq as the transaction, and the same schema, or None.
        """
        entries = txn.segments()
        kept: dict[int, Live] = {}
        if view is not None:
            kept = {
                entry.number: live
                for entry, live in zip(view.entries, view.segments, strict=True)
                if entry.number in view.broken or entry.number not in self._condemned
            }
        broken: dict[int, str] = {}
        segments: list[Live] = []
        for entry in entries:
            live = kept.get(entry.number)
            if live is None:
                live = self._open(entry, txn, schema, broken)
            elif view is not None and entry.number in view.broken:
                broken[entry.number] = view.broken[entry.number]
            segments.append(live)
        # Numbers are used once. While any is condemned, every reader takes the long way.
        numbers = {entry.number for entry in entries}
        self._condemned = {n: why for n, why in self._condemned.items() if n in numbers}
        first = entries[-1].end if entries else 0
        expired = txn.expiries.between(0, now_ms)
        return View(
            txn.state.applied_seq,
            txn.state.epoch,
            schema,
            entries,
            tuple(segments),
            self._tail(txn, view, first, schema),
            first,
            broken,
            now_ms,
            txn.expiries.next_after(now_ms),
            expired,
        ).without(expired)

    def _tail(self, txn: ReadTxn, view: View | None, first: int, schema: NumberedSchema) -> Live:
        if view is not None and view.tail_first <= first:
            part = view.tail.part
            assert isinstance(part, MemoryRows)
            rest = part.from_slot(first)
            if view.tail.alive is None:
                return Live(rest, None)
            alive = ~pack(~unpack(view.tail.alive, part.rows)[part.rows - rest.rows :])
            return Live(rest, alive, rest.rows - kernel.count_bits(alive, rest.rows))
        return Live(_in_memory(txn, first, txn.state.next_slot, schema), None)

    def _open(
        self, entry: SegmentEntry, txn: ReadTxn, schema: NumberedSchema, broken: dict[int, str]
    ) -> Live:
        if not entry.rows:
            return Live(MemoryRows(schema.schema), None)
        folder = self._folder / str(entry.number)
        try:
            if entry.number in self._condemned:
                raise Corrupt(self._condemned[entry.number])
            segment = Segment(folder, entry.seal, schema.schema, schema.numbers)
            if (segment.first, segment.end, segment.rows) != (entry.first, entry.end, entry.rows):
                raise Corrupt(f"segment {entry.number} covers other slots than the store lists")
        except Corrupt as error:
            log.error("segment %d is searched in memory: %s", entry.number, error)
            broken[entry.number] = error.message
            return Live(_in_memory(txn, entry.first, entry.end, schema), None)
        ended = np.array([slot for slot, _ in txn.tombstones(entry.first, entry.end)], np.uint64)
        return Live(segment, None).without(segment.slots[segment.dead]).without(ended)


def _in_memory(txn: ReadTxn, first: int, end: int, schema: NumberedSchema) -> MemoryRows:
    return MemoryRows(schema.schema).append(rows_of(txn.records(first, end), schema))
