"""Rules of what is done with the best that were found: ordered anew, grouped, chosen to differ."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.stateful import rule

from tests.machine.base import Machine, check_hits, wired
from tests.machine.coverage import exercises
from tests.machine.draw import EQUAL, FEW, FILTERS, OFFSETS, SEVERAL, SOME, VECTORS
from tests.machine.model import DISTANCES, ranked
from tests.model import exact
from tests.read_model import kind_and_value, values_at
from vecdb.types import Filter
from vecdb_client import Boost, Decay, Hit, MaxSim, Mmr, Prefer

ENOUGH = 100
"""Candidates: more than there are points."""


class Reorders(Machine):
    """What changes the order of hits, and makes groups of them."""

    @rule(query=VECTORS, filter=FILTERS, by=SOME, weight=st.sampled_from([50.0, -1.0]), k=FEW)
    @exercises("Search.Query", "Adjustment.filter", "Adjustment.decay")
    def boost(
        self, query: list[float], filter: Filter | None, by: Filter, weight: float, k: int
    ) -> None:
        boost = Boost([Prefer(wired(by), weight), Decay("a", 1, 2.0, 8.0, curve="linear")], ENOUGH)
        preferred = self.model.matching(by)
        expected = ranked(
            (score + weight * (name in preferred) + 8 * self.decay(name), name)
            for score, name in self.model.near("", query, filter)
        )
        result = self.collection.search(query, k=k, filter=wired(filter), boost=boost)
        check_hits(result.hits, expected, k)

    def decay(self, name: str) -> float:
        """1 at 1, half of it 2 away, and on in a line."""
        held = [exact(value) for value in values_at(self.model.points[name].payload, "a")]
        near = min((abs(min(float(n), 1e308) - 1) for n in held if n is not None), default=1e308)
        return max(0.0, 1 - near / 4)

    @rule(query=VECTORS, filter=FILTERS, k=FEW, relevance=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    @exercises("Search.Query")
    def choose_unlike_hits(
        self, query: list[float], filter: Filter | None, k: int, relevance: float
    ) -> None:
        """Each hit is the best choice beside those before it."""
        result = self.collection.search(
            query, k=k, filter=wired(filter), mmr=Mmr(relevance, candidates=ENOUGH)
        )
        scores = {name: score for score, name in self.model.near("", query, filter)}
        assert len(result) == min(k, len(scores))
        low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
        if high - low < 1e-3 * (1 + abs(high)):
            return  # relevance is made of rounding errors
        taken: list[str] = []
        for hit in result:
            values = {
                name: relevance * (score - low) / (high - low)
                - (1 - relevance) * max((self.alike(name, one) for one in taken), default=0.0)
                for name, score in scores.items()
                if name not in taken
            }
            assert values[hit.id] >= max(values.values()) - 1e-3
            taken.append(hit.id)

    def alike(self, one: str, other: str) -> float:
        a, b = (
            np.asarray(self.model.points[name].vectors[""], np.float64) for name in (one, other)
        )
        if self.metric in DISTANCES:
            return 1 / (1 + float(np.linalg.norm(a - b, DISTANCES[self.metric])))
        return max(0.0, float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))

    @rule(query=VECTORS, several=SEVERAL, filter=FILTERS, k=FEW, offset=OFFSETS)
    @exercises("Search.Query", "Rerank.max_sim")
    def rerank(
        self, query: list[float], several: list, filter: Filter | None, k: int, offset: int
    ) -> None:
        """What has no vectors in the space is left out, and counted."""
        result = self.collection.search(
            query, k=k, offset=offset, filter=wired(filter), rerank=MaxSim(several, "late", ENOUGH)
        )
        found = {name for _, name in self.model.near("", query, filter)}
        late = self.model.near("late", several, filter)
        expected = [one for one in late if one[1] in found]
        check_hits(result.hits, expected, k, offset)
        absent = len(found) - len(expected)
        assert [warning.split()[0] for warning in result.warnings] == [str(absent)][: bool(absent)]

    @rule(
        query=VECTORS,
        filter=FILTERS,
        path=st.sampled_from(["a", "b", "a.b"]),
        k=st.integers(1, 5),
        size=st.integers(1, 3),
        offset=OFFSETS,
        by=st.none() | EQUAL,
        several=st.none() | SEVERAL,
        few=st.booleans(),
    )
    @exercises("Search.Query")
    def group(
        self,
        query: list[float],
        filter: Filter | None,
        path: str,
        k: int,
        size: int,
        offset: int,
        by: Filter | None,
        several: list | None,
        few: bool,
    ) -> None:
        """Groups are those of the list without them: of all that match, or of the candidates."""
        candidates = (offset + k) * size if few else ENOUGH
        asked: dict = {"filter": wired(filter), "k": candidates}
        if by is not None:
            asked["boost"] = Boost([Prefer(wired(by), 50.0)], candidates)
        if several is not None:
            asked["rerank"] = MaxSim(several, "late", candidates)
        if by is None and several is None:
            asked["k"] = ENOUGH
        flat = self.collection.search(query, **asked)
        grouped = {**asked, "k": k, "offset": offset, "group": path, "group_size": size}
        found = self.collection.search(query, **grouped)
        expected: dict[object, list[float]] = {}
        for hit in flat:
            for key in self.keys_of(hit, path):
                expected.setdefault(key, []).append(hit.score)
        best = sorted((scores[0] for scores in expected.values()), reverse=True)
        assert [one.hits[0].score for one in found.groups] == pytest.approx(
            best[offset : offset + k], rel=1e-5, abs=1e-5
        )
        keys = [kind_and_value(one.value) for one in found.groups]
        assert len(set(keys)) == len(keys)
        for key, one in zip(keys, found.groups, strict=True):
            assert [hit.score for hit in one.hits] == expected[key][:size]
            assert all(key in self.keys_of(hit, path) for hit in one.hits)

    def keys_of(self, hit: Hit, path: str) -> set:
        held = values_at(self.model.points[hit.id].payload, path)
        return {kind_and_value(value) for value in held} - {None}
