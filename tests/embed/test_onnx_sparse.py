"""Sparse models over a graph: which words a text weighs, however it is batched."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embed import tiny
from tests.examples import examples
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.sparse_values import VALUES_MAX, largest
from vecdb.errors import FailedPrecondition, NotFinite

pytest.importorskip("onnx", reason="the graph is made with onnx")
pytest.importorskip("onnxruntime")

TEXT = st.lists(st.sampled_from([*tiny.WORDS, "unknown", "!"]), max_size=40).map(" ".join)


def load(spec):
    from vecdb.embed.onnx_sparse import OnnxSparse

    return OnnxSparse(spec, catalog.resolve_files(spec), Execution(1))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tiny.spec_of(tmp_path_factory.mktemp("sparse"), "onnx-sparse"))


def vectors(model, texts, role=Role.DOCUMENT):
    return model.encode([one.input for one in model.prepare(texts, role)])


def test_the_words_of_a_text_weigh_most(model):
    (vector,) = vectors(model, ["the market fell"])
    order = np.argsort(-vector.values)[:3]
    heaviest = {tiny.VOCABULARY[at] for at in vector.indices[order]}
    assert heaviest == {"the", "market", "fell"}
    assert (np.diff(vector.indices.astype(np.int64)) > 0).all()
    assert (vector.values > 0).all()
    assert vector.values.dtype == np.float32


def test_a_weight_is_the_logarithm_of_the_greatest_logit(model):
    (prepared,) = model.prepare(["the market fell"], Role.DOCUMENT)
    scores, _ = model._scores.of_tokens([prepared.input])
    expected = np.log1p(np.maximum(scores[0], 0)).max(axis=0)
    (vector,) = model.encode([prepared.input])
    assert vector.indices.tolist() == np.flatnonzero(expected).tolist()
    np.testing.assert_allclose(vector.values, expected[expected > 0], atol=1e-6)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=8))
def test_a_text_has_one_vector_whatever_its_neighbours(model, texts):
    together = vectors(model, texts)
    for text, vector in zip(texts, together, strict=True):
        (alone,) = vectors(model, [text])
        np.testing.assert_allclose(dense(vector), dense(alone), atol=1e-5, rtol=0)


def dense(vector):
    full = np.zeros(len(tiny.VOCABULARY), np.float32)
    full[vector.indices] = vector.values
    return full


def test_a_batch_larger_than_a_run_is_the_same(model, monkeypatch):
    texts = [" ".join(tiny.WORDS[: 1 + at % 7]) for at in range(20)]
    whole = vectors(model, texts)
    monkeypatch.setattr("vecdb.embed.onnx_sparse.RUN_TOKENS", 13)
    for one, other in zip(whole, vectors(model, texts), strict=True):
        np.testing.assert_allclose(dense(one), dense(other), atol=1e-6)


def test_only_the_largest_are_kept():
    scores = np.random.default_rng(1).random(VALUES_MAX + 500).astype(np.float32)
    vector = largest(scores)
    assert len(vector.values) == VALUES_MAX
    assert vector.values.min() >= np.sort(scores)[500]
    assert (np.diff(vector.indices.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(scores[vector.indices], vector.values)


def test_a_model_that_is_not_sparse_says_so_once(model, monkeypatch, caplog):
    monkeypatch.setattr("vecdb.embed.onnx_sparse.VALUES_MAX", 2)
    monkeypatch.setattr("vecdb.embed.sparse_values.VALUES_MAX", 2)
    with caplog.at_level(logging.WARNING):
        found = vectors(model, ["the market fell", "red green blue"])
    assert [len(one.values) for one in found] == [2, 2]
    assert [record.message[:33] for record in caplog.records] == [
        "model tiny: a vector had 2 values"
    ]


def test_a_graph_of_another_vocabulary_is_refused(tmp_path):
    spec = tiny.spec_of(tmp_path, "onnx-sparse")
    import dataclasses

    model = load(dataclasses.replace(spec, dim=spec.dim + 1))
    with pytest.raises(FailedPrecondition, match=r"logits is \(1, 3, 76\), expected \(1, 3, 77\)"):
        vectors(model, ["cat"])


def test_a_graph_without_logits_is_refused(tmp_path):
    with pytest.raises(FailedPrecondition, match=r"gives logits; expected .* and hidden"):
        load(with_option(tiny.spec_of(tmp_path, "onnx-sparse"), output="hidden"))


def with_option(spec, **options):
    import dataclasses

    return dataclasses.replace(spec, options=options)


def test_a_vector_that_is_not_finite_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "embeddings", lambda: np.full((76, 64), np.inf, np.float32))
    model = load(tiny.spec_of(tmp_path, "onnx-sparse"))
    with pytest.raises(NotFinite, match="model tiny"):
        vectors(model, ["cat"])
