"""Payload fields in memory: of rows that arrive one by one, and of those that a segment is made of.

`CollectedFields` grows and can be asked at any time; `MemoryFields` is it as the rows in memory
need it, filled when it is first asked, and shared between threads.
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from vecdb import kernel
from vecdb.segment import geo
from vecdb.segment.bitmaps import Kept, KeptBitmaps, no_rows, unpack, word_count
from vecdb.segment.fields import (
    BOOL,
    COLUMNS,
    COUNT,
    FALSE,
    FLOAT,
    HELD,
    INT,
    KEYWORD,
    KEYWORD_HEAD_BYTES,
    LONG,
    NULL,
    PATH_CHARACTERS_MAX,
    PATHS_PENDING_MAX,
    STATE,
    TIME,
    TRUE,
    Entries,
    Interval,
    Json,
    NotIndexed,
    Numbers,
    Tally,
    as_number,
    key_of,
    nodes,
    nodes_at,
    parse,
    shortened,
)
from vecdb.segment.times import microseconds
from vecdb.types import U32, Bitmap, GeoShape

T = TypeVar("T")

Dictionary: TypeAlias = "dict[bytes, array[int]]"
"""Keys, and the rows of each: u32, ascending."""
Column: TypeAlias = "tuple[array[float], array[int]]"
"""Numbers (i64 or f64), and the row of each."""
Places: TypeAlias = "tuple[array[float], array[float], array[int]]"
"""Latitudes, longitudes, and the row of each."""


class CollectedFields:
    """What rows hold, by path and kind, added row by row.

    Once there are PATHS_PENDING_MAX paths and kinds, others are left out: their keys are values
    themselves, ids say, and not for an index. When exact, nothing is, and strings are kept whole.
    """

    matches: KeptBitmaps | None = None
    rankings: Kept[Any] | None = None
    groupings: Kept[Any] | None = None

    def __init__(self, *, exact: bool = False) -> None:
        self.rows = 0
        self.dictionaries: dict[tuple[str, str], Dictionary] = {}
        self.columns: dict[tuple[str, str], Column] = {}
        self.places: dict[str, Places] = {}
        self.left_out = False
        self._partial: set[str] = set()  # known paths of which something was left out
        self._is_exact = exact
        self._kinds_max = sys.maxsize if exact else PATHS_PENDING_MAX
        self._key: Callable[[bytes], bytes] = bytes if exact else shortened

    def add(self, held: Iterable[tuple[str, Json]]) -> None:
        """Take path and node of all that the next row holds."""
        counts: dict[str, int] = {}
        for path, node in held:
            if node is None:
                self._add_key(path, STATE, NULL)
                continue
            counts[path] = counts.get(path, 0) + 1
            if isinstance(node, str):
                self._add_key(path, KEYWORD, self._key(key_of(node)))
                time = microseconds(node)
                if time is not None:
                    self._add_number(path, TIME, time)
            elif isinstance(node, bool):
                self._add_key(path, BOOL, TRUE if node else FALSE)
            elif isinstance(node, dict):
                place = geo.place_of(node)
                if place is not None:
                    self._add_place(path, *place)
            else:
                number = as_number(node)
                assert number is not None
                self._add_number(path, INT if isinstance(number, int) else FLOAT, number)
        for path, count in counts.items():
            self._add_key(path, STATE, HELD)
            if count > 1:
                self._add_number(path, COUNT, count)
        self.rows += 1

    def is_known(self, path: str) -> bool:
        """Whether all is there of a path that some row holds."""
        return (path, STATE) in self.dictionaries and path not in self._partial

    def _add_key(self, path: str, kind: str, key: bytes) -> None:
        keys = self.dictionaries.get((path, kind))
        if keys is None:
            if self._is_full(path):
                return
            keys = self.dictionaries[path, kind] = {}
        rows = keys.get(key)
        if rows is None:
            keys[key] = array("I", (self.rows,))
        elif rows[-1] != self.rows:
            rows.append(self.rows)

    def _add_number(self, path: str, kind: str, number: float) -> None:
        column = self.columns.get((path, kind))
        if column is None:
            if self._is_full(path):
                return
            column = self.columns[path, kind] = array("d" if kind == FLOAT else "q"), array("I")
        column[0].append(number)
        column[1].append(self.rows)

    def _add_place(self, path: str, lat: float, lon: float) -> None:
        places = self.places.get(path)
        if places is None:
            if self._is_full(path):
                return
            places = self.places[path] = array("d"), array("d"), array("I")
        places[0].append(lat)
        places[1].append(lon)
        places[2].append(self.rows)

    def _is_full(self, path: str) -> bool:
        if len(self.dictionaries) + len(self.columns) + len(self.places) < self._kinds_max:
            return False
        self.left_out = True
        if (path, STATE) in self.dictionaries:
            self._partial.add(path)
        return True

    # --- asked, as FieldSource has it

    def holding(self, path: str, kind: str, keys: Sequence[bytes]) -> Bitmap:
        """Return the rows that hold one of the keys of a dictionary kind."""
        held = self._dictionary(path, kind)
        found = [held.get(self._key(key)) for key in keys]
        return self._bits(rows for rows in found if rows is not None)

    def beginning(self, path: str, prefix: bytes) -> Bitmap:
        """Return the rows that hold a keyword which begins so."""
        held = self._dictionary(path, KEYWORD)
        if len(prefix) > KEYWORD_HEAD_BYTES:
            long = prefix[:KEYWORD_HEAD_BYTES] + LONG
            if any(key.startswith(long) for key in held):
                raise NotIndexed(path)
        return self._bits(rows for key, rows in held.items() if key.startswith(prefix))

    def between(self, path: str, kinds: Sequence[str], intervals: Sequence[Interval]) -> Bitmap:
        """Return the rows that hold a number of one of the column kinds in one of the intervals."""
        self._check(path)
        found: list[U32] = [_NONE]
        for kind in kinds:
            column = self.columns.get((path, kind))
            if column is None:
                continue
            values = np.frombuffer(column[0], np.float64 if kind == FLOAT else np.int64)
            rows = _numbers(column[1])
            for interval in intervals:
                low, high = interval.closed(kind)
                if low <= high:
                    found.append(rows[(values >= low) & (values <= high)])
        return kernel.row_bits(np.concatenate(found), self.rows)

    def within(self, path: str, shape: GeoShape) -> Bitmap:
        """Return the rows that hold a place inside a shape."""
        self._check(path)
        places = self.places.get(path)
        if places is None:
            return no_rows(self.rows)
        lat, lon = np.frombuffer(places[0]), np.frombuffer(places[1])
        return kernel.row_bits(_numbers(places[2])[geo.inside(shape, lat, lon)], self.rows)

    def tally(self, path: str, kind: str, mask: Bitmap | None) -> Tally:
        """Return how many rows of the mask, None for all, hold each key of a dictionary kind."""
        return tallied(self.entries(path, kind), mask, self.rows)

    def entries(self, path: str, kind: str) -> Entries:
        """Return the rows of each key of a dictionary kind."""
        held = sorted(self._dictionary(path, kind).items())
        joined = array("I")
        for _, rows in held:
            joined.extend(rows)
        positions = np.repeat(np.arange(len(held), dtype=np.uint32), [len(r) for _, r in held])
        return Entries(
            positions, np.array(joined, np.uint32), len(held), [key for key, _ in held].__getitem__
        )

    def numbers(self, path: str, kind: str) -> Numbers:
        """Return all numbers of a column kind."""
        self._check(path)
        column = self.columns.get((path, kind))
        values, rows = column if column is not None else ((), ())
        # Copied: an array that is looked at cannot grow.
        return Numbers(np.array(values, COLUMNS[kind]), np.array(rows, np.uint32))

    def kinds(self) -> Mapping[str, Collection[str]]:
        """Return the paths that are known, with the kinds that rows hold there."""
        known: dict[str, set[str]] = {}
        for path, kind in (*self.dictionaries, *self.columns):
            if self.is_known(path):
                known.setdefault(path, set()).add(kind)
        return known

    def _dictionary(self, path: str, kind: str) -> Dictionary:
        self._check(path)
        return self.dictionaries.get((path, kind), {})

    def _check(self, path: str) -> None:
        cut = len(path) > PATH_CHARACTERS_MAX and not self._is_exact
        if cut or (self.left_out and not self.is_known(path)):
            raise NotIndexed(path)

    def _bits(self, found: Iterable[array[int]]) -> Bitmap:
        joined = array("I")
        for rows in found:
            joined.extend(rows)
        return kernel.row_bits(np.array(joined, np.uint32), self.rows)


_NONE: U32 = np.empty(0, np.uint32)


def fields_at(payloads: Iterable[Json], paths: Collection[str], *, exact: bool) -> CollectedFields:
    """Return what some payloads hold at some paths, a row each. exact: see CollectedFields."""
    fields = CollectedFields(exact=exact)
    for payload in payloads:
        fields.add([(path, node) for path in paths for node in nodes_at(payload, path)])
    return fields


def tallied(entries: Entries, mask: Bitmap | None, n: int) -> Tally:
    """Return how many of n rows hold each key, of those of a mask; None for all."""
    positions = entries.positions
    if mask is not None:
        positions = positions[unpack(mask, n)[entries.rows]]
    return Tally(np.bincount(positions, minlength=entries.keys), entries.key)


def _numbers(rows: array[int]) -> U32:
    return np.frombuffer(rows, np.uint32)


class SharedFields:
    """What `MemoryFields` of one growing list of payloads have in common."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # guards collected
        self.collected = CollectedFields()


class MemoryFields:
    """The first `rows` of a growing list of payloads, as FieldSource has it.

    Payloads are read when the first question comes. Nobody may wait long for the lock: a question
    to rows in memory takes microseconds.
    """

    matches: KeptBitmaps | None = None
    rankings: Kept[Any] | None = None
    groupings: Kept[Any] | None = None

    def __init__(self, rows: int, payloads: Sequence[bytes], shared: SharedFields) -> None:
        self.rows = rows
        self._payloads = payloads
        self._shared = shared

    def holding(self, path: str, kind: str, keys: Sequence[bytes]) -> Bitmap:
        """Return the rows that hold one of the keys of a dictionary kind."""
        return self._ask(lambda fields: fields.holding(path, kind, keys))

    def beginning(self, path: str, prefix: bytes) -> Bitmap:
        """Return the rows that hold a keyword which begins so."""
        return self._ask(lambda fields: fields.beginning(path, prefix))

    def between(self, path: str, kinds: Sequence[str], intervals: Sequence[Interval]) -> Bitmap:
        """Return the rows that hold a number of one of the column kinds in one of the intervals."""
        return self._ask(lambda fields: fields.between(path, kinds, intervals))

    def within(self, path: str, shape: GeoShape) -> Bitmap:
        """Return the rows that hold a place inside a shape."""
        return self._ask(lambda fields: fields.within(path, shape))

    def tally(self, path: str, kind: str, mask: Bitmap | None) -> Tally:
        """Return how many rows of the mask, None for all, hold each key of a dictionary kind."""
        return tallied(self.entries(path, kind), mask, self.rows)

    def entries(self, path: str, kind: str) -> Entries:
        """Return the rows of each key of a dictionary kind."""
        positions, rows, keys, key = self._look(lambda fields: fields.entries(path, kind))
        mine = rows < self.rows
        return Entries(positions[mine], rows[mine], keys, key)

    def numbers(self, path: str, kind: str) -> Numbers:
        """Return all numbers of a column kind."""
        values, rows = self._look(lambda fields: fields.numbers(path, kind))
        mine = rows < self.rows
        return Numbers(values[mine], rows[mine])

    def kinds(self) -> Mapping[str, Collection[str]]:
        """Return the paths that are known, with the kinds that rows hold there."""
        return self._look(CollectedFields.kinds)

    def _ask(self, question: Callable[[CollectedFields], Bitmap]) -> Bitmap:
        return self._look(question)[: word_count(self.rows)]

    def _look(self, question: Callable[[CollectedFields], T]) -> T:
        """Return an answer that may tell of more rows: of a reader that saw later writes."""
        with self._shared.lock:
            fields = self._shared.collected
            for row in range(fields.rows, self.rows):
                fields.add(nodes(parse(self._payloads[row])))
            return question(fields)
