"""The one function that changes a collection: a command in, the next state out.

It reads nothing but the transaction and the command: no clock, no randomness, no configuration that
could differ between two nodes, but for how many changes are kept to look back on. It checks
everything before it changes anything, so that a VecdbError leaves the transaction as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vecdb.errors import InvalidArgument
from vecdb.storage import codec
from vecdb.storage.codec import Change, NumberedSchema
from vecdb.storage.command import Column, Deletes, Puts, SparseColumn, WriteCommand
from vecdb.storage.store import ReadTxn, WriteTxn
from vecdb.types import ItemResult, WriteOutcome


def apply(
    txn: WriteTxn, command: WriteCommand, digest: bytes, schema: NumberedSchema, keep: int
) -> WriteOutcome:
    """Return what became of each operation, once the command is applied to the transaction.

    digest: sha256 of the encoded command. keep: writes whose changes stay readable.
    Raises InvalidArgument when the idempotency key was used for other operations.
    """
    key = command.idempotency_key.encode()
    stored = replayed(txn, command.idempotency_key, command.request_digest)
    if stored is not None:
        return stored
    state = txn.state
    seq = state.applied_seq + 1
    first_slot = state.next_slot
    results = [ItemResult()] * command.operations
    for refused in command.refused:
        results[refused.position] = ItemResult(reason=refused.reason, message=refused.message)
    ended: list[int] = []
    removed: list[bytes] = []
    for run in command.runs:
        if isinstance(run, Puts):
            _put(txn, run, seq, schema, ended, results)
        else:
            _delete(txn, run, seq, ended, removed, results)
    for position, spaces in command.truncated:
        results[position] = replace(results[position], truncated=spaces)
    state.applied_seq = seq
    state.chain = codec.next_chain(state.chain, seq, digest)
    txn.put_change(
        Change(seq, first_slot, state.next_slot - first_slot, tuple(ended), tuple(removed), key)
    )
    outcome = WriteOutcome(seq, tuple(results))
    if key:
        txn.put_request(key, codec.encode_request(outcome, command.request_digest))
    txn.trim_changes(keep)
    return outcome


def replayed(txn: ReadTxn, idempotency_key: str, digest: bytes) -> WriteOutcome | None:
    """Return what a write of that key answered, or None when there was none.

    Raises InvalidArgument when the key was used for other operations than those of the digest.
    """
    stored = txn.request(idempotency_key.encode()) if idempotency_key else None
    if stored is None:
        return None
    outcome, answered = codec.decode_request(stored)
    if answered != digest:
        raise InvalidArgument(
            f"idempotency key {idempotency_key!r} was used for other operations",
            field="idempotency_key",
        )
    return outcome


def _put(
    txn: WriteTxn,
    run: Puts,
    seq: int,
    schema: NumberedSchema,
    ended: list[int],
    results: list[ItemResult],
) -> None:
    ids = [name.encode() for name in run.ids]
    there = txn.slots_of(ids)
    # Of several puts of one id the last stands; the others were there for no reader to see.
    last = {name: row for row, name in enumerate(ids)}
    rows = sorted(last.values()) if len(last) < len(ids) else range(len(ids))
    first = txn.state.next_slot
    records = _records(run, ids, rows, first, seq, schema)
    txn.put_points(((ids[row], first + at) for at, row in enumerate(rows)), records)
    old = sorted(there.values())
    txn.end_slots(old, seq)
    ended.extend(old)
    txn.state.next_slot += len(records)
    txn.state.points += len(records) - len(old)
    fresh, replaced = ItemResult(version=seq), ItemResult(version=seq, found=True)
    seen = set(there)
    for name, position in zip(ids, run.positions, strict=True):
        results[position] = replaced if name in seen else fresh
        if len(last) < len(ids):
            seen.add(name)


def _records(
    run: Puts,
    ids: list[bytes],
    rows: Iterable[int],
    first: int,
    seq: int,
    schema: NumberedSchema,
) -> list[tuple[bytes, bytes]]:
    """Return key and sealed record of each row, from slot `first` on."""
    parts: list[_Cells | _SparseCells] = [
        *(_Cells(column, schema.numbers[column.space]) for column in run.columns),
        *(_SparseCells(column, schema.numbers[column.space]) for column in run.sparse_columns),
    ]
    made: list[tuple[bytes, bytes]] = []
    for at, row in enumerate(rows):
        cells = [cell for part in parts if (cell := part.cell(row)) is not None]
        made.append(codec.encode_point(first + at, ids[row], run.payloads[row], seq, cells))
    return made


class _Cells:
    """The vectors of a column as the bytes of each row."""

    def __init__(self, column: Column, number: int) -> None:
        self._number = number
        self._bytes = memoryview(column.vectors.astype("<f4", copy=False).tobytes())
        self._width = 4 * column.vectors.shape[1]
        self._texts = column.texts
        rows = column.rows
        self._at = None if rows is None else {row: at for at, row in enumerate(rows)}

    def cell(self, row: int) -> tuple[int, memoryview, bytes] | None:
        """Return space number, vector bytes and text of a row, or None when it has no vector."""
        at = row if self._at is None else self._at.get(row)
        if at is None:
            return None
        text = self._texts[at].encode() if self._texts else b""
        return self._number, self._bytes[at * self._width : (at + 1) * self._width], text


class _SparseCells:
    """The vectors of a sparse column by row."""

    def __init__(self, column: SparseColumn, number: int) -> None:
        self._number = number
        rows = range(len(column.cells)) if column.rows is None else column.rows
        self._cells = {row: memoryview(cell) for row, cell in zip(rows, column.cells, strict=True)}

    def cell(self, row: int) -> tuple[int, memoryview, bytes] | None:
        """Return space number, vector bytes and no text of a row, or None without a vector."""
        cell = self._cells.get(row)
        return None if cell is None else (self._number, cell, b"")


def _delete(
    txn: WriteTxn,
    run: Deletes,
    seq: int,
    ended: list[int],
    removed: list[bytes],
    results: list[ItemResult],
) -> None:
    ids = [name.encode() for name in run.ids]
    there = txn.slots_of(ids)
    slots = sorted(there.values())
    txn.end_slots(slots, seq)
    txn.forget_ids(there)
    ended.extend(slots)
    removed.extend(there)
    txn.state.points -= len(slots)
    left = set(there)
    for name, position in zip(ids, run.positions, strict=True):
        results[position] = ItemResult(found=name in left)
        left.discard(name)
