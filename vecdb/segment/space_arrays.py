"""The vectors of one dense space in a segment, searched by walking their graph or judging all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.segment.graph import Graph, ef_for
from vecdb.segment.vectors import KERNEL_METRIC, Answer, Effort
from vecdb.types import F32, U32, Bitmap, Space


@dataclass(frozen=True, slots=True)
class SpaceArrays:
    """Vectors (n, dim) in comparable form, and what they are searched by.

    rows: of the segment that they belong to, ascending; None for all. recalls: of the graph, by ef.
    """

    vectors: F32
    codes: NDArray[np.uint8]
    bounds: F32
    rows: U32 | None
    graph: Graph | None
    recalls: list[tuple[int, float]]

    def allowed(self, mask: Bitmap | None, rows: int) -> Bitmap | None:
        """Return which vectors belong to rows of a mask of so many rows; None for all."""
        if mask is not None and self.rows is not None:
            mask = kernel.pick_bits(mask, rows, self.rows)
        n = len(self.codes)
        return None if mask is None or kernel.count_bits(mask, n) == n else mask

    def search(
        self, space: Space, query: F32, k: int, effort: Effort, allowed: Bitmap | None
    ) -> Answer:
        """Return rows near to the query, best first: k, or all that are allowed."""
        metric, arrays = KERNEL_METRIC[space.metric], (self.codes, self.bounds, self.vectors)
        ef, scanned = 0, True
        if self.graph is None or effort.exact:
            rows, scores = kernel.scan_i8(metric, *arrays, query, k, allowed)
        else:
            ef = effort.ef_of(ef_for(space.target_recall, self.recalls), k)
            found = kernel.search(metric, *self.graph, *arrays, query, k, ef, allowed)
            rows, scores, _, scanned = found
        return Answer(rows if self.rows is None else self.rows[rows], scores, 0 if scanned else ef)

    def search_many(
        self,
        space: Space,
        queries: F32,
        k: int,
        effort: Effort,
        allowed: Bitmap | None,
        threads: int,
    ) -> list[Answer]:
        """Return what search does for each of some queries (q, dim)."""
        metric, arrays = KERNEL_METRIC[space.metric], (self.codes, self.bounds, self.vectors)
        ef, scanned = 0, [True] * len(queries)
        if self.graph is None or effort.exact:
            rows, scores = kernel.scan_many(metric, *arrays, queries, k, allowed, threads)
        else:
            ef = effort.ef_of(ef_for(space.target_recall, self.recalls), k)
            found = kernel.search_many(
                metric, *self.graph, *arrays, queries, k, ef, allowed, threads
            )
            rows, scores, scanned = found[0], found[1], found[3].tolist()
        if self.rows is not None:
            rows = self.rows[rows]
        return [
            Answer(of_rows, of_scores, 0 if was_scanned else ef)
            for of_rows, of_scores, was_scanned in zip(rows, scores, scanned, strict=True)
        ]


def no_vectors(dim: int) -> SpaceArrays:
    """Return the arrays of a space that no row has a vector in."""
    none, bounds = np.empty((0, dim), np.float32), np.empty((0, 3), np.float32)
    return SpaceArrays(none, none.astype(np.uint8), bounds, np.empty(0, np.uint32), None, [])
