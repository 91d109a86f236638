"""Walks one collection and compares everything that stands twice. Reads only.

The store is the truth: a finding about a record is a loss of that point; a finding about a segment
is not, since the server rebuilds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vecdb.check.links import bad_links
from vecdb.errors import VecdbError
from vecdb.multi import MultiSpace
from vecdb.segment.encoding import encoded_point
from vecdb.segment.segment import Segment
from vecdb.segment.vectors import comparable
from vecdb.storage.codec import RecordView, SegmentEntry
from vecdb.storage.expiries import NEVER
from vecdb.storage.multi import decode_multi, is_multi
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import UNKNOWN_SEQ, ReadTxn, Store
from vecdb.types import DEFAULT_TARGET_RECALL, F32, AnySpace, Space, SparseSpace

FINDINGS_MAX = 1_000
_EVERY = 1_000

Seen = Callable[[str, int, int], None]
"""Told of progress: collection, points done, points in all."""


@dataclass(slots=True)
class Report:
    """What was found of one collection."""

    name: str
    points: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, finding: str) -> None:
        """Note a finding, up to a thousand."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)


def check_collection(
    folder: Path, schema: NumberedSchema, report: Report, seen: Seen = lambda *_: None
) -> None:
    """Report what does not hold together in a collection's folder.

    schema: the catalog's. Raises Corrupt, NotFound, FormatTooNew where it cannot be looked at.
    """
    store = Store(folder / "store", read_only=True, map_bytes=1 << 20)
    try:
        if not _follows(schema, store.schema):
            report.add("the store's schema is not the catalog's")
        store.schema = schema
        with store.read() as txn:
            records = _check_records(txn, store, report, seen)
            _check_segments(folder / "segments", store, txn, records, report)
    finally:
        store.close()


def check_store(folder: Path, schema: NumberedSchema, report: Report) -> list[int]:
    """Report what is wrong with the store of a folder; return the segments that are not of it.

    Those are not reported: they are built again where their files are removed.
    """
    store = Store(folder / "store", read_only=True, map_bytes=1 << 20)
    try:
        store.schema = schema
        with store.read() as txn:
            live = _check_records(txn, store, report, lambda *_: None)
            return _bad_segments(folder, store, txn, live)
    finally:
        store.close()


def bad_segments(folder: Path, store: Store) -> list[int]:
    """Return the segments of a folder whose files are not of its store, by number."""
    with store.read() as txn:
        return _bad_segments(folder, store, txn, {slot for slot, _ in txn.records(0, 1 << 63)})


def _bad_segments(folder: Path, store: Store, txn: ReadTxn, live: set[int]) -> list[int]:
    return [
        entry.number
        for entry in txn.segments()
        if entry.rows and _findings(folder / "segments", entry, store, txn, _within(entry, live))
    ]


def _check_records(txn: ReadTxn, store: Store, report: Report, seen: Seen) -> set[int]:
    """Check records and ids; return the live slots."""
    live = _check_points(txn, store, report, seen)
    _check_ids(txn, report)
    _check_tombstones(txn, live, report)
    return live


def _check_tombstones(txn: ReadTxn, live: set[int], report: Report) -> None:
    for slot, seq in txn.tombstones(0, 1 << 63):
        if seq == UNKNOWN_SEQ:
            report.add(f"the tombstone of slot {slot} fails its checksum")
        elif slot in live:
            report.add(f"slot {slot} has a tombstone, and a record")
        elif slot >= txn.state.next_slot or seq > txn.state.applied_seq:
            report.add(f"the tombstone of slot {slot}, of write {seq}, is past the last")


def _follows(now: NumberedSchema, made: NumberedSchema) -> bool:
    """Return whether a schema can have become another: what is left is as it was, or tuned."""
    fixed_now, fixed_then = _fixed(now), _fixed(made)
    dropped = fixed_then.keys() - fixed_now.keys()
    added = fixed_now.keys() - fixed_then.keys()
    return (
        all(fixed_now[one] == fixed_then[one] for one in fixed_now.keys() & fixed_then.keys())
        and all(number >= made.next_space for number in added)
        and (now.epoch > made.epoch or not (dropped or added))
    )


def _fixed(schema: NumberedSchema) -> dict[int, AnySpace]:
    """Return what cannot be changed of spaces, by their numbers."""
    numbers = schema.numbers
    every = {numbers[space.name]: space for space in schema.schema.all_spaces}
    for number, space in every.items():
        if isinstance(space, Space):  # a space and its shadow may have exchanged their names
            recall = DEFAULT_TARGET_RECALL
            every[number] = replace(space, name="", target_recall=recall, shadow=None)
    return every


def _check_points(txn: ReadTxn, store: Store, report: Report, seen: Seen) -> set[int]:
    """Check every record; return the live slots."""
    live: set[int] = set()
    entries = set(txn.expiries.due(NEVER))
    for slot, record in txn.records(0, 1 << 63):
        live.add(slot)
        report.points += 1
        if not isinstance(record, RecordView):
            report.add(record.message)
            entries = {entry for entry in entries if entry[1] != slot}
            continue
        if record.expires_at_ms and (record.expires_at_ms, slot) not in entries:
            report.add(f"record points/{slot} expires, and the index of expiries lacks it")
        entries.discard((record.expires_at_ms, slot))
        _check_point(slot, record, txn, store.schema, report)
        if len(live) % _EVERY == 0:
            seen(report.name, len(live), txn.state.points)
    seen(report.name, len(live), txn.state.points)
    for at, slot in sorted(entries):
        report.add(f"the index of expiries has slot {slot} at {at}, when no record of it expires")
    if len(live) != txn.state.points:
        report.add(f"{len(live)} records, but the store counts {txn.state.points} points")
    return live


def _check_point(
    slot: int, record: RecordView, txn: ReadTxn, schema: NumberedSchema, report: Report
) -> None:
    if slot >= txn.state.next_slot:
        report.add(f"record points/{slot} is past the next slot {txn.state.next_slot}")
    held = txn.slots_of([record.id.encode()])
    if list(held.values()) != [slot]:
        report.add(f"record points/{slot} of id {record.id!r}: the id names {held or 'nothing'}")
    for number, cell in record.vector_bytes().items():
        if not _fits(cell, number, schema):
            report.add(f"record points/{slot}: a vector of space number {number} is not of it")


def _fits(cell: bytes, number: int, schema: NumberedSchema) -> bool:
    """Whether a vector of a record can be one of the space of that number."""
    name = schema.names.get(number)
    if name is None:
        return number < schema.next_space  # dropped since
    space = schema.schema.space(name)
    if space is not None:
        return len(cell) == 4 * space.dim
    multi = schema.schema.multi_space(name)
    if multi is not None:
        return is_multi(len(cell), multi.dim)
    return schema.schema.sparse_space(name) is not None and len(cell) % 8 == 0


def _check_ids(txn: ReadTxn, report: Report) -> None:
    count = 0
    for name, slot in txn.ids(b""):
        count += 1
        if not isinstance(slot, int):
            report.add(slot.message)
            continue
        try:
            if txn.record(slot) is None:
                report.add(f"id {name!r} names slot {slot}, which has no record")
        except VecdbError:
            pass  # found with the records already
    if count != txn.state.points:
        report.add(f"{count} ids, but the store counts {txn.state.points} points")


def _check_segments(
    folder: Path, store: Store, txn: ReadTxn, live: set[int], report: Report
) -> None:
    expected = 0
    for entry in txn.segments():
        if entry.first != expected or entry.end <= entry.first:
            report.add(f"segment {entry.number} begins at slot {entry.first}, not {expected}")
        expected = entry.end
        slots = _within(entry, live)
        if not entry.rows:
            if slots:
                report.add(
                    f"segment {entry.number} lists no rows, but {len(slots)} points are live"
                )
            continue
        findings = _findings(folder, entry, store, txn, slots)
        if findings and _is_listed(store, entry):  # or it was replaced, and removed, meanwhile
            for finding in findings:
                report.add(finding)


def _within(entry: SegmentEntry, live: set[int]) -> set[int]:
    return {slot for slot in live if entry.first <= slot < entry.end}


def _findings(
    folder: Path, entry: SegmentEntry, store: Store, txn: ReadTxn, live: set[int]
) -> list[str]:
    """Return what is wrong with a segment's files. folder: of the segments."""
    one = Report("")
    try:
        _check_segment(folder, entry, store, txn, live, one)
    except VecdbError as error:
        one.add(error.message)
    return one.findings


def _is_listed(store: Store, entry: SegmentEntry) -> bool:
    with store.read() as now:
        return entry.number in {one.number for one in now.segments()}


def _check_segment(
    folder: Path, entry: SegmentEntry, store: Store, txn: ReadTxn, live: set[int], report: Report
) -> None:
    schema, numbers = store.schema.schema, store.schema.numbers
    segment = Segment(folder / str(entry.number), entry.seal, schema, numbers)
    segment.verify()
    for name in segment.strays():
        report.add(f"segment {entry.number}: {name} is no file of it")
    if (segment.first, segment.end, segment.rows, len(segment.dead)) != (
        entry.first,
        entry.end,
        entry.rows,
        entry.dead,
    ):
        report.add(
            f"segment {entry.number} has other slots, rows or dead rows than the store lists"
        )
    ended = {slot for slot, _ in txn.tombstones(entry.first, entry.end)}
    ended.update(segment.slots[segment.dead].tolist())
    held = set(segment.slots.tolist())
    for slot in sorted(held - ended - live)[:3]:
        report.add(f"segment {entry.number} holds slot {slot}, which is gone without a tombstone")
    for slot in sorted(live - held)[:3]:
        report.add(f"segment {entry.number} lacks slot {slot}")
    hidden = [slot for slot in sorted(live & held & ended) if _is_sound(txn, slot)]
    for slot in hidden[:3]:
        report.add(f"segment {entry.number} takes slot {slot} for ended, which has a record")
    for what in bad_links(segment, schema):
        report.add(what)
    for space in schema.all_spaces:
        if not isinstance(space, SparseSpace):
            _check_vectors(segment, space, numbers[space.name], txn, live, report)


def _is_sound(txn: ReadTxn, slot: int) -> bool:
    """Whether a record can be read: a graph that grows takes those that cannot for ended."""
    try:
        return txn.record(slot) is not None
    except VecdbError:
        return False


def _is_of(vector: F32, cell: bytes, space: Space | MultiSpace) -> bool:
    """Whether a segment's vector is that of a record's cell."""
    if isinstance(space, Space):
        stored = np.frombuffer(cell, "<f4").astype(np.float32).reshape(1, -1)
        return np.array_equal(comparable(stored, space.metric)[0], vector)
    if not is_multi(len(cell), space.dim):
        return True  # found with the records already
    return np.array_equal(encoded_point(decode_multi(cell, space.dim), space.metric), vector)


def _check_vectors(
    segment: Segment,
    space: Space | MultiSpace,
    number: int,
    txn: ReadTxn,
    live: set[int],
    report: Report,
) -> None:
    vectors, rows = segment.vectors(space.name)
    slots = segment.slots if rows is None else segment.slots[rows]
    for at, slot in enumerate(slots.tolist()):
        if slot not in live:
            continue
        try:
            record = txn.record(slot)
        except VecdbError:
            continue  # found with the records already
        cell = record.vector_bytes().get(number) if record else None
        if cell is None:
            report.add(f"segment {segment.folder.name}: slot {slot} has no vector in the store")
            continue
        if not _is_of(vectors[at], cell, space):
            report.add(f"segment {segment.folder.name}: slot {slot} has another vector than stored")
