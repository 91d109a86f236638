"""A collection's commands as values, and their one encoding; command.proto says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vecdb.errors import Corrupt
from vecdb.storage.pb import command_pb2 as pb
from vecdb.types import F32


@dataclass(frozen=True, slots=True)
class Column:
    """The vectors of a run in one space.

    rows: rows of the run that have one, ascending, or None for all. vectors: (rows, dim).
    texts: what the vectors were made from, one a row, or empty.
    """

    space: str
    vectors: F32
    rows: tuple[int, ...] | None = None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SparseColumn:
    """The vectors of a run in one sparse space. rows: as in Column. cells: one a row."""

    space: str
    cells: tuple[bytes, ...]
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Puts:
    """Points to store, by column. positions: the place of each in the client's request."""

    positions: tuple[int, ...]
    ids: tuple[str, ...]
    payloads: tuple[bytes, ...]
    columns: tuple[Column, ...]
    sparse_columns: tuple[SparseColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletes:
    """Points to remove."""

    positions: tuple[int, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """An operation that was found wrong before the log."""

    position: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WriteCommand:
    """Runs of operations in order, and what a replay of the request must answer.

    truncated: positions of operations and their spaces whose text was cut.
    """

    runs: tuple[Puts | Deletes, ...]
    refused: tuple[Refused, ...] = ()
    truncated: tuple[tuple[int, tuple[str, ...]], ...] = ()
    idempotency_key: str = ""
    request_digest: bytes = field(default=b"", repr=False)

    @property
    def operations(self) -> int:
        """How many operations the client sent."""
        return sum(len(run.ids) for run in self.runs) + len(self.refused)

    def encode(self) -> bytes:
        """Return the command as it stands in a log."""
        write = pb.Write(
            idempotency_key=self.idempotency_key,
            request_digest=self.request_digest,
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
            if isinstance(run, Deletes):
                message.deletes.ids.extend(run.ids)
                continue
            message.puts.ids.extend(run.ids)
            message.puts.payloads.extend(run.payloads)
            for column in run.columns:
                message.puts.columns.add(
                    space=column.space,
                    rows=column.rows or (),
                    vectors=column.vectors.astype("<f4", copy=False).tobytes(),
                    texts=column.texts,
                )
            for sparse in run.sparse_columns:
                message.puts.sparse_columns.add(
                    space=sparse.space, rows=sparse.rows or (), cells=sparse.cells
                )
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
            )
        except Exception as error:  # protobuf's DecodeError has no public base of its own
            raise Corrupt(f"a command of the log cannot be read: {error}") from error


def _run(run: pb.Run) -> Puts | Deletes:
    if run.WhichOneof("kind") == "deletes":
        return Deletes(tuple(run.positions), tuple(run.deletes.ids))
    puts = run.puts
    columns: list[Column] = []
    for column in puts.columns:
        rows = tuple(column.rows) or None
        count = len(puts.ids) if rows is None else len(rows)
        vectors = np.frombuffer(column.vectors, "<f4").astype(np.float32, copy=False)
        columns.append(Column(column.space, vectors.reshape(count, -1), rows, tuple(column.texts)))
    sparse = tuple(
        SparseColumn(column.space, tuple(column.cells), tuple(column.rows) or None)
        for column in puts.sparse_columns
    )
    return Puts(tuple(run.positions), tuple(puts.ids), tuple(puts.payloads), tuple(columns), sparse)
