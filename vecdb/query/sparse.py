"""The rows of the highest dot product with a sparse vector, over all parts of a view. Exact."""

from __future__ import annotations

from collections.abc import Sequence

from vecdb import kernel
from vecdb.query.search import Candidates, Nearest, merged
from vecdb.types import SparseVector


def nearest_sparse(
    candidates: Sequence[Candidates], space: str, query: SparseVector, k: int
) -> Nearest:
    """Return the k best candidates that share an index with the query.

    query: indices ascending, so that every part adds in one order. Ties as in `search.nearest`.
    """
    found = []
    for candidate in candidates:
        part = candidate.part
        if not part.rows:
            continue
        lists = part.sparse(space).find(query.indices)
        rows, scores = kernel.search_sparse(
            part.rows,
            lists.rows,
            lists.numbers,
            lists.starts,
            lists.stops,
            query.values,
            k,
            candidate.mask,
        )
        found.append((part.slots[rows], scores))
    return merged(found, k, [])
