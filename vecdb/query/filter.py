"""Which rows match a filter.

Each condition becomes a bitmap, from the field index of the rows. What an index cannot tell (a path
that it left out, objects that must match by themselves) stays open: a filter is evaluated to the
rows that match for certain and those that may. Only for the rows in between, which other conditions
have neither let in nor ruled out, the payloads themselves are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import and_, or_
from typing import Protocol, TypeAlias

import numpy as np

from vecdb import kernel
from vecdb.segment.bitmaps import all_rows, no_rows, pack, rows_in, unpack
from vecdb.segment.fields import (
    BOOL,
    COUNT,
    FALSE,
    HELD,
    KEYWORD,
    NULL,
    NUMBERS,
    STATE,
    TIME,
    TRUE,
    FieldSource,
    Interval,
    Json,
    NotIndexed,
    as_number,
    key_of,
    nodes_at,
)
from vecdb.segment.fields_memory import fields_at
from vecdb.segment.times import microseconds
from vecdb.types import (
    U32,
    And,
    Bitmap,
    ContainsAll,
    Equals,
    Exists,
    Filter,
    HasId,
    HasSpace,
    In,
    IsNull,
    MatchesText,
    MinShould,
    Nested,
    Not,
    Or,
    PointCondition,
    Prefix,
    Range,
    Scalar,
    ValueCondition,
    ValuesCount,
)

ROWS_AT_ONCE = 256
"""Payloads that are read together, and after which a caller's deadline is looked at."""

Bounds: TypeAlias = tuple[Bitmap, Bitmap]
"""Rows that match, and rows that may: the same object where that is known."""


class Rows(Protocol):
    """Rows that a filter is evaluated on."""

    rows: int
    fields: FieldSource

    def of_ids(self, ids: Sequence[str]) -> Bitmap:
        """Return the rows of those points."""

    def having(self, space: str) -> Bitmap:
        """Return the rows that have a vector in a space. Raises InvalidArgument."""

    def holding_words(self, condition: MatchesText) -> Bitmap:
        """Return the rows whose text field holds the words. Raises NotIndexed."""

    def words_in(self, condition: MatchesText, payloads: Sequence[Json]) -> Bitmap:
        """Return which of some payloads hold the words in the text field."""

    def payloads(self, rows: Sequence[int]) -> list[Json]:
        """Return the parsed payloads of some rows. Raises DeadlineExceeded."""


def key_of_filter(filter: Filter) -> bytes:
    """Return what tells a filter from every other; b"" when more than the rows decides it: ids."""
    if any(isinstance(condition, HasId) for condition in conditions(filter)):
        return b""
    # Not its hash: 1, 1.0 and True are equal to Python, and not to a filter.
    return hashlib.blake2b(repr(filter).encode(), digest_size=16).digest()


def matching(filter: Filter, source: Rows, alive: Bitmap | None = None, key: bytes = b"") -> Bitmap:
    """Return the rows that match, of those that are alive; None for all. Not to be written to.

    A row that is not alive may be returned. key: `key_of_filter`, or b"" for one that is not to be
    kept. Raises DeadlineExceeded.
    """
    matches = source.fields.matches if key else None
    if matches is not None and (kept := matches.get(key)) is not None:
        return kept
    sure, possible = _bounds(filter, source)
    if sure is possible:
        if matches is not None:
            matches.keep(key, sure)
        return sure
    open_rows = possible & ~sure if alive is None else possible & ~sure & alive
    rows = rows_in(open_rows, source.rows)
    found: list[U32] = [_NONE]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        asked = rows[start : start + ROWS_AT_ONCE].astype(np.uint32)
        read = _ReadRows(source, asked, source.payloads(asked.tolist()), _paths(filter))
        match, _ = _bounds(filter, read)
        found.append(asked[unpack(match, len(asked))])
    return sure | kernel.row_bits(np.concatenate(found), source.rows)


_NONE: U32 = np.empty(0, np.uint32)


class _ReadRows:
    """Rows whose payloads are at hand, so that everything about them can be told."""

    def __init__(
        self, source: Rows | None, chosen: U32, payloads: list[Json], paths: set[str]
    ) -> None:
        self.rows = len(payloads)
        self.read = payloads
        self._source = source
        self._chosen = chosen
        self.fields: FieldSource = fields_at(payloads, paths, exact=True)

    def of_ids(self, ids: Sequence[str]) -> Bitmap:
        """Return the rows of those points."""
        return self._picked(self._rest.of_ids(ids))

    def having(self, space: str) -> Bitmap:
        """Return the rows that have a vector in a space."""
        return self._picked(self._rest.having(space))

    def holding_words(self, condition: MatchesText) -> Bitmap:
        """Return the rows whose text field holds the words."""
        return self._rest.words_in(condition, self.read)

    def words_in(self, condition: MatchesText, payloads: Sequence[Json]) -> Bitmap:
        """Return which of some payloads hold the words in the text field."""
        return self._rest.words_in(condition, payloads)

    def payloads(self, rows: Sequence[int]) -> list[Json]:
        """Return the parsed payloads of some rows."""
        return [self.read[row] for row in rows]

    @property
    def _rest(self) -> Rows:
        assert self._source is not None, "objects inside nested are no points: check_filter"
        return self._source

    def _picked(self, bits: Bitmap) -> Bitmap:
        return kernel.pick_bits(bits, self._rest.rows, self._chosen)


def conditions(filter: Filter) -> Iterator[Nested | PointCondition | ValueCondition]:
    """Yield the conditions that a filter is made of; those inside nested stay there."""
    if isinstance(filter, (And, Or, MinShould)):
        for inner in filter.filters:
            yield from conditions(inner)
    elif isinstance(filter, Not):
        yield from conditions(filter.filter)
    else:
        yield filter


def _paths(filter: Filter) -> set[str]:
    """Return the paths that the conditions of a filter ask for."""
    asked = conditions(filter)
    return {each.path for each in asked if not isinstance(each, (Nested, *_OF_POINTS))}


_OF_POINTS = (HasId, HasSpace, MatchesText)


# --- filters


def _bounds(filter: Filter, source: Rows) -> Bounds:
    if isinstance(filter, And):
        return _joined(and_, [_bounds(inner, source) for inner in filter.filters])
    if isinstance(filter, Or):
        return _joined(or_, [_bounds(inner, source) for inner in filter.filters])
    if isinstance(filter, Not):
        sure, possible = _bounds(filter.filter, source)
        ruled_out = ~possible
        return ruled_out, ruled_out if sure is possible else ~sure
    if isinstance(filter, MinShould):
        found = [_bounds(inner, source) for inner in filter.filters]
        enough = _at_least(filter.least, [sure for sure, _ in found], source.rows)
        if all(sure is possible for sure, possible in found):
            return enough, enough
        return enough, _at_least(filter.least, [possible for _, possible in found], source.rows)
    if isinstance(filter, Nested):
        return _nested(filter, source)
    try:
        bits = _of_condition(filter, source)
    except NotIndexed:
        return no_rows(source.rows), all_rows(source.rows)
    return bits, bits


def _of_condition(condition: PointCondition | ValueCondition, source: Rows) -> Bitmap:
    """Return the rows that match a condition. Raises NotIndexed."""
    if isinstance(condition, HasId):
        return source.of_ids(condition.ids)
    if isinstance(condition, HasSpace):
        return source.having(condition.space)
    if isinstance(condition, MatchesText):
        return source.holding_words(condition)
    return _condition(condition, source.fields)


def _joined(join: Callable[[Bitmap, Bitmap], Bitmap], found: list[Bounds]) -> Bounds:
    sure = reduce(join, [sure for sure, _ in found])
    if all(sure is possible for sure, possible in found):
        return sure, sure
    return sure, reduce(join, [possible for _, possible in found])


def _at_least(least: int, bitmaps: list[Bitmap], rows: int) -> Bitmap:
    counts = np.zeros(rows, np.uint32)
    for bits in bitmaps:
        counts += unpack(bits, rows)
    return pack(counts >= least)


def _nested(filter: Nested, source: Rows) -> Bounds:
    if not isinstance(source, _ReadRows):
        # The same conditions of whole rows let through all that may match, and more.
        outline = And((Exists(filter.path), _outline(filter.filter, filter.path)))
        return no_rows(source.rows), _bounds(outline, source)[1]
    owners: list[int] = []
    objects: list[Json] = []
    for row, payload in enumerate(source.read):
        for node in nodes_at(payload, filter.path):
            if isinstance(node, dict):
                owners.append(row)
                objects.append(node)
    inner = _ReadRows(None, _NONE, objects, _paths(filter.filter))
    match, _ = _bounds(filter.filter, inner)
    bits = kernel.row_bits(np.array(owners, np.uint32)[unpack(match, len(owners))], source.rows)
    return bits, bits


def _outline(filter: Filter, path: str) -> Filter:
    """Return a filter that matches every row with an object at the path that matches this one."""
    if isinstance(filter, And):
        return And(tuple(_outline(inner, path) for inner in filter.filters))
    if isinstance(filter, Or):
        return Or(tuple(_outline(inner, path) for inner in filter.filters))
    if isinstance(filter, MinShould):
        return MinShould(filter.least, tuple(_outline(inner, path) for inner in filter.filters))
    if isinstance(filter, Nested):
        deeper = f"{path}.{filter.path}"
        return And((Exists(deeper), _outline(filter.filter, deeper)))
    if isinstance(filter, (Not, ValuesCount, *_OF_POINTS)):
        return Exists(path)  # what an object lacks, another of the row may have
    return replace(filter, path=f"{path}.{filter.path}")


# --- conditions


def _condition(condition: ValueCondition, fields: FieldSource) -> Bitmap:
    """Return the rows that match a condition. Raises NotIndexed."""
    path = condition.path
    if isinstance(condition, Equals):
        return _equal_any(path, (condition.value,), fields)
    if isinstance(condition, In):
        return _equal_any(path, condition.values, fields)
    if isinstance(condition, ContainsAll):
        return reduce(and_, [_equal_any(path, (value,), fields) for value in condition.values])
    if isinstance(condition, Range):
        return _in_range(condition, fields)
    if isinstance(condition, Prefix):
        return fields.beginning(path, key_of(condition.prefix))
    if isinstance(condition, Exists):
        return fields.holding(path, STATE, (HELD,))
    if isinstance(condition, IsNull):
        return fields.holding(path, STATE, (NULL,))
    if isinstance(condition, ValuesCount):
        return _counted(condition, fields)
    return fields.within(path, condition)


def _equal_any(path: str, values: Sequence[Scalar], fields: FieldSource) -> Bitmap:
    strings: list[bytes] = []
    bools: list[bytes] = []
    numbers: list[Interval] = []
    for value in values:
        number = as_number(value)
        if isinstance(value, str):
            strings.append(key_of(value))
        elif number is None:
            bools.append(TRUE if value else FALSE)
        else:
            numbers.append(Interval(number, number))
    found: list[Bitmap] = []
    if strings:
        found.append(fields.holding(path, KEYWORD, strings))
    if bools:
        found.append(fields.holding(path, BOOL, bools))
    if numbers:
        found.append(fields.between(path, NUMBERS, numbers))
    return reduce(or_, found)


def _in_range(condition: Range, fields: FieldSource) -> Bitmap:
    low = condition.gte if condition.gt is None else condition.gt
    high = condition.lte if condition.lt is None else condition.lt
    kinds: Sequence[str] = NUMBERS
    if isinstance(low, str) or isinstance(high, str):
        kinds = (TIME,)
        low = microseconds(low) if isinstance(low, str) else None
        high = microseconds(high) if isinstance(high, str) else None
    interval = Interval(low, high, condition.gt is not None, condition.lt is not None)
    return fields.between(condition.path, kinds, (interval,))


def _counted(condition: ValuesCount, fields: FieldSource) -> Bitmap:
    low = condition.gte if condition.gt is None else condition.gt
    high = condition.lte if condition.lt is None else condition.lt
    open_low, open_high = condition.gt is not None, condition.lt is not None
    least, most = Interval(low, high, open_low, open_high).closed_int()
    # Counts are kept where there are several.
    bits = fields.between(condition.path, (COUNT,), (Interval(max(least, 2), most),))
    held = fields.holding(condition.path, STATE, (HELD,))
    if least <= 1 <= most:
        bits |= held & ~fields.between(condition.path, (COUNT,), (Interval(),))
    if least <= 0 <= most:
        bits |= ~held
    return bits
