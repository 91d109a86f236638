"""Many queries of one snapshot: equal filters are evaluated once, walks go side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from vecdb.collection.reorder import CandidatesOf
from vecdb.collection.search import DenseSearch, Leg, Prepared
from vecdb.errors import DeadlineExceeded, VecdbError
from vecdb.outcomes import QueryResult
from vecdb.query.search import Candidates, nearest_many
from vecdb.types import Filter

QUERIES_AT_ONCE = 64
"""Queries that the kernel is given together, and after which the deadline is looked at."""

Answer: TypeAlias = Callable[[int], QueryResult]
"""From the bytes that hits may have to the answer of one query."""


def evaluated_once(candidates_of: CandidatesOf) -> CandidatesOf:
    """Return the same function, which keeps its answers."""
    known: dict[tuple[str, int], tuple[list[Candidates], Sequence[Candidates] | None]] = {}

    def kept(filter: Filter | None, within: Sequence[Candidates] | None) -> list[Candidates]:
        # By text: to Python 1, 1.0 and True are equal. What is kept holds `within`, and its id.
        key = repr(filter), id(within)
        if key not in known:
            known[key] = candidates_of(filter, within), within
        return known[key][0]

    return kept


def search_together(prepared: Iterable[Prepared], threads: int, deadline: float) -> None:
    """Search the dense legs of queries that ask the same in another place, many at once.

    Their legs know then what they will be asked for. Raises DeadlineExceeded.
    """
    alike: dict[object, list[tuple[Prepared, Leg, DenseSearch]]] = {}
    for one in prepared:
        if one.asked.group is not None:  # which is searched among other candidates
            continue
        for leg in one.legs:
            search = leg.search
            if isinstance(search, DenseSearch):
                key = search.space.name, leg.query.k, search.effort, id(leg.candidates)
                alike.setdefault(key, []).append((one, leg, search))
    for found in alike.values():
        for first in range(0, len(found), QUERIES_AT_ONCE):
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the deadline passed while the batch was searched")
            _search(found[first : first + QUERIES_AT_ONCE], threads)


def _search(alike: Sequence[tuple[Prepared, Leg, DenseSearch]], threads: int) -> None:
    if len(alike) == 1:
        return
    started = time.perf_counter_ns()
    _, leg, search = alike[0]
    vectors = np.stack([one.vector for _, _, one in alike])
    k = leg.query.k
    answers = nearest_many(leg.candidates, search.space, vectors, k, search.effort, threads)
    share = (time.perf_counter_ns() - started) // len(alike)
    for (one, _, dense), answer in zip(alike, answers, strict=True):
        dense.known = k, answer
        one.search_ns += share


def answers(asked: Sequence[Answer | VecdbError], bytes_max: int) -> list[QueryResult | VecdbError]:
    """Return what each query is answered, or its error. bytes_max: of all hits together."""
    found: list[QueryResult | VecdbError] = []
    for one in asked:
        if isinstance(one, VecdbError):
            found.append(one)
            continue
        try:
            result = one(bytes_max)
        except VecdbError as error:
            found.append(error)
            continue
        bytes_max -= len(result.hits) + sum(len(group.hits) for group in result.groups)
        found.append(result)
    return found
