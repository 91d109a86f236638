"""MaxSim of the kernel: one contract for native and reference, and what numpy says."""

from __future__ import annotations

import itertools
import math
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from vecdb.kernel import _native, reference


@pytest.fixture(params=[_native, reference], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> types.ModuleType:
    return request.param


@settings(max_examples=examples(60), deadline=None)
@given(
    q=st.integers(1, 70),
    n=st.integers(1, 9),
    dim=st.sampled_from([1, 3, 63, 64, 65, 128, 200]),
    seed=st.integers(0, 1_000),
    unit=st.booleans(),
)
def test_native_and_reference_agree_bit_for_bit(q, n, dim, seed, unit):
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(q, dim)).astype(np.float32)
    vectors = (rng.normal(size=(n, dim)) * 10.0 ** rng.integers(-9, 9)).astype(np.float32)
    found = _native.max_sim(query, vectors, unit)
    assert found == reference.max_sim(query, vectors, unit)
    compared = vectors.astype(np.float64)
    if unit:
        compared /= np.linalg.norm(compared, axis=1, keepdims=True)
    exact = (query.astype(np.float64) @ compared.T).max(1).sum()
    scale = np.abs(query.astype(np.float64) @ compared.T).max() * q
    assert found == pytest.approx(exact, abs=1e-5 * scale)


@pytest.mark.parametrize(("n", "m", "dim"), [(0, 3, 5), (3, 0, 5), (7, 130, 65), (1, 1, 1)])
def test_products_are_those_of_scans(n, m, dim):
    rng = np.random.default_rng(n)
    vectors, others = (rng.normal(size=(k, dim)).astype(np.float32) for k in (n, m))
    found = _native.products(vectors, others)
    assert found.shape == (n, m)
    np.testing.assert_array_equal(found, reference.products(vectors, others))
    np.testing.assert_allclose(found, vectors @ others.T, atol=1e-4)
    with pytest.raises(ValueError, match="others"):
        _native.products(vectors, np.ones((2, dim + 1), np.float32))


def test_by_hand(kernel):
    query = np.array([[1, 0], [0, 2]], np.float32)
    vectors = np.array([[3, 0], [0, -5], [0, 4]], np.float32)
    assert kernel.max_sim(query, vectors, False) == 3 + 8
    assert kernel.max_sim(query, vectors, True) == 1 + 2


def test_all_products_may_be_negative(kernel):
    query = np.array([[1, 1]], np.float32)
    assert kernel.max_sim(query, np.array([[-1, 0], [-3, 0]], np.float32), False) == -1


@pytest.mark.parametrize("factor", [0, 1e-20, 1e20])
def test_lengths_that_cannot_be_divided_by_are_told(kernel, factor):
    query, vectors = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    vectors[1] *= factor
    assert math.isnan(kernel.max_sim(query, vectors, True))
    assert not math.isnan(kernel.max_sim(query, vectors, False))


def test_numbers_that_are_none_do_no_harm(kernel):
    for values in itertools.product([np.nan, np.inf, -np.inf, 1], repeat=2):
        vectors = np.array([values], np.float32)
        kernel.max_sim(np.ones((3, 2), np.float32), vectors, False)
        kernel.max_sim(np.ones((3, 2), np.float32), vectors, True)


def test_what_does_not_fit_is_refused(kernel):
    query, vectors = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    for bad_query, bad_vectors, error in (
        (query[:, :2].copy(), vectors, ValueError),
        (query[:0], vectors, ValueError),
        (query, vectors[:0], ValueError),
        (query[0], vectors, ValueError),
        (query.astype(np.float64), vectors, TypeError),
        (query, None, TypeError),
    ):
        with pytest.raises(error):
            kernel.max_sim(bad_query, bad_vectors, False)


def test_read_only_arrays_are_as_good(kernel):
    raw = np.ones((2, 3), "<f4").tobytes()
    vectors = np.frombuffer(raw, np.float32).reshape(2, 3)
    assert kernel.max_sim(vectors, vectors, False) == 6
