"""How many live rows have a word or an index, over all parts of a view, and what it then weighs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vecdb import kernel
from vecdb.query.search import Candidates
from vecdb.segment.postings import Lists, Numbers


def idf(rows: int, n: int) -> float:
    """Return the inverse document frequency of what n of some rows have.

    It is Lucene's, ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """
    return math.log1p((rows - n + 0.5) / (n + 0.5))


def frequencies(candidates: Sequence[Candidates], found: Sequence[Lists[Numbers]]) -> list[int]:
    """Return for each list how many live rows it has in all parts, whatever the filter."""
    counts = np.zeros(len(found[0].starts), np.int64)
    for candidate, lists in zip(candidates, found, strict=True):
        if candidate.alive is None:
            counts += (lists.stops - lists.starts).astype(np.int64)
            continue
        for at in range(len(counts)):
            rows = lists.rows_of(at)
            bits = kernel.pick_bits(candidate.alive, candidate.part.rows, rows)
            counts[at] += kernel.count_bits(bits, len(rows))
    return counts.tolist()
