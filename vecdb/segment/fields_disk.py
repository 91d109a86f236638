"""Payload fields of a segment: written as one array, and asked in place.

Directory and array are as FORMAT.md says. Opening compares sizes and reads nothing of the array; no
value in it, however damaged, can do worse than a wrong answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.segment import geo
from vecdb.segment.bitmaps import Kept, KeptBitmaps, rows_in, unpack, word_count
from vecdb.segment.fields import (
    COLUMNS,
    DICTIONARIES,
    GEO,
    HELD,
    KEYWORD,
    KEYWORD_HEAD_BYTES,
    LONG,
    PATH_CHARACTERS_MAX,
    PATHS_MAX,
    STATE,
    Entries,
    Interval,
    NotIndexed,
    Numbers,
    Tally,
    shortened,
)
from vecdb.segment.fields_memory import CollectedFields, Column, Dictionary, Places
from vecdb.types import U32, U64, Bitmap, GeoShape

Array: TypeAlias = NDArray[Any]
Directory: TypeAlias = dict[str, dict[str, list[list[int]]]]
"""By path and kind, [offset in bytes, count of values] of each part."""

ALIGNMENT = 64
LISTED_SHARE = 32
"""A key that more than one in so many rows hold has a bitmap, which is then the smaller form."""
BLOCK_SHARE = 16
"""So many rows a bitmap of a column stands for, as a share of the segment's: what is inside an
interval is a few bitmaps, and at most two blocks' rows one by one."""
BLOCKS_FROM_ROWS = 1_024
MATCHES_KEPT = 64
"""Filters whose bitmaps are kept, a bit a row each: 8 bytes a row, where a vector has hundreds."""
RANKINGS_KEPT = 4
"""Orders of rows that are kept: at most 8 bytes a row each, and nothing where the column is one."""
GROUPINGS_KEPT = 4
"""Paths whose groups are kept: 8 bytes a row each, where a row holds one value."""

_DICTIONARY_PARTS = (
    "|u1",
    "<u8",
    "<u8",
    "<u4",
    "<u4",
    "<u8",
)  # blob offsets starts rows common bits
PART_TYPES = {
    **dict.fromkeys(DICTIONARIES, _DICTIONARY_PARTS),
    **{kind: (dtype, "<u4", "<u8") for kind, dtype in COLUMNS.items()},  # values rows blocks
    GEO: ("<f8", "<f8", "<u4"),  # latitudes longitudes rows
}
"""Type of each part of a kind."""


# --- writing


def write_fields(collected: CollectedFields) -> tuple[NDArray[np.uint8], Directory, bool]:
    """Return the `fields` array of rows, its directory, and whether paths were left out."""
    chosen = _chosen_paths(collected)
    pieces: list[bytes] = []
    size = 0
    directory: Directory = {}
    for path, kind, arrays in _arrays(collected):
        if path not in chosen:
            continue
        parts: list[list[int]] = []
        for array, dtype in zip(arrays, PART_TYPES[kind], strict=True):
            content = np.ascontiguousarray(array, dtype).tobytes()
            padding = -size % ALIGNMENT if content else 0
            pieces += [bytes(padding), content]
            parts.append([size + padding, len(array)])
            size += padding + len(content)
        directory.setdefault(path, {})[kind] = parts
    left_out = collected.left_out or len(chosen) < _paths_known(collected)
    return np.frombuffer(b"".join(pieces), np.uint8), directory, left_out


def _paths_known(collected: CollectedFields) -> int:
    return sum(kind == STATE for _, kind in collected.dictionaries)


def _chosen_paths(collected: CollectedFields) -> set[str]:
    """Return up to PATHS_MAX paths, those that most rows hold a value at."""
    held = {
        path: len(keys.get(HELD, ()))
        for (path, kind), keys in collected.dictionaries.items()
        if kind == STATE and collected.is_known(path)
    }
    return set(sorted(held, key=lambda path: (-held[path], path))[:PATHS_MAX])


def _arrays(collected: CollectedFields) -> Iterator[tuple[str, str, tuple[Array, ...]]]:
    rows = collected.rows
    for (path, kind), keys in sorted(collected.dictionaries.items()):
        yield path, kind, _dictionary_arrays(keys, rows)
    for (path, kind), column in sorted(collected.columns.items()):
        yield path, kind, _column_arrays(column, kind, rows)
    for path, places in sorted(collected.places.items()):
        yield path, GEO, _geo_arrays(places)


def _dictionary_arrays(held: Dictionary, n: int) -> tuple[Array, ...]:
    keys = sorted(held)
    offsets = np.zeros(len(keys) + 1, np.uint64)
    np.cumsum([len(key) for key in keys], out=offsets[1:])
    lists = [np.frombuffer(held[key], np.uint32) for key in keys]
    common = [at for at, rows in enumerate(lists) if len(rows) * LISTED_SHARE > n]
    bits = [kernel.row_bits(lists[at], n) for at in common]
    for at in common:
        lists[at] = lists[at][:0]
    starts = np.zeros(len(keys) + 1, np.uint64)
    np.cumsum([len(rows) for rows in lists], out=starts[1:])
    blob = np.frombuffer(b"".join(keys), np.uint8)
    return blob, offsets, starts, _joined(lists), np.array(common, np.uint32), _joined(bits)


def _column_arrays(column: Column, kind: str, n: int) -> tuple[Array, ...]:
    values, rows = np.frombuffer(column[0], COLUMNS[kind]), np.frombuffer(column[1], np.uint32)
    order = np.argsort(values, kind="stable")
    values, rows = values[order], rows[order]
    blocks: list[U64] = []
    if len(rows) >= BLOCKS_FROM_ROWS:
        length = _block_length(n)
        starts = range(0, len(rows), length)
        blocks = [kernel.row_bits(rows[start : start + length], n) for start in starts]
    return values, rows, _joined(blocks)


def _geo_arrays(places: Places) -> tuple[Array, ...]:
    lat, lon = np.frombuffer(places[0]), np.frombuffer(places[1])
    order = np.argsort(lat, kind="stable")
    return lat[order], lon[order], np.frombuffer(places[2], np.uint32)[order]


def _block_length(n: int) -> int:
    return -(-n // BLOCK_SHARE)


def _joined(arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint8)


# --- reading


class FieldIndex:
    """What the rows of a segment hold, as FieldSource has it.

    paths: those that rows of the segment hold something at, and the index knows.
    """

    def __init__(
        self, rows: int, array: NDArray[np.uint8], directory: Directory, left_out: bool
    ) -> None:
        """Raise ValueError for a directory that does not fit the array."""
        self.rows = rows
        self._array = array
        self._directory = directory
        self._left_out = left_out
        self._opened: dict[tuple[str, str], Any] = {}
        self.paths = directory.keys()
        self.matches: KeptBitmaps | None = KeptBitmaps(MATCHES_KEPT)
        self.rankings: Kept[Any] | None = Kept(RANKINGS_KEPT)
        self.groupings: Kept[Any] | None = Kept(GROUPINGS_KEPT)
        for path, kinds in directory.items():
            for kind, parts in kinds.items():
                _check_parts(path, kind, parts, len(array), rows)

    def holding(self, path: str, kind: str, keys: Sequence[bytes]) -> Bitmap:
        """Return the rows that hold one of the keys of a dictionary kind."""
        found = _Found(self.rows)
        held: _DictionaryParts | None = self._part(path, kind)
        if held is not None:
            for key in map(shortened, keys):
                at = held.position(key)
                if held.key(at) == key:
                    held.collect(at, at + 1, found)
        return found.bits()

    def beginning(self, path: str, prefix: bytes) -> Bitmap:
        """Return the rows that hold a keyword which begins so."""
        found = _Found(self.rows)
        held: _DictionaryParts | None = self._part(path, KEYWORD)
        if held is None:
            return found.bits()
        if len(prefix) > KEYWORD_HEAD_BYTES:
            long = prefix[:KEYWORD_HEAD_BYTES] + LONG
            if held.key(held.position(long)).startswith(long):
                raise NotIndexed(path)
        # No string ends in the byte 0xFF: there is a next one, and all between begin as asked.
        after = prefix[:-1] + bytes([prefix[-1] + 1])
        held.collect(held.position(prefix), held.position(after), found)
        return found.bits()

    def between(self, path: str, kinds: Sequence[str], intervals: Sequence[Interval]) -> Bitmap:
        """Return the rows that hold a number of one of the column kinds in one of the intervals."""
        found = _Found(self.rows)
        for kind in kinds:
            column: _ColumnParts | None = self._part(path, kind)
            if column is not None:
                for interval in intervals:
                    low, high = interval.closed(kind)
                    column.collect(low, high, found)
        return found.bits()

    def within(self, path: str, shape: GeoShape) -> Bitmap:
        """Return the rows that hold a place inside a shape."""
        found = _Found(self.rows)
        places: _GeoParts | None = self._part(path, GEO)
        if places is not None:
            places.collect(shape, found)
        return found.bits()

    def tally(self, path: str, kind: str, mask: Bitmap | None) -> Tally:
        """Return how many rows of the mask, None for all, hold each key of a dictionary kind."""
        held: _DictionaryParts | None = self._part(path, kind)
        return Tally(np.zeros(0, np.int64), _no_key) if held is None else held.tally(mask)

    def entries(self, path: str, kind: str) -> Entries:
        """Return the rows of each key of a dictionary kind."""
        held: _DictionaryParts | None = self._part(path, kind)
        return Entries(_NONE, _NONE, 0, _no_key) if held is None else held.entries()

    def numbers(self, path: str, kind: str) -> Numbers:
        """Return all numbers of a column kind, ascending; of equal ones, by row."""
        column: _ColumnParts | None = self._part(path, kind)
        if column is None:
            return Numbers(np.empty(0, COLUMNS[kind]), _NONE)
        values, rows = column.numbers, column.rows
        sound = rows < self.rows
        return Numbers(values, rows) if sound.all() else Numbers(values[sound], rows[sound])

    def kinds(self) -> Mapping[str, Collection[str]]:
        """Return the paths that the index knows, with the kinds that rows hold there."""
        return self._directory

    def _part(self, path: str, kind: str) -> Any:  # noqa: ANN401 - the class that the kind has
        part = self._opened.get((path, kind))
        if part is not None:
            return part
        kinds = self._directory.get(path)
        if kinds is None:
            if self._left_out or len(path) > PATH_CHARACTERS_MAX:
                raise NotIndexed(path)
            return None
        if kind not in kinds:
            return None
        arrays = [
            self._array[offset : offset + count * np.dtype(dtype).itemsize].view(dtype)
            for (offset, count), dtype in zip(kinds[kind], PART_TYPES[kind], strict=True)
        ]
        reader = _GeoParts if kind == GEO else _ColumnParts if kind in COLUMNS else _DictionaryParts
        part = self._opened[path, kind] = reader(self.rows, *arrays)
        return part


def _check_parts(path: str, kind: str, parts: Sequence[Sequence[int]], size: int, n: int) -> None:
    """Raise ValueError unless the parts of a kind lie in the array and belong together."""
    counts: list[int] = []
    for (offset, count), dtype in zip(parts, PART_TYPES[kind], strict=True):
        end = offset + count * int(dtype[2])
        if offset < 0 or count < 0 or end > size:
            raise ValueError(f"{path!r}: a part from {offset} to {end} is outside of {size} bytes")
        counts.append(count)
    words = word_count(n)
    if kind in DICTIONARIES:
        _, offsets, starts, _, common, bits = counts
        fits = offsets == starts >= 1 and bits == common * words
    elif kind == GEO:
        fits = counts[0] == counts[1] == counts[2]
    else:
        values, rows, blocks = counts
        fits = values == rows and blocks in (0, -(-rows // max(_block_length(n), 1)) * words)
    if not fits:
        raise ValueError(f"{path!r}: the parts of its {kind} values do not fit together: {counts}")


class _Found:
    """Rows that are found piece by piece: lists of them, and bitmaps."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._lists: list[U32] = []
        self._bitmaps: list[U64] = []

    def add_rows(self, rows: U32) -> None:
        if len(rows):
            self._lists.append(rows)

    def add_bitmaps(self, bitmaps: U64) -> None:
        """Add bitmaps that stand one behind the other."""
        if len(bitmaps):
            self._bitmaps.append(bitmaps)

    def bits(self) -> Bitmap:
        """Return all of them as one new bitmap."""
        rows = self._lists[0] if len(self._lists) == 1 else np.concatenate([_NONE, *self._lists])
        bits: Bitmap = kernel.row_bits(rows, self._n)
        for bitmaps in self._bitmaps:
            bits |= np.bitwise_or.reduce(bitmaps.reshape(-1, len(bits)), axis=0)
        return bits


_NONE: U32 = np.empty(0, np.uint32)


def _no_key(at: int) -> bytes:
    raise IndexError(at)


class _DictionaryParts:
    """Distinct keys in order, and the rows of each: listed, or as a bitmap where they are many."""

    def __init__(
        self, n: int, blob: Array, offsets: U64, starts: U64, rows: U32, common: U32, bits: U64
    ) -> None:
        # A memoryview gives one element in a third of the time that an array takes.
        self._blob, self._offsets = blob.data, offsets.data
        self._starts, self._common = starts.data, common.data
        self._rows, self._bits = rows, bits
        self._n, self._words = n, word_count(n)
        self._keys = range(len(starts) - 1)

    def key(self, at: int) -> bytes:
        """Return a key by its position; past the last one there is an empty one."""
        if at >= len(self._keys):
            return b""
        return bytes(self._blob[self._offsets[at] : self._offsets[at + 1]])

    def position(self, key: bytes) -> int:
        """Return where a key is, or would be."""
        return bisect_left(self._keys, key, key=self.key)

    def collect(self, first: int, last: int, found: _Found) -> None:
        """Add the rows of the keys of [first, last)."""
        if first >= min(last, len(self._keys)):
            return
        found.add_rows(self._rows[self._starts[first] : self._starts[last]])
        start, stop = bisect_left(self._common, first), bisect_left(self._common, last)
        found.add_bitmaps(self._bits[start * self._words : stop * self._words])

    def tally(self, mask: Bitmap | None) -> Tally:
        """Return how many rows of a mask hold each key."""
        starts, common, bits = self._sound_starts(), *self._bitmaps()
        if mask is None:
            counts = np.diff(starts)
        else:
            # What is past the last row, where there is damage, is in no mask.
            allowed = np.append(unpack(mask, self._n), False)
            inside = np.zeros(len(self._rows) + 1, np.int64)
            np.cumsum(allowed.take(self._rows, mode="clip"), out=inside[1:])
            counts = np.diff(inside[starts])
            bits = bits & mask
        counts[common] = np.bitwise_count(bits).sum(axis=1)
        return Tally(counts, self.key)

    def entries(self) -> Entries:
        """Return the rows of each key."""
        starts, common, bits = self._sound_starts(), *self._bitmaps()
        rows = [self._rows[starts[0] : starts[-1]]]
        rows += [rows_in(each, self._n).astype(np.uint32) for each in bits]
        sizes = [*np.diff(starts).tolist(), *map(len, rows[1:])]
        of = np.concatenate([np.arange(len(self._keys)), common])
        positions = np.repeat(of, sizes).astype(np.uint32)
        joined = np.concatenate(rows)
        sound = joined < self._n
        positions, joined = positions[sound], joined[sound]
        order = np.argsort(positions, kind="stable")  # the rows of a key are in order already
        return Entries(positions[order], joined[order], len(self._keys), self.key)

    def _sound_starts(self) -> NDArray[np.int64]:
        """Return where the rows of each key start: ascending and inside, also after damage."""
        starts = np.minimum(np.asarray(self._starts), len(self._rows)).astype(np.int64)
        ascending: NDArray[np.int64] = np.maximum.accumulate(starts)
        return ascending

    def _bitmaps(self) -> tuple[NDArray[np.int64], U64]:
        """Return the keys that have a bitmap, and their bitmaps, (c,) and (c, words)."""
        common = np.asarray(self._common)
        sound = common < len(self._keys)
        return common[sound].astype(np.int64), self._bits.reshape(-1, self._words)[sound]


class _ColumnParts:
    """Numbers in order, the row of each beside it, and a bitmap of every so many of these rows."""

    def __init__(self, n: int, values: Array, rows: U32, blocks: U64) -> None:
        self._values = values.data
        self.numbers, self.rows, self._blocks = values, rows, blocks
        self._words = word_count(n)
        self._length = _block_length(n)

    def collect(self, low: float, high: float, found: _Found) -> None:
        """Add the rows of the numbers of [low, high]."""
        if low > high:
            return
        start, stop = bisect_left(self._values, low), bisect_right(self._values, high)
        first = -(-start // self._length)
        last = -(-stop // self._length) if stop == len(self.rows) else stop // self._length
        if not len(self._blocks) or first >= last:
            found.add_rows(self.rows[start:stop])
            return
        found.add_rows(self.rows[start : first * self._length])
        found.add_rows(self.rows[last * self._length : stop])
        found.add_bitmaps(self._blocks[first * self._words : last * self._words])


class _GeoParts:
    """Places by latitude, and the row of each beside them."""

    def __init__(self, n: int, lat: Array, lon: Array, rows: U32) -> None:
        self._ordered = lat.data
        self._lat, self._lon, self._rows = lat, lon, rows

    def collect(self, shape: GeoShape, found: _Found) -> None:
        """Add the rows of the places inside a shape."""
        south, north = geo.latitudes(shape)
        start, stop = bisect_left(self._ordered, south), bisect_right(self._ordered, north)
        if start < stop:
            near = geo.inside(shape, self._lat[start:stop], self._lon[start:stop])
            found.add_rows(self._rows[start:stop][near])
