"""Several vectors a point, of writes and queries: what may be stored or asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vecdb.config import LimitsConfig
from vecdb.errors import DimensionMismatch, InvalidArgument, LimitExceeded, NotFinite, ZeroVector
from vecdb.multi import MultiSpace, MultiVector
from vecdb.storage.command import CellColumn
from vecdb.types import F32, Metric, Put

LENGTH_MAX = 1e14
"""Euclidean length of a vector: a sum of thousands of products of two fits float32."""


def checked_multi(multi: MultiVector, space: MultiSpace, limits: LimitsConfig, field: str) -> F32:
    """Return the vectors (n, dim) as numbers.

    Raises DimensionMismatch; InvalidArgument for bytes that are no vectors, or none; LimitExceeded
    for too many; NotFinite and ZeroVector, which name the vector.
    """
    if multi.dim != space.dim:
        raise DimensionMismatch(
            f"space {space.name!r} expects vectors of {space.dim} dimensions, got {multi.dim}",
            field=field,
            expected=space.dim,
            got=multi.dim,
        )
    size = 4 * space.dim
    if not multi.f32 or len(multi.f32) % size:
        raise InvalidArgument(
            f"space {space.name!r}: {len(multi.f32)} bytes are no vectors of {size} bytes each, "
            "at least one",
            field=field,
            got=len(multi.f32),
        )
    if len(multi.f32) > limits.multi_vectors * size:
        raise LimitExceeded(
            f"space {space.name!r}: {len(multi.f32) // size} vectors, the limit is "
            f"{limits.multi_vectors}",
            field=field,
            hint="raise limits.multi_vectors, or split the text into several points",
        )
    vectors = np.frombuffer(multi.f32, "<f4").reshape(-1, space.dim)
    # float64: the square of a float32 can neither overflow nor vanish in it.
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    good = squares <= LENGTH_MAX**2
    if not good.all():
        raise NotFinite(
            f"vector {int(np.argmin(good))} for space {space.name!r} is not finite, or longer than "
            f"{LENGTH_MAX:g}",
            field=field,
        )
    if space.metric is Metric.COSINE and not squares.all():
        raise ZeroVector(
            f"vector {int(np.argmin(squares))} for space {space.name!r} is zero, and has no "
            "direction: the space compares by cosine",
            field=field,
            hint="leave out the vectors of padding",
        )
    return vectors.astype(np.float32, copy=False)


def multi_columns(puts: Sequence[Put], numbers: Mapping[str, int]) -> Iterator[CellColumn]:
    """Yield the checked vectors of a run of puts, by multi-dense space. numbers: by name."""
    if not any(put.multi for put in puts):
        return
    for space in sorted({name for put in puts for name in put.multi}):
        rows = tuple([row for row, put in enumerate(puts) if space in put.multi])
        cells = tuple([puts[row].multi[space].f32 for row in rows])
        yield CellColumn(numbers[space], cells, None if len(rows) == len(puts) else rows)
