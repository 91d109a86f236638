"""What can be read of a collection at one moment: points by id, in order, and nearest."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from vecdb import kernel
from vecdb.collection.asked import AnyQuery, Asked
from vecdb.collection.batch import Answer, answers, evaluated_once, search_together
from vecdb.collection.explain import Explanation, explained
from vecdb.collection.grouped import GroupSearcher
from vecdb.collection.matches import slot_past
from vecdb.collection.paging import Listing, Paging, Spot, slots_of
from vecdb.collection.part_rows import PartRows
from vecdb.collection.plain import plain_answer, plain_query
from vecdb.collection.points import point_of, vectors_of
from vecdb.collection.reorder import CandidatesOf
from vecdb.collection.search import Prepared, Scale, Searcher, search_of, too_large
from vecdb.collection.view import View
from vecdb.errors import (
    Corrupt,
    DeadlineExceeded,
    NotFound,
    Unavailable,
    VecdbError,
)
from vecdb.outcomes import QueryResult
from vecdb.query.aggregate import Aggregates, Aggregation, aggregate
from vecdb.query.filter import conditions, key_of_filter, matching
from vecdb.query.keyword import check_field
from vecdb.query.search import Candidates, Nearest, among
from vecdb.query.sources import Source
from vecdb.segment.bitmaps import pack
from vecdb.segment.vectors import Effort, mixed
from vecdb.storage.codec import RecordView
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import ReadTxn
from vecdb.types import (
    F32,
    U64,
    Filter,
    HasId,
    HasSpace,
    MatchesText,
    Point,
    Query,
    Space,
    SparseSpace,
    SparseVector,
    Wanted,
)
from vecdb.write.prepare import check_id, unknown_space

DRAWS = 50
"""Rows that are looked at for two that have a vector."""


@dataclass(frozen=True, slots=True)
class Found:
    """Points found, ids that are not there, and ids whose record is damaged."""

    points: list[Point]
    missing: list[str]
    damaged: list[str]


class Page(NamedTuple):
    """Points of a list, as the wire has them: see kernel.encode_hits, as_points.

    damaged: ids whose record is. next_token: "" on the last.
    """

    points: bytes
    damaged: list[str]
    next_token: str


class Snapshot:
    """A consistent view of a collection, as long as its block lasts. Entered once."""

    def __init__(
        self,
        uuid: str,
        txn: ReadTxn,
        view: View,
        schema: NumberedSchema,
        now_ms: int,
        deadline: float = math.inf,
    ) -> None:
        """See Collection.snapshot for the deadline. now_ms: what has expired by then is not there.

        The view is of that time too.
        """
        self._uuid = uuid
        self._deadline = deadline
        self._txn = txn
        self._txn.numbered = schema  # of all that is read, also when it has changed since
        self._view = view
        self._schema = schema
        self._now_ms = now_ms

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *raised: object) -> None:
        self._txn.close()

    @property
    def seq(self) -> int:
        """The applied_seq that is seen."""
        return self._txn.state.applied_seq

    def require_seq(self, seq: int) -> None:
        """Raise Unavailable when this snapshot is older than a write the caller knows of."""
        if self.seq < seq:
            raise Unavailable(
                f"this process has applied writes up to {self.seq}, not yet {seq}",
                retry_after_s=0.1,
            )

    def get(self, ids: Sequence[str], wanted: Wanted, bytes_max: int) -> Found:
        """Return the points of those ids, in the order asked.

        Raises LimitExceeded once their records have more than bytes_max bytes.
        """
        left = bytes_max
        for at, name in enumerate(ids):
            check_id(name, f"ids[{at}]")
        found = Found([], [], [])
        for name in dict.fromkeys(ids):
            try:
                record = self._record_of(name)
            except Corrupt:
                found.damaged.append(name)
                continue
            if record is None:
                found.missing.append(name)
            else:
                point = self._point(record, wanted)
                left = _spend(left, point, bytes_max)
                found.points.append(point)
        return found

    def vector_of(self, name: str, space: str, field: str) -> F32 | SparseVector:
        """Return the stored vector of a point, which a request's field names.

        Raises InvalidArgument, NotFound, Corrupt.
        """
        check_id(name, field)
        record = self._record_of(name)
        if record is None:
            raise NotFound(f"no point {name!r} to search near to", id=name)
        vectors, sparse = self._vectors(record)
        vector = vectors.get(space, sparse.get(space))
        if vector is None:
            raise NotFound(f"point {name!r} has no vector in space {space!r}", id=name)
        return vector

    def examples(self, names: Sequence[str], space: str, field: str) -> dict[str, F32]:
        """Return the stored vectors of points in a dense space. field: of the request, for errors.

        Raises InvalidArgument, Corrupt, and NotFound, which names all that lack a vector.
        """
        found: dict[str, F32] = {}
        missing: list[str] = []
        for name in names:
            check_id(name, field)
            record = self._record_of(name)
            vector = None if record is None else self._vectors(record)[0].get(space)
            if vector is None:
                missing.append(name if record is None else f"{name} (no vector)")
            else:
                found[name] = vector
        if missing:
            raise NotFound(
                f"examples that have no vector in space {space!r}, or are not there: "
                f"{', '.join(map(repr, missing))}",
                field=field,
            )
        return found

    def vectors_of(self, name: str, space: str, field: str) -> F32:
        """Return the vectors (n, dim) of a point in a multi-dense space; as vector_of."""
        found = self.vector_of(name, space, field)
        assert not isinstance(found, SparseVector)
        return found

    def slot_of(self, name: str) -> int | None:
        """Return the slot of an id, or None when there is none."""
        return next(iter(self._txn.slots_of([name.encode()]).values()), None)

    def _record_of(self, name: str) -> RecordView | None:
        """Return the record of an id, or None when there is none. Raises Corrupt."""
        for slot in self._txn.slots_of([name.encode()]).values():
            record = self._txn.record(slot)
            if record is None:
                raise Corrupt(f"id {name!r} names slot {slot}, which has no record")
            return None if record.has_expired(self._now_ms) else record
        return None

    def count(self, filter: Filter | None) -> int:
        """Return the exact number of points that match."""
        return self._matched(filter, [] if filter is None else self._candidates(filter))

    def matches(self, filter: Filter, after: int, upto: int) -> U64:
        """Return the slots of points that match, of versions past `after` and up to `upto`.

        Ascending. Raises DeadlineExceeded.
        """
        first, end = slot_past(self._txn, after), slot_past(self._txn, upto)
        within: list[Candidates] = []
        for live in self._view.parts:
            rows = live.part.rows
            lows, highs = np.searchsorted(live.part.slots[:rows], np.array([first, end], "<u8"))
            inside = np.zeros(rows, np.bool_)
            inside[lows:highs] = True
            mask = pack(inside) if live.alive is None else pack(inside) & live.alive
            within.append(Candidates(live.part, mask, kernel.count_bits(mask, rows), live.alive))
        return slots_of(self._candidates(filter, within))

    def aggregate(self, asked: Sequence[Aggregation], filter: Filter | None) -> Aggregates:
        """Return counts and sums over all points that match. Raises DeadlineExceeded."""
        return aggregate(asked, self._sources(filter))

    def page(
        self,
        listing: Listing,
        size: int,
        token: str,
        wanted: Wanted,
        bytes_max: int,
        until: float = math.inf,
    ) -> Page:
        """Return up to `size` points of a listing, from a page token on.

        The page ends early before its records have more than bytes_max bytes, one point aside, and,
        by id, where points that match are so rare that it is not full at `until`, of
        time.monotonic.
        """
        paging = Paging(self._uuid, self._txn, listing, self._deadline)
        after, order = paging.mark(token), listing.order
        if order is None:
            matching = self._matching_among(listing.filter)
            spots = paging.by_id(after, matching, self._view.expired, until)
        else:
            spots = paging.in_order(order, after, self._sources(listing.filter), size + 1)
        taken: list[Spot] = []
        records: list[bytes | memoryview | None] = []
        next_token, left = "", bytes_max
        for spot in spots:
            if spot.slot is None:
                next_token = paging.token(spot)
                break
            record = None if isinstance(spot.slot, Corrupt) else self._txn.sealed(spot.slot)
            left -= 0 if record is None else len(record)
            if taken and (left < 0 or len(taken) == size):
                next_token = paging.token(taken[-1])
                break
            taken.append(spot)
            records.append(record)
        slots = [spot.slot if isinstance(spot.slot, int) else 0 for spot in taken]
        points = self._txn.encode_points(slots, records, wanted)
        damaged = [paging.name_of(taken[at]) for at in points.damaged]
        return Page(points.hits, [name for name in damaged if name is not None], next_token)

    def _matching_among(self, filter: Filter | None) -> Callable[[U64], U64] | None:
        """Return what tells the slots that match from some that are live; None where all do."""
        if filter is None:
            return None
        self._check_of_points(filter)
        every = self._candidates(None)
        return lambda slots: slots_of(self._candidates(filter, among(every, slots)))

    def space(self, name: str) -> Space | None:
        """Return the space of that name, or None."""
        return self._schema.schema.space(name)

    def sparse_space(self, name: str) -> SparseSpace | None:
        """Return the sparse space of that name, or None."""
        return self._schema.schema.sparse_space(name)

    def rank(self, query: Query, effort: Effort) -> Nearest:
        """Return what query() finds with some effort, not fetched.

        Raises InvalidArgument, DeadlineExceeded.
        """
        if time.monotonic() > self._deadline:
            raise DeadlineExceeded("the deadline passed while recall was measured")
        search, _ = search_of(query, self._schema.schema, effort)
        return search(self._candidates(query.filter), query.k)

    def mixed_vector(self, space: Space, chosen: random.Random) -> F32 | None:
        """Return a query made of two stored vectors, or None where there are too few."""
        rows = [live.part.rows for live in self._view.parts]
        pair: list[F32] = []
        for _ in range(DRAWS):
            if len(pair) == 2 or not sum(rows):
                break
            (part,) = chosen.choices(self._view.parts, rows)
            slot = int(part.part.slots[chosen.randrange(part.part.rows)])
            record = self._txn.record(slot)
            vector = self._vectors(record)[0].get(space.name) if record is not None else None
            if vector is not None:
                pair.append(vector)
        if len(pair) < 2:
            return None
        query: F32 = mixed(pair[0][None], pair[1][None], space.metric)[0]
        return query

    def query(
        self,
        query: AnyQuery | Asked,
        wanted: Wanted,
        bytes_max: int,
        scale: Scale = lambda space: 1.0,
    ) -> QueryResult:
        """Return the points that fit a query best, or several legs of one. See Searcher.answer."""
        asked = query if isinstance(query, Asked) else Asked.one(query)
        plain = plain_query(asked)
        if plain is not None:
            started = time.perf_counter_ns()
            candidates = self._candidates(asked.filter)
            result = plain_answer(
                plain,
                candidates,
                self._txn,
                self._schema.schema,
                scale(plain.space),
                self._matched(asked.filter, candidates),
                wanted,
                bytes_max,
                time.perf_counter_ns() - started,
            )
            if result is not None:
                return result
        searcher = self._searcher(asked, self._candidates)
        return searcher.answer(searcher.prepared(asked, scale), wanted, bytes_max)

    def explain(self, asked: Asked, wanted: Wanted, bytes_max: int, scale: Scale) -> Explanation:
        """Return what query() does, and how it came about."""
        searcher = self._searcher(asked, self._candidates)
        prepared = searcher.prepared(asked, scale)
        result = searcher.answer(prepared, wanted, bytes_max)
        return Explanation(result, explained(prepared, self._txn, bytes_max, self._deadline))

    def query_many(
        self,
        queries: Sequence[tuple[Asked, Wanted]],
        bytes_max: int,
        scale: Scale,
        threads: int,
    ) -> list[QueryResult | VecdbError]:
        """Return what query() does for each of some queries, or raises. bytes_max: of all hits."""
        candidates_of = evaluated_once(self._candidates)
        asks: list[Answer | VecdbError] = []
        known: list[Prepared] = []
        for asked, wanted in queries:
            try:
                searcher = self._searcher(asked, candidates_of)
                prepared = searcher.prepared(asked, scale)
            except VecdbError as error:
                asks.append(error)
                continue
            known.append(prepared)
            asks.append(partial(searcher.answer, prepared, wanted))
        search_together(known, threads, self._deadline)
        return answers(asks, bytes_max)

    def _searcher(self, asked: Asked, candidates_of: CandidatesOf) -> Searcher:
        kind = Searcher if asked.group is None else GroupSearcher
        return kind(self._txn, self._schema, candidates_of, self._points, self._deadline)

    @property
    def _points(self) -> int:
        """How many there are."""
        return self._txn.state.points - len(self._view.expired)

    def _matched(self, filter: Filter | None, candidates: list[Candidates]) -> int:
        if filter is None:
            return self._points
        return sum(candidate.count for candidate in candidates)

    def _candidates(
        self, filter: Filter | None, within: Sequence[Candidates] | None = None
    ) -> list[Candidates]:
        """Return the rows of each part that match a filter. within: of these; None for all."""
        if within is None:
            within = [
                Candidates(live.part, live.alive, live.part.rows - live.dead, live.alive)
                for live in self._view.parts
            ]
        if filter is None:
            return list(within)
        self._check_of_points(filter)
        key = key_of_filter(filter)
        found: list[Candidates] = []
        for one in within:
            part, mask = one.part, one.mask
            if part.rows:
                matched = matching(filter, PartRows(part, self._txn, self._deadline), mask, key)
                mask = matched if mask is None else mask & matched
                one = Candidates(part, mask, kernel.count_bits(mask, part.rows), one.alive)
            found.append(one)
        return found

    def _check_of_points(self, filter: Filter) -> None:
        """Raise InvalidArgument for conditions that name what no point can be, or have."""
        for condition in conditions(filter):
            if isinstance(condition, HasId):
                for name in condition.ids:
                    check_id(name, "filter")
            elif isinstance(condition, HasSpace):
                if condition.space not in self._schema.numbers:
                    raise unknown_space(condition.space, self._schema.schema, "filter")
            elif isinstance(condition, MatchesText):
                check_field(condition.path, self._schema.schema, "filter")

    def _sources(self, filter: Filter | None) -> list[Source]:
        return [
            Source(candidates, PartRows(candidates.part, self._txn, self._deadline))
            for candidates in self._candidates(filter)
        ]

    def _vectors(self, record: RecordView) -> tuple[dict[str, F32], dict[str, SparseVector]]:
        return vectors_of(record, self._schema)

    def _point(self, record: RecordView, wanted: Wanted) -> Point:
        return point_of(record, self._schema, wanted)


def _spend(left: int, point: Point, bytes_max: int) -> int:
    """Return what is left of a reply's bytes after a point. Raises LimitExceeded."""
    left -= len(point.payload) + sum(vector.nbytes for vector in point.vectors.values())
    left -= sum(len(text) for text in point.texts.values())
    left -= sum(8 * len(vector.indices) for vector in point.sparse.values())
    if left < 0:
        raise too_large(bytes_max)
    return left
