"""One query whose hits are grouped: the best groups, each with the best of its hits.

A group is as good as its best hit. Of one leg, what a group holds is what the query would find with
`path equals value` beside its filter: the search goes on among the points of other groups until
there are enough, and groups that it has met too few points of are then searched by themselves. Of
several legs, and of candidates that were ordered anew, groups are those of one list.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from vecdb.collection.asked import Asked
from vecdb.collection.part_rows import PartRows
from vecdb.collection.search import (
    ID_ALONE,
    SPARE,
    Leg,
    Prepared,
    Searcher,
    plan,
    timings_us,
    too_large,
    warnings_of,
    way,
)
from vecdb.errors import Corrupt, DeadlineExceeded
from vecdb.outcomes import GroupHits, QueryResult
from vecdb.query.facets import text_of
from vecdb.query.grouping import IS_BOOL, IS_STRING, Groupings, GroupKey
from vecdb.query.near_misses import nothing_held
from vecdb.query.order import OrderQuery
from vecdb.query.search import Candidates
from vecdb.query.sources import Source
from vecdb.segment.fields import BOOL, KEYWORD, NUMBERS, Json, parse
from vecdb.storage.hits import Ranked
from vecdb.types import Scalar, Wanted

POINTS_PER_GROUP = 4
"""Points searched for, for each group wanted: at first; then twice as many each time."""


class _Found(NamedTuple):
    """Groups, the best first, each with its hits, and how they were found, in words."""

    groups: list[tuple[GroupKey, Ranked]]
    how: str


class GroupSearcher(Searcher):
    """Answers queries that are grouped, within a snapshot's block."""

    def answer(self, prepared: Prepared, wanted: Wanted, bytes_max: int) -> QueryResult:
        """Return the groups `offset` to `offset + k`. Raises as Searcher.answer does."""
        asked, legs = prepared.asked, prepared.legs
        assert asked.group is not None
        started = time.perf_counter_ns()
        sources = [
            Source(one, PartRows(one.part, self._txn, self._deadline))
            for one in prepared.candidates
        ]
        groupings = Groupings(sources, asked.group.path)
        found = self._groups(prepared, groupings, 0)
        searched = time.perf_counter_ns()
        groups, damaged = self._fetched(found, asked, wanted, bytes_max)
        if damaged:  # others take their places
            found = self._groups(prepared, groupings, len(damaged) + SPARE)
            groups, damaged = self._fetched(found, asked, wanted, bytes_max)
        ailments, told = self._ailments(damaged), warnings_of(legs)
        warnings = self._absent(asked)
        if not found.groups:
            what, kinds = "a string, number or bool", (KEYWORD, BOOL, *NUMBERS)
            warnings += nothing_held(asked.group.path, what, kinds, sources)
        return QueryResult(
            hits=b"",
            found=sum(group.found for group in groups),
            groups=groups,
            plan=f"{found.how}; grouped by {asked.group.path!r}: {len(found.groups)} groups",
            matched=self._matched(prepared),
            commit_seq=self._txn.state.applied_seq,
            complete=not (ailments or told),
            warnings=(*ailments, *told, *warnings),
            timings_us=timings_us(prepared, started, searched),
            tokens=prepared.tokens,
            next_token=asked.token(
                len(groups), more=len(found.groups) > asked.offset + len(groups)
            ),
        )

    def _groups(self, prepared: Prepared, groupings: Groupings, spare: int) -> _Found:
        """Return the best groups, and of each the best hits, `spare` more of both than asked."""
        asked, legs = prepared.asked, prepared.legs
        assert asked.group is not None
        count, size = asked.offset + asked.k + asked.ahead + spare, asked.group.size + spare
        if asked.rerank is not None or asked.boost is not None:
            # No other points have a score that could be compared with those of the candidates.
            ranked = self._ranked(legs, asked, prepared.rerank, spare)
            how = plan(legs, asked, len(ranked.slots))
            return _of_list(ranked, groupings.by_key(ranked.slots), count, size, how)
        if len(legs) == 1 and not isinstance(legs[0].query, OrderQuery):
            return self._of_one(legs[0], asked, groupings, count, size)
        return self._of_several(legs, asked, groupings, count, size)

    def _of_one(
        self, leg: Leg, asked: Asked, groupings: Groupings, count: int, size: int
    ) -> _Found:
        found: dict[GroupKey, Ranked] = {}
        short: list[GroupKey] = []
        left = groupings.outside(leg.candidates, ())
        k, rounds, how = count * max(size, POINTS_PER_GROUP), 0, ""
        while True:
            ranked = self._among(leg, left, k, asked)
            rounds += 1
            how = how or way(leg.query, leg.found)
            is_all = len(ranked.slots) < k
            for key, places in groupings.by_key(ranked.slots).items():
                if key in found:  # by a point of several groups; its own were all met before
                    continue
                found[key] = ranked.picked(places[:size])
                if len(places) < size and not is_all:
                    short.append(key)
            if is_all or len(found) >= count:
                break
            left = groupings.outside(leg.candidates, list(found))
            k *= 2
        best = set(_by_best_hit(found)[:count])
        short = [key for key in short if key in best]
        for key in short:
            found[key] = self._among(leg, groupings.inside(leg.candidates, key), size, asked)
        keys = [key for key in _by_best_hit(found) if key in best]
        how += f", {rounds} times" if rounds > 1 else ""
        how += f", then {len(short)} groups by themselves" if short else ""
        return _Found([(key, found[key]) for key in keys], how)

    def _among(self, leg: Leg, candidates: Sequence[Candidates], k: int, asked: Asked) -> Ranked:
        """Return the best of some candidates, those of at least the least score."""
        if time.monotonic() > self._deadline:
            raise DeadlineExceeded(
                "the deadline passed while groups were looked for",
                hint="ask for fewer groups, or for a path of fewer values in a point",
            )
        leg.found = leg.search(candidates, k)
        return self._passed(leg.ranked, asked)

    def _of_several(
        self, legs: Sequence[Leg], asked: Asked, groupings: Groupings, count: int, size: int
    ) -> _Found:
        """Take groups from one fused list, for which legs give more until it has enough.

        What is left out of a leg would change the ranks of the others, as it does the places in an
        order: there is no second list whose scores could be compared with those of the first.
        """
        assert asked.group is not None
        deepest = max(leg.query.k for leg in legs)
        spare = 0
        while True:
            every = self._ranked(legs, asked._replace(min_score=None), None, spare)
            ranked = self._passed(every, asked)
            places = groupings.by_key(ranked.slots)
            is_all = all(len(leg.found.slots) < leg.query.k + spare for leg in legs)
            is_cut = len(ranked.slots) < len(every.slots)  # what comes now is worse
            room = asked.group.leg_k_max - deepest - spare
            if len(places) >= count or is_all or is_cut or room <= 0:
                break
            spare += min(deepest + spare, room)
        return _of_list(ranked, places, count, size, plan(legs, asked, len(every.slots)))

    def _fetched(
        self, found: _Found, asked: Asked, wanted: Wanted, bytes_max: int
    ) -> tuple[tuple[GroupHits, ...], list[int]]:
        """Return the groups asked for, and the slots met whose record is damaged.

        Raises LimitExceeded once they have more than bytes_max bytes.
        """
        assert asked.group is not None
        groups: list[GroupHits] = []
        damaged: dict[int, None] = {}
        left, skip = bytes_max, asked.offset
        for key, ranked in found.groups:
            if len(groups) == asked.k:
                break
            if skip:  # looked at all the same, so that no damage shifts the pages
                first = self._txn.encode_hits(ranked, 1, bytes_max, ID_ALONE)
                damaged.update(dict.fromkeys(ranked.slots[at] for at in first.damaged))
                skip -= first.found
                continue
            hits = self._txn.encode_hits(ranked, asked.group.size, left, wanted)
            damaged.update(dict.fromkeys(ranked.slots[at] for at in hits.damaged))
            left -= len(hits.hits)
            if left < 0:
                raise too_large(bytes_max)
            if hits.found:
                value = self._value(key, asked.group.path, ranked)
                groups.append(GroupHits(value, hits.hits, hits.found))
        return tuple(groups), list(damaged)

    def _value(self, key: GroupKey, path: str, ranked: Ranked) -> Scalar:
        kind, value = key
        if isinstance(value, bytes):
            assert kind == IS_STRING
            return text_of(value, path, self._payloads(ranked.slots))
        return bool(value) if kind == IS_BOOL else value

    def _payloads(self, slots: Sequence[int]) -> Iterator[Json]:
        for slot in slots:
            try:
                record = self._txn.record(slot)
            except Corrupt:
                continue  # its hit is left out, with a warning
            if record is not None:
                yield parse(record.payload)


def _of_list(
    ranked: Ranked, places: dict[GroupKey, list[int]], count: int, size: int, how: str
) -> _Found:
    """Return the first groups of a list. places: where it has the hits of each, as they come."""
    first = islice(places.items(), count)
    return _Found([(key, ranked.picked(at[:size])) for key, at in first], how)


def _by_best_hit(found: dict[GroupKey, Ranked]) -> list[GroupKey]:
    """Return the groups by their best hits; of equal ones the older point first, then by value."""
    held = [key for key, ranked in found.items() if ranked.slots]
    return sorted(held, key=lambda key: (-found[key].scores[0], found[key].slots[0], key))
