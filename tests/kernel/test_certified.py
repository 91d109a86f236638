"""The int8 scan returns what the float32 scan returns, bit for bit, on data made to break it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from vecdb import kernel

METRICS = (kernel.DOT, kernel.L2, kernel.L1)


def assert_same(vectors: np.ndarray, query: np.ndarray, k: int, allowed=None) -> None:
    codes, bounds = kernel.quantize(vectors)
    for metric in METRICS:
        rows, scores = kernel.scan_f32(metric, vectors, query, k, allowed)
        rows_i8, scores_i8 = kernel.scan_i8(metric, codes, bounds, vectors, query, k, allowed)
        np.testing.assert_array_equal(rows_i8, rows)
        np.testing.assert_array_equal(scores_i8.view(np.uint32), scores.view(np.uint32))


def clustered(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    centers = rng.normal(size=(8, dim))
    return centers[rng.integers(0, 8, n)] + 0.01 * rng.normal(size=(n, dim))


def equal_but_for_rounding(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return rng.normal(size=dim) * (1 + 1e-7 * rng.integers(-3, 4, size=(n, dim)))


def far_from_the_origin(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return 1e4 + rng.normal(size=(n, dim))


def mixed_scales(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return rng.normal(size=(n, dim)) * 10.0 ** rng.uniform(-30, 30, size=(n, 1))


def with_zero_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return rng.normal(size=(n, dim)) * (rng.random((n, 1)) < 0.5)


def one_large_value(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    vectors = rng.normal(size=(n, dim))
    vectors[:, 0] = 1e5
    return vectors


def integers(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return rng.integers(-2, 3, size=(n, dim)).astype(float)


def ascending(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    return rng.normal(size=dim) * np.linspace(0.1, 1, n)[:, None]


SHAPES = [
    clustered,
    equal_but_for_rounding,
    far_from_the_origin,
    mixed_scales,
    with_zero_rows,
    one_large_value,
    integers,
    ascending,
]


@pytest.mark.parametrize("scale", [1e-42, 1e-22, 1e-19, 1.0, 1e17, 1e19])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_same_answer_on_hard_data(shape, scale):
    rng = np.random.default_rng(7)
    for dim in (1, 3, 64, 65, 384):
        with np.errstate(over="ignore"):
            vectors = (shape(rng, 1500, dim) * scale).astype(np.float32)
            near = (vectors[11] * (1 + 1e-3 * rng.normal(size=dim))).astype(np.float32)
        allowed = rng.integers(0, 2**63, -(-1500 // 64), dtype=np.uint64)
        for query in (vectors[5].copy(), near, rng.normal(size=dim).astype(np.float32)):
            for k in (1, 10, 200):
                assert_same(vectors, query, k)
                assert_same(vectors, query, k, allowed)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_same_answer_over_the_longest_rows(shape):
    """Where float32 rounding adds up most."""
    rng = np.random.default_rng(8)
    vectors = shape(rng, 60, kernel.DIM_MAX).astype(np.float32)
    for query in (vectors[5].copy(), rng.normal(size=kernel.DIM_MAX).astype(np.float32)):
        assert_same(vectors, query, 1)
        assert_same(vectors, query, 10)


@pytest.mark.parametrize("n", [4096, 20_000])
def test_same_answer_when_every_row_stays_a_candidate(n):
    """Scores that only rise make the candidate list outgrow its first bound."""
    vectors = np.linspace(0.1, 1, n, dtype=np.float32)[:, None] * np.ones((1, 8), np.float32)
    assert_same(vectors, np.ones(8, np.float32), 10)
    assert_same(np.ones((n, 8), np.float32), np.ones(8, np.float32), 1000)
    assert_same(np.full((n, 8), np.nan, np.float32), np.ones(8, np.float32), 10)


finite_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
any_floats = st.floats(width=32)


@settings(deadline=None, max_examples=examples(300))
@given(data=st.data(), dim=st.integers(1, 70), n=st.integers(1, 80), k=st.integers(1, 12))
def test_same_answer_on_any_floats(data, dim, n, k):
    # A few distinct values, drawn freely, so that ties and cancellation happen and examples shrink.
    palette = data.draw(st.lists(any_floats, min_size=1, max_size=6))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    vectors = rng.choice(np.array(palette, np.float32), size=(n, dim))
    query = rng.choice(np.array(palette, np.float32), size=dim)
    assert_same(vectors, query, k)


@settings(deadline=None, max_examples=examples(200))
@given(values=st.lists(finite_floats, min_size=1, max_size=130))
def test_quantize_bounds_hold_on_any_floats(values):
    vectors = np.array([values], np.float32)
    codes, bounds = kernel.quantize(vectors)
    scale, error, norm2 = bounds[0].astype(np.float64)
    restored = scale * (codes[0].astype(np.float64) - 128)
    assert np.linalg.norm(vectors[0] - restored) <= error
    assert np.square(restored).sum() <= norm2
