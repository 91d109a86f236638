"""Postings: for each word of a text field, or index of a sparse space, the rows that hold it.

Growing* collect them row by row, in memory: they are the tail's index, and what the arrays of a
segment are made of, which `postings_arrays.py` reads. Both answer the same questions, those of
TextSource and SparseSource, which `query/keyword.py` and `query/sparse.py` ask.

A word of a field stands as two bytes for the field, its number, then UTF-8.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.analysis import analyze
from vecdb.segment.bitmaps import unpack
from vecdb.segment.fields import Json, nodes_at
from vecdb.types import U32, U64, Bitmap, SparseVector, TextField

VALUE_GAP = 100
"""Positions left free between the strings of an array, so that no phrase spans two of them."""

Numbers = TypeVar("Numbers", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Lists(Generic[Numbers]):
    """Lists of rows, each ascending, as the kernel reads them: rows[starts[i] : stops[i]].

    numbers: beside rows, how often the word is there, or the value at the index.
    """

    rows: U32
    numbers: NDArray[Numbers]
    starts: U64
    stops: U64

    def rows_of(self, at: int) -> U32:
        """Return the rows of one list; in a damaged file some may be none."""
        return self.rows[int(self.starts[at]) : int(self.stops[at])]


class Total(NamedTuple):
    """Of one field: rows that have a word in it, and their words."""

    rows: int
    words: int


class TextSource(Protocol):
    """Rows that can be asked for the words of their texts."""

    rows: int
    fields: tuple[int, ...]
    """Numbers of the text fields that are known here: some of the schema's may not be yet."""
    lengths: U32
    """(fields, rows): words of each row."""

    def find(self, words: Sequence[bytes]) -> Lists[np.uint32]:
        """Return the list of each word, empty where no row has it."""

    def occurrences(self, word: bytes) -> U64:
        """Return row << 32 | position of every occurrence of a word, ascending."""

    def totals(self, alive: Bitmap | None) -> tuple[Total, ...]:
        """Return the total of every field over the rows that are alive."""


class SparseSource(Protocol):
    """Rows that can be asked for the values of their sparse vectors."""

    rows: int

    def find(self, indices: U32) -> Lists[np.float32]:
        """Return the list of each index, empty where no row has it."""

    def having(self) -> Bitmap:
        """Return the rows that have a vector."""


# --- growing, in memory


class _Occurrences(NamedTuple):
    rows: array[int]
    counts: array[int]
    positions: array[int]


class GrowingText:
    """The words of rows that are added in order. One thread adds; any may read what is there."""

    def __init__(self, fields: Mapping[int, TextField]) -> None:
        """fields: by number."""
        self._fields = fields
        self._lists: dict[bytes, _Occurrences] = {}
        self._lengths = [array("I") for _ in fields]
        self.rows = 0

    def add(self, payload: Json) -> None:
        """Take the parsed payload of the next row."""
        for lengths, (number, field) in zip(self._lengths, self._fields.items(), strict=True):
            held: dict[str, list[int]] = {}
            at = words = 0
            for value in nodes_at(payload, field.path):
                if isinstance(value, str) and (found := analyze(value, field.language)).words:
                    for word, position in zip(*found, strict=True):
                        held.setdefault(word, []).append(at + position)
                    words += len(found.words)
                    at += found.positions[-1] + VALUE_GAP
            for word, positions in held.items():
                self._note(word_key(number, word), positions)
            lengths.append(words)
        self.rows += 1

    def _note(self, key: bytes, positions: list[int]) -> None:
        found = self._lists.get(key)
        if found is None:
            found = self._lists[key] = _Occurrences(array("I"), array("I"), array("I"))
        # Rows last: whoever sees a row here sees the rest of it.
        found.positions.extend(positions)
        found.counts.append(len(positions))
        found.rows.append(self.rows)

    def read(self, rows: int) -> GrownText:
        """Return what the first rows hold."""
        lengths = [part[:rows] for part in self._lengths]
        return GrownText(self._lists, tuple(self._fields), lengths, rows)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return a segment's arrays by name."""
        keys = sorted(self._lists, key=lambda key: (word_hash(key), key))
        lists = [self._lists[key] for key in keys]
        ends = np.zeros((3, len(keys) + 1), "<u8")
        ends[0, 1:] = np.cumsum([len(key) for key in keys])
        ends[1, 1:] = np.cumsum([len(one.rows) for one in lists])
        ends[2, 1:] = np.cumsum([len(one.positions) for one in lists])
        return {
            "text-hashes": np.array([word_hash(key) for key in keys], "<u8"),
            "text-words": np.frombuffer(b"".join(keys), np.uint8),
            "text-ends": ends,
            "text-rows": _joined((one.rows for one in lists), "<u4"),
            "text-counts": _joined((one.counts for one in lists), "<u4"),
            "text-positions": _joined((one.positions for one in lists), "<u4"),
            "text-lengths": np.array(self._lengths, "<u4"),
        }


def word_key(field: int, word: str) -> bytes:
    """Return a word of a field as postings know it. field: its number."""
    return field.to_bytes(2, "big") + word.encode()


def field_of(key: bytes) -> int:
    """Return the number of the field that a word is of."""
    return int.from_bytes(key[:2], "big")


def word_hash(key: bytes) -> int:
    """Return the number that words are sorted by on disk; two words may share one."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


class GrownText:
    """The first rows of a GrowingText."""

    def __init__(
        self,
        lists: Mapping[bytes, _Occurrences],
        fields: tuple[int, ...],
        lengths: list[array[int]],
        rows: int,
    ) -> None:
        self.rows = rows
        self.fields = fields
        self.lengths: U32 = np.array(lengths, np.uint32).reshape(len(lengths), rows)
        self._lists = lists

    def find(self, words: Sequence[bytes]) -> Lists[np.uint32]:
        """Return the list of each word, empty where no row has it."""
        found = [self._lists.get(word, _NO_OCCURRENCES) for word in words]
        return _cut(found, self.rows, np.uint32)

    def occurrences(self, word: bytes) -> U64:
        """Return row << 32 | position of every occurrence of a word, ascending."""
        lists = self.find([word])
        if not len(lists.rows):
            return np.empty(0, np.uint64)
        count = int(lists.numbers.sum())
        positions = np.array(self._lists[word].positions[:count], np.uint64)
        return np.repeat(lists.rows.astype(np.uint64) << np.uint64(32), lists.numbers) | positions

    def totals(self, alive: Bitmap | None) -> tuple[Total, ...]:
        """Return the total of every field over the rows that are alive."""
        return count_totals(self.lengths, alive)


def count_totals(lengths: U32, alive: Bitmap | None) -> tuple[Total, ...]:
    """Return the total of every field over the rows that are alive. lengths: (fields, rows)."""
    kept = lengths if alive is None else lengths[:, unpack(alive, lengths.shape[1])]
    words = kept.sum(axis=1, dtype=np.uint64).tolist()
    return tuple(map(Total, np.count_nonzero(kept, axis=1).tolist(), words))


class _Values(NamedTuple):
    rows: array[int]
    values: array[float]


class GrowingSparse:
    """The sparse vectors of rows that are added in order. One thread adds; any may read."""

    def __init__(self) -> None:
        self._lists: dict[int, _Values] = {}
        self._having = array("I")  # rows, ascending
        self.rows = 0

    def add(self, vector: SparseVector | None) -> None:
        """Take the vector of the next row; None for none."""
        if vector is not None:
            self._having.append(self.rows)
            for index, value in zip(vector.indices.tolist(), vector.values.tolist(), strict=True):
                found = self._lists.get(index)
                if found is None:
                    found = self._lists[index] = _Values(array("I"), array("f"))
                found.values.append(value)
                found.rows.append(self.rows)
        self.rows += 1

    def read(self, rows: int) -> GrownSparse:
        """Return what the first rows hold."""
        return GrownSparse(self._lists, self._having, rows)

    def arrays(self, number: int) -> dict[str, NDArray[Any]]:
        """Return a segment's arrays by name. number: of the space."""
        indices = sorted(self._lists)
        lists = [self._lists[index] for index in indices]
        ends = np.zeros(len(indices) + 1, "<u8")
        ends[1:] = np.cumsum([len(one.rows) for one in lists])
        return {
            f"sparse-{number}-indices": np.array(indices, "<u4"),
            f"sparse-{number}-ends": ends,
            f"sparse-{number}-rows": _joined((one.rows for one in lists), "<u4"),
            f"sparse-{number}-values": _joined((one.values for one in lists), "<f4"),
        }


class GrownSparse:
    """The first rows of a GrowingSparse."""

    def __init__(self, lists: Mapping[int, _Values], having: array[int], rows: int) -> None:
        self.rows = rows
        self._lists = lists
        self._having = having

    def find(self, indices: U32) -> Lists[np.float32]:
        """Return the list of each index, empty where no row has it."""
        found = [self._lists.get(index, _NO_VALUES) for index in indices.tolist()]
        return _cut(found, self.rows, np.float32)

    def having(self) -> Bitmap:
        """Return the rows that have a vector."""
        return kernel.row_bits(np.array(self._having[:], np.uint32), self.rows)


_NO_OCCURRENCES = _Occurrences(array("I"), array("I"), array("I"))
_NO_VALUES = _Values(array("I"), array("f"))


def _joined(parts: Iterable[array[Any]], dtype: str) -> NDArray[Any]:
    return np.frombuffer(b"".join([part.tobytes() for part in parts]), dtype)


def _cut(
    found: Sequence[_Occurrences | _Values], rows: int, dtype: type[Numbers]
) -> Lists[Numbers]:
    """Return the lists, each up to a row."""
    of_rows: list[U32] = []
    numbers: list[NDArray[Numbers]] = []
    for one in found:
        # A slice is a copy, which another thread's adding does not move.
        held = np.array(one[0][:], np.uint32)
        end = int(np.searchsorted(held, rows))
        of_rows.append(held[:end])
        numbers.append(np.array(one[1][:end], dtype))
    stops = np.cumsum([len(part) for part in of_rows], dtype=np.uint64)
    starts = stops - np.array([len(part) for part in of_rows], np.uint64)
    return Lists(np.concatenate(of_rows), np.concatenate(numbers), starts, stops)
