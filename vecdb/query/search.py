"""The nearest rows over all parts of a view. Exact: every allowed row is considered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vecdb.segment.fields import FieldSource, Mask
from vecdb.types import F32, U32, U64, Space


class Part(Protocol):
    """Rows that can be searched: a segment, or rows in memory."""

    rows: int
    slots: U64
    fields: FieldSource

    def scan(self, space: Space, query: F32, k: int, mask: Mask | None) -> tuple[U32, F32]:
        """Return up to k rows of the mask nearest to the query, best first, and kernel scores."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A part and those of its rows that may be returned; None for all."""

    part: Part
    mask: Mask | None

    @property
    def count(self) -> int:
        """How many rows may be returned."""
        return self.part.rows if self.mask is None else int(np.count_nonzero(self.mask))


def nearest(
    candidates: Sequence[Candidates], space: Space, query: F32, k: int
) -> tuple[list[int], list[float]]:
    """Return the slots of the k candidates nearest to the query, best first, and kernel scores.

    query: (dim,) float32 in comparable form. Equal scores are ordered by slot, older first.
    """
    slots: list[U64] = []
    scores: list[F32] = []
    for candidate in candidates:
        part = candidate.part
        if not part.rows:
            continue
        rows, found = part.scan(space, query, k, candidate.mask)
        slots.append(part.slots[rows])
        scores.append(found)
    if not slots:
        return [], []
    all_slots, all_scores = np.concatenate(slots), np.concatenate(scores)
    best = np.lexsort((all_slots, -all_scores))[:k]
    return all_slots[best].tolist(), all_scores[best].tolist()
