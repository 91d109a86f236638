"""Postings as a segment's arrays: written once, read in place, bounds checked for damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.analysis import ANALYZER
from vecdb.segment.fields import Json
from vecdb.segment.memory import Row
from vecdb.segment.postings import (
    GrowingSparse,
    GrowingText,
    Lists,
    Total,
    count_totals,
    word_hash,
)
from vecdb.types import F32, U32, U64, Bitmap, Schema

Save = Callable[[str, NDArray[Any]], None]
Open = Callable[[str, str, tuple[int, ...]], NDArray[Any]]
"""Open an array of a segment by name, dtype and shape, of which -1 is whatever the file has."""


class PostingsBuilder:
    """Collects the texts and sparse vectors of a segment's rows, in row order."""

    def __init__(self, schema: Schema) -> None:
        self._fields = tuple(schema.texts)
        self._text = GrowingText(schema.texts) if schema.text_fields else None
        self._sparse = {space.name: GrowingSparse() for space in schema.sparse_spaces}

    def add(self, row: Row, payload: Json) -> None:
        """Take the next row, and its payload parsed."""
        if self._text is not None:
            self._text.add(payload)
        for name, sparse in self._sparse.items():
            sparse.add(row.sparse.get(name))

    def finish(self, save: Save, numbers: dict[str, int]) -> dict[str, Any]:
        """Save the arrays; return what the manifest says of them."""
        for name, sparse in self._sparse.items():
            for array, content in sparse.arrays(numbers[name]).items():
                save(array, content)
        if self._text is None:
            return {}
        arrays = self._text.arrays()
        for array, content in arrays.items():
            save(array, content)
        totals = count_totals(arrays["text-lengths"], None)
        return {"text": {"analyzer": ANALYZER, "fields": self._fields, "totals": totals}}


class PostingsArrays:
    """All postings of a segment, of those fields and spaces that it was built with.

    text: None where it has no text fields. sparse: None for a space that no row has a vector in.
    """

    def __init__(
        self, open: Open, schema: Schema, numbers: dict[str, int], manifest: dict[str, Any]
    ) -> None:
        """Open them. Raises KeyError, ValueError when they are not what the manifest says."""
        rows: int = manifest["rows"]
        self.text: TextArrays | None = None
        if schema.text_fields and "text" in manifest:
            analyzer = manifest["text"]["analyzer"]
            if analyzer != ANALYZER:
                raise ValueError(f"its texts were analyzed by {analyzer}, and this is {ANALYZER}")
            fields, totals = manifest["text"]["fields"], manifest["text"]["totals"]
            self.text = TextArrays(open, tuple(fields), rows, totals)
        self.sparse = {
            space.name: SparseArrays(open, numbers[space.name], rows)
            if f"sparse-{numbers[space.name]}-indices" in manifest["arrays"]
            else None
            for space in schema.sparse_spaces
        }


class TextArrays:
    """The words of a segment's rows, read in place."""

    def __init__(
        self, open: Open, fields: tuple[int, ...], rows: int, totals: Sequence[Sequence[int]]
    ) -> None:
        """fields: their numbers, in the order of lengths and totals."""
        self.rows = rows
        self.fields = fields
        self._hashes: U64 = open("text-hashes", "<u8", (-1,))
        self._words: NDArray[np.uint8] = open("text-words", "|u1", (-1,))
        self._ends: U64 = open("text-ends", "<u8", (3, len(self._hashes) + 1))
        self._rows: U32 = open("text-rows", "<u4", (-1,))
        self._counts: U32 = open("text-counts", "<u4", (len(self._rows),))
        self._positions: U32 = open("text-positions", "<u4", (-1,))
        self.lengths: U32 = open("text-lengths", "<u4", (len(fields), rows))
        self._totals = tuple(Total(*total) for total in totals)
        self._totals_of: tuple[Bitmap | None, tuple[Total, ...]] = (None, self._totals)

    def find(self, words: Sequence[bytes]) -> Lists[np.uint32]:
        """Return the list of each word, empty where no row has it."""
        spans = [self._span(1, at, len(self._rows)) for at in self._places(words)]
        starts, stops = np.array(spans, np.uint64).reshape(-1, 2).T.copy()
        return Lists(self._rows, self._counts, starts, stops)

    def _places(self, words: Sequence[bytes]) -> list[int]:
        """Return the place of each word; -1 for one that is not here."""
        hashes = [word_hash(word) for word in words]
        firsts = np.searchsorted(self._hashes, np.array(hashes, np.uint64)).tolist()
        found: list[int] = []
        for word, hashed, at in zip(words, hashes, firsts, strict=True):
            while at < len(self._hashes) and int(self._hashes[at]) == hashed:
                start, stop = self._span(0, at, len(self._words))
                if self._words[start:stop].tobytes() == word:
                    break
                at += 1
            else:
                at = -1
            found.append(at)
        return found

    def _span(self, what: int, at: int, most: int) -> tuple[int, int]:
        """Return start and stop of what the word at a place has, inside an array of a length."""
        if at < 0:
            return 0, 0
        start, stop = self._ends[what, at : at + 2].tolist()
        return (start, stop) if start <= stop <= most else (0, 0)

    def occurrences(self, word: bytes) -> U64:
        """Return row << 32 | position of every occurrence of a word, ascending."""
        (at,) = self._places([word])
        start, stop = self._span(1, at, len(self._rows))
        first, last = self._span(2, at, len(self._positions))
        counts = self._counts[start:stop]
        if int(counts.sum(dtype=np.uint64)) != last - first:  # damaged: better none than too many
            return np.empty(0, np.uint64)
        rows = self._rows[start:stop].astype(np.uint64) << np.uint64(32)
        positions: U64 = self._positions[first:last].astype(np.uint64)
        return np.repeat(rows, counts) | positions

    def totals(self, alive: Bitmap | None) -> tuple[Total, ...]:
        """Return the total of every field over the rows that are alive."""
        if alive is None:
            return self._totals
        known, totals = self._totals_of
        if known is not alive:  # the same mask serves every query until a row dies
            totals = count_totals(self.lengths, alive)
            self._totals_of = alive, totals
        return totals


class SparseArrays:
    """The sparse vectors of a segment's rows, read in place."""

    def __init__(self, open: Open, number: int, rows: int) -> None:
        self.rows = rows
        self._indices: U32 = open(f"sparse-{number}-indices", "<u4", (-1,))
        self._ends: U64 = open(f"sparse-{number}-ends", "<u8", (len(self._indices) + 1,))
        self._rows: U32 = open(f"sparse-{number}-rows", "<u4", (-1,))
        self._values: F32 = open(f"sparse-{number}-values", "<f4", (len(self._rows),))
        self._having: Bitmap | None = None  # once it was asked for

    def find(self, indices: U32) -> Lists[np.float32]:
        """Return the list of each index, empty where no row has it."""
        at = np.searchsorted(self._indices, indices)
        at[at == len(self._indices)] = 0
        if not len(self._indices):
            starts = stops = np.zeros(len(indices), np.uint64)
        else:
            here = self._indices[at] == indices
            stops = np.where(here, np.minimum(self._ends[at + 1], len(self._rows)), 0)
            starts = np.where(here, np.minimum(self._ends[at], stops), 0)
        return Lists(self._rows, self._values, starts.astype(np.uint64), stops.astype(np.uint64))

    def having(self) -> Bitmap:
        """Return the rows that have a vector."""
        if self._having is None:  # a row stands in as many lists as it has values
            self._having = kernel.row_bits(self._rows, self.rows)
        return self._having
