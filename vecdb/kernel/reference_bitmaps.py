"""What the native functions on bitmaps compute, in numpy; see `reference`."""

from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from .reference_checks import check_array, check_row_count

__all__ = ["count_bits", "pick_bits", "row_bits"]


def row_bits(rows: NDArray[np.uint32], n: SupportsIndex) -> NDArray[np.uint64]:
    """Return the bitmap (ceil(n / 64),) uint64 of n rows in which these rows are set.

    rows: (any,) in any order, also repeatedly; those past the last are passed over. Row i is bit
    i & 63 of word i >> 6. 0 <= n < 2**32. Raises as scan_f32 does.
    """
    check_array("rows", rows, np.uint32, 1)
    inside = np.zeros(check_row_count(n), np.bool_)
    inside[rows[rows < len(inside)]] = True
    return _packed(inside)


def count_bits(bits: NDArray[np.uint64], n: SupportsIndex) -> int:
    """Return how many of the first n rows are set in a bitmap of at least ceil(n / 64) words."""
    return int(np.count_nonzero(_unpacked(bits, check_row_count(n))))


def pick_bits(
    bits: NDArray[np.uint64], n: SupportsIndex, rows: NDArray[np.uint32]
) -> NDArray[np.uint64]:
    """Return the bitmap of len(rows) rows of which bit i is the bit of row rows[i] of n.

    A row past the last counts as not set. bits: at least ceil(n / 64) words.
    """
    inside = _unpacked(bits, check_row_count(n))
    check_array("rows", rows, np.uint32, 1)
    known = rows < len(inside)
    picked = np.zeros(len(rows), np.bool_)
    picked[known] = inside[rows[known]]
    return _packed(picked)


def _packed(inside: NDArray[np.bool_]) -> NDArray[np.uint64]:
    words = np.zeros(-(-len(inside) // 64), np.uint64)
    packed = np.packbits(inside, bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    return words


def _unpacked(bits: NDArray[np.uint64], n: int) -> NDArray[np.bool_]:
    check_array("bits", bits, np.uint64, 1)
    words = -(-n // 64)
    if len(bits) < words:
        raise ValueError(f"bits: expected at least {words} words for {n} rows, got {len(bits)}")
    return np.unpackbits(bits.view(np.uint8), count=n, bitorder="little").view(np.bool_)
