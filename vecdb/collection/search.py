"""One query of a snapshot: its legs are searched, several of them fused, and the hits fetched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from vecdb import kernel
from vecdb.collection.asked import AnyQuery, Asked, OneSearch
from vecdb.collection.cross import CrossEncoding, TextScorer
from vecdb.collection.late import Judges, Scorer, asked_of, reranked
from vecdb.collection.part_rows import PartRows
from vecdb.collection.reorder import CandidatesOf, Reorder
from vecdb.errors import Corrupt, DeadlineExceeded, LimitExceeded, VecdbError
from vecdb.multi import MultiQuery, Rerank
from vecdb.outcomes import QueryResult
from vecdb.query.fusion import LegHits, Rrf, fused
from vecdb.query.keyword import best_matches, sought
from vecdb.query.maxsim import Scored, nearest_multi
from vecdb.query.order import OrderQuery, first_in_order
from vecdb.query.recommend import BestScoreQuery, Examples, best_scored
from vecdb.query.search import Candidates, Nearest, nearest
from vecdb.query.sources import Source
from vecdb.query.sparse import nearest_sparse
from vecdb.segment.vectors import Effort, scores_and_distances
from vecdb.storage.hits import Ranked
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import ReadTxn
from vecdb.traces import note
from vecdb.types import (
    F32,
    KeywordQuery,
    Metric,
    Query,
    Schema,
    Space,
    SparseQuery,
    Wanted,
)
from vecdb.write.prepare import check_vector, unknown_space
from vecdb.write.sparse import LENGTH_MAX

SPARE = 8
"""Candidates past k and the damaged records met, so that those cost nobody else's place."""

ID_ALONE = Wanted(payload=False)

NOTHING = Nearest([], [], [], 0)
NO_EFFORT = Effort()

Search: TypeAlias = Callable[[Sequence[Candidates], int], Nearest]
"""From candidates and k to the best."""
Scale: TypeAlias = Callable[[str], float]
"""By how much more than was measured the queries of a space need as ef."""


@dataclass(slots=True)
class Leg:
    """A leg about to be searched. found: by the last search."""

    query: AnyQuery
    search: Search
    metric: Metric
    candidates: Sequence[Candidates]
    found: Nearest = NOTHING

    @property
    def ranked(self) -> Ranked:
        """What was found, with scores and distances."""
        found = self.found
        return Ranked(found.slots, *scores_and_distances(self.metric, found.scores))


@dataclass(slots=True)
class Prepared:
    """A query about to be searched for.

    candidates: what the filter of all legs lets through. filter_ns: what finding them took; rerank:
    what takes the second look; search_ns: what searches took that were made for it already.
    """

    asked: Asked
    candidates: list[Candidates]
    legs: list[Leg]
    filter_ns: int
    rerank: Judges | None = None
    search_ns: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that models have read for it."""
        return self.asked.tokens + (self.rerank.tokens if self.rerank else 0)


class Searcher:
    """Answers queries within a snapshot's block: first prepared, then answered."""

    def __init__(
        self,
        txn: ReadTxn,
        schema: NumberedSchema,
        candidates_of: CandidatesOf,
        points: int,
        deadline: float,
    ) -> None:
        """points: how many there are."""
        self._txn = txn
        self._numbered = schema
        self._schema = schema.schema
        self._unread: set[int] = set()  # damaged records that were to be scored
        self._reranked: Scored | None = None
        self._candidates_of = candidates_of
        self._points = points
        self._deadline = deadline
        self._reorder = Reorder(txn, candidates_of, deadline)

    def prepared(self, asked: Asked, scale: Scale) -> Prepared:
        """Return a query with its filters evaluated. Raises InvalidArgument, DeadlineExceeded.

        The field of an error about a leg begins ``legs[n].``.
        """
        started = time.perf_counter_ns()
        if asked.mmr is not None:
            self._dense(asked.mmr.space, "mmr.space")
        candidates = self._candidates_of(asked.filter, None)
        legs = self._legs(asked, candidates, scale)
        rerank = None if asked.rerank is None else self._judges(asked.rerank)
        note("plan", started, legs=len(legs))
        return Prepared(asked, candidates, legs, time.perf_counter_ns() - started, rerank)

    def answer(self, prepared: Prepared, wanted: Wanted, bytes_max: int) -> QueryResult:
        """Return the hits. Raises DeadlineExceeded.

        Raises LimitExceeded once the hits have more than bytes_max bytes.
        """
        asked, legs = prepared.asked, prepared.legs
        started = time.perf_counter_ns()
        ranked = self._ranked(legs, asked, prepared.rerank, 0)
        searched = time.perf_counter_ns()
        page, skipped = self._skipped(ranked, asked.offset) if asked.offset else (ranked, 0)
        fetched = self._txn.encode_hits(page, asked.k, bytes_max, wanted)
        damaged = skipped + len(fetched.damaged)
        if damaged and fetched.found < asked.k:  # others take their places
            ranked = self._ranked(legs, asked, prepared.rerank, damaged + SPARE)
            page, _ = self._skipped(ranked, asked.offset)
            fetched = self._txn.encode_hits(page, asked.k, bytes_max, wanted)
        if len(fetched.hits) > bytes_max:
            raise too_large(bytes_max)
        note("fetch", searched, hits=fetched.found)
        ailments = self._ailments([page.slots[at] for at in fetched.damaged])
        told = warnings_of(legs)
        return QueryResult(
            hits=fetched.hits,
            found=fetched.found,
            plan=plan(legs, asked, len(ranked.slots)),
            matched=self._matched(prepared),
            commit_seq=self._txn.state.applied_seq,
            complete=not (ailments or told),
            warnings=(*ailments, *told, *self._absent(asked)),
            timings_us=timings_us(prepared, started, searched),
            tokens=prepared.tokens,
            next_token=asked.token(
                fetched.found, more=len(page.slots) > fetched.found + len(fetched.damaged)
            ),
        )

    def _matched(self, prepared: Prepared) -> int:
        """Return how many points the filter of all legs lets through."""
        if prepared.asked.filter is None:
            return self._points
        return sum(one.count for one in prepared.candidates)

    def _legs(self, asked: Asked, candidates: list[Candidates], scale: Scale) -> list[Leg]:
        """Return the legs, ready to be searched among what the filter of all lets through."""
        legs: list[Leg] = []
        known: dict[str, list[Candidates]] = {}  # equal filters are evaluated once
        for at, query in enumerate(asked.legs):
            chosen, effort = candidates, NO_EFFORT
            if isinstance(query, (Query, BestScoreQuery)):
                effort = Effort(query.ef, query.exact, scale(query.space))
            try:
                search, metric = self._search_of(query, effort)
                if query.filter is not None and query.filter is not asked.filter:
                    key = repr(query.filter)  # to Python 1, 1.0 and True are equal
                    if key not in known:
                        known[key] = self._candidates_of(query.filter, candidates)
                    chosen = known[key]
            except VecdbError as error:
                error.field = f"legs[{at}].{error.field}" if error.field else ""
                raise
            legs.append(Leg(query, search, metric, chosen))
        return legs

    def _search_of(self, query: AnyQuery, effort: Effort) -> tuple[Search, Metric]:
        if isinstance(query, MultiQuery):
            return self._late(query), Metric.DOT
        if isinstance(query, BestScoreQuery):
            return self._best_scored(query, effort), Metric.DOT
        if not isinstance(query, OrderQuery):
            return search_of(query, self._schema, effort)
        order = query.order

        def search(candidates: Sequence[Candidates], k: int) -> Nearest:
            rows = [PartRows(one.part, self._txn, self._deadline) for one in candidates]
            return first_in_order(list(map(Source, candidates, rows)), order, k)

        return search, Metric.DOT

    def _best_scored(self, query: BestScoreQuery, effort: Effort) -> Search:
        space = self._dense(query.space, "space")
        examples = Examples(
            [_comparable(one, space) for one in query.positive],
            [_comparable(one, space) for one in query.negative],
        )
        deadline = self._deadline
        return lambda candidates, k: best_scored(candidates, space, examples, k, effort, deadline)

    def _judges(self, asked: Rerank | CrossEncoding) -> Judges:
        if isinstance(asked, Rerank):
            return self._scorer(asked, "rerank.max_sim.")
        return TextScorer(self._txn, self._numbered, asked, self._deadline)

    def _scorer(self, query: MultiQuery | Rerank, field: str) -> Scorer:
        """Return what scores points by a query's vectors. field: what its errors' begin with."""
        try:
            found = asked_of(query, self._numbered)
        except VecdbError as error:
            error.field = field + error.field
            raise
        return Scorer(self._txn, self._numbered, found, self._deadline)

    def _late(self, query: MultiQuery) -> Search:
        scorer, effort = self._scorer(query, ""), Effort(query.ef, query.exact)

        def search(candidates: Sequence[Candidates], k: int) -> Nearest:
            found, scored = nearest_multi(candidates, scorer.asked, k, effort, scorer.score)
            self._unread.update(scored.damaged)
            return found

        return search

    def _ranked(
        self, legs: Sequence[Leg], asked: Asked, rerank: Judges | None, spare: int
    ) -> Ranked:
        """Return what the legs find, spare more of each than was asked for."""
        for at, leg in enumerate(legs):
            if at and time.monotonic() > self._deadline:
                raise DeadlineExceeded(f"the deadline passed before legs[{at}] was searched")
            begun = time.perf_counter_ns()
            leg.found = leg.search(leg.candidates, leg.query.k + spare)
            note("leg", begun, kind=type(leg.query).__name__)
        if len(legs) == 1:
            ranked = legs[0].ranked
        else:
            ranked = _fused([leg.ranked for leg in legs], asked)
        if rerank is not None and asked.rerank is not None:
            ranked, self._reranked = reranked(ranked, asked.rerank.candidates + spare, rerank)
            self._unread.update(self._reranked.damaged)
        if asked.boost is not None:
            ranked = self._reorder.boosted(ranked, asked.boost)
        ranked = self._passed(ranked, asked)
        if asked.mmr is not None:
            space = self._dense(asked.mmr.space, "mmr.space")
            count = asked.offset + asked.k + asked.ahead + spare
            ranked = self._reorder.diverse(ranked, asked.mmr, space, count)
        return ranked

    def _passed(self, ranked: Ranked, asked: Asked) -> Ranked:
        """Return those of at least the least score, compared as scores are sent."""
        if asked.min_score is None:
            return ranked
        passed = np.array(ranked.scores, np.float32) >= np.float32(asked.min_score)
        return ranked.part(0, int(np.count_nonzero(passed)))

    def _dense(self, name: str, field: str) -> Space:
        space = self._schema.space(name)
        if space is None:
            raise unknown_space(name, self._schema, field)
        return space

    def _absent(self, asked: Asked) -> list[str]:
        """Return a warning of candidates that a re-ranking had to leave out."""
        if self._reranked is None or asked.rerank is None or not self._reranked.absent:
            return []
        lacking = asked.rerank.lacking
        return [f"{self._reranked.absent} candidates have no {lacking}, and were left out"]

    def _skipped(self, ranked: Ranked, offset: int) -> tuple[Ranked, int]:
        """Return what comes after so many hits, and how many damaged records were met before.

        They are looked at, so that no damaged one shifts the pages.
        """
        if not offset:
            return ranked, 0
        before = self._txn.encode_hits(ranked, offset, 1 << 62, ID_ALONE)
        damaged = len(before.damaged)
        return ranked.part(before.found + damaged), damaged

    def _ailments(self, damaged: Iterable[int]) -> list[str]:
        """Return why these points, and those that could not be scored, are not returned."""
        slots = [*damaged, *sorted(self._unread)] if self._unread else damaged
        return [self._ailment(slot) for slot in slots]

    def _ailment(self, slot: int) -> str:
        """Return why a slot that was found could not be returned."""
        try:
            if self._txn.record(slot) is None:
                return f"slot {slot} of a segment has no record: run vecdb check"
            return f"a point was left out: record points/{slot} holds a vector that is none"
        except Corrupt as error:
            return f"a point was left out: {error}"


def _fused(lists: Sequence[Ranked], asked: Asked) -> Ranked:
    given = [LegHits(one.slots, one.scores) for one in lists]
    slots, scores, leg_ranks, leg_scores = fused(given, asked.weights, asked.fusion)
    return Ranked(slots, scores, [0.0] * len(slots), leg_ranks, leg_scores)


@dataclass(slots=True)
class DenseSearch:
    """Ranks candidates by their nearness to a vector, in comparable form.

    known: what was found already, for so many.
    """

    space: Space
    vector: F32
    effort: Effort
    known: tuple[int, Nearest] | None = None

    def __call__(self, candidates: Sequence[Candidates], k: int) -> Nearest:
        """Return the k nearest candidates."""
        if self.known is not None and self.known[0] == k:
            return self.known[1]
        return nearest(candidates, self.space, self.vector, k, self.effort)


def timings_us(prepared: Prepared, started: int, searched: int) -> dict[str, int]:
    """Return the microseconds of each stage; started, searched: of time.perf_counter_ns."""
    return {
        "filter": prepared.filter_ns // 1000,
        "search": (prepared.search_ns + searched - started) // 1000,
        "fetch": (time.perf_counter_ns() - searched) // 1000,
    }


def search_of(query: OneSearch, schema: Schema, effort: Effort) -> tuple[Search, Metric]:
    """Return how a query ranks candidates, and as what its scores count. Raises its errors."""
    if isinstance(query, KeywordQuery):
        asked = sought(query, schema)
        return lambda candidates, k: best_matches(candidates, asked, k), Metric.DOT
    if isinstance(query, SparseQuery):
        terms, sparse = schema.sparse_space(query.space), query.vector
        if terms is None:
            raise unknown_space(query.space, schema, "space", sparse=True)
        return lambda candidates, k: nearest_sparse(candidates, terms, sparse, k), Metric.DOT
    space = schema.space(query.space)
    if space is None:
        raise unknown_space(query.space, schema, "space")
    return DenseSearch(space, _comparable(query.vector, space), effort), space.metric


def too_large(bytes_max: int) -> LimitExceeded:
    """Return the error of a reply that would have more bytes than it may."""
    return LimitExceeded(
        f"the reply would have more than {bytes_max} bytes",
        hint="ask for fewer points, or without payload and vectors",
    )


def _comparable(vector: F32, space: Space) -> F32:
    """Return a query in the form that scans compare. Raises InvalidArgument."""
    sound = kernel.comparable_query(vector, space.dim, space.metric is Metric.COSINE, LENGTH_MAX)
    if sound is not None:
        return sound
    check_vector(vector, space)  # which says what is wrong, unless it is of length 0 and may be
    return np.ascontiguousarray(vector)


def warnings_of(legs: Sequence[Leg]) -> tuple[str, ...]:
    """Return what the legs could not search."""
    return tuple(dict.fromkeys([one for leg in legs for one in leg.found.warnings]))


def plan(legs: Sequence[Leg], asked: Asked, count: int) -> str:
    """Return how the legs were searched and fused, in words. count: of the points they found."""
    if len(legs) == 1:
        return way(legs[0].query, legs[0].found) + _reordered(asked)
    words = [
        f"legs[{at}] {way(leg.query, leg.found)}, {len(leg.found.slots)} found"
        for at, leg in enumerate(legs)
    ]
    if isinstance(asked.fusion, Rrf):
        how = f"rrf (k {asked.fusion.k})"
    else:
        how = f"weighted ({asked.fusion.normalization.name.lower()})"
    weights = ", ".join(f"{weight:g}" for weight in asked.weights)
    return (
        f"{'; '.join(words)}; fused by {how}, weights {weights}: {count} points{_reordered(asked)}"
    )


def _reordered(asked: Asked) -> str:
    """Return what was done with the best of what the legs found."""
    second = asked.rerank
    done = f"; {second.how} over the best {second.candidates}" if second else ""
    done += f"; boosted over the best {asked.boost.candidates}" if asked.boost else ""
    return done + (f"; mmr over the best {asked.mmr.candidates}" if asked.mmr else "")


def way(query: AnyQuery, found: Nearest) -> str:
    """Return which way a leg searched the parts."""
    if isinstance(query, OrderQuery):
        return f"order of {query.order.path!r} in {_parts(found.scanned)}"
    if isinstance(query, MultiQuery) and query.exact:
        return f"maxsim of all {found.scored} points"
    if not isinstance(query, (Query, BestScoreQuery, MultiQuery)):
        return f"postings of {_parts(found.scanned)}"
    words: list[str] = []
    if found.efs:
        low, high = min(found.efs), max(found.efs)
        ef = f"{low}" if low == high else f"{low} to {high}"
        words.append(f"graph walk (ef {ef}) over {_parts(len(found.efs))}")
    if found.scanned or not words:
        words.append(f"exact scan of {_parts(found.scanned)}")
    if isinstance(query, BestScoreQuery):
        examples = len(query.positive), len(query.negative)
        return f"best score beside {examples[0]} and {examples[1]} examples: {', '.join(words)}"
    if isinstance(query, MultiQuery):
        return f"maxsim of the likeliest {found.scored}, by {', '.join(words)}"
    return ", ".join(words)


def _parts(count: int) -> str:
    return f"{count} part" if count == 1 else f"{count} parts"
