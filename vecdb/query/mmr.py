"""Hits unlike one another: maximal marginal relevance (Carbonell & Goldstein 1998)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.segment.vectors import KERNEL_METRIC, comparable, scores_and_distances
from vecdb.types import F32, U32, Metric

CANDIDATES_MAX = 1_000


class Mmr(NamedTuple):
    """Chooses among so many candidates by their vectors in a dense space.

    relevance: the weight of a candidate's score, 0 to 1; the rest is that of being unlike others.
    """

    space: str
    relevance: float
    candidates: int


def chosen(
    scores: NDArray[np.float64],
    places: NDArray[np.int64],
    vectors: F32,
    metric: Metric,
    relevance: float,
    count: int,
) -> list[int]:
    """Return the places of `count` candidates in the order in which they are taken.

    scores: (n,), best first. vectors: (m, dim), comparable, of the candidates at `places` (m,),
    distinct; others are similar to none. search.proto says what is taken next.
    """
    n = len(scores)
    spread = scores[0] - scores[-1] if n else 0.0
    relevant = (scores - scores[-1]) / spread if spread else np.ones(n)
    if metric is Metric.DOT:
        vectors = comparable(vectors, Metric.COSINE)
    row_of = {int(place): row for row, place in enumerate(places)}
    similarity = np.zeros(n)
    free = np.ones(n, np.bool_)
    taken: list[int] = []
    while len(taken) < min(count, n):
        values = relevance * relevant - (1 - relevance) * similarity
        best = int(np.argmax(np.where(free, values, -np.inf)))  # the first of equal ones
        taken.append(best)
        free[best] = False
        if best in row_of:
            rows, alike = _similarities(vectors, row_of[best], metric)
            at = places[rows]
            similarity[at] = np.maximum(similarity[at], alike)
    return taken


def _similarities(vectors: F32, row: int, metric: Metric) -> tuple[U32, NDArray[np.float64]]:
    """Return all rows, and how similar to one of them they are, 0 to 1."""
    # By the kernel, whose scores are the same bits on every machine: so is the order, then.
    rows, found = kernel.scan_f32(KERNEL_METRIC[metric], vectors, vectors[row], len(vectors), None)
    if metric in (Metric.EUCLID, Metric.MANHATTAN):
        _, distances = scores_and_distances(metric, found.tolist())
        return rows, 1 / (1 + np.array(distances))
    return rows, np.maximum(found.astype(np.float64), 0)
