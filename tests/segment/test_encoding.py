"""Encodings: the same everywhere, of one size, and near where MaxSim is."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from vecdb.segment import encoding
from vecdb.segment.encoding import Encoding, encoded_point, encoding_of
from vecdb.types import Metric


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=examples(40), deadline=None)
def test_an_encoding_has_one_size_and_no_order(dim: int, n: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    found = encoding_of(dim).of_point(vectors)
    assert found.shape == (encoding_of(dim).dim,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(encoding_of(dim).of_point(vectors[::-1].copy()), found, atol=1e-4)
    asked = encoding_of(dim).of_query(vectors)
    assert asked.shape == found.shape
    np.testing.assert_allclose(encoding_of(dim).of_query(vectors[::-1].copy()), asked, atol=1e-4)


def test_of_single_vectors_the_product_is_about_theirs() -> None:
    rng = np.random.default_rng(1)
    one, other = (unit(rng.normal(size=(400, 64))) for _ in range(2))
    other = unit(other + np.linspace(-2, 2, 400)[:, None] * one)
    made = encoding_of(64)
    products = [
        float(made.of_point(a[None]) @ made.of_query(b[None]))
        for a, b in zip(one, other, strict=True)
    ]
    off = np.array(products) - (one * other).sum(1)
    assert np.abs(off).max() < 0.15
    assert abs(off.mean()) < 0.01


def test_the_rules_are_those_of_their_version() -> None:
    """A change here makes segments that are there useless: raise encoding.VERSION with it."""
    made = Encoding(128)
    numbers = made._rows.tobytes()
    assert encoding.VERSION == 1
    assert (made.dim, hashlib.sha256(numbers).hexdigest()[:16]) == (768, "47cfbdeb0851b0b4")
    vectors = np.arange(1, 13, dtype=np.float32).reshape(3, 4) % 5 - 2
    found = encoded_point(vectors, Metric.DOT)
    assert float(found.sum()) == pytest.approx(0.6667, abs=1e-3)


def test_recall_on_tokens_of_texts() -> None:
    """Of the true 10 of 600 points of about 100 tokens, most are among the likeliest 100."""
    rng = np.random.default_rng(2)
    words = unit(rng.normal(size=(2_000, 128)))
    topics = rng.integers(0, len(words), (60, 40))

    def text(topic: int, n: int) -> np.ndarray:
        chosen = np.where(
            rng.random(n) < 0.6, rng.choice(topics[topic], n), rng.integers(0, 2_000, n)
        )
        return unit(words[chosen] + 0.5 * rng.normal(size=(n, 128)) / 128**0.5)

    points = [text(n % 60, int(rng.integers(50, 150))) for n in range(600)]
    made = encoding_of(128)
    encoded = np.array([made.of_point(vectors) for vectors in points])
    found = 0
    for topic in range(20):
        query = text(topic, 32)
        scores = np.array([(query @ vectors.T).max(1).sum() for vectors in points])
        likeliest = np.argsort(-(encoded @ made.of_query(query)))[:100]
        found += int((scores[likeliest] >= np.sort(scores)[-10]).sum())
    assert found / 200 >= 0.95
