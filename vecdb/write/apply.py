"""The one function that changes a collection: a command in, the next state out.

It reads nothing but the transaction and the command: no clock, no randomness, no configuration that
could differ between two nodes, but for how many changes are kept to look back on. It decides
everything before it changes anything, so that a VecdbError leaves the transaction as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from vecdb.errors import (
    CollectionFull,
    Corrupt,
    FailedPrecondition,
    InvalidArgument,
    LimitExceeded,
    PointNotFound,
    VecdbError,
    VersionMismatch,
)
from vecdb.outcomes import ItemResult, WriteOutcome
from vecdb.storage import codec
from vecdb.storage.codec import Cell, Change, RecordView
from vecdb.storage.command import (
    CellColumn,
    Column,
    Deletes,
    PatchedVector,
    Patches,
    Puts,
    Run,
    WriteCommand,
)
from vecdb.storage.requests import decode_request, encode_request
from vecdb.storage.store import ReadTxn, WriteTxn
from vecdb.write.payload import edited


def apply(txn: WriteTxn, command: WriteCommand, digest: bytes, keep: int) -> WriteOutcome:
    """Return what became of each operation, once the command is applied to the transaction.

    digest: sha256 of the encoded command. keep: writes whose changes stay readable.
    Raises InvalidArgument when the idempotency key was used for other operations, Corrupt, and when
    the command is atomic the error of the first operation that cannot be applied.
    """
    key = command.idempotency_key.encode()
    stored = replayed(txn, command.idempotency_key, command.request_digest)
    if stored is not None:
        return stored
    state = txn.state
    decided = _Decided(txn, command)
    seq, first_slot = decided.seq, state.next_slot
    ended, removed = decided.store()
    results = decided.results
    for refused in command.refused:
        results[refused.position] = ItemResult(reason=refused.reason, message=refused.message)
    for position, spaces in command.truncated:
        if not results[position].reason:
            results[position] = replace(results[position], truncated=spaces)
    state.applied_seq = seq
    state.chain = codec.next_chain(state.chain, seq, digest)
    txn.put_change(Change(seq, first_slot, state.next_slot - first_slot, ended, removed, key))
    outcome = WriteOutcome(seq, tuple(results))
    if key:
        txn.put_request(key, encode_request(outcome, command.request_digest))
    txn.trim_changes(keep)
    return outcome


def replayed(txn: ReadTxn, idempotency_key: str, digest: bytes) -> WriteOutcome | None:
    """Return what a write of that key answered, or None when there was none.

    Raises InvalidArgument when the key was used for other operations than those of the digest.
    """
    stored = txn.request(idempotency_key.encode()) if idempotency_key else None
    if stored is None:
        return None
    outcome, answered = decode_request(stored)
    if answered != digest:
        raise InvalidArgument(
            f"idempotency key {idempotency_key!r} was used for other operations",
            field="idempotency_key",
        )
    return outcome


_Made: TypeAlias = tuple[bytes, list[Cell], int]
"""Payload, vectors and expiry of a point that is to be stored."""


class _Decided:
    """What a command makes of the points that it names; made by reading alone.

    Of several operations on one id only what they leave in the end is stored: the rest was there
    for no reader to see.
    """

    def __init__(self, txn: WriteTxn, command: WriteCommand) -> None:
        self._txn = txn
        self._atomic = command.atomic
        self._read_bytes = 0
        self._points = txn.state.points
        self._points_max = command.points_max or math.inf
        names = [[name.encode() for name in run.ids] for run in command.runs]
        self._slots = txn.slots_of([name for run in names for name in run])
        self._now_ms = command.proposed_at_ms
        self._there = self._unexpired()
        self._made: dict[bytes, _Made | None] = {}  # None: not there any more
        self.seq = txn.state.applied_seq + 1
        self.results = [ItemResult()] * command.operations
        for run, ids in zip(command.runs, names, strict=True):
            if isinstance(run, Puts):
                self._put(run, ids)
            elif isinstance(run, Patches):
                self._patch(run, ids)
            else:
                self._delete(run, ids)

    def store(self) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
        """Change the transaction; return the slots that ended, ascending, and the ids removed."""
        txn, state = self._txn, self._txn.state
        stored = [(name, made) for name, made in self._made.items() if made is not None]
        first = state.next_slot
        txn.put_points(
            ((name, first + at) for at, (name, _) in enumerate(stored)),
            [
                codec.encode_point(first + at, name, payload, self.seq, cells, expiry)
                for at, (name, (payload, cells, expiry)) in enumerate(stored)
            ],
            [(made[2], first + at) for at, (_, made) in enumerate(stored) if made[2]],
        )
        touched = [name for name in self._slots if name in self._made]
        ended = tuple(sorted([self._slots[name] for name in touched]))
        removed = tuple([name for name in touched if self._made[name] is None])
        txn.end_slots(ended, self.seq)
        txn.forget_ids(removed)
        state.next_slot += len(stored)
        state.points += len(stored) - len(ended)
        return ended, removed

    def _unexpired(self) -> dict[bytes, int]:
        """Return the slots of the points that had not expired when the command was made."""
        if self._txn.expiries.next_after(0) > self._now_ms:  # nearly always
            return self._slots
        return {name: slot for name, slot in self._slots.items() if not self._has_expired(slot)}

    def _has_expired(self, slot: int) -> bool:
        try:
            record = self._txn.record(slot)
        except Corrupt:  # for whoever needs what is in it to tell
            return False
        return record is not None and record.has_expired(self._now_ms)

    def _put(self, run: Puts, ids: Sequence[bytes]) -> None:
        parts: list[_Cells | _RowCells] = [
            *(_Cells(column) for column in run.columns),
            *(_RowCells(column) for column in run.cell_columns),
        ]
        fresh, replaced = ItemResult(version=self.seq), ItemResult(version=self.seq, found=True)
        results, made, payloads, there = self.results, self._made, run.payloads, self._there
        expiries = run.expires_at_ms or (0,) * len(ids)
        for row, name, position in self._admitted(run, ids):
            cells = [cell for part in parts if (cell := part.cell(row)) is not None]
            was_there = self._is_there(name) if name in made else name in there
            if not self._is_stored(name):
                if self._points >= self._points_max:
                    self._refuse(position, name, _full(self._points_max))
                    continue
                self._points += 1
            results[position] = replaced if was_there else fresh
            made[name] = payloads[row], cells, expiries[row]

    def _delete(self, run: Deletes, ids: Sequence[bytes]) -> None:
        for _, name, position in self._admitted(run, ids):
            self._points -= self._is_stored(name)
            self.results[position] = ItemResult(found=self._is_there(name))
            self._made[name] = None

    def _patch(self, run: Patches, ids: Sequence[bytes]) -> None:
        for row, name, position in self._admitted(run, ids):
            try:
                payload, cells, expiry = self._current(name, run.read_bytes_max)
                payload = edited(payload, run.edits[row], run.payload_bytes_max)
            except (InvalidArgument, FailedPrecondition, PointNotFound) as error:
                self._refuse(position, name, error)
                continue
            if run.expires_at_ms and (changed := run.expires_at_ms[row]) is not None:
                expiry = changed
            self._made[name] = payload, _patched(cells, run.vectors[row], run.spaces), expiry
            self.results[position] = ItemResult(version=self.seq, found=True)

    def _admitted(self, run: Run, ids: Sequence[bytes]) -> Iterator[tuple[int, bytes, int]]:
        """Yield row, id and position of each operation, but for those that lose their if_version.

        Lazily: an operation sees what those before it did.
        """
        if not run.expected:  # nearly always
            return zip(range(len(ids)), ids, run.positions, strict=True)
        return self._at_version(run, ids, dict(run.expected))

    def _at_version(
        self, run: Run, ids: Sequence[bytes], expected: dict[int, int]
    ) -> Iterator[tuple[int, bytes, int]]:
        for row, (name, position) in enumerate(zip(ids, run.positions, strict=True)):
            if row in expected:
                actual = self._version(name)
                if actual != expected[row]:
                    self._refuse(position, name, _mismatch(name, expected[row], actual))
                    continue
            yield row, name, position

    def _refuse(self, position: int, name: bytes, error: VecdbError) -> None:
        """Note that an operation is not applied, or raise what fails the command."""
        if self._atomic:
            raise error.of_operation(position)
        version = self._version(name)
        self.results[position] = ItemResult(version, version > 0, error.reason, str(error))

    def _is_stored(self, name: bytes) -> bool:
        """Return whether a point counts, also one that has expired and was not removed yet."""
        return self._made[name] is not None if name in self._made else name in self._slots

    def _is_there(self, name: bytes) -> bool:
        if name not in self._made:
            return name in self._there
        made = self._made[name]
        return made is not None and not 0 < made[2] <= self._now_ms

    def _version(self, name: bytes) -> int:
        """Return the version of a point, 0 when there is none."""
        if not self._is_there(name):
            return 0
        return self.seq if name in self._made else self._record(name).version

    def _record(self, name: bytes) -> RecordView:
        """Return the stored record of a point that is there.

        Raises Corrupt, which fails the command: a node that took damage for a lost condition would
        go on with another state than its peers.
        """
        slot = self._slots[name]
        record = self._txn.record(slot)
        if record is None:
            raise Corrupt(f"record points/{slot} is missing", hint="run vecdb check")
        return record

    def _current(self, name: bytes, read_bytes_max: int) -> _Made:
        """Return a point as it is by now. Raises PointNotFound, LimitExceeded."""
        if not self._is_there(name):
            raise PointNotFound(f"there is no point {name.decode()!r}", field="patch.id")
        found = self._made.get(name)
        if found is None:
            record = self._record(name)
            texts = record.texts()
            cells: list[Cell] = [
                (number, cell, texts.get(number, "").encode())
                for number, cell in record.vector_bytes().items()
            ]
            found = record.payload, cells, record.expires_at_ms
        # One request could else keep the writer, and its memory, for a thousand times its size.
        size = len(found[0]) + sum(len(cell) + len(text) for _, cell, text in found[1])
        if self._read_bytes + size > read_bytes_max:
            raise LimitExceeded(
                f"the patches of a request read at most {read_bytes_max} bytes of points",
                hint="send fewer patches at a time, or raise limits.message_bytes",
            )
        self._read_bytes += size
        return found


def _full(points_max: float) -> CollectionFull:
    return CollectionFull(
        f"the collection holds as many points as its limits allow: {points_max:,.0f}",
        hint="delete some, or allow more with Collections.Update",
        field="put.id",
    )


def _mismatch(name: bytes, expected: int, actual: int) -> VersionMismatch:
    shown = name.decode()
    if not actual:
        message = f"there is no point {shown!r}, expected version {expected}"
    elif not expected:
        message = f"point {shown!r} is there with version {actual}, expected none"
    else:
        message = f"point {shown!r} has version {actual}, expected {expected}"
    return VersionMismatch(message, field="if_version", id=shown, expected=expected, actual=actual)


def _patched(
    cells: list[Cell], vectors: Sequence[PatchedVector], spaces: Sequence[int]
) -> list[Cell]:
    """Return the vectors of a point, by space number, after some were replaced or removed."""
    held = {cell[0]: cell for cell in cells if cell[0] in spaces}
    for number, cell, text in vectors:
        if cell:
            held[number] = number, cell, text.encode()
        else:
            held.pop(number, None)
    return [held[number] for number in sorted(held)]


class _Cells:
    """The vectors of a column as the bytes of each row."""

    def __init__(self, column: Column) -> None:
        self._number = column.space
        self._bytes = memoryview(column.vectors.astype("<f4", copy=False).tobytes())
        self._width = 4 * column.vectors.shape[1]
        self._texts = column.texts
        rows = column.rows
        self._at = None if rows is None else {row: at for at, row in enumerate(rows)}

    def cell(self, row: int) -> Cell | None:
        """Return space number, vector bytes and text of a row, or None when it has no vector."""
        at = row if self._at is None else self._at.get(row)
        if at is None:
            return None
        text = self._texts[at].encode() if self._texts else b""
        return self._number, self._bytes[at * self._width : (at + 1) * self._width], text


class _RowCells:
    """The cells of a column by row."""

    def __init__(self, column: CellColumn) -> None:
        self._number = column.space
        rows = range(len(column.cells)) if column.rows is None else column.rows
        self._cells = {row: memoryview(cell) for row, cell in zip(rows, column.cells, strict=True)}
        self._texts = dict(zip(rows, column.texts, strict=True)) if column.texts else {}

    def cell(self, row: int) -> Cell | None:
        """Return space number, vector bytes and text of a row, or None when it has no vector."""
        cell = self._cells.get(row)
        return None if cell is None else (self._number, cell, self._texts.get(row, "").encode())
