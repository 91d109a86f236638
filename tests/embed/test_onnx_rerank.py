"""Cross-encoders over a graph: how a pair is read, and what it scores, however it is batched."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embed import tiny
from tests.examples import examples
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Pair, Role
from vecdb.errors import FailedPrecondition, NotFinite

pytest.importorskip("onnx", reason="the graph is made with onnx")
pytest.importorskip("onnxruntime")

WORD = st.sampled_from([*tiny.WORDS, "unknown", "!", "[SEP]", " ", "é"])
TEXT = st.lists(WORD, max_size=60).map(" ".join)
PAIR = st.builds(Pair, TEXT, TEXT)
MANY = settings(max_examples=examples(60), deadline=None)


def load(spec):
    from vecdb.embed.onnx_rerank import OnnxRerank

    return OnnxRerank(spec, catalog.resolve_files(spec), Execution(1))


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return tiny.spec_of(tmp_path_factory.mktemp("rerank"), "onnx-rerank")


@pytest.fixture(scope="module")
def model(spec):
    return load(spec)


@pytest.fixture(scope="module")
def plain():
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tiny.tokenizer().decode())


def scores(model, pairs):
    prepared = model.prepare([Pair(*pair) for pair in pairs], Role.QUERY)
    return model.encode([one.input for one in prepared])


def test_words_that_query_and_text_share_count(model):
    found = scores(
        model,
        [
            ("the market fell", "stock market fell"),
            ("the market fell", "green cat"),
            ("", "cat"),
        ],
    )
    assert found.shape == (3, 1)
    assert found.dtype == np.float32
    assert found[0, 0] == pytest.approx(2, abs=1)
    assert abs(found[1, 0]) < 1
    assert found[2, 0] == 0


@MANY
@given(st.lists(PAIR, min_size=1, max_size=6))
def test_a_pair_scores_the_same_whatever_its_neighbours(model, pairs):
    together = scores(model, pairs)
    alone = np.concatenate([scores(model, [pair]) for pair in pairs])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


@MANY
@given(TEXT, TEXT, st.integers(8, 40))
def test_a_pair_is_read_and_cut_as_the_reference_does(spec, plain, query, text, most):
    """`longest_first`, which is what sentence-transformers' CrossEncoder asks of a tokenizer."""
    model = load(dataclasses.replace(spec, max_tokens=most))
    (read,) = model.prepare([Pair(query, text)], Role.QUERY)
    plain.no_truncation()
    whole = plain.encode(query, text)
    plain.enable_truncation(most, strategy="longest_first")
    expected = plain.encode(query, text)
    assert read.input[:, 0].tolist() == expected.ids
    assert read.input[:, 1].tolist() == expected.type_ids
    assert read.truncated == (len(whole.ids) > most)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("market", "the cat sat " * 20_000),
        ("market " * 20_000, "cat"),
        # Of two long texts the reference makes every pair of pieces that it cuts off.
        ("market " * 200, "the cat sat " * 200),
        ("market", "!" + " " * 200_000 + "cat"),
    ],
    ids=["text", "query", "both", "spaces"],
)
def test_a_long_text_is_read_like_any_text(model, spec, plain, query, text):
    plain.enable_truncation(spec.max_tokens, strategy="longest_first")
    (read,) = model.prepare([Pair(query, text)], Role.QUERY)
    assert read.input[:, 0].tolist() == plain.encode(query, text).ids


def test_prompts_stand_in_front_of_their_side(spec):
    prompted = load(dataclasses.replace(spec, query_prompt="query ", document_prompt="text "))
    (read,) = prompted.prepare([Pair("cat", "dog")], Role.QUERY)
    (spelled,) = load(spec).prepare([Pair("query cat", "text dog")], Role.QUERY)
    assert read.input.tolist() == spelled.input.tolist()


def test_sigmoid_is_an_option(spec, model):
    bounded = load(dataclasses.replace(spec, options={"sigmoid": True}))
    pairs = [("cat " * 9, "cat " * 9), ("cat", "dog")]
    found, raw = scores(bounded, pairs), scores(model, pairs).astype(np.float64)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-raw)), atol=1e-6)


def test_sigmoid_of_anything_is_from_0_to_1():
    from vecdb.embed.onnx_rerank import _sigmoid

    found = _sigmoid(np.array([[-1e4], [0], [1e4]], np.float32))
    assert found.ravel().tolist() == [0.0, 0.5, 1.0]


def test_a_tokenizer_that_joins_no_texts_is_refused(tmp_path):
    reader = json.loads(tiny.tokenizer())
    reader["post_processor"] = None
    spec = tiny.spec_of(tmp_path, "onnx-rerank", reader=json.dumps(reader).encode())
    with pytest.raises(FailedPrecondition, match="does not say how to join two texts"):
        load(spec)


def test_a_graph_of_several_scores_is_refused(tmp_path):
    spec = tiny.spec_of(tmp_path, "onnx-rerank", graph=tiny.sparse_graph())
    with pytest.raises(FailedPrecondition, match=r"expected .* one score a pair"):
        scores(load(spec), [("cat", "dog")])


def test_an_entry_of_several_scores_is_refused(spec):
    with pytest.raises(FailedPrecondition, match="dim = 1, got 2"):
        load(dataclasses.replace(spec, dim=2))


def test_a_score_that_is_not_finite_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "embeddings", lambda: np.full((76, 64), np.nan, np.float32))
    model = load(tiny.spec_of(tmp_path, "onnx-rerank"))
    with pytest.raises(NotFinite, match="model tiny"):
        scores(model, [("cat", "dog")])
