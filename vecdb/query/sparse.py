"""The rows of the highest dot product with a sparse vector, over all parts of a view. Exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vecdb import kernel
from vecdb.query.frequency import frequencies, idf
from vecdb.query.search import Candidates, Nearest, merged
from vecdb.segment.postings import Lists
from vecdb.types import F32, SparseSpace, SparseVector


def nearest_sparse(
    candidates: Sequence[Candidates], space: SparseSpace, query: SparseVector, k: int
) -> Nearest:
    """Return the k best candidates that share an index with the query.

    query: indices ascending, so that every part adds in one order. Ties as in `search.nearest`.
    """
    there = [candidate for candidate in candidates if candidate.part.rows]
    lists = [candidate.part.sparse(space.name).find(query.indices) for candidate in there]
    weights = query.values
    if space.idf and there:
        weights = weights * _idfs(there, space.name, lists)
    found = []
    for candidate, one in zip(there, lists, strict=True):
        part = candidate.part
        rows, scores = kernel.search_sparse(
            part.rows, one.rows, one.numbers, one.starts, one.stops, weights, k, candidate.mask
        )
        found.append((part.slots[rows], scores))
    return merged(found, k, [])


def _idfs(candidates: Sequence[Candidates], space: str, lists: Sequence[Lists[np.float32]]) -> F32:
    """Return the idf of each index asked for, among the live rows that have a vector."""
    rows = 0
    for one in candidates:
        live, having = one.alive, one.part.having(space)
        if having is not None:
            live = having if live is None else having & live
        rows += one.part.rows if live is None else kernel.count_bits(live, one.part.rows)
    return np.array([idf(rows, n) for n in frequencies(candidates, lists)], np.float32)
