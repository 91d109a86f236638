"""Rules that search: near to vectors of each kind, by words, by examples, by several at once."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
from hypothesis.stateful import precondition, rule

from tests.machine.base import Machine, check_hits, check_vectors, wired
from tests.machine.coverage import exercises
from tests.machine.draw import FEW, FILTERS, MASKS, OFFSETS, SEVERAL, SPARSE, TEXTS, VECTORS
from tests.machine.model import Ranking, ranked
from tests.machine.reads import masked
from tests.model import TEXT_FIELDS
from tests.query.test_fusion import reference as fused
from vecdb.query import fusion as query_fusion
from vecdb.query.fusion import LegHits
from vecdb.types import And, Filter, Match
from vecdb_client import (
    Hit,
    InvalidArgument,
    Keyword,
    Mask,
    Near,
    OrderBy,
    PointId,
    Recommend,
    Rrf,
    SearchResult,
    VecdbError,
    Weighted,
)

QUERIES = {"": VECTORS, "late": SEVERAL, "sparse": SPARSE}
RRFS = {Rrf(): query_fusion.Rrf(60), Rrf(3): query_fusion.Rrf(3)}
WEIGHTEDS = {
    Weighted("min_max"): query_fusion.Weighted(query_fusion.Normalization.MIN_MAX),
    Weighted("z_score"): query_fusion.Weighted(query_fusion.Normalization.Z_SCORE),
}
EVERY = 500
"""More than there are points."""


class Searches(Machine):
    """What finds the best points, by one leg or by several."""

    @rule(query=VECTORS, filter=FILTERS, k=FEW, offset=OFFSETS, mask=MASKS, data=st.data())
    @exercises("Search.Query", "Leg.near")
    def search(
        self,
        query: list[float],
        filter: Filter | None,
        k: int,
        offset: int,
        mask: Mask | bool,
        data: st.DataObject,
    ) -> None:
        expected = self.model.near("", query, filter)
        least = data.draw(st.none() | st.sampled_from([s for s, _ in expected] or [0.0]))
        result = self.collection.search(
            query,
            k=k,
            filter=wired(filter),
            offset=offset,
            min_score=least,
            with_payload=mask,
            with_vectors=True,
            exact=data.draw(st.booleans()),
            min_commit_seq=max([one.version for one in self.model.points.values()], default=0),
        )
        assert result.complete
        assert result.matched == len(self.model.matching(filter))
        check_hits(result.hits, expected, k, offset, least)
        for hit in result:
            assert hit.payload == masked(self.model.points[hit.id].payload, mask)
            check_vectors(hit, self.model.points[hit.id].vectors)

    @rule(query=VECTORS, filter=FILTERS, k=st.integers(1, 7))
    @exercises("Search.Query", "Leg.near")
    def search_in_pages(self, query: list[float], filter: Filter | None, k: int) -> None:
        expected = self.model.near("", query, filter)
        found: list[Hit] = []
        token: str | None = ""
        while token is not None:
            page = self.collection.search(query, k=k, filter=wired(filter), page_token=token)
            found += page.hits
            token = page.next_page_token or None
            assert len(page) == k or token is None
        check_hits(tuple(found), expected, EVERY)

    @rule(several=SEVERAL, sparse=SPARSE, filter=FILTERS, k=FEW, exact=st.booleans())
    @exercises("Search.Query", "Leg.near")
    def search_other_spaces(
        self, several: list, sparse: dict, filter: Filter | None, k: int, exact: bool
    ) -> None:
        chosen = wired(filter)
        late = self.collection.search(several, space="late", k=k, filter=chosen, exact=exact)
        check_hits(late.hits, self.model.near("late", several, filter), k)
        found = self.collection.search(sparse=sparse, space="sparse", k=k, filter=chosen)
        check_hits(found.hits, self.model.near("sparse", sparse, filter), k)
        assert late.complete
        assert found.complete

    @precondition(lambda self: self.model.points)
    @rule(data=st.data(), filter=FILTERS)
    @exercises("Search.Query", "Leg.near")
    def search_near_points(self, data: st.DataObject, filter: Filter | None) -> None:
        for space in QUERIES:
            names = self.model.with_vector(space)
            if not names:
                assert not self.collection.search(**near(space, data), k=EVERY).hits
                continue
            name = data.draw(st.sampled_from(names))
            vector = self.model.points[name].vectors[space]
            found = self.collection.search(PointId(name), space=space, filter=wired(filter), k=3)
            check_hits(found.hits, self.model.near(space, vector, filter), 3)

    @rule(text=TEXTS.filter(bool), filter=FILTERS, k=FEW, both=st.booleans())
    @exercises("Search.Query", "Leg.keyword")
    def search_words(self, text: str, filter: Filter | None, k: int, both: bool) -> None:
        fields = list(TEXT_FIELDS)[: 2 if both else 1]
        for match in ("any", "all", "phrase"):
            found = self.collection.search(
                keyword=text, match=match, fields=fields, k=k, filter=wired(filter)
            )
            expected = self.model.by_words(text, Match[match.upper()], fields, filter)
            check_hits(found.hits, expected, k)

    @precondition(lambda self: self.model.with_vector(""))
    @rule(data=st.data(), filter=FILTERS, k=FEW, path=st.sampled_from(["a", "b"]))
    @exercises("Search.Query", "Leg.recommend", "Leg.order_by")
    def search_by_examples(
        self, data: st.DataObject, filter: Filter | None, k: int, path: str
    ) -> None:
        names = st.sampled_from(self.model.with_vector(""))
        positive = data.draw(st.lists(names, min_size=1, max_size=2))
        negative = data.draw(st.lists(names, max_size=2))
        examples = [PointId(name) for name in positive], [PointId(name) for name in negative]
        found = self.collection.search(
            legs=[Recommend(*examples, "best_score")], k=k, filter=wired(filter)
        )
        expected = self.model.best_scored(positive, negative, filter)
        assert len(found) == min(k, len(expected))
        # The very sign may be up to rounding where a positive and a negative are as near.
        sizes = {name: score**2 for score, name in expected}
        for hit in found:
            assert math.isclose(hit.score**2, sizes[hit.id], abs_tol=1e-4)
        average = self.model.average(positive, negative)
        if np.linalg.norm(average) > 0.1:  # else it is made of rounding errors
            found = self.collection.search(legs=[Recommend(*examples)], k=k, filter=wired(filter))
            of_all = self.model.near("", average, filter)
            check_hits(found.hits, [one for one in of_all if one[1] not in positive + negative], k)
        listed = self.collection.list(wired(filter), order_by=path)
        ordered = self.collection.search(legs=[OrderBy(path)], k=EVERY, filter=wired(filter))
        assert [hit.id for hit in ordered] == [point.id for point in listed]

    @rule(
        data=st.data(),
        filter=FILTERS,
        k=FEW,
        offset=OFFSETS,
        kinds=st.lists(st.sampled_from([*QUERIES, "words", "order"]), min_size=2, max_size=4),
        rrf=st.sampled_from(list(RRFS)),
        weighted=st.sampled_from(list(WEIGHTEDS)),
    )
    @exercises("Search.Explain", "Search.Query", "Fusion.rrf", "Fusion.weighted")
    def search_by_several_legs(
        self,
        data: st.DataObject,
        filter: Filter | None,
        k: int,
        offset: int,
        kinds: list[str],
        rrf: Rrf,
        weighted: Weighted,
    ) -> None:
        """Explained: each leg is what it finds by itself, and the hits are what is made of them."""
        names = list(self.model.points)
        legs, expected, weights = [], [], []
        for kind in kinds:
            own, weight = data.draw(FILTERS), data.draw(st.sampled_from([1.0, 0.5, 3.0]))
            leg, ranking = self.leg(kind, data, filter, own, weight)
            legs.append(leg)
            expected.append(ranking)
            weights.append(weight)
        for fusion, how in ((rrf, RRFS[rrf]), (weighted, WEIGHTEDS[weighted])):
            chosen = wired(filter)
            asked = {"legs": legs, "fusion": fusion, "k": k, "offset": offset, "filter": chosen}
            explained = self.collection.explain(asked)
            given = []
            for leg, ranking in zip(explained.legs, expected, strict=True):
                if ranking is not None:
                    check_hits(leg.hits, ranking, EVERY)
                slots = [names.index(hit.id) for hit in leg.hits]
                given.append(LegHits(slots, [hit.score for hit in leg.hits]))
            scores = fused(given, weights, how)
            ranking = ranked((score, names[slot]) for slot, score in scores.items())
            check_hits(explained.result.hits, ranking, k, offset)
            assert shown(self.collection.search(**asked)) == shown(explained.result)
        if filter is not None and not isinstance(filter, And):
            (condition,) = explained.conditions
            assert condition.matched == len(self.model.matching(filter))

    def leg(
        self,
        kind: str,
        data: st.DataObject,
        filter: Filter | None,
        own: Filter | None,
        weight: float,
    ) -> tuple[Near | Keyword | OrderBy, Ranking | None]:
        """Return a leg, and what it must find; None where its order is the batches' business."""
        rest = {"filter": wired(own), "weight": weight, "k": EVERY}
        if kind == "words":
            text, path = data.draw(TEXTS.filter(bool)), data.draw(st.sampled_from("ab"))
            found = self.model.by_words(text, Match.ANY, [path], filter, own)
            return Keyword(text, [path], **rest), found
        if kind == "order":
            return OrderBy(data.draw(st.sampled_from("ab")), data.draw(st.booleans()), **rest), None
        query = data.draw(QUERIES[kind])
        exact = kind != "sparse" and data.draw(st.booleans())
        return Near(query, kind, exact=exact, **rest), self.model.near(kind, query, filter, own)

    @rule(data=st.data(), filter=FILTERS, k=FEW)
    @exercises("Search.QueryBatch", "Search.Query")
    def search_batch(self, data: st.DataObject, filter: Filter | None, k: int) -> None:
        """Each is what it would be alone; one that is wrong sinks no other."""
        one, other = data.draw(VECTORS), data.draw(VECTORS)
        rest = {"k": k, "filter": wired(filter)}
        searches = [
            {"query": one, **rest},
            {"query": other, **rest},
            {"query": one, "space": "nowhere"},
            {"query": other, "group": "a", **rest},
            {"keyword": "x", **rest},
            {**near("late", data), **rest},
        ]
        found = self.collection.search_batch(searches, on_error="collect")
        for asked, result in zip(searches, found, strict=True):
            if isinstance(result, VecdbError):
                assert isinstance(result, InvalidArgument)
                assert asked.get("space") == "nowhere"
            else:
                assert shown(result) == shown(self.collection.search(**asked))


def near(space: str, data: st.DataObject) -> dict[str, object]:
    """Return the arguments of a search in a space."""
    query = data.draw(QUERIES[space])
    return {"sparse" if space == "sparse" else "query": query, "space": space}


def shown(result: SearchResult) -> tuple:
    """Return what two searches of one state have in common."""
    groups = [(group.value, [hit.id for hit in group.hits]) for group in result.groups]
    hits = [(hit.id, hit.score, hit.legs) for hit in result]
    return hits, groups, result.matched, result.complete, result.warnings
