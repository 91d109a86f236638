"""Scores of the words of a vocabulary into a sparse vector: the largest, and how many at most."""

from __future__ import annotations

import numpy as np

from vecdb.types import F32, SparseVector

VALUES_MAX = 4_096
"""Values of a sparse vector, as many as `limits.sparse_values` lets be stored."""


def largest(scores: F32) -> SparseVector:
    """Return the scores (v,) above 0 with their places, at most VALUES_MAX of the largest."""
    indices = np.flatnonzero(scores > 0)
    if len(indices) > VALUES_MAX:
        # Stable, so that of equal ones the same stay, whatever the machine.
        order = np.argsort(-scores[indices], kind="stable")[:VALUES_MAX]
        indices = np.sort(indices[order])
    return SparseVector(indices.astype(np.uint32), scores[indices])
