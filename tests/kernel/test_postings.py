"""One contract for search over postings, native and in numpy; and arrays that nobody verified."""

from __future__ import annotations

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.kernel.bitmaps import bitmap
from vecdb.kernel import _native, reference_postings


@pytest.fixture(params=[_native, reference_postings], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> types.ModuleType:
    return request.param


def u64(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def made_lists(rng: np.random.Generator, n: int, shares: list[float]) -> tuple[np.ndarray, ...]:
    """Return rows, starts and stops of lists that hold such shares of n rows, gaps between them."""
    pieces, starts, stops, at = [], [], [], 0
    for share in shares:
        rows = np.flatnonzero(rng.random(n) < share).astype(np.uint32)
        gap = np.full(int(rng.integers(0, 3)), 2**32 - 1, np.uint32)
        starts.append(at)
        stops.append(at + len(rows))
        pieces += [rows, gap]
        at += len(rows) + len(gap)
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint32), u64(*starts), u64(*stops)


def text_case(seed: int, n: int, shares: list[float], fields: int = 2) -> tuple:
    rng = np.random.default_rng(seed)
    rows, starts, stops = made_lists(rng, n, shares)
    counts = rng.integers(1, 5, len(rows)).astype(np.uint32)
    lengths = rng.integers(1, 50, (fields, n)).astype(np.uint32)
    chosen = rng.integers(0, fields, len(shares)).astype(np.uint32)
    weights = np.sort(rng.random(len(shares)).astype(np.float32) * 8)[::-1].copy()
    norms = rng.random((fields, 2)).astype(np.float32) / 10
    return rows, counts, lengths, starts, stops, chosen, weights, norms


def same(found: tuple, wanted: tuple) -> None:
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1].view(np.uint32), wanted[1].view(np.uint32))


def test_bm25_by_hand(kernel) -> None:
    rows = np.array([0, 2, 2], np.uint32)
    counts = np.array([1, 3, 1], np.uint32)
    lengths = np.array([[4, 9, 8]], np.uint32)
    case = (rows, counts, lengths, u64(0, 2), u64(2, 3), np.zeros(2, np.uint32))
    weights, norms = np.array([2, 4], np.float32), np.array([[0.5, 0.125]], np.float32)
    found, scores = kernel.search_text(*case, weights, norms, 10, None)
    assert (found.dtype, scores.dtype) == (np.uint32, np.float32)
    assert found.tolist() == [2, 0]  # row 1 is in no list
    assert scores.tolist() == pytest.approx([2 * 3 / 4.5 + 4 / 2.5, 2 * 1 / 2])


def test_dot_product_by_hand(kernel) -> None:
    rows = np.array([0, 2, 1, 2], np.uint32)
    values = np.array([1, -2, 0.5, 3], np.float32)
    case = (4, rows, values, u64(0, 2), u64(2, 4))
    found, scores = kernel.search_sparse(*case, np.array([2, -1], np.float32), 10, None)
    assert found.tolist() == [0, 1, 2]
    assert scores.tolist() == [2, -0.5, -7]


def test_a_score_of_zero_is_found(kernel) -> None:
    rows, values = np.array([1, 1], np.uint32), np.array([1, -1], np.float32)
    weights = np.ones(2, np.float32)
    found, scores = kernel.search_sparse(2, rows, values, u64(0, 1), u64(1, 2), weights, 5, None)
    assert (found.tolist(), scores.tolist()) == ([1], [0.0])


def test_no_lists_and_no_rows_find_nothing(kernel) -> None:
    none, zero = np.empty(0, np.uint32), np.empty(0, np.float32)
    for n in (0, 70):
        for allowed in (None, bitmap(np.ones(n, bool))):
            found = kernel.search_sparse(n, none, zero, u64(), u64(), zero, 3, allowed)
            assert [len(part) for part in found] == [0, 0]
            lengths, norms = np.empty((1, n), np.uint32), np.zeros((1, 2), np.float32)
            found = kernel.search_text(
                none, none, lengths, u64(), u64(), none, zero, norms, 3, allowed
            )
            assert [len(part) for part in found] == [0, 0]


@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from([1, 63, 64, 65, 4095, 4096, 4097, 12_345]),
    shares=st.lists(st.sampled_from([0.0, 0.0005, 0.01, 0.3, 1.0]), max_size=7),
    k=st.sampled_from([1, 3, 10, 100_000]),
    share=st.sampled_from([None, 0.0, 0.001, 0.1, 0.9]),
)
@settings(max_examples=examples(150), deadline=None)
def test_native_gives_the_bits_of_the_reference(seed, n, shares, k, share) -> None:
    rng = np.random.default_rng(seed)
    allowed = None if share is None else bitmap(rng.random(n) < share)
    case = text_case(seed, n, shares)
    same(
        _native.search_text(*case, k, allowed),
        reference_postings.search_text(*case, k, allowed),
    )
    rows, starts, stops = made_lists(rng, n, shares)
    values = rng.normal(size=len(rows)).astype(np.float32)
    weights = rng.normal(size=len(shares)).astype(np.float32)
    sparse = (n, rows, values, starts, stops, weights, k, allowed)
    same(_native.search_sparse(*sparse), reference_postings.search_sparse(*sparse))


@pytest.mark.parametrize("order", ["descending", "ascending", "equal"])
def test_lists_that_are_passed_over_cost_no_hit(order) -> None:
    """Frequent words of low weight beside rare ones, many rows, small k: where MaxScore works."""
    for seed in range(8):
        case = list(text_case(seed, 60_000, [0.0003, 0.002, 0.05, 0.6, 0.9], fields=1))
        weights = np.array([11, 7, 3, 0.6, 0.1], np.float32)
        case[6] = {"descending": weights, "ascending": weights[::-1].copy()}.get(
            order, np.full(5, 2, np.float32)
        )
        for k in (1, 10, 500):
            same(
                _native.search_text(*case, k, None), reference_postings.search_text(*case, k, None)
            )


def test_equal_scores_go_by_row(kernel) -> None:
    n = 9_000
    rows = np.arange(n, dtype=np.uint32)
    ones = np.ones(n, np.uint32)
    case = (rows, ones, ones.reshape(1, n), u64(0), u64(n), np.zeros(1, np.uint32))
    weights, norms = np.ones(1, np.float32), np.zeros((1, 2), np.float32)
    found, _ = kernel.search_text(*case, weights, norms, 5, None)
    assert found.tolist() == [0, 1, 2, 3, 4]
    odd = bitmap(np.arange(n) % 2 == 1)
    assert kernel.search_text(*case, weights, norms, 3, odd)[0].tolist() == [1, 3, 5]


def test_nan_ranks_last(kernel) -> None:
    values = np.array([np.nan, 1, np.inf], np.float32)
    rows, weights = np.arange(3, dtype=np.uint32), np.ones(1, np.float32)
    found, scores = kernel.search_sparse(3, rows, values, u64(0), u64(3), weights, 5, None)
    assert found.tolist() == [2, 1, 0]
    assert np.isnan(scores[2])


WRONG = [
    ("rows", lambda a: a.astype(np.int64), TypeError, "rows: expected dtype uint32"),
    ("rows", lambda a: a.tolist(), TypeError, "rows: expected a uint32 array, got list"),
    ("counts", lambda a: a[:-1], ValueError, "counts: expected shape"),
    ("lengths", lambda a: a[0], ValueError, "lengths: expected 2 dimension"),
    ("starts", lambda a: a + np.uint64(1000), ValueError, "starts, stops: list 0 is no part of"),
    ("stops", lambda a: a + np.uint64(2**63), ValueError, "starts, stops: list 0 is no part of"),
    ("stops", lambda a: a[:-1], ValueError, "stops: expected shape"),
    ("fields", lambda a: a + np.uint32(2), ValueError, "fields: expected 0 to 2 exclusive"),
    ("weights", lambda a: a.astype(np.float64), TypeError, "weights: expected dtype float32"),
    ("norms", lambda a: a[:1], ValueError, "norms: expected shape"),
    ("k", lambda _: 0, ValueError, "k: expected at least 1, got 0"),
    ("k", lambda _: "3", TypeError, "k: expected an int, got str"),
    ("allowed", lambda _: np.zeros(0, np.uint64), ValueError, "allowed: expected at least 1 word"),
]
NAMES = ("rows", "counts", "lengths", "starts", "stops", "fields", "weights", "norms")


@pytest.mark.parametrize(("name", "change", "error", "message"), WRONG)
def test_wrong_arguments_are_named(kernel, name, change, error, message) -> None:
    arguments = dict(zip(NAMES, text_case(1, 50, [0.5, 0.5, 0.5]), strict=True), k=3, allowed=None)
    arguments[name] = change(arguments[name])
    with pytest.raises(error, match=message):
        kernel.search_text(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": -1}, ValueError, "n: expected at least 0, got -1"),
        ({"n": 2**32}, ValueError, "n: expected fewer than"),
        ({"n": 1.5}, TypeError, "n: expected an int, got float"),
        ({"values": np.ones(2, np.float32)}, ValueError, "values: expected shape"),
        ({"weights": np.ones(2, np.float32)}, ValueError, "weights: expected shape"),
    ],
)
def test_wrong_arguments_of_the_dot_product(kernel, change, error, message) -> None:
    arguments = {
        "n": 5,
        "rows": np.zeros(1, np.uint32),
        "values": np.ones(1, np.float32),
        "starts": u64(0),
        "stops": u64(1),
        "weights": np.ones(1, np.float32),
        "k": 1,
        "allowed": None,
        **change,
    }
    with pytest.raises(error, match=message):
        kernel.search_sparse(**arguments)


@pytest.mark.parametrize("seed", range(30))
def test_garbage_gives_wrong_answers_at_worst(seed) -> None:
    """Rows that are none, or in no order, and numbers of any kind: hits are rows, each once."""
    rng = np.random.default_rng(seed)
    n, postings, lists = int(rng.integers(1, 9_000)), int(rng.integers(1, 5_000)), 5
    bits = rng.integers(0, 2**32, postings, dtype=np.uint32)
    rows = bits if seed % 2 else (bits % np.uint32(2 * n)).astype(np.uint32)
    cuts = np.sort(rng.integers(0, postings + 1, (lists, 2)), axis=1).astype(np.uint64)
    starts, stops = cuts[:, 0].copy(), cuts[:, 1].copy()
    inside = rng.random(n) < 0.5
    odd = np.array([np.nan, np.inf, -np.inf, -1, 0, 1e-45, 3e38], np.float32)
    counts = rng.choice(np.array([0, 1, 2**32 - 1], np.uint32), postings)
    lengths = rng.choice(np.array([0, 1, 2**32 - 1], np.uint32), (2, n))
    fields = rng.integers(0, 2, lists).astype(np.uint32)
    for allowed in (None, bitmap(inside)):
        for k in (1, 10, n):
            weights, norms = rng.choice(odd, lists), rng.choice(odd, (2, 2))
            for found, _ in (
                _native.search_text(
                    rows, counts, lengths, starts, stops, fields, weights, norms, k, allowed
                ),
                _native.search_sparse(
                    n, rows, rng.choice(odd, postings), starts, stops, weights, k, allowed
                ),
            ):
                assert len(found) <= k
                assert len(set(found.tolist())) == len(found)
                assert (found < n).all()
                assert allowed is None or inside[found].all()
