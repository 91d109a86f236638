"""A collection's commands as values, and their one encoding; command.proto says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple, TypeAlias

import numpy as np

from vecdb.errors import Corrupt
from vecdb.storage.pb import command_pb2 as pb
from vecdb.types import F32, PayloadEdits


@dataclass(frozen=True, slots=True)
class Column:
    """The vectors of a run in one space, named by its number, which is never another's.

    rows: rows of the run that have one, ascending, or None for all. vectors: (rows, dim).
    texts: what the vectors were made from, one a row, or empty.
    """

    space: int
    vectors: F32
    rows: tuple[int, ...] | None = None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CellColumn:
    """The vectors of a run in one space whose cells differ in size: sparse, or several a point.

    space, rows, texts: as in Column. cells: one a row, as records hold it.
    """

    space: int
    cells: tuple[bytes, ...]
    rows: tuple[int, ...] | None = None
    texts: tuple[str, ...] = ()


Expected: TypeAlias = tuple[tuple[int, int], ...]
"""Rows of a run that are applied only at a version, ascending, and that version; 0: no point."""


@dataclass(frozen=True, slots=True)
class Puts:
    """Points to store, by column. positions: the place of each in the client's request.

    expires_at_ms: of each, 0 for never; () where none does.
    """

    positions: tuple[int, ...]
    ids: tuple[str, ...]
    payloads: tuple[bytes, ...]
    columns: tuple[Column, ...]
    cell_columns: tuple[CellColumn, ...] = ()
    expected: Expected = ()
    expires_at_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletes:
    """Points to remove."""

    positions: tuple[int, ...]
    ids: tuple[str, ...]
    expected: Expected = ()


class PatchedVector(NamedTuple):
    """A vector as records hold it, b"" to remove it, and the text that it was made from, or ""."""

    space: int
    cell: bytes
    text: str = ""


@dataclass(frozen=True, slots=True)
class Patches:
    """Changes of points, a row of `ids`, `edits` and `vectors` each.

    spaces: numbers of those that there are; vectors of others, which were dropped, go with the
    record. payload_bytes_max: of what a patch may leave. read_bytes_max: of the records that the
    patches of the command may read. Limits of the node that made the command, so that all decide
    alike. expires_at_ms: of each, 0 for never, None to leave it; () where all are left.
    """

    positions: tuple[int, ...]
    ids: tuple[str, ...]
    edits: tuple[PayloadEdits, ...]
    vectors: tuple[tuple[PatchedVector, ...], ...]
    spaces: tuple[int, ...]
    payload_bytes_max: int
    read_bytes_max: int
    expected: Expected = ()
    expires_at_ms: tuple[int | None, ...] = ()


Run: TypeAlias = Puts | Deletes | Patches


@dataclass(frozen=True, slots=True)
class Refused:
    """An operation that was found wrong before the log."""

    position: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WriteCommand:
    """Runs of operations in order, and what a replay of the request must answer.

    truncated: positions of operations and their spaces whose text was cut. atomic: the first
    operation that cannot be applied fails the command. proposed_at_ms: the time by which points
    that have expired count as not there; 0 for none do. points_max: how many points there may be,
    as the command was made, or 0: a put beyond is refused.
    """

    runs: tuple[Run, ...]
    refused: tuple[Refused, ...] = ()
    truncated: tuple[tuple[int, tuple[str, ...]], ...] = ()
    idempotency_key: str = ""
    request_digest: bytes = field(default=b"", repr=False)
    atomic: bool = False
    proposed_at_ms: int = 0
    points_max: int = 0

    @property
    def operations(self) -> int:
        """How many operations the client sent."""
        return sum(len(run.ids) for run in self.runs) + len(self.refused)

    def encode(self) -> bytes:
        """Return the command as it stands in a log."""
        write = pb.Write(
            idempotency_key=self.idempotency_key,
            request_digest=self.request_digest,
            atomic=self.atomic,
            proposed_at_ms=self.proposed_at_ms,
            points_max=self.points_max,
            refused=[
                pb.Refused(position=r.position, reason=r.reason, message=r.message)
                for r in self.refused
            ],
            truncated=[
                pb.Truncated(position=position, spaces=spaces)
                for position, spaces in self.truncated
            ],
        )
        for run in self.runs:
            message = write.runs.add(positions=run.positions)
            for row, version in run.expected:
                message.expected.add(row=row, version=version)
            if isinstance(run, Puts):
                _fill_puts(message.puts, run)
            elif isinstance(run, Patches):
                _fill_patches(message.patches, run)
            else:
                message.deletes.ids.extend(run.ids)
        return pb.Command(write=write).SerializeToString(deterministic=True)

    @classmethod
    def decode(cls, encoded: bytes) -> WriteCommand:
        """Return the command that encode gave. Raises Corrupt."""
        try:
            command = pb.Command.FromString(encoded)
            if command.WhichOneof("kind") != "write":
                raise ValueError(f"kind {command.WhichOneof('kind')!r}")
            write = command.write
            return cls(
                tuple(_run(run) for run in write.runs),
                tuple(Refused(r.position, r.reason, r.message) for r in write.refused),
                tuple((t.position, tuple(t.spaces)) for t in write.truncated),
                write.idempotency_key,
                write.request_digest,
                write.atomic,
                write.proposed_at_ms,
                write.points_max,
            )
        except Exception as error:  # protobuf's DecodeError has no public base of its own
            raise Corrupt(f"a command of the log cannot be read: {error}") from error


def _fill_puts(message: pb.Puts, run: Puts) -> None:
    message.ids.extend(run.ids)
    message.payloads.extend(run.payloads)
    message.expires_at_ms.extend(run.expires_at_ms)
    for column in run.columns:
        message.columns.add(
            space=column.space,
            rows=column.rows or (),
            vectors=column.vectors.astype("<f4", copy=False).tobytes(),
            texts=column.texts,
        )
    for one in run.cell_columns:
        message.cell_columns.add(
            space=one.space, rows=one.rows or (), cells=one.cells, texts=one.texts
        )


def _fill_patches(message: pb.Patches, run: Patches) -> None:
    message.spaces.extend(run.spaces)
    message.payload_bytes_max = run.payload_bytes_max
    message.read_bytes_max = run.read_bytes_max
    expiries = run.expires_at_ms or repeat(None, len(run.ids))
    for name, edits, vectors, expiry in zip(run.ids, run.edits, run.vectors, expiries, strict=True):
        patch = message.patches.add(id=name, expires_at_ms=expiry, **edits._asdict())
        for vector in vectors:
            patch.vectors.add(**vector._asdict())


def _run(run: pb.Run) -> Run:
    kind = run.WhichOneof("kind")
    positions = tuple(run.positions)
    expected = tuple((one.row, one.version) for one in run.expected)
    if kind == "deletes":
        return Deletes(positions, tuple(run.deletes.ids), expected)
    if kind == "patches":
        return _patches(positions, run.patches, expected)
    if kind != "puts":
        raise ValueError(f"a run of kind {kind!r}")
    puts = run.puts
    columns: list[Column] = []
    for column in puts.columns:
        rows = tuple(column.rows) or None
        count = len(puts.ids) if rows is None else len(rows)
        vectors = np.frombuffer(column.vectors, "<f4").astype(np.float32, copy=False)
        columns.append(Column(column.space, vectors.reshape(count, -1), rows, tuple(column.texts)))
    sparse = tuple(
        CellColumn(one.space, tuple(one.cells), tuple(one.rows) or None, tuple(one.texts))
        for one in puts.cell_columns
    )
    ids, payloads = tuple(puts.ids), tuple(puts.payloads)
    expiries = tuple(puts.expires_at_ms)
    return Puts(positions, ids, payloads, tuple(columns), sparse, expected, expiries)


def _patches(positions: tuple[int, ...], run: pb.Patches, expected: Expected) -> Patches:
    patches = run.patches
    expiries = tuple(
        one.expires_at_ms if one.HasField("expires_at_ms") else None for one in patches
    )
    return Patches(
        positions,
        tuple(one.id for one in patches),
        tuple(PayloadEdits(one.set, tuple(one.unset), one.append, one.remove) for one in patches),
        tuple(
            tuple(PatchedVector(v.space, v.cell, v.text) for v in one.vectors) for one in patches
        ),
        tuple(run.spaces),
        run.payload_bytes_max,
        run.read_bytes_max,
        expected,
        expiries if any(expiry is not None for expiry in expiries) else (),
    )
