"""Points like some examples and unlike others: by one vector made of all, or beside each."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import DeadlineExceeded
from vecdb.query.search import Candidates, Nearest, among, nearest
from vecdb.segment.vectors import Effort, comparable, scores_and_distances
from vecdb.types import F32, U64, Filter, Metric, Space

EXAMPLES_MAX = 100
CANDIDATES_MAX = 10_000
"""Of each positive example: past it, what negatives leave is taken as it is."""
FIRST_CANDIDATES = 2
"""Times k: with negatives, what is first looked at near each positive."""
MORE_CANDIDATES = 4

EXACT = Effort(exact=True)


def averaged(positive: Sequence[F32], negative: Sequence[F32], metric: Metric) -> F32:
    """Return the vector (dim,) to search near to: what the positives are and the negatives are not.

    Both, at least one positive, are (dim,) float32.
    """
    mean = _mean(positive, metric)
    if negative:
        mean = 2 * mean - _mean(negative, metric)
    return mean.astype(np.float32)


def _mean(vectors: Sequence[F32], metric: Metric) -> NDArray[np.float64]:
    # By direction alone where that is what the space compares: a long example would outweigh all.
    same = comparable(np.stack(vectors), metric)
    found: NDArray[np.float64] = same.mean(axis=0, dtype=np.float64)
    return found


@dataclass(frozen=True, slots=True)
class BestScoreQuery:
    """The k points of the best score beside some examples, as best_scored() has it.

    positive: at least one, and negative: vectors (dim,) float32. Otherwise as Query.
    """

    positive: tuple[F32, ...]
    negative: tuple[F32, ...]
    k: int
    space: str = ""
    filter: Filter | None = None
    ef: int = 0
    exact: bool = False


class Examples(NamedTuple):
    """Vectors (dim,) float32 in comparable form; at least one positive."""

    positive: Sequence[F32]
    negative: Sequence[F32]


def best_scored(
    candidates: Sequence[Candidates],
    space: Space,
    examples: Examples,
    k: int,
    effort: Effort,
    deadline: float = math.inf,
) -> Nearest:
    """Return the k candidates of the best score: g(p), or -g(n) where n is not below p.

    p and n: the best scores beside a positive and a negative example. Equal scores are ordered by
    slot, older first. efs and scanned are those of the search near the first example. Raises
    DeadlineExceeded; deadline: of time.monotonic.

    Who is among the best k by p is among the k nearest of the positive that p is of: k of each
    hold the best k. With negatives, what has not been seen is no better than the last that was,
    so it goes on until k are better than that for certain (the threshold algorithm of Fagin, Lotem
    & Naor 2001, with a limit).
    """
    wanted = max(k, min(FIRST_CANDIDATES * k, CANDIDATES_MAX)) if examples.negative else k

    def near(rows: Sequence[Candidates], example: F32, count: int, effort: Effort) -> Nearest:
        if time.monotonic() > deadline:
            raise DeadlineExceeded("the deadline passed while points were compared with examples")
        return nearest(rows, space, example, count, effort)

    while True:
        found = [near(candidates, one, wanted, effort) for one in examples.positive]
        slots = np.unique(np.concatenate([np.array(one.slots, np.uint64) for one in found]))
        seen, count = among(candidates, slots), max(len(slots), 1)
        good, bad = (
            _best([near(seen, one, count, EXACT) for one in kind], slots, space.metric)
            for kind in examples
        )
        is_all = any(len(one.slots) < wanted for one in found)
        if is_all or not examples.negative or wanted >= CANDIDATES_MAX:
            break
        last = max(one.scores[-1] for one in found)
        (unseen,), _ = scores_and_distances(space.metric, [last])
        if np.count_nonzero((good > bad) & (good > unseen)) >= k:
            break
        wanted = min(wanted * MORE_CANDIDATES, CANDIDATES_MAX)
    scores = np.where(good > bad, _squashed(good), -_squashed(bad))
    best = np.lexsort((slots, -scores))[:k]
    return Nearest(slots[best].tolist(), scores[best].tolist(), found[0].efs, found[0].scanned)


def _best(searches: Sequence[Nearest], slots: U64, metric: Metric) -> NDArray[np.float64]:
    """Return the best score of each slot in any of some searches, which all found it.

    slots: (n,), ascending. -inf where there are no searches.
    """
    best = np.full(len(slots), -np.inf)
    for found in searches:
        scores, _ = scores_and_distances(metric, found.scores)
        at = np.searchsorted(slots, np.array(found.slots, np.uint64))
        best[at] = np.maximum(best[at], scores)
    return best


def _squashed(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return g(x) = (1 + x / (1 + |x|)) / 2, so written that neither end loses digits."""
    tail = 0.5 / (1 + np.abs(scores))
    return np.where(scores < 0, tail, 1 - tail)
