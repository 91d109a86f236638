"""How good a ranked list is for a question whose relevant ids are known, and what that says of all.

One measure of one question at a time, each from 0 to 1; then means over questions with intervals.
Grades say how relevant an id is: what has none, or 0 or less, is not. Knows nothing of how the list
was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

K = 10
"""Ranks that nDCG and the reciprocal rank look at."""
RESAMPLES = 1_000
CONFIDENCE = 0.95
SEED = 20_260_101
DRAWS_AT_ONCE = 1 << 20
"""Questions of several resamples that are drawn together, 16 MiB of them."""

Grades = Mapping[str, float]


class Estimate(NamedTuple):
    """A mean, and the interval that holds it at 95 % confidence."""

    mean: float
    low: float
    high: float


def recall(found: Sequence[str], grades: Grades, k: int = K) -> float:
    """Return the share of the relevant ids that is among the first k found.

    found: ids, the best first; of one that comes twice its better place counts, here and below.
    Raises ValueError where no id is relevant, as all these do.
    """
    relevant = _relevant(grades)
    return sum(id in relevant for id in _first(found, k)) / len(relevant)


def hit(found: Sequence[str], grades: Grades, k: int = K) -> float:
    """Return 1 when any relevant id is among the first k found, else 0."""
    relevant = _relevant(grades)
    return float(any(id in relevant for id in _first(found, k)))


def reciprocal_rank(found: Sequence[str], grades: Grades, k: int = K) -> float:
    """Return 1 / rank of the first relevant id among the first k found, 0 without one.

    Its mean over questions is the mean reciprocal rank, MRR.
    """
    relevant = _relevant(grades)
    ranks = (rank for rank, id in enumerate(_first(found, k), 1) if id in relevant)
    return 1 / next(ranks, math.inf)


def ndcg(found: Sequence[str], grades: Grades, k: int = K) -> float:
    """Return the gain of the first k found over the gain of the best order that there could be.

    An id gains its grade, divided by log2(rank + 1). Järvelin & Kekäläinen 2002, as trec_eval
    computes it.
    """
    relevant = _relevant(grades)
    best = sorted(relevant.values(), reverse=True)[:k]
    return _gain([relevant.get(id, 0.0) for id in _first(found, k)]) / _gain(best)


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of a measure over questions, by resampling the questions 1,000 times.

    The resamples are the same ones for equally many questions, whenever they are asked for. Raises
    ValueError where there are none. Efron 1979, percentiles of the means.
    """
    measured = np.asarray(values, np.float64)
    if not measured.size:
        raise ValueError("no questions, no estimate")
    random = np.random.default_rng(SEED)
    means = np.empty(RESAMPLES)
    some = max(1, DRAWS_AT_ONCE // measured.size)
    for first in range(0, RESAMPLES, some):
        part = means[first : first + some]
        part[:] = measured[random.integers(measured.size, size=(part.size, measured.size))].mean(1)
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, (outside, 100 - outside))
    return Estimate(float(measured.mean()), float(low), float(high))


def difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Return by how much a measure exceeds a baseline's of the same questions, in their order.

    Question by question: what is hard in both does not widen the interval. One that does not hold 0
    says that the two differ. Raises ValueError where there are not equally many.
    """
    return estimate([one - other for one, other in zip(values, baseline, strict=True)])


def _relevant(grades: Grades) -> dict[str, float]:
    found = {id: grade for id, grade in grades.items() if grade > 0}
    if not found:
        raise ValueError("nothing is relevant, so that no list can be judged")
    return found


def _first(found: Sequence[str], k: int) -> list[str]:
    return list(islice(dict.fromkeys(found), k))


def _gain(grades: Sequence[float]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
