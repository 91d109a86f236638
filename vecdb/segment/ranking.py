"""Rows in the order of what they hold at a path: false, true, numbers, times, other strings.

Of several values of a row the least decides, or the greatest. What a value is compared by is its
`Rank`; long strings are compared as the index has them (`fields.shortened`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.segment.fields import (
    BOOL,
    COUNT,
    FLOAT,
    INT,
    KEYWORD,
    TIME,
    TRUE,
    Entries,
    FieldSource,
    Numbers,
)
from vecdb.segment.times import microseconds
from vecdb.types import U32

Rank: TypeAlias = tuple[int, int | float | bytes]
"""What values are compared by: a number of their kind, then the value."""

IS_BOOL, IS_NUMBER, IS_TIME, IS_STRING = range(4)


@dataclass(frozen=True, slots=True)
class _Run:
    """Values of one kind in order: the row of each (m,) u32, and its rank by its place."""

    rows: U32
    rank: Callable[[int], Rank]


class Ranking:
    """Rows that hold a value, each once, by rank, then by row. rows: (m,) u32."""

    def __init__(self, runs: list[_Run], places: U32 | None, rows: U32) -> None:
        """Take runs in their order. places: of each row in all runs together; None for its own."""
        self.rows = rows
        self._runs = runs
        self._places = places
        starts = np.cumsum([0, *(len(run.rows) for run in runs)])
        self._starts: list[int] = starts.tolist()

    def rank(self, at: int) -> Rank:
        """Return by what a row is where it is."""
        place = at if self._places is None else int(self._places[at])
        run = bisect_right(self._starts, place) - 1
        return self._runs[run].rank(place - self._starts[run])


def ranking(fields: FieldSource, path: str, *, greatest: bool) -> Ranking:
    """Return the rows by what they hold at a path. Raises NotIndexed.

    greatest: of several values of a row the greatest decides, and not the least.
    """
    key = f"{greatest:d}{path}".encode("utf-8", "surrogatepass")
    kept = None if fields.rankings is None else fields.rankings.get(key)
    if kept is not None:
        assert isinstance(kept, Ranking)
        return kept
    runs = [run for run in _runs(fields, path) if len(run.rows)]
    rows = runs[0].rows if len(runs) == 1 else np.concatenate([_NONE, *(r.rows for r in runs)])
    places: U32 | None = None
    if len(fields.numbers(path, COUNT).rows):  # only there may a row have several values
        decides = _last_of_each(rows) if greatest else np.unique(rows, return_index=True)[1]
        places = np.sort(decides).astype(np.uint32)
        rows = rows[places]
    made = Ranking(runs, places, rows)
    if fields.rankings is not None:
        fields.rankings.keep(key, made)
    return made


_NONE: U32 = np.empty(0, np.uint32)


def _last_of_each(rows: U32) -> NDArray[np.int64]:
    found: NDArray[np.int64] = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
    return found


def _runs(fields: FieldSource, path: str) -> list[_Run]:
    bools = fields.entries(path, BOOL)
    ints, floats = fields.numbers(path, INT), fields.numbers(path, FLOAT)
    times = ordered(fields.numbers(path, TIME))
    words = fields.entries(path, KEYWORD)
    if len(times.rows):
        words = _no_times(words, times, several=len(fields.numbers(path, COUNT).rows) > 0)
    if len(ints.rows) and len(floats.rows):
        numbers = _merged(ints, floats)
    else:
        numbers = ordered(floats if len(floats.rows) else ints)
    return [
        _Run(bools.rows, lambda at: (IS_BOOL, bools.key(int(bools.positions[at])) == TRUE)),
        _Run(numbers.rows, lambda at: (IS_NUMBER, _plain(numbers.values[at]))),
        _Run(times.rows, lambda at: (IS_TIME, int(times.values[at]))),
        _Run(words.rows, lambda at: (IS_STRING, words.key(int(words.positions[at])))),
    ]


def _plain(number: Any) -> int | float:  # noqa: ANN401 - numpy's, or Python's own
    plain: int | float = number.item() if isinstance(number, np.generic) else number
    return plain


def ordered(numbers: Numbers) -> Numbers:
    """Return numbers by value, then by row."""
    values, rows = numbers
    if not (values[1:] < values[:-1]).any():
        tied = values[1:] == values[:-1]
        if not (tied & (rows[1:] < rows[:-1])).any():
            return numbers  # as segments have them
    order = np.lexsort((rows, values))
    return Numbers(values[order], rows[order])


def _merged(ints: Numbers, floats: Numbers) -> Numbers:
    """Return both by value: no type of numpy holds all of them exactly, Python compares them so."""
    numbers = [*ints.values.tolist(), *floats.values.tolist()]
    rows = np.concatenate([ints.rows, floats.rows])
    listed = rows.tolist()
    order = sorted(range(len(numbers)), key=lambda at: (numbers[at], listed[at]))
    values = np.empty(len(numbers), object)
    values[:] = [numbers[at] for at in order]
    return Numbers(values, rows[np.array(order)])


def _no_times(words: Entries, times: Numbers, *, several: bool) -> Entries:
    """Return the strings that are no times."""
    if several:
        told = [microseconds(words.key(at).decode(errors="replace")) for at in range(words.keys)]
        keep = np.array([time is None for time in told], np.bool_)[words.positions]
    else:  # a row that holds a time holds nothing else
        keep = ~np.isin(words.rows, times.rows)
    return Entries(words.positions[keep], words.rows[keep], words.keys, words.key)
