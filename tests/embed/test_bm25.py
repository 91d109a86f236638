import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.analysis import analyze
from vecdb.embed import bm25, catalog
from vecdb.embed.bm25 import Bm25
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.sparse_values import VALUES_MAX
from vecdb.errors import FailedPrecondition, InvalidArgument

ENGLISH = "bm25-english"
TEXT = st.text(max_size=60) | st.sampled_from(
    [
        "the flow of air over wings",
        "wing wings WING",
        "数据库存储向量",
        "naïve café",
        "ﬁne ﬁne fine",
    ]
)


def loaded(name=ENGLISH, **options):
    spec = catalog.load_catalog()[name]
    changed = dataclasses.replace(spec, options={**spec.options, **options})
    return Bm25(changed, {}, Execution(1))


def vectors(model, texts, role=Role.DOCUMENT):
    return model.encode([one.input for one in model.prepare(texts, role)])


@pytest.fixture(scope="module")
def english():
    return loaded()


def weight(count, words, k1=1.2, b=0.75, average=150.0):
    return count * (k1 + 1) / (count + k1 * (1 - b + b * words / average))


@given(TEXT)
def test_a_stored_text_has_the_weight_of_bm25_for_each_of_its_words(english, text):
    (vector,) = vectors(english, [text])
    words = analyze(text, "english").words
    expected = {bm25._index(word): weight(words.count(word), len(words)) for word in words}
    assert vector.indices.tolist() == sorted(expected)
    assert vector.values.tolist() == pytest.approx([expected[at] for at in sorted(expected)])


def test_a_query_has_one_for_each_of_its_words(english):
    (query,) = vectors(english, ["Wings, wings and the wing's FLOWS"], Role.QUERY)
    (stored,) = vectors(english, ["the wing and flow s"])
    assert query.values.tolist() == [1.0] * 5
    assert query.indices.tolist() == stored.indices.tolist()


def test_words_in_any_form_of_unicode_are_the_same_words(english):
    (composed, decomposed) = vectors(english, ["Caf\u00e9 \uff21\uff22", "cafe\u0301 ab"])
    assert composed.indices.tolist() == decomposed.indices.tolist()


def test_without_a_language_words_are_left_whole():
    whole = loaded("bm25")
    (one, other) = vectors(whole, ["wings", "wing"])
    assert one.indices.tolist() != other.indices.tolist()


def test_options_change_the_weights():
    plain = loaded(k1=2.0, b=0.0)
    (vector,) = vectors(plain, ["air air air " + "the " * 500])
    counts = sorted((3, 500))
    assert sorted(vector.values.tolist()) == pytest.approx(
        [weight(count, 503, k1=2.0, b=0.0) for count in counts]
    )


def test_an_index_is_the_same_on_every_machine():
    # Stored vectors hold these for good.
    assert [bm25._index(word) for word in ("wing", "数据")] == [2719846924, 2666296096]


def test_a_text_without_words_has_no_tokens(english):
    (nothing,) = english.prepare([" !? "], Role.QUERY)
    assert len(nothing.input) == 0


def test_a_long_text_is_cut_and_says_so():
    spec = dataclasses.replace(catalog.load_catalog()["bm25"], max_tokens=4)
    model = Bm25(spec, {}, Execution(1))
    fits, over = model.prepare(["a b a b", "a b a b c"], Role.DOCUMENT)
    assert (len(fits.input), fits.truncated) == (4, False)
    assert (len(over.input), over.truncated) == (4, True)
    assert over.input.vector.values.tolist() == fits.input.vector.values.tolist()


def test_a_text_of_more_words_than_a_vector_may_have_is_cut_before_the_first_too_many():
    model = loaded("bm25")
    words = [f"w{at}" for at in range(VALUES_MAX)]
    fits, over = model.prepare(
        [" ".join([*words, *words[:10]]), " ".join([*words, "w0", "more", "w1"])], Role.DOCUMENT
    )
    assert (len(fits.input.vector.indices), fits.truncated) == (VALUES_MAX, False)
    assert (len(over.input.vector.indices), over.truncated) == (VALUES_MAX, True)
    assert len(over.input) == VALUES_MAX + 1


@pytest.mark.parametrize(
    "options",
    [{"language": "klingon"}, {"k1": -1.0}, {"b": 1.5}, {"average_words": 0.0}, {"k1": math.nan}],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(FailedPrecondition, match="model bm25-english"):
        loaded(**options)


def test_an_unknown_option_is_refused_with_the_catalogue(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        '[models.mine]\nkind = "bm25"\ndim = 0\nmetric = "dot"\nmax_tokens = 100\n'
        'pooling = "bm25"\nnormalize = false\nlicense = ""\n[models.mine.options]\nk2 = 1.0\n'
    )
    with pytest.raises(InvalidArgument, match="unknown option 'k2'"):
        catalog.load_catalog(str(own))


def test_the_fingerprint_says_by_which_rules_words_are_made(monkeypatch):
    known = catalog.load_catalog()
    before = {name: catalog.fingerprint(known[name]) for name in ("bm25", ENGLISH)}
    assert len(set(before.values())) == 2
    monkeypatch.setattr("vecdb.analysis.Stemmer.version", lambda: "9.9.9")
    after = {name: catalog.fingerprint(known[name]) for name in before}
    assert after["bm25"] == before["bm25"]
    assert after[ENGLISH] != before[ENGLISH]


def test_scores_are_those_of_a_keyword_search_but_for_the_average_length(english):
    """The dot product of query and text, weighed by idf, is BM25 by the book."""
    texts = ["air flow over a wing", "wing wing wing", "heat in a solid"]
    rows = [dict(zip(*map(np.ndarray.tolist, one), strict=True)) for one in vectors(english, texts)]
    (query,) = vectors(english, ["wing flow"], Role.QUERY)
    scores = [sum(row.get(at, 0.0) for at in query.indices.tolist()) for row in rows]
    assert scores == pytest.approx([weight(1, 5) * 2, weight(3, 3), 0.0])
