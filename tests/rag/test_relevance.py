"""Relevance is one scale: what is near by meaning, or has the rare words, is above what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from vecdb.rag.relevance import Drawn, Judge, Scale, scale, sure
from vecdb.types import Metric

TEXTS = ["the file is here"] * 200 + ["a user of the disk"] * 56
DRAWN = Drawn(Counter(word for text in TEXTS for word in set(text.split())), len(TEXTS))


class Model:
    """Vectors whose pairs are alike, beside something that all have in common."""

    def __init__(self, common: float, own: float) -> None:
        rng = np.random.default_rng(1)
        self._common = np.full(64, common)
        self._own = own
        self._shared = rng.normal(size=(64, 64))
        self._noise = rng

    def __call__(self, questions: Sequence[str], answers: Sequence[str]):
        n = len(questions)
        shared = self._own * self._shared[:n]
        made = [shared + self._common + self._noise.normal(size=(n, 64)) for _ in range(2)]
        return made[0].astype(np.float32), made[1].astype(np.float32)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("metric", list(Metric))
def test_a_model_has_a_scale_of_its_own(language: str, metric: Metric):
    low = scale(language, metric, Model(0.0, 2.0))
    high = scale(language, metric, Model(5.0, 2.0))
    assert low is not None
    assert high is not None
    assert low.related > low.unrelated
    assert high.related > high.unrelated
    if metric is Metric.COSINE:
        assert high.unrelated > low.related - 0.3  # the same number means opposite things


def test_a_model_that_cannot_tell_answers_apart_has_none():
    assert scale("zh", Metric.COSINE, Model(5.0, 0.1)) is None


def test_a_similarity_counts_by_its_place_on_the_scale():
    for unrelated, related in ((0.0, 0.6), (0.75, 0.9), (-12.0, -8.0)):
        judge = Judge(DRAWN, "unknown words", Scale(unrelated, related), "")
        at = [unrelated + (related - unrelated) * place for place in (0, 0.3, 0.6, 1)]
        relevance = [judge.relevance(similarity, ("",)) for similarity in at]
        assert relevance == sorted(relevance)
        assert relevance[0] < 0.01
        assert relevance[1] < 0.5 < relevance[2]
        assert relevance[-1] > 0.99


def test_rare_words_count_more_than_frequent_ones():
    judge = Judge(DRAWN, "the disk zeppelin", None, "")
    rare, frequent = judge.covered(("zeppelin",)), judge.covered(("the",))
    assert rare > judge.covered(("disk",)) > frequent > 0
    assert judge.covered(("the zeppelin", "on a disk")) == pytest.approx(1)
    assert judge.covered(("nothing",)) == 0


def test_words_alone_where_similarities_say_nothing():
    judge = Judge(DRAWN, "zeppelin", None, "")
    assert judge.relevance(0.9, ("a zeppelin",)) > 0.9
    assert judge.relevance(0.9, ("nothing",)) < 0.2
    scaled = Judge(DRAWN, "zeppelin", Scale(0.0, 0.6), "")
    assert scaled.relevance(None, ("a zeppelin",)) > 0.9  # found by its words alone


def test_words_are_compared_as_the_text_field_has_them():
    judge = Judge(DRAWN, "flying zeppelins", None, "english")
    assert judge.covered(("a zeppelin flies",)) > 0.4


def test_a_cross_encoder_is_sure_by_its_score():
    assert sure(-8.0) < 0.01 < 0.5 == sure(0.0) < 0.99 < sure(8.0)


def test_no_words_and_no_scale_are_no_relevance():
    assert Judge(Drawn(Counter(), 0), "?!", None, "").relevance(0.9, ("text",)) == 0
