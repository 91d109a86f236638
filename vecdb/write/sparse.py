"""Sparse vectors of writes and queries: what may be stored or asked, and in which form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vecdb.config import LimitsConfig
from vecdb.errors import InvalidArgument, LimitExceeded, NotFinite, ZeroVector
from vecdb.storage.command import CellColumn
from vecdb.storage.sparse import encode_sparse
from vecdb.types import Put, SparseVector

LENGTH_MAX = 1e18
"""Euclidean length of a vector: its square, and that of a difference of two, fit float32."""


def checked_sparse(
    vector: SparseVector, space: str, limits: LimitsConfig, field: str
) -> SparseVector:
    """Return a vector in the form that is stored: indices ascending, values that are not zero.

    Raises InvalidArgument for an index that comes twice, or another number of values than of
    indices; LimitExceeded; NotFinite; ZeroVector when no value is left.
    """
    indices, values = vector
    if len(indices) != len(values):
        raise InvalidArgument(
            f"space {space!r}: {len(indices)} indices and {len(values)} values", field=field
        )
    if len(indices) > limits.sparse_values:
        raise LimitExceeded(
            f"space {space!r}: {len(indices)} values, the limit is {limits.sparse_values}",
            field=field,
            hint="raise limits.sparse_values, or leave out the smallest",
        )
    # float64: the square of a float32 can neither overflow nor vanish in it.
    square = float(np.square(values, dtype=np.float64).sum())
    if not square <= LENGTH_MAX**2:
        raise NotFinite(f"the vector for space {space!r} is not finite, or too long", field=field)
    if square == 0:
        raise ZeroVector(
            f"the sparse vector for space {space!r} has no value that is not zero",
            field=field,
            hint="leave the space out instead",
        )
    kept = np.flatnonzero(values)
    kept = kept[np.argsort(indices[kept], kind="stable")]
    indices, values = indices[kept], values[kept]
    twice = np.flatnonzero(indices[1:] == indices[:-1])
    if len(twice):
        raise InvalidArgument(
            f"space {space!r}: index {indices[twice[0]]} comes twice", field=field
        )
    return SparseVector(indices, values)


def sparse_columns(puts: Sequence[Put], numbers: Mapping[str, int]) -> Iterator[CellColumn]:
    """Yield the checked sparse vectors of a run of puts, by space. numbers: of spaces, by name."""
    if not any(put.sparse for put in puts):
        return
    for space in sorted({name for put in puts for name in put.sparse}):
        rows = tuple([row for row, put in enumerate(puts) if space in put.sparse])
        cells = tuple([encode_sparse(puts[row].sparse[space]) for row in rows])
        texts = tuple([puts[row].texts.get(space, "") for row in rows])
        yield CellColumn(
            numbers[space],
            cells,
            None if len(rows) == len(puts) else rows,
            texts if any(texts) else (),
        )
