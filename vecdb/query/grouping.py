"""Which groups a row belongs to: the distinct values that it holds at a payload path.

A group is what `equals` with its value matches, as a facet is: 1 and 1.0 are one value, true and 1
are two, and a row with several values belongs to the group of each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from vecdb import kernel
from vecdb.query.facets import as_whole
from vecdb.query.search import Candidates
from vecdb.query.sources import Source, read_fields
from vecdb.segment.fields import (
    BOOL,
    FLOAT,
    INT,
    KEYWORD,
    TRUE,
    Entries,
    FieldSource,
    NotIndexed,
    Numbers,
)
from vecdb.segment.fields_memory import CollectedFields
from vecdb.types import U32, Bitmap

GroupKey: TypeAlias = tuple[int, int | float | bytes]
"""A value: its kind, and a bool, a whole number, another number, or a string as indexes hold it."""

IS_BOOL, IS_WHOLE, IS_NUMBER, IS_STRING = range(4)


class _Values(NamedTuple):
    """The distinct values of one kind, ascending: how many, and each by its place."""

    total: int
    at: Callable[[int], int | float | bytes]


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of a part's rows, by number: row rows[i] belongs to group numbers[i].

    rows, numbers: (m,) u32, by row, then by number. kinds: the values, numbered one kind after the
    other.
    """

    rows: U32
    numbers: U32
    kinds: Sequence[_Values]

    def key(self, number: int) -> GroupKey:
        """Return the value of a group."""
        for kind, values in enumerate(self.kinds):
            if number < values.total:
                return kind, values.at(number)
            number -= values.total
        raise IndexError(number)

    def number(self, key: GroupKey) -> int | None:
        """Return the number of the group of a value, or None where no row has it."""
        kind, value = key
        values = self.kinds[kind]
        at = bisect_left(range(values.total), value, key=values.at)
        if at == values.total or values.at(at) != value:
            return None
        return at + sum(before.total for before in self.kinds[:kind])

    def keys_of(self, rows: U32) -> list[list[GroupKey]]:
        """Return the values of each of some rows (r,)."""
        starts = np.searchsorted(self.rows, rows).tolist()
        ends = np.searchsorted(self.rows, rows, "right").tolist()
        numbers = self.numbers
        return [
            [self.key(int(number)) for number in numbers[start:end]]
            for start, end in zip(starts, ends, strict=True)
        ]

    def inside(self, key: GroupKey, n: int) -> Bitmap:
        """Return the rows of a group, of n rows."""
        number = self.number(key)
        rows = self.rows[self.numbers == number] if number is not None else _NONE
        return kernel.row_bits(rows, n)

    def outside(self, keys: Sequence[GroupKey], n: int) -> Bitmap:
        """Return the rows, of n, that belong to another group than these."""
        known = np.zeros(sum(values.total for values in self.kinds), np.bool_)
        known[[at for at in map(self.number, keys) if at is not None]] = True
        return kernel.row_bits(self.rows[~known[self.numbers]], n)


_NONE: U32 = np.empty(0, np.uint32)


def grouping(fields: FieldSource, path: str) -> Grouping:
    """Return the groups that rows belong to by a path. Raises NotIndexed."""
    key = path.encode("utf-8", "surrogatepass")
    kept = None if fields.groupings is None else fields.groupings.get(key)
    if kept is not None:
        assert isinstance(kept, Grouping)
        return kept
    whole, rest = as_whole(fields.numbers(path, INT), fields.numbers(path, FLOAT))
    strings, bools = fields.entries(path, KEYWORD), fields.entries(path, BOOL)
    runs = [
        _of_entries(bools, lambda at: bools.key(at) == TRUE),
        _of_numbers(whole),
        _of_numbers(rest),
        _of_entries(strings, strings.key),
    ]
    numbers: list[U32] = []
    base = 0
    for positions, _, values in runs:
        numbers.append(positions + np.uint32(base))
        base += values.total
    joined = np.concatenate([rows for _, rows, _ in runs]).astype(np.uint64) << 32
    joined |= np.concatenate(numbers)
    # A row that holds a value twice, as 1 and 1.0, say, belongs to its group once.
    pairs = np.unique(joined)
    made = Grouping(
        (pairs >> 32).astype(np.uint32),
        (pairs & 0xFFFF_FFFF).astype(np.uint32),
        [values for _, _, values in runs],
    )
    if fields.groupings is not None:
        fields.groupings.keep(key, made)
    return made


def _of_entries(
    entries: Entries, value: Callable[[int], int | float | bytes]
) -> tuple[U32, U32, _Values]:
    return entries.positions, entries.rows, _Values(entries.keys, value)


def _of_numbers(numbers: Numbers) -> tuple[U32, U32, _Values]:
    distinct, positions = np.unique(numbers.values, return_inverse=True)
    values = _Values(len(distinct), lambda at: distinct[at].item())
    return positions.astype(np.uint32), numbers.rows, values


class Groupings:
    """The groups of all rows that match, over all parts."""

    def __init__(self, sources: Sequence[Source], path: str) -> None:
        """Read payloads where an index does not know the path. Raises DeadlineExceeded."""
        self.path = path
        self.sources = sources
        self._parts = [_grouping_of(source, path) for source in sources]
        self._firsts = [
            int(source.candidates.part.slots[0]) if source.candidates.part.rows else None
            for source in sources
        ]

    def by_key(self, slots: Sequence[int]) -> dict[GroupKey, list[int]]:
        """Return the places in a list of slots that each value has, first come, first named."""
        asked = np.array(slots, np.uint64)
        keys: list[list[GroupKey]] = [[] for _ in slots]
        for source, groups in zip(self.sources, self._parts, strict=True):
            part = source.candidates.part
            if not part.rows or not len(groups.rows):
                continue
            mine = np.flatnonzero((asked >= part.slots[0]) & (asked <= part.slots[part.rows - 1]))
            rows = np.searchsorted(part.slots[: part.rows], asked[mine]).astype(np.uint32)
            for at, held in zip(mine.tolist(), groups.keys_of(rows), strict=True):
                keys[at] = held
        found: dict[GroupKey, list[int]] = {}
        for at, held in enumerate(keys):
            for key in held:
                found.setdefault(key, []).append(at)
        return found

    def inside(self, candidates: Sequence[Candidates], key: GroupKey) -> list[Candidates]:
        """Return those of some candidates, a part each, that belong to a group."""
        return [
            narrowed(one, groups.inside(key, one.part.rows))
            for one, groups in zip(candidates, self._parts, strict=True)
        ]

    def outside(
        self, candidates: Sequence[Candidates], keys: Sequence[GroupKey]
    ) -> list[Candidates]:
        """Return those of some candidates that belong to a group beside these."""
        return [
            narrowed(one, groups.outside(keys, one.part.rows))
            for one, groups in zip(candidates, self._parts, strict=True)
        ]


def narrowed(candidates: Candidates, bits: Bitmap) -> Candidates:
    """Return the candidates that are among some rows."""
    part, mask = candidates.part, candidates.mask
    mask = bits if mask is None else bits & mask
    return Candidates(part, mask, kernel.count_bits(mask, part.rows), candidates.alive)


def _grouping_of(source: Source, path: str) -> Grouping:
    try:
        return grouping(source.rows.fields, path)
    except NotIndexed:
        read = CollectedFields()
        rows: list[U32] = [_NONE]
        for chunk in read_fields(source, path, into=read):
            rows.append(chunk.rows)
        found = grouping(read, path)
        return Grouping(np.concatenate(rows)[found.rows], found.numbers, found.kinds)
