"""Rows in memory, searched exactly: the tail, and the slots of a segment that cannot be read.

A MemoryRows is what one reader saw: it never changes. Appending gives a new one that shares the
buffers of the old; rows past its own count are another's business.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.segment.bitmaps import pack
from vecdb.segment.encoding import indexed_spaces
from vecdb.segment.fields import FieldSource, parse
from vecdb.segment.fields_memory import MemoryFields, SharedFields
from vecdb.segment.postings import GrowingSparse, GrowingText, GrownSparse, GrownText
from vecdb.segment.vectors import KERNEL_METRIC, Answer, Effort, comparable
from vecdb.types import F32, U32, U64, Bitmap, Schema, Space, SparseVector


class Row(NamedTuple):
    """A point as parts are made of it.

    vectors: space name to little-endian float32 bytes; of a multi-dense space, its encoding. alive:
    False for one that has ended, whose vectors a graph still leads through. expires_at_ms: 0 for
    never.
    """

    slot: int
    payload: bytes
    vectors: dict[str, bytes]
    sparse: Mapping[str, SparseVector] = MappingProxyType({})
    alive: bool = True
    expires_at_ms: int = 0


class _Cells:
    """The vectors of a space, with the codes of each: a row without a vector is of zeros."""

    def __init__(self, capacity: int, dim: int) -> None:
        self.vectors: F32 = np.empty((capacity, dim), np.float32)
        self.codes: NDArray[np.uint8] = np.empty((capacity, dim), np.uint8)
        self.bounds: F32 = np.empty((capacity, 3), np.float32)
        self.has: NDArray[np.bool_] = np.empty(capacity, np.bool_)

    def copy(self, at: slice, other: _Cells, rows: slice) -> None:
        """Take over some rows of another."""
        self.vectors[at] = other.vectors[rows]
        self.codes[at] = other.codes[rows]
        self.bounds[at] = other.bounds[rows]
        self.has[at] = other.has[rows]


class _Buffers:
    """Growing arrays. Filled up to `used`; what is filled never changes."""

    def __init__(self, schema: Schema, capacity: int) -> None:
        self.used = 0
        self.slots: U64 = np.empty(capacity, np.uint64)
        indexed = indexed_spaces(schema)
        self.spaces = {space.name: _Cells(capacity, space.dim) for space in indexed}
        self.payloads: list[bytes] = []
        self.fields = SharedFields()
        self.sparse_vectors: list[Mapping[str, SparseVector]] = []
        # Postings are made when they are first asked for: most readers ask for neither.
        self.postings_lock = threading.Lock()  # guards adding to text and sparse
        self.text = GrowingText(schema.texts)
        self.sparse = {space.name: GrowingSparse() for space in schema.sparse_spaces}


class MemoryRows:
    """n rows, by ascending slot."""

    def __init__(self, schema: Schema, buffers: _Buffers | None = None, rows: int = 0) -> None:
        self._schema = schema
        self._buffers = buffers or _Buffers(schema, 0)
        self.rows = rows
        self.slots = self._buffers.slots[:rows]
        self.fields: FieldSource = MemoryFields(rows, self._buffers.payloads, self._buffers.fields)
        self._having: dict[str, Bitmap | None] = {}  # by space, once it was asked for

    def append(self, added: Iterable[Row]) -> MemoryRows:
        """Return these rows and more of higher slots. Not for two threads at once."""
        fresh = list(added)
        if not fresh:
            return self
        end = self.rows + len(fresh)
        buffers = self._buffers
        if buffers.used != self.rows or end > len(buffers.slots):
            buffers = self._copied(max(end, min(2 * self.rows, self.rows + 65_536), 32))
        at = slice(self.rows, end)
        buffers.slots[at] = [row.slot for row in fresh]
        for space in indexed_spaces(self._schema):
            _fill(buffers, space, at, fresh)
        buffers.payloads.extend(row.payload for row in fresh)
        buffers.sparse_vectors.extend(row.sparse for row in fresh)
        buffers.used = end
        return MemoryRows(self._schema, buffers, end)

    def from_slot(self, first: int) -> MemoryRows:
        """Return the rows of that slot and higher ones."""
        start = int(np.searchsorted(self.slots, first))
        if start == 0:
            return self
        buffers = self._copied(self.rows - start, start)
        return MemoryRows(self._schema, buffers, buffers.used)

    def _copied(self, capacity: int, start: int = 0) -> _Buffers:
        buffers = _Buffers(self._schema, capacity)
        buffers.used = self.rows - start
        at = slice(0, buffers.used)
        buffers.slots[at] = self.slots[start:]
        for name, cells in self._buffers.spaces.items():
            buffers.spaces[name].copy(at, cells, slice(start, self.rows))
        buffers.payloads = self._buffers.payloads[start : self.rows]
        buffers.sparse_vectors = self._buffers.sparse_vectors[start : self.rows]
        return buffers

    def having(self, space: str) -> Bitmap | None:
        """Return the rows that have a vector in a space; None for all."""
        if space not in self._having:
            if space in self._buffers.sparse:
                self._having[space] = self.sparse(space).having()
            else:
                has = self._buffers.spaces[space].has[: self.rows]
                self._having[space] = None if has.all() else pack(has)
        return self._having[space]

    def search(
        self, space: Space, query: F32, k: int, effort: Effort, mask: Bitmap | None
    ) -> Answer:
        """Return up to k rows of the mask nearest to the query, best first."""
        having = self.having(space.name)
        if having is not None:
            mask = having if mask is None else having & mask
        cells = self._buffers.spaces[space.name]
        arrays = cells.codes[: self.rows], cells.bounds[: self.rows], cells.vectors[: self.rows]
        rows, scores = kernel.scan_i8(KERNEL_METRIC[space.metric], *arrays, query, k, mask)
        return Answer(rows, scores, 0)

    def search_many(
        self, space: Space, queries: F32, k: int, effort: Effort, mask: Bitmap | None, threads: int
    ) -> list[Answer]:
        """Return what search does for each of some queries (q, dim)."""
        # They are few rows, and no faster in another thread.
        return [self.search(space, query, k, effort, mask) for query in queries]

    def vectors(self, space: str) -> tuple[F32, U32 | None]:
        """Return the comparable vectors of a space, and the rows they belong to; None for all."""
        cells = self._buffers.spaces[space]
        has = cells.has[: self.rows]
        if has.all():
            return cells.vectors[: self.rows], None
        rows = np.flatnonzero(has).astype(np.uint32)
        return cells.vectors[rows], rows

    def text(self) -> GrownText:
        """Return the words of the text fields."""
        buffers = self._buffers
        with buffers.postings_lock:
            for row in range(buffers.text.rows, self.rows):
                buffers.text.add(parse(buffers.payloads[row]))
        return buffers.text.read(self.rows)

    def sparse(self, space: str) -> GrownSparse:
        """Return the vectors of a sparse space."""
        buffers = self._buffers
        growing = buffers.sparse[space]
        with buffers.postings_lock:
            for row in range(growing.rows, self.rows):
                growing.add(buffers.sparse_vectors[row].get(space))
        return growing.read(self.rows)


def _fill(buffers: _Buffers, space: Space, at: slice, fresh: list[Row]) -> None:
    empty = bytes(4 * space.dim)
    cells = [row.vectors.get(space.name, empty) for row in fresh]
    matrix = np.frombuffer(b"".join(cells), "<f4").reshape(len(fresh), space.dim)
    compared = comparable(matrix.astype(np.float32), space.metric)
    into = buffers.spaces[space.name]
    into.vectors[at] = compared
    into.codes[at], into.bounds[at] = kernel.quantize(compared)
    into.has[at] = [space.name in row.vectors for row in fresh]
