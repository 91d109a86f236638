"""Which points come next in the order of a payload field: every part's next ones, merged."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vecdb.query.search import Candidates, Nearest
from vecdb.query.sources import Source, read_fields
from vecdb.segment.bitmaps import all_rows, unpack
from vecdb.segment.fields import NotIndexed
from vecdb.segment.fields_memory import CollectedFields
from vecdb.segment.ranking import Rank, Ranking, ranking
from vecdb.types import U32, Bitmap, Filter

WINDOW_ROWS = 1_024
"""Rows that are looked at together for those that match; twice as many each time."""


@dataclass(frozen=True, slots=True)
class OrderBy:
    """The order of what points hold at a path; points that hold nothing there are in none."""

    path: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """The first k points of an order. filter: only points that match."""

    order: OrderBy
    k: int
    filter: Filter | None = None


class Place(NamedTuple):
    """Where a point is in an order: of equal rank, slots ascend, or descend with the rest."""

    rank: Rank
    slot: int


def following(
    sources: Iterable[Source], order: OrderBy, after: Place | None, count: int
) -> list[Place]:
    """Return the next places of an order, up to `count`. Raises DeadlineExceeded."""
    found: list[Place] = []
    for source in sources:
        if source.candidates.count:
            ranked, mask = _ranked(source, order)
            found += _next(source.candidates, ranked, mask, order.descending, after, count)
    return heapq.nlargest(count, found) if order.descending else heapq.nsmallest(count, found)


def first_in_order(sources: Sequence[Source], order: OrderBy, k: int) -> Nearest:
    """Return the first k of an order; what they score is minus their places, from 1."""
    slots = [place.slot for place in following(sources, order, None, k)]
    return Nearest(slots, [-1.0 - at for at in range(len(slots))], [], len(sources))


def _ranked(source: Source, order: OrderBy) -> tuple[Ranking, Bitmap | None]:
    """Return the rows of a part in their order, and which of them may be returned."""
    mask = source.candidates.mask
    try:
        return ranking(source.rows.fields, order.path, greatest=order.descending), mask
    except NotIndexed:
        read = CollectedFields()
        rows: list[U32] = [np.empty(0, np.uint32)]
        for chunk in read_fields(source, order.path, into=read):
            rows.append(chunk.rows)
        ranked = ranking(read, order.path, greatest=order.descending)
        chosen = np.concatenate(rows)
        ranked.rows = chosen[ranked.rows]
        return ranked, None


def _next(
    candidates: Candidates,
    ranked: Ranking,
    mask: Bitmap | None,
    descending: bool,
    after: Place | None,
    count: int,
) -> list[Place]:
    slots, rows = candidates.part.slots, ranked.rows
    allowed = unpack(all_rows(candidates.part.rows) if mask is None else mask, candidates.part.rows)

    def place(at: int) -> Place:
        return Place(ranked.rank(at), int(slots[rows[at]]))

    first, end = 0, len(rows)
    if after is not None and descending:
        end = bisect_left(range(end), after, key=place)
    elif after is not None:
        first = bisect_right(range(end), after, key=place)
    found: list[Place] = []
    window = WINDOW_ROWS
    while first < end and len(found) < count:
        if descending:
            start, stop, step, end = max(end - window, first), end, -1, max(end - window, first)
        else:
            start, stop, step, first = first, min(first + window, end), 1, min(first + window, end)
        hits = np.flatnonzero(allowed[rows[start:stop]])[::step] + start
        found += [place(at) for at in hits[: count - len(found)].tolist()]
        window *= 2
    return found
