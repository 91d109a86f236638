"""Several vectors of a point as one: by its inner product with a query's, points are preselected.

After Dhulipala et al. 2024 (MUVERA), arXiv:2405.19504: random hyperplanes cut space into buckets;
a point's vectors are averaged per bucket, a query's summed, so that the product of two buckets
stands for what the query's vectors there would find best among the point's. That is done several
times with other planes, each bucket projected to a few numbers. Here the average of all of a
point's vectors goes before, as a bucket that is everything, and counts most. Of the true 10, the
first 200 held 0.93 by both together, 0.93 by the average alone and 0.75 by the buckets alone, over
8,000 texts of 17 tokens, and 0.63, 0.56 and 0.61 over 2,000 points of eight texts each, which have
no one direction.

An encoding is a dense vector, compared by inner product, and derived: tails and segments treat it
as any other, and its scores are never sent. Nothing random is drawn at run time, nor taken from
numpy's generators, whose streams may change: processes and versions must agree.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.segment.vectors import comparable
from vecdb.types import F32, Metric, Schema, Space

VERSION = 1
"""Of the rules below. A segment made by others is built again."""
REPETITIONS, PLANES, NUMBERS = 10, 3, 8
"""Times that space is cut, planes of each, and numbers that a bucket becomes."""
BUCKETS = 1 << PLANES
MEAN_WEIGHT = 0.75
"""Of the product of the averages; that of the buckets has the rest."""

F64 = NDArray[np.float64]


class Encoding:
    """How vectors of some dimensions are encoded; `dim` numbers come of any number of them."""

    def __init__(self, dim: int) -> None:
        planes = _normals(b"planes", REPETITIONS * PLANES * dim).reshape(-1, dim)
        width = min(NUMBERS, dim)
        signs = _signs(b"projections", REPETITIONS * width * dim).reshape(-1, dim)
        self._rows: F32 = np.concatenate([planes, signs / width**0.5]).astype(np.float32)
        self._width = width
        self.dim = dim + REPETITIONS * BUCKETS * width

    def of_point(self, vectors: F32) -> F32:
        """Return the encoding (dim,) of a point's vectors (n, d) in comparable form, n >= 1."""
        sums, counts = self._sums(vectors)
        means = sums / np.maximum(counts, 1)[:, :, None]
        # A bucket without vectors has those of the nearest that has some.
        filled = (counts > 0)[:, _NEAREST]
        nearest = np.take_along_axis(
            np.broadcast_to(_NEAREST, filled.shape), filled.argmax(2)[:, :, None], 2
        )
        means = np.take_along_axis(means, nearest, 1)
        return _joined(vectors.mean(0, dtype=np.float64), means)

    def of_query(self, vectors: F32) -> F32:
        """Return the encoding (dim,) of a query's vectors (q, d) in comparable form, q >= 1."""
        sums, _ = self._sums(vectors)
        parts = sums * ((1 - MEAN_WEIGHT) / REPETITIONS)
        return _joined(MEAN_WEIGHT * vectors.sum(0, dtype=np.float64), parts)

    def _sums(self, vectors: F32) -> tuple[F64, NDArray[np.int64]]:
        """Return (repetitions, buckets, numbers), and how many vectors are in each bucket."""
        # Not a product of numpy: its threads are in each other's way, and bits differ by machine.
        products = kernel.products(vectors, self._rows)
        sides = (products[:, : REPETITIONS * PLANES] > 0).reshape(-1, REPETITIONS, PLANES)
        cells = sides @ (1 << np.arange(PLANES)) + BUCKETS * np.arange(REPETITIONS)
        flat, count = cells.ravel(), REPETITIONS * BUCKETS
        parts = products[:, REPETITIONS * PLANES :].reshape(-1, self._width)
        sums: F64 = np.empty((count, self._width))
        for at in range(self._width):
            sums[:, at] = np.bincount(flat, parts[:, at], count)
        counts = np.bincount(flat, minlength=count).reshape(REPETITIONS, BUCKETS)
        return sums.reshape(REPETITIONS, BUCKETS, self._width), counts


@lru_cache(maxsize=16)
def encoding_of(dim: int) -> Encoding:
    """Return how vectors of some dimensions are encoded."""
    return Encoding(dim)


def encoded_point(vectors: F32, metric: Metric) -> F32:
    """Return the encoding of a point's vectors (n, dim) as they are stored."""
    return encoding_of(vectors.shape[1]).of_point(comparable(vectors, metric))


def indexed_spaces(schema: Schema) -> tuple[Space, ...]:
    """Return the dense spaces of a schema, and those that encodings of its multi-dense ones are."""
    if not schema.multi_spaces:
        return schema.spaces
    return (
        *schema.spaces,
        *(encoded_space(space.name, space.dim) for space in schema.multi_spaces),
    )


def encoded_space(name: str, dim: int) -> Space:
    """Return the dense space that encodings of vectors of some dimensions are searched in."""
    return Space(name, encoding_of(dim).dim, Metric.DOT)


def check_version(version: object) -> None:
    """Raise ValueError where a segment has encodings by other rules; None is one without any."""
    if version not in (VERSION, None):
        raise ValueError(f"it has encodings of version {version}, and this is {VERSION}")


def _joined(all_of_them: F64, parts: F64) -> F32:
    joined: F32 = np.concatenate([all_of_them, parts.ravel()]).astype(np.float32)
    return joined


def _hamming() -> NDArray[np.int64]:
    """Return (buckets, buckets): all buckets, by how many planes lie between, per bucket."""
    every = np.arange(BUCKETS)
    between = np.array([[int(a ^ b).bit_count() for b in every] for a in every])
    return np.argsort(between, 1, kind="stable")


_NEAREST = _hamming()


def _bytes(name: bytes, count: int) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.shake_256(b"vecdb encoding " + name).digest(count), np.uint8)


def _signs(name: bytes, count: int) -> F64:
    """Return count numbers, each 1 or -1."""
    bits = np.unpackbits(_bytes(name, -(-count // 8)))[:count]
    signs: F64 = bits.astype(np.float64) * 2 - 1
    return signs


def _normals(name: bytes, count: int) -> F64:
    """Return count numbers that are all but normally distributed: sums of sixteen bytes each."""
    drawn: F64 = _bytes(name, 16 * count).reshape(count, 16).sum(1, dtype=np.float64)
    drawn -= 16 * 127.5
    return drawn
