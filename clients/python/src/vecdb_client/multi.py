"""Late interaction: spaces where a point has several vectors, and re-ranking by them. Data only.

Models such as ColBERT make a vector per token; MaxSim, the sum over a query's vectors of the
greatest similarity with one of the point's, says how well both fit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from vecdb_client.errors import InvalidArgument
from vecdb_client.pb import common_pb2
from vecdb_client.types import PointId
from vecdb_client.vectors import Matrix, Numbers, SupportsArray, f32_bytes, floats_of, matrix_rows

MultiLike: TypeAlias = "Sequence[Numbers] | Matrix | SupportsArray"
"""Several vectors, (n, dim): an array, or a list of vectors of one length."""


@dataclass(frozen=True, slots=True)
class MultiDenseSpace:
    """A field of several vectors a point, of dim numbers each, compared by MaxSim.

    metric: "cosine" compares directions, "dot" the vectors as they are.
    """

    dim: int
    metric: Literal["cosine", "dot"] = "cosine"


@dataclass(frozen=True, slots=True)
class MaxSim:
    """A second look at the best of what a search found: ordered by MaxSim with some vectors.

    query: (q, dim), or a stored point. space: a MultiDenseSpace; what has no vectors in it is left
    out, with a warning. candidates: how many are looked at; None for 100, more where the hits asked
    for need it.
    """

    query: MultiLike | PointId
    space: str = ""
    candidates: int | None = None


class Multi(NamedTuple):
    """Several vectors, encoded: little-endian float32 bytes, and the numbers of each vector."""

    f32: bytes
    dim: int


def multi_of(value: object) -> Multi | None:
    """Return several vectors as they are sent, or None when the value is no such thing.

    A list of numbers is one vector, and a tuple of two sequences a sparse one. Raises
    InvalidArgument (BAD_VECTOR) for vectors of different lengths, or what holds no numbers.
    """
    shape = getattr(value, "shape", None)
    if shape is not None:
        rows = matrix_rows(value)
        return None if rows is None else Multi(b"".join(rows), int(shape[1]))
    if not isinstance(value, list) or not value or not _is_vector(value[0]):
        return None
    vectors = [f32_bytes(one) for one in value]
    if len({len(one) for one in vectors}) > 1:
        raise InvalidArgument("not vectors of one space: their lengths differ", reason="BAD_VECTOR")
    return Multi(b"".join(vectors), len(vectors[0]) // 4)


def _is_vector(value: object) -> bool:
    return not isinstance(value, (str, bytes, Mapping)) and hasattr(value, "__len__")


def fill_multi(message: common_pb2.Vector, multi: Multi) -> None:
    """Fill a vector of a request."""
    message.multi.f32, message.multi.dim = multi


def multi_view(message: common_pb2.MultiVector) -> Matrix:
    """Return the vectors of a reply."""
    data: Any = message.f32 if sys.byteorder == "little" else floats_of(message.f32)
    flat = memoryview(data).cast("B")
    return flat.cast("f", (len(flat) // (4 * message.dim), message.dim))
