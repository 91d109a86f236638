"""Multi-dense spaces on disk: a schema's entries, and the cell of a record's several vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vecdb.errors import Corrupt
from vecdb.multi import MultiSpace
from vecdb.types import F32, Metric


def plain_multi(spaces: Iterable[MultiSpace], numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return spaces as JSON's types. numbers: by name."""
    return [
        {
            "number": numbers[space.name],
            "name": space.name,
            "dim": space.dim,
            "metric": int(space.metric),
        }
        for space in spaces
    ]


def multi_of_plain(plain: Iterable[Mapping[str, Any]]) -> tuple[MultiSpace, ...]:
    """Return the spaces that plain_multi gave. Raises KeyError, TypeError, ValueError."""
    return tuple(MultiSpace(item["name"], item["dim"], Metric(item["metric"])) for item in plain)


def decode_multi(cell: bytes, dim: int) -> F32:
    """Return the vectors (n, dim) of a cell, n at least 1. Raises Corrupt."""
    if not is_multi(len(cell), dim):
        raise Corrupt(f"{len(cell)} bytes are no vectors of {dim} numbers", hint="run vecdb check")
    return np.frombuffer(cell, "<f4").reshape(-1, dim).astype(np.float32, copy=False)


def is_multi(size: int, dim: int) -> bool:
    """Return whether a cell of that many bytes can hold vectors of dim numbers."""
    return size > 0 and size % (4 * dim) == 0
