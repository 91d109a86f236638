"""Meaning and words as one list: words count by how much of the question they hold."""

from __future__ import annotations

import pytest

from vecdb.rag.fusing import RANK, Ranked, fused
from vecdb.rag.passages import Hit


def hit(name: str) -> Hit:
    return Hit(name, 0.0, 0.0, name, "", "", name, 0, 0, 1, {})


RANKED = [
    Ranked(hit("both"), 2, 2),
    Ranked(hit("meant"), 1, None),
    Ranked(hit("said"), None, 1),
]


def order(share: float) -> list[str]:
    return [one.id for one in fused(RANKED, lambda _: share)]


def test_words_count_by_the_share_they_hold():
    assert order(1.0) == ["both", "meant", "said"]
    assert order(0.1) == ["meant", "both", "said"]
    assert order(0.0) == ["meant", "both", "said"]


def test_the_best_by_words_says_how_much_they_count():
    more = [Ranked(hit(f"far-{n}"), None, n) for n in range(4, 50)]
    found = fused([*RANKED, *more], lambda one: 1.0 if one.id == "far-40" else 0.0)
    assert [one.id for one in found[:2]] == ["meant", "both"]
    assert found[-1].score == 0.0


def test_scores_are_those_of_reciprocal_ranks():
    (both, meant, said) = fused(RANKED, lambda _: 0.9)
    assert both.score == pytest.approx((1 + 0.81) / (RANK + 2))
    assert meant.score == pytest.approx(1 / (RANK + 1))
    assert said.score == pytest.approx(0.81 / (RANK + 1))


def test_one_list_alone_stays_as_it_is():
    meant = [Ranked(hit(str(n)), n, None) for n in range(1, 5)]
    assert [one.id for one in fused(meant[::-1], lambda _: 1.0)] == ["1", "2", "3", "4"]
    assert fused([], lambda _: 1.0) == []
