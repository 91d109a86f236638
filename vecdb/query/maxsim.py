"""How well several vectors of a query fit several of a point, and which points are worth asking.

MaxSim is the score of late interaction: Khattab & Zaharia 2020 (ColBERT), arXiv:2004.12832. Points
are read by whoever scores them; here is what is asked of their vectors, and in which order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from vecdb import kernel
from vecdb.multi import MultiSpace
from vecdb.query.search import Candidates, Nearest, nearest
from vecdb.segment.bitmaps import unpack
from vecdb.segment.encoding import encoded_space, encoding_of
from vecdb.segment.vectors import Effort, comparable
from vecdb.types import F32, Metric

CANDIDATES_PER_HIT, CANDIDATES_MIN = 4, 400
"""Points of the likeliest MaxSim that are scored: so many for each that is asked for, at least."""


class Scored(NamedTuple):
    """Points in the order in which they were given: their slots, places, and MaxSim.

    places: in what was given, ascending. absent: how many have no vectors in the space. damaged:
    slots whose record could not be read.
    """

    slots: list[int]
    places: list[int]
    scores: list[float]
    absent: int
    damaged: list[int]


Score: TypeAlias = Callable[[Sequence[int]], Scored]
"""From slots to the MaxSim of those that have vectors in a space."""


class MaxSim:
    """The vectors of a query (q, dim), in a space, to score points with."""

    def __init__(self, vectors: F32, space: MultiSpace) -> None:
        self.space = space
        self.vectors = comparable(vectors, space.metric)
        self._unit = space.metric is Metric.COSINE

    def of(self, vectors: F32) -> float:
        """Return the score of a point's vectors (n, dim) as they are stored, n >= 1.

        The same whichever others are scored, and on every machine.
        """
        score = kernel.max_sim(self.vectors, vectors, self._unit)
        if math.isnan(score):  # a vector too short or too long to be divided in float32
            unit = comparable(vectors, self.space.metric)
            score = kernel.max_sim(self.vectors, unit, False)
        return score

    def candidates(
        self, candidates: Sequence[Candidates], k: int, effort: Effort
    ) -> tuple[list[int], Nearest]:
        """Return the slots to score for the best k, ascending, and how they were found."""
        if effort.exact:
            slots = _all_slots(candidates, self.space.name)
            return slots, Nearest([], [], [], sum(one.count > 0 for one in candidates))
        count = effort.ef or max(CANDIDATES_PER_HIT * k, CANDIDATES_MIN)
        space = encoded_space(self.space.name, self.space.dim)
        query = encoding_of(self.space.dim).of_query(self.vectors)
        found = nearest(candidates, space, query, max(count, k), Effort(scale=effort.scale))
        return sorted(found.slots), found  # the order in which they lie on disk


def nearest_multi(
    candidates: Sequence[Candidates], asked: MaxSim, k: int, effort: Effort, score: Score
) -> tuple[Nearest, Scored]:
    """Return the k best by MaxSim, and all that was scored. Ties as in `search.nearest`.

    effort: its ef is how many points are scored, 0 for as many as k needs.
    """
    slots, way = asked.candidates(candidates, k, effort)
    scored = score(slots)
    best = ordered(scored)[:k]
    return (
        Nearest(
            [scored.slots[at] for at in best],
            [scored.scores[at] for at in best],
            way.efs,
            way.scanned,
            scored=len(slots),
        ),
        scored,
    )


def ordered(scored: Scored) -> list[int]:
    """Return the positions of what was scored, best first; of scores sent as equal, older first."""
    shown = np.array(scored.scores, np.float32)
    order: list[int] = np.lexsort((np.array(scored.slots, np.uint64), -shown)).tolist()
    return order


def _all_slots(candidates: Sequence[Candidates], space: str) -> list[int]:
    """Return the slots of all rows that may be returned and have vectors in a space."""
    found: list[int] = []
    for one in candidates:
        part = one.part
        masks = [mask for mask in (one.mask, part.having(space)) if mask is not None]
        if not one.count:
            continue
        rows = np.ones(part.rows, np.bool_)
        for mask in masks:
            rows &= unpack(mask, part.rows)
        found += part.slots[rows].tolist()
    return found
