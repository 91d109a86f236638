"""Counts of values, and numbers in sum, over all rows that match: exact, from the field indexes.

An answer does not depend on which part a row lies in: sums are rounded once, over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.query.facets import FacetTotal
from vecdb.query.near_misses import nothing_held
from vecdb.query.sources import Source, read_fields
from vecdb.segment.bitmaps import unpack
from vecdb.segment.fields import (
    BOOL,
    FLOAT,
    INT,
    INT64,
    KEYWORD,
    NUMBERS,
    TIME,
    FieldSource,
    NotIndexed,
    Numbers,
)
from vecdb.segment.times import rfc3339
from vecdb.types import Bitmap, Scalar


@dataclass(frozen=True, slots=True)
class Facets:
    """The values that most points hold at a path, up to `limit`."""

    path: str
    limit: int


@dataclass(frozen=True, slots=True)
class NumberStats:
    """Count, sum, average, least and greatest of the numbers at a path."""

    path: str


@dataclass(frozen=True, slots=True)
class TimeStats:
    """Count, earliest and latest of the times at a path."""

    path: str


Aggregation: TypeAlias = Facets | NumberStats | TimeStats


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """Values and how many points hold each, most first; how many other values there are."""

    values: list[tuple[Scalar, int]]
    others: int


@dataclass(frozen=True, slots=True)
class NumberResult:
    """Points that hold numbers, and these in sum; without any, the sum is 0 and the rest None."""

    points: int
    count: int
    sum: int | float
    avg: float | None
    min: int | float | None
    max: int | float | None


@dataclass(frozen=True, slots=True)
class TimeResult:
    """Points that hold times; the earliest and the latest as RFC 3339, "" without any."""

    points: int
    count: int
    min: str
    max: str


AggregateResult: TypeAlias = FacetCounts | NumberResult | TimeResult


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What was asked for, in its order, over so many points."""

    points: int
    results: list[AggregateResult]
    warnings: list[str]


class _Total(Protocol):
    """What adds up over parts. Adding raises NotIndexed before anything is changed."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""

    def add(self, fields: FieldSource, mask: Bitmap | None, n: int) -> None:
        """Take n rows, those of the mask; None for all."""


def aggregate(asked: Iterable[Aggregation], sources: Sequence[Source]) -> Aggregates:
    """Return the answers over all rows that match. Raises DeadlineExceeded."""
    results: list[AggregateResult] = []
    warnings: list[str] = []
    for one in asked:
        total, finish = _total_of(one, sources)
        is_indexed = True
        for source in sources:
            is_indexed &= _add(total, one.path, source)
        if total.is_empty and is_indexed:
            warnings += _warnings(one, sources)
        results.append(finish())
    return Aggregates(sum(source.candidates.count for source in sources), results, warnings)


def _total_of(
    asked: Aggregation, sources: Sequence[Source]
) -> tuple[_Total, Callable[[], AggregateResult]]:
    if isinstance(asked, Facets):
        facets = FacetTotal(asked.path)
        limit = asked.limit
        return facets, lambda: FacetCounts(*facets.best(limit, sources))
    if isinstance(asked, NumberStats):
        numbers = _NumberTotal(asked.path)
        return numbers, numbers.finish
    times = _TimeTotal(asked.path)
    return times, times.finish


def _add(total: _Total, path: str, source: Source) -> bool:
    """Add the rows of a part; return whether its index could tell."""
    if not source.candidates.count:
        return True
    try:
        total.add(source.rows.fields, source.candidates.mask, source.rows.rows)
        return True
    except NotIndexed:
        for chunk in read_fields(source, path):
            total.add(chunk.fields, None, len(chunk.rows))
        return False


def _inside(numbers: Numbers, mask: Bitmap | None, n: int) -> Numbers:
    if mask is None or not len(numbers.rows):
        return numbers
    inside = unpack(mask, n)[numbers.rows]
    return Numbers(numbers.values[inside], numbers.rows[inside])


class _NumberTotal:
    """Numbers of two kinds, int64 and float64, added up exactly."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._points = 0
        self._whole = 0  # the sum of the integers
        self._integers = 0  # how many they are
        self._floats: list[NDArray[np.float64]] = []
        self._ends: list[int | float] = []  # the least and the greatest of each part

    @property
    def is_empty(self) -> bool:
        return not self._points

    def add(self, fields: FieldSource, mask: Bitmap | None, n: int) -> None:
        ints = _inside(fields.numbers(self._path, INT), mask, n)
        floats = _inside(fields.numbers(self._path, FLOAT), mask, n)
        bits = kernel.row_bits(np.concatenate([ints.rows, floats.rows]), n)
        self._points += kernel.count_bits(bits, n)
        self._integers += len(ints.rows)
        # In halves, whose sums cannot overflow.
        high, low = ints.values >> 32, ints.values & 0xFFFF_FFFF
        self._whole += (int(high.sum()) << 32) + int(low.sum())
        self._floats.append(floats.values)
        for values in (ints.values, floats.values):
            if len(values):
                self._ends += [values.min().item(), values.max().item()]

    def finish(self) -> NumberResult:
        """Return the numbers in sum."""
        count = self._integers + sum(map(len, self._floats))
        if not count:
            return NumberResult(0, 0, 0, None, None, None)
        total: int | float = self._whole
        if count > self._integers or self._whole not in INT64:
            total = _exact_sum(self._floats, self._whole)
        avg = self._whole / count if count == self._integers else total / count
        return NumberResult(self._points, count, total, avg, min(self._ends), max(self._ends))


def _exact_sum(parts: list[NDArray[np.float64]], whole: int) -> float:
    """Return the sum of floats and an integer, rounded once."""
    rest = [0.0]
    while whole:  # an integer as floats: each takes its highest 53 bits
        rest.append(float(whole))
        whole -= int(rest[-1])
    infinite = {sign for sign in (math.inf, -math.inf) for part in parts if (part == sign).any()}
    if infinite:
        return infinite.pop() if len(infinite) == 1 else math.nan
    try:
        return math.fsum(chain(rest, *(part.tolist() for part in parts)))
    except OverflowError:  # on its way, and maybe in the end
        halves = chain(rest, *(part.tolist() for part in parts))
        small = math.fsum(math.ldexp(number, -64) for number in halves)
        try:
            return math.ldexp(small, 64)
        except OverflowError:
            return math.copysign(math.inf, small)


class _TimeTotal:
    """Moments, in microseconds since 1970."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._points = 0
        self._count = 0
        self._ends: list[int] = []

    @property
    def is_empty(self) -> bool:
        return not self._points

    def add(self, fields: FieldSource, mask: Bitmap | None, n: int) -> None:
        times = _inside(fields.numbers(self._path, TIME), mask, n)
        if len(times.rows):
            self._points += kernel.count_bits(kernel.row_bits(times.rows, n), n)
            self._count += len(times.rows)
            self._ends += [times.values.min().item(), times.values.max().item()]

    def finish(self) -> TimeResult:
        """Return the earliest and the latest."""
        if not self._count:
            return TimeResult(0, 0, "", "")
        return TimeResult(
            self._points, self._count, rfc3339(min(self._ends)), rfc3339(max(self._ends))
        )


# --- warnings

_SOUGHT: dict[type[Any], tuple[str, frozenset[str]]] = {
    Facets: ("strings, numbers or bools", frozenset((KEYWORD, BOOL, *NUMBERS))),
    NumberStats: ("numbers", frozenset(NUMBERS)),
    TimeStats: ("RFC 3339 times", frozenset((TIME,))),
}


def _warnings(asked: Aggregation, sources: Sequence[Source]) -> list[str]:
    """Return what may not have been meant by an aggregation that found nothing."""
    what, sought = _SOUGHT[type(asked)]
    return nothing_held(asked.path, what, sought, sources)
