"""Measures of ranked lists, by hand and by properties; intervals by what they must cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.rag import judging
from vecdb.rag.judging import difference, estimate, hit, ndcg, recall, reciprocal_rank

GRADES = {"a": 3.0, "b": 1.0, "c": 2.0, "no": 0.0}
MEASURES = [recall, hit, reciprocal_rank, ndcg]

ids = st.lists(st.sampled_from("abcdefgh"), max_size=12)
grades = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 4)).filter(
    lambda found: any(found.values())
)


def test_by_hand() -> None:
    found = ["x", "c", "no", "a"]
    assert recall(found, GRADES) == pytest.approx(2 / 3)
    assert recall(found, GRADES, 3) == pytest.approx(1 / 3)
    assert hit(found, GRADES, 1) == 0
    assert hit(found, GRADES, 2) == 1
    assert reciprocal_rank(found, GRADES) == 1 / 2
    # 2 at rank 2, 3 at rank 4, over 3, 2, 1 at ranks 1, 2, 3.
    gained = 2 / math.log2(3) + 3 / math.log2(5)
    best = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(found, GRADES) == pytest.approx(gained / best)
    assert gained / best == pytest.approx(0.53632, abs=1e-5)


def test_ranks_behind_k_count_for_nothing() -> None:
    found = [f"x{n}" for n in range(10)] + ["a"]
    assert [measure(found, GRADES) for measure in MEASURES] == [0, 0, 0, 0]
    assert recall(found, GRADES, 11) == pytest.approx(1 / 3)
    many = {f"r{n}": 1.0 for n in range(20)}
    assert ndcg([f"r{n}" for n in range(10)], many) == 1  # ten places can hold no more


def test_an_id_counts_once_at_its_better_place() -> None:
    assert recall(["a", "a", "a"], GRADES) == pytest.approx(1 / 3)
    assert ndcg(["a", "a", "c", "b"], GRADES) == 1
    assert recall(["a", "a", "b"], GRADES, 2) == pytest.approx(2 / 3)  # two ids, not two hits


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("nothing", [{}, {"a": 0.0}, {"a": -1.0}])
def test_without_a_relevant_id_nothing_is_judged(measure, nothing: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="nothing is relevant"):
        measure(["a"], nothing)


@given(ids, grades)
def test_measures_are_shares(found: list[str], graded: dict[str, int]) -> None:
    for measure in MEASURES:
        assert 0 <= measure(found, graded) <= 1 + 1e-12
    assert hit(found, graded) == (reciprocal_rank(found, graded) > 0) == (recall(found, graded) > 0)
    best = sorted(graded, key=lambda id: -graded[id])
    assert ndcg(best, graded) == pytest.approx(1)
    assert recall(best, graded) == hit(best, graded) == reciprocal_rank(best, graded) == 1
    assert ndcg(found, {id: 7 * grade for id, grade in graded.items()}) == pytest.approx(
        ndcg(found, graded)
    )


def test_an_interval_holds_the_mean_and_comes_again() -> None:
    values = list(np.random.default_rng(7).random(50))
    found = estimate(values)
    assert found == estimate(values)
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(sum(values) / 50)
    assert estimate([0.25]) == (0.25, 0.25, 0.25)
    assert estimate([1.0] * 30) == (1, 1, 1)
    with pytest.raises(ValueError, match="no questions"):
        estimate([])


def test_intervals_cover_what_they_say() -> None:
    """Of many samples about 95 % have an interval that holds the mean of what they came from."""
    random = np.random.default_rng(3)
    samples = random.random((200, 40))
    covered = [low <= 0.5 <= high for _, low, high in map(estimate, samples)]
    assert 0.89 <= np.mean(covered) <= 0.99


def test_a_small_difference_of_every_question_is_seen() -> None:
    random = np.random.default_rng(5)
    baseline = random.random(40)
    better = baseline + 0.01 + random.normal(0, 0.002, 40)
    paired = difference(list(better), list(baseline))
    assert 0.009 < paired.low < paired.mean < paired.high < 0.011
    assert estimate(list(better)).low < estimate(list(baseline)).high  # unpaired, it is not
    assert difference(list(baseline), list(baseline)) == (0, 0, 0)
    with pytest.raises(ValueError, match="zip"):
        difference([1.0, 0.0], [1.0])


def test_the_interval_narrows_with_more_questions() -> None:
    random = np.random.default_rng(11)
    widths = [np.ptp(estimate(list(random.random(n)))[1:]) for n in (20, 2_000)]
    assert widths[1] < widths[0] / 5
    assert judging.RESAMPLES == 1_000
