"""The nearest rows over all parts of a view: each is searched, the best of all taken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from vecdb import kernel
from vecdb.segment.fields import FieldSource
from vecdb.segment.postings import SparseSource, TextSource
from vecdb.segment.vectors import Answer, Effort
from vecdb.traces import note
from vecdb.types import F32, U32, U64, Bitmap, Space


class Part(Protocol):
    """Rows that can be searched: a segment, or rows in memory."""

    rows: int
    slots: U64
    fields: FieldSource

    def having(self, space: str) -> Bitmap | None:
        """Return the rows that have a vector in a space; None for all."""

    def search(
        self, space: Space, query: F32, k: int, effort: Effort, mask: Bitmap | None
    ) -> Answer:
        """Return rows of the mask near to the query, best first: k, or all there are."""

    def search_many(
        self, space: Space, queries: F32, k: int, effort: Effort, mask: Bitmap | None, threads: int
    ) -> list[Answer]:
        """Return what search does for each of some queries (q, dim)."""

    def vectors(self, space: str) -> tuple[F32, U32 | None]:
        """Return the comparable vectors of a space, and the rows they belong to; None for all."""

    def text(self) -> TextSource:
        """Return the words of the text fields; only where the collection has some."""

    def sparse(self, space: str) -> SparseSource:
        """Return the vectors of a sparse space."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A part and those of its rows that may be returned; None for all.

    count: how many they are. alive: those that would be without a filter.
    """

    part: Part
    mask: Bitmap | None
    count: int
    alive: Bitmap | None = None


class Nearest(NamedTuple):
    """The best candidates: slots, best first, and kernel scores.

    efs: of the walks, one a part walked over; scanned: parts whose rows were all judged. warnings:
    of what could not be searched. scored: in a multi-dense space, points whose MaxSim was taken.
    """

    slots: list[int]
    scores: list[float]
    efs: list[int]
    scanned: int
    warnings: tuple[str, ...] = ()
    scored: int = 0


def rows_of(part: Part, slots: U64) -> U32:
    """Return the rows that some slots have in a part, in their order; those not there left out."""
    rows = np.searchsorted(part.slots, slots)
    known = rows < part.rows
    known[known] = part.slots[rows[known]] == slots[known]
    found: U32 = rows[known].astype(np.uint32)
    return found


def among(candidates: Sequence[Candidates], slots: U64) -> list[Candidates]:
    """Return candidates of some slots alone, without the parts that have none of them.

    slots: (n,), ascending; the caller knows them all to be candidates.
    """
    found: list[Candidates] = []
    for one in candidates:
        rows = rows_of(one.part, slots)
        if len(rows):
            mask = kernel.row_bits(rows, one.part.rows)
            found.append(Candidates(one.part, mask, len(rows), one.alive))
    return found


def nearest(
    candidates: Sequence[Candidates], space: Space, query: F32, k: int, effort: Effort
) -> Nearest:
    """Return the k candidates nearest to the query.

    query: (dim,) float32 in comparable form. Equal scores are ordered by slot, older first.
    """
    efs: list[int] = []
    found: list[tuple[U64, F32]] = []
    begun = time.perf_counter_ns()
    for candidate in candidates:
        part = candidate.part
        if not candidate.count:
            continue
        answer = part.search(space, query, k, effort, candidate.mask)
        found.append((part.slots[answer.rows], answer.scores))
        if answer.ef:
            efs.append(answer.ef)
    note("kernel", begun, parts=len(found))
    return merged(found, k, efs)


def nearest_many(
    candidates: Sequence[Candidates],
    space: Space,
    queries: F32,
    k: int,
    effort: Effort,
    threads: int,
) -> list[Nearest]:
    """Return what nearest does for each of some queries (q, dim), found by many threads."""
    efs: list[list[int]] = [[] for _ in queries]
    found: list[list[tuple[U64, F32]]] = [[] for _ in queries]
    for candidate in candidates:
        part = candidate.part
        if not candidate.count:
            continue
        answers = part.search_many(space, queries, k, effort, candidate.mask, threads)
        for at, answer in enumerate(answers):
            found[at].append((part.slots[answer.rows], answer.scores))
            if answer.ef:
                efs[at].append(answer.ef)
    return [merged(one, k, walked) for one, walked in zip(found, efs, strict=True)]


def merged(found: Sequence[tuple[U64, F32]], k: int, efs: list[int]) -> Nearest:
    """Return the best k slots and scores of all parts; of equal ones, older first.

    efs: of the parts that were walked.
    """
    scanned = len(found) - len(efs)
    if not found:
        return Nearest([], [], efs, scanned)
    if len(found) == 1:  # in order already: rows are by slot, and ties by row
        ((slots, scores),) = found
        return Nearest(slots.tolist(), scores.tolist(), efs, scanned)
    all_slots = np.concatenate([slots for slots, _ in found])
    all_scores = np.concatenate([scores for _, scores in found])
    best = np.lexsort((all_slots, -all_scores))[:k]
    return Nearest(all_slots[best].tolist(), all_scores[best].tolist(), efs, scanned)
