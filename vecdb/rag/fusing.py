"""Hits by meaning and hits by words as one list, by how far the words can be trusted.

Reciprocal ranks are added (Cormack, Clarke & Buettcher 2009), those of words by a weight: the
square of the share of the question's words, by rarity, that the best hit by words holds. A question
that names what it wants counts by its words as much as by its meaning; one that describes it in
words of its own hardly does, since those of its words that are rare in the documents, such as "how"
and "my", find anything. benchmarks/README.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vecdb.rag.passages import Hit

RANK = 60
BEST = 3
"""Hits by words whose texts are looked at."""


class Ranked(NamedTuple):
    """A hit, and its place in each list, from 1; None where it is not in it."""

    hit: Hit
    meaning: int | None
    words: int | None


def fused(ranked: Sequence[Ranked], covered: Callable[[Hit], float]) -> list[Hit]:
    """Return hits, best first, with the fused score. covered: see Judge.covered."""
    by_words = sorted(
        ((one.words, one.hit) for one in ranked if one.words is not None), key=lambda one: one[0]
    )
    share = max((covered(hit) for _, hit in by_words[:BEST]), default=0.0)
    weight = share * share

    def score(one: Ranked) -> float:
        meaning = 0.0 if one.meaning is None else 1 / (RANK + one.meaning)
        words = 0.0 if one.words is None else weight / (RANK + one.words)
        return meaning + words

    found = [one.hit._replace(score=score(one)) for one in ranked]
    return sorted(found, key=lambda hit: -hit.score)
