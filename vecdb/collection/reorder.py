"""What changes the order of what legs found: boosts by payload, and hits unlike one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.collection.part_rows import PartRows
from vecdb.errors import InvalidArgument
from vecdb.query.boost import Boost, Decay
from vecdb.query.filter import ROWS_AT_ONCE
from vecdb.query.mmr import Mmr, chosen
from vecdb.query.search import Candidates, among
from vecdb.segment.bitmaps import all_rows, rows_in
from vecdb.segment.fields import Json
from vecdb.storage.hits import Ranked
from vecdb.storage.store import ReadTxn
from vecdb.types import U32, Filter, Space

CandidatesOf: TypeAlias = Callable[[Filter | None, Sequence[Candidates] | None], list[Candidates]]
"""From a filter to the rows that match it: of some candidates, or of all there are."""


class Reorder:
    """Orders the best of a list anew, within a snapshot's block."""

    def __init__(self, txn: ReadTxn, candidates_of: CandidatesOf, deadline: float) -> None:
        self._txn = txn
        self._candidates_of = candidates_of
        self._deadline = deadline

    def boosted(self, ranked: Ranked, boost: Boost) -> Ranked:
        """Return the candidates of a boost with what it adds to their scores, best first.

        What they scored before is among the scores of legs. Raises InvalidArgument for a filter
        that cannot be, DeadlineExceeded.
        """
        first = ranked.part(0, boost.candidates)
        before = np.array(first.scores, np.float64)
        if first.leg_ranks is None:
            ranks = np.arange(1, len(before) + 1, dtype=np.uint32)[:, None]
            first = first._replace(leg_ranks=ranks, leg_scores=before.astype(np.float32)[:, None])
        found = _Among(first, self._candidates_of(None, None))
        payloads: list[Json] = []
        if any(isinstance(one.by, Decay) for one in boost.adjustments):
            payloads = self._payloads(found)
        after = before
        for at, (by, weight) in enumerate(boost.adjustments):
            if isinstance(by, Decay):
                after += weight * np.array([by.of(payload) for payload in payloads], np.float64)
                continue
            try:
                matching = self._candidates_of(by, found.candidates)
            except InvalidArgument as error:
                error.field = f"boost.adjustments[{at}].filter"
                raise
            for one in matching:
                after[found.places(one)] += weight
        shown = after.astype(np.float32)
        return _picked(first, np.argsort(-shown, kind="stable"), shown)

    def _payloads(self, found: _Among) -> list[Json]:
        """Return the parsed payloads of a list, {} for a damaged one."""
        payloads: list[Json] = [{}] * found.count
        for one in found.candidates:
            rows, places = _rows(one).tolist(), found.places(one).tolist()
            part = PartRows(one.part, self._txn, self._deadline)
            for start in range(0, len(rows), ROWS_AT_ONCE):
                end = start + ROWS_AT_ONCE
                read = part.payloads(rows[start:end])
                for place, payload in zip(places[start:end], read, strict=True):
                    payloads[place] = payload
        return payloads

    def diverse(self, ranked: Ranked, mmr: Mmr, space: Space, count: int) -> Ranked:
        """Return the first `count` hits that are taken from the candidates of an mmr."""
        first = ranked.part(0, mmr.candidates)
        if not first.slots:
            return first
        found = _Among(first, self._candidates_of(None, None))
        places, vectors = [], []
        for one in found.candidates:
            held, of = one.part.vectors(space.name)
            has, at = _held(_rows(one), of)
            places.append(found.places(one)[has])
            vectors.append(held[at])
        order = chosen(
            np.array(first.scores, np.float64),
            np.concatenate(places),
            np.concatenate(vectors),
            space.metric,
            mmr.relevance,
            count,
        )
        return _picked(first, np.array(order))


class _Among:
    """The points of a list as candidates, part by part."""

    def __init__(self, ranked: Ranked, candidates: Sequence[Candidates]) -> None:
        slots = np.array(ranked.slots, np.uint64)
        self.count = len(slots)
        self._by_slot = np.argsort(slots)
        self._slots = slots[self._by_slot]
        self.candidates = among(candidates, self._slots)

    def places(self, one: Candidates) -> NDArray[np.int64]:
        """Return where in the list the rows of a part's candidates stand; rows ascend."""
        return self._by_slot[np.searchsorted(self._slots, one.part.slots[_rows(one)])]


def _rows(one: Candidates) -> U32:
    mask = all_rows(one.part.rows) if one.mask is None else one.mask
    return rows_in(mask, one.part.rows).astype(np.uint32)


def _held(rows: U32, of: U32 | None) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which of some rows are among others, (n,), and where those stand there.

    Both ascend; None for all rows.
    """
    if of is None:
        return np.ones(len(rows), np.bool_), rows.astype(np.int64)
    at = np.searchsorted(of, rows)
    has = at < len(of)
    has[has] = of[at[has]] == rows[has]
    return has, at[has]


def _picked(
    ranked: Ranked, places: NDArray[np.int64], scores: NDArray[np.float32] | None = None
) -> Ranked:
    """Return some of a list in another order. scores: (n,), in place of its own."""
    at = places.tolist()
    given = ranked.scores if scores is None else scores.tolist()
    picked = Ranked(
        [ranked.slots[i] for i in at], [given[i] for i in at], [ranked.distances[i] for i in at]
    )
    if ranked.leg_ranks is None or ranked.leg_scores is None:
        return picked
    return picked._replace(leg_ranks=ranked.leg_ranks[at], leg_scores=ranked.leg_scores[at])
