"""One contract for the native functions on bitmaps and their numpy reference."""

from __future__ import annotations

import types

import numpy as np
import pytest

from tests.kernel.bitmaps import bitmap
from vecdb.kernel import _native, reference_bitmaps

SIZES = (0, 1, 63, 64, 65, 127, 128, 129, 1000)
U32_MAX = 2**32 - 1


@pytest.fixture(params=[_native, reference_bitmaps], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> types.ModuleType:
    return request.param


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


@pytest.mark.parametrize("n", SIZES)
def test_what_is_set_is_counted_and_picked(kernel, n):
    rng = np.random.default_rng(n)
    for share in (0.0, 0.01, 0.5, 1.0):
        inside = rng.random(n) < share
        chosen = rng.permutation(np.repeat(np.flatnonzero(inside), 2)).astype(np.uint32)
        bits = kernel.row_bits(chosen, n)
        assert bits.dtype == np.uint64
        np.testing.assert_array_equal(bits, bitmap(inside))
        assert kernel.count_bits(bits, n) == inside.sum()
        asked = rng.integers(0, n, 3 * n, dtype=np.uint32) if n else rows()
        np.testing.assert_array_equal(kernel.pick_bits(bits, n, asked), bitmap(inside[asked]))


def test_rows_past_the_last_are_passed_over(kernel):
    assert kernel.row_bits(rows(3, 10, 11, 63, 64, 2**31, U32_MAX), 11).tolist() == [
        1 << 3 | 1 << 10
    ]
    assert kernel.row_bits(rows(0, U32_MAX), 0).tolist() == []
    everything = np.full(2, 2**64 - 1, np.uint64)
    assert kernel.pick_bits(everything, 70, rows(0, 69, 70, 127, 128, U32_MAX)).tolist() == [0b11]
    assert kernel.pick_bits(np.empty(0, np.uint64), 0, rows(0, 1)).tolist() == [0]


def test_bits_past_the_last_row_are_not_counted(kernel):
    everything = np.full(3, 2**64 - 1, np.uint64)
    for n in (0, 1, 63, 64, 65, 191, 192):
        assert kernel.count_bits(everything, n) == n


def test_many_rows_at_once(kernel):
    """More than the GIL is kept for."""
    chosen = np.random.default_rng(1).permutation(200_000)[:150_000].astype(np.uint32)
    bits = kernel.row_bits(chosen, 200_000)
    assert kernel.count_bits(bits, 200_000) == 150_000
    picked = kernel.pick_bits(bits, 200_000, chosen)
    assert kernel.count_bits(picked, 150_000) == 150_000


def test_arrays_that_may_only_be_read(kernel):
    chosen, bits = rows(1, 2), np.array([6], np.uint64)
    chosen.flags.writeable = bits.flags.writeable = False
    assert kernel.row_bits(chosen, 3).tolist() == [6]
    assert kernel.count_bits(bits, 3) == 2
    assert kernel.pick_bits(bits, 3, chosen).tolist() == [3]


BITS = np.zeros(1, np.uint64)
WRONG = [
    (lambda k: k.row_bits([1], 5), TypeError, "rows: expected a uint32 array, got list"),
    (lambda k: k.row_bits(np.zeros(2, np.int64), 5), TypeError, "rows: expected dtype uint32"),
    (lambda k: k.row_bits(np.zeros((1, 2), np.uint32), 5), ValueError, "rows: expected 1 dim"),
    (lambda k: k.row_bits(np.zeros(4, np.uint32)[::2], 5), ValueError, "rows: expected a C-cont"),
    (lambda k: k.row_bits(rows(), -1), ValueError, r"n: expected 0 to 2\*\*32 - 1, got -1"),
    (lambda k: k.row_bits(rows(), 2**32), ValueError, "n: expected 0 to"),
    (lambda k: k.row_bits(rows(), "x"), TypeError, "n: expected an int, got str"),
    (lambda k: k.count_bits(BITS, 65), ValueError, "bits: expected at least 2 words for 65 rows"),
    (lambda k: k.count_bits(None, 0), TypeError, "bits: expected a uint64 array, got NoneType"),
    (lambda k: k.count_bits(BITS.astype(np.int64), 1), TypeError, "bits: expected dtype uint64"),
    (lambda k: k.pick_bits(BITS, 65, rows()), ValueError, "bits: expected at least 2 words"),
    (lambda k: k.pick_bits(BITS, 1, BITS), TypeError, "rows: expected dtype uint32"),
]


@pytest.mark.parametrize(("call", "kind", "words"), WRONG)
def test_wrong_arguments(kernel, call, kind, words):
    with pytest.raises(kind, match=words):
        call(kernel)
