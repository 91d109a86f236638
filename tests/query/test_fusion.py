"""Fusions against the formulas in plain Python, in fractions where that can be."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.query.fusion import Fusion, LegHits, Normalization, Rrf, Weighted, fused

MIN_MAX, Z_SCORE = Weighted(Normalization.MIN_MAX), Weighted(Normalization.Z_SCORE)

SCORES = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, 0.5])


@st.composite
def leg_hits(draw: st.DrawFn) -> LegHits:
    slots = draw(st.lists(st.integers(0, 12) | st.just(2**63), max_size=12, unique=True))
    scores = draw(st.lists(SCORES, min_size=len(slots), max_size=len(slots)))
    return LegHits(slots, sorted(scores, reverse=True))


LEGS = st.lists(
    st.tuples(leg_hits(), st.sampled_from([1.0, 0.25, 0.7, 3.0, 100.0])), min_size=1, max_size=5
)
FUSIONS = st.one_of(st.builds(Rrf, st.integers(1, 1000)), st.sampled_from([MIN_MAX, Z_SCORE]))


def reference(legs: Sequence[LegHits], weights: Sequence[float], how: Fusion) -> dict[int, float]:
    """Return the fused score of every slot."""
    scores = dict.fromkeys((slot for leg in legs for slot in leg.slots), 0.0)
    for leg, weight in zip(legs, weights, strict=True):
        if not leg.slots:
            continue
        if isinstance(how, Rrf):
            parts = {s: weight / (how.k + r) for r, s in enumerate(leg.slots, 1)}
            last = 0.0
        else:
            normal = comparable(leg.scores, how.normalization)
            parts = dict(zip(leg.slots, normal, strict=True))
            last = 0.0 if how == MIN_MAX else min(-3.0, normal[-1])
        for slot in scores:
            scores[slot] += (
                parts.get(slot, 0.0) if isinstance(how, Rrf) else weight * parts.get(slot, last)
            )
    return scores


def comparable(scores: list[float], how: Normalization) -> list[float]:
    exact = [Fraction(score) for score in scores]
    low, high = min(exact), max(exact)
    if low == high:
        return [1.0 if how is Normalization.MIN_MAX else 0.0] * len(exact)
    if how is Normalization.MIN_MAX:
        return [float((score - low) / (high - low)) for score in exact]
    mean = sum(exact) / len(exact)
    deviation = math.sqrt(statistics.pvariance(exact, mean))
    return [float(score - mean) / deviation for score in exact]


@given(LEGS, FUSIONS)
def test_fused_scores_are_those_of_the_formula(legs: list, how: Fusion) -> None:
    given_, weights = [leg for leg, _ in legs], [weight for _, weight in legs]
    found = fused(given_, weights, how)
    expected = reference(given_, weights, how)
    assert sorted(found.slots) == sorted(expected)
    shown = [expected[slot] for slot in found.slots]
    error = 0 if isinstance(how, Rrf) else 1e-5 * max(weights)
    assert found.scores == pytest.approx(shown, rel=1e-6, abs=error)
    # Best first; of equal ones, older first. As they are sent: in float32.
    order = [
        (-np.float32(score), slot) for score, slot in zip(found.scores, found.slots, strict=True)
    ]
    assert order == sorted(order)


@given(LEGS, FUSIONS)
def test_every_leg_is_kept(legs: list, how: Fusion) -> None:
    found = fused([leg for leg, _ in legs], [weight for _, weight in legs], how)
    assert found.leg_ranks.dtype == np.uint32
    assert found.leg_scores.dtype == np.float32
    assert found.leg_ranks.shape == found.leg_scores.shape == (len(found.slots), len(legs))
    for row, slot in enumerate(found.slots):
        for at, (leg, _) in enumerate(legs):
            rank = int(found.leg_ranks[row, at])
            if slot in leg.slots:
                assert leg.slots[rank - 1] == slot
                assert found.leg_scores[row, at] == np.float32(leg.scores[rank - 1])
            else:
                assert rank == 0


def test_by_hand() -> None:
    legs = [LegHits([1, 2, 3], [9.0, 5.0, 1.0]), LegHits([3, 4], [0.8, 0.6])]
    rrf = fused(legs, [1, 1], Rrf())
    assert rrf.slots == [3, 1, 2, 4]  # 2 and 4 are second in one leg each: the older first
    assert rrf.scores == pytest.approx([1 / 61 + 1 / 63, 1 / 61, 1 / 62, 1 / 62])
    assert rrf.scores[2] == rrf.scores[3]
    weighted = fused(legs, [1, 2], MIN_MAX)
    assert (weighted.slots, weighted.scores) == ([3, 1, 2, 4], [2.0, 1.0, 0.5, 0.0])
    deviations = fused(legs, [1, 2], Z_SCORE)
    high = math.sqrt(1.5)
    assert dict(zip(deviations.slots, deviations.scores, strict=True)) == pytest.approx(
        {1: high - 6, 2: -6.0, 3: 2 - high, 4: -5.0}, rel=1e-6
    )


def test_scores_that_are_all_equal() -> None:
    """Nor does the rounding of their mean make a difference of its own."""
    legs = [LegHits([5, 6, 7], [0.1] * 3), LegHits([7], [3.0])]
    for how, scores in ((MIN_MAX, [2.0, 1.0, 1.0]), (Z_SCORE, [0.0, -3.0, -3.0])):
        found = fused(legs, [1, 1], how)
        assert (found.slots, found.scores) == ([7, 5, 6], scores)


def test_legs_that_found_nothing() -> None:
    nothing = LegHits([], [])
    for how in (Rrf(), MIN_MAX, Z_SCORE):
        none = fused([nothing, nothing], [1, 1], how)
        assert (none.slots, none.scores, none.leg_ranks.shape) == ([], [], (0, 2))
        some = fused([nothing, LegHits([4, 2], [0.5, 0.25])], [1, 1], how)
        assert some.slots == [4, 2]
        assert some.leg_ranks.tolist() == [[0, 1], [0, 2]]
