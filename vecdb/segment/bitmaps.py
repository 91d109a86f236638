"""Bitmaps of rows in Python: row i is bit ``i & 63`` of word ``i >> 6``, of ceil(rows / 64) words.

Bits past the last row say nothing; joining goes with ``&``, ``|`` and ``~``, counting with the
kernel's `count_bits`.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vecdb.types import Bitmap

_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def word_count(rows: int) -> int:
    """Return the words of a bitmap of so many rows."""
    return (rows + 63) // 64


def no_rows(rows: int) -> Bitmap:
    """Return a bitmap with no row set."""
    return np.zeros(word_count(rows), np.uint64)


def all_rows(rows: int) -> Bitmap:
    """Return a bitmap with every row set, and every bit past the last."""
    return np.full(word_count(rows), _ALL)


def grown(bits: Bitmap, rows: int) -> Bitmap:
    """Return a bitmap that covers more rows, the new ones set, if those past its last were set."""
    missing = word_count(rows) - len(bits)
    return np.concatenate([bits, np.full(missing, _ALL)]) if missing > 0 else bits


def pack(mask: NDArray[np.bool_]) -> Bitmap:
    """Return a mask of one bool a row as a bitmap."""
    words = no_rows(len(mask))
    packed = np.packbits(mask, bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    return words


def unpack(bits: Bitmap, rows: int) -> NDArray[np.bool_]:
    """Return a bitmap as a mask of one bool a row, (rows,)."""
    mask: NDArray[np.bool_] = np.unpackbits(
        bits.view(np.uint8), count=rows, bitorder="little"
    ).view(np.bool_)
    return mask


def rows_in(bits: Bitmap, rows: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that are set, ascending."""
    return np.flatnonzero(unpack(bits, rows))


T = TypeVar("T")


class Kept(Generic[T]):
    """Answers by key, of which the least recently used are forgotten. For any number of threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()  # guards _kept
        self._kept: dict[bytes, T] = {}  # the least recently used first

    def get(self, key: bytes) -> T | None:
        """Return an answer, which may not be changed, or None when it is not there."""
        with self._lock:
            answer = self._kept.pop(key, None)
            if answer is not None:
                self._kept[key] = answer
            return answer

    def keep(self, key: bytes, answer: T) -> None:
        """Keep an answer, which nobody changes from now on."""
        with self._lock:
            self._kept[key] = answer
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]


class KeptBitmaps(Kept[Bitmap]):
    """Bitmaps by key; whoever writes to one that is kept is told."""

    def keep(self, key: bytes, answer: Bitmap) -> None:
        """Keep a bitmap, which nobody writes to from now on."""
        answer.flags.writeable = False
        super().keep(key, answer)
