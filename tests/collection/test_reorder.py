"""Boosts, and hits unlike one another: held against plain Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collection.ranked import (
    METRICS,
    MIB,
    PAYLOADS,
    SCHEMA,
    SPACES,
    STORED,
    VECTORS,
    ask,
    near,
    points,
    quick,
    vector_of,
)
from tests.model import holds, metres_between, place_of, time_of
from vecdb.collection.asked import Asked
from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded, InvalidArgument
from vecdb.query.boost import Adjustment, Boost, Curve, Decay, Moment, Place
from vecdb.query.mmr import Mmr
from vecdb.rpc.pb.search_pb2 import Hit
from vecdb.segment.times import microseconds
from vecdb.storage.codec import slot_key
from vecdb.types import (
    Exists,
    Filter,
    HasSpace,
    KeywordQuery,
    Match,
    MatchesText,
    Metric,
    Range,
    Wanted,
)
from vecdb.write.prepare import prepare

# --- boosts

ORIGINS = {
    "year": [1990.0, 2005.0, -1e300],
    "at.time": [Moment(microseconds("2024-02-29T00:00:00Z") or 0)],
    "at.place": [Place(52.4, 13.1), Place(-10, 179)],
}
DECAY = Decay("year", Curve.EXP, 1990.0, 10.0)
DECAYS = st.sampled_from(sorted(ORIGINS)).flatmap(
    lambda path: st.builds(
        Decay,
        st.just(path),
        st.sampled_from(Curve),
        st.sampled_from(ORIGINS[path]),
        st.sampled_from([0.5, 10.0, 86_400.0, 1e6]),
        st.sampled_from([0.0, 3.0, 50_000.0]),
        st.sampled_from([0.5, 0.1, 0.99]),
    )
)
MATCHING: st.SearchStrategy[Filter] = st.sampled_from(
    [Range("n", lt=30), HasSpace("far"), MatchesText("title", "Red", Match.ANY)]
)
ADJUSTMENTS = st.lists(
    st.builds(Adjustment, DECAYS | MATCHING, st.sampled_from([1.0, 0.25, -0.5])),
    min_size=1,
    max_size=3,
)
LEGS = st.lists(
    st.one_of(
        st.builds(lambda v, space: near(*v, k=200, space=space), VECTORS, SPACES),
        st.just(KeywordQuery("red", 200)),
    ),
    min_size=1,
    max_size=2,
)


def distances(decay: Decay, payload: dict) -> list[float]:
    """Return how far the values at a path are from the origin, by the model's words."""
    node: Any = payload
    for key in decay.path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    found = []
    for value in node if isinstance(node, list) else [node]:
        if isinstance(decay.origin, Moment):
            if (moment := time_of(value)) is not None:
                found.append(abs(moment.timestamp() - decay.origin.microseconds / 1e6))
        elif isinstance(decay.origin, Place):
            if (place := place_of(value)) is not None:
                found.append(metres_between(place, tuple(decay.origin)))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(abs(min(value, 1e308) - decay.origin))
    return found


def added(one: Adjustment, name: str) -> float:
    payload = PAYLOADS[name]
    if isinstance(one.by, MatchesText):
        return one.weight * ("red" in payload["title"])
    if not isinstance(one.by, Decay):
        return one.weight * holds(one.by, payload, name, frozenset(STORED[name].vectors))
    value = 0.0
    for distance in distances(one.by, payload):
        d = max(0.0, distance - one.by.offset) / one.by.scale
        if one.by.curve is Curve.LINEAR:
            value = max(value, 1 - (1 - one.by.decay) * d)
        elif d < 1e100:
            exponent = d if one.by.curve is Curve.EXP else d * d
            value = max(value, math.exp(exponent * math.log(one.by.decay)))
    return one.weight * value


@given(legs=LEGS, adjustments=ADJUSTMENTS, candidates=st.sampled_from([5, 30, 200]))
@quick
def test_boosts_are_exact_over_the_candidates(
    ranked: Collection, legs, adjustments, candidates
) -> None:
    weights = [1.0] * len(legs)
    plain, _ = ask(ranked, Asked(legs, 200, weights=weights))
    before = plain[:candidates]
    expected = [hit.score + sum(added(one, hit.id) for one in adjustments) for hit in before]
    boost = Boost(tuple(adjustments), candidates)
    hits, result = ask(ranked, Asked(legs, 200, weights=weights, boost=boost))
    tolerance = 1e-5 * (1 + max(map(abs, expected), default=0))
    assert [hit.score for hit in hits] == pytest.approx(
        sorted(expected, reverse=True), abs=tolerance
    )
    by_id = {hit.id: (score, hit) for hit, score in zip(before, expected, strict=True)}
    assert {hit.id for hit in hits} == set(by_id)
    for hit in hits:
        score, plainly = by_id[hit.id]
        assert hit.score == pytest.approx(score, abs=tolerance)
        assert hit.distance == plainly.distance
        if len(legs) == 1:
            ((leg),) = hit.legs
            assert (leg.leg, leg.score, leg.rank - 1) == (0, plainly.score, before.index(plainly))
        else:
            assert list(hit.legs) == list(plainly.legs)
    assert f"boosted over the best {candidates}" in result.plan
    # Pages, and what is left by a least score, are cut from that list.
    page, _ = ask(ranked, Asked(legs, 3, None, 2, None, weights=weights, boost=boost))
    assert page == hits[2:5]
    if hits:
        least = hits[len(hits) // 2].score
        left, _ = ask(ranked, Asked(legs, 200, None, 0, least, weights=weights, boost=boost))
        assert left == [hit for hit in hits if hit.score >= least]


def test_the_deadline_is_seen_while_payloads_are_read(ranked: Collection) -> None:
    with ranked.snapshot(deadline=0.0) as snapshot:
        asked = Asked([near(1, 0, 0)], 5, boost=Boost((Adjustment(DECAY, 1.0),), 10))
        with pytest.raises(DeadlineExceeded):
            snapshot.query(asked, Wanted(), MIB)


def test_equal_scores_keep_their_order(ranked: Collection) -> None:
    query = near(1, 2, 3, k=200)
    plain, _ = ask(ranked, query)
    # Beside so large a sum all are equal, as float32.
    boost = Boost((Adjustment(Exists("n"), 1e6),) * 20, 200)
    hits, _ = ask(ranked, Asked([query], 200, boost=boost))
    assert {hit.score for hit in hits} == {2e7}
    assert [hit.id for hit in hits] == [hit.id for hit in plain]


def test_a_boost_by_what_no_point_can_be(ranked: Collection) -> None:
    for wrong in (HasSpace("nope"), MatchesText("body", "a", Match.ANY)):
        asked = Asked([near(1, 0, 0)], 5, boost=Boost((Adjustment(wrong, 1.0),), 10))
        with pytest.raises(InvalidArgument, match="the collection has") as caught:
            ask(ranked, asked)
        assert caught.value.field == "boost.adjustments[0].filter"


# --- mmr


def check_marginal(taken: list[Hit], of: list[Hit], space: str, relevance: float) -> None:
    """Each hit must be, but for rounding, of the greatest value beside those before it."""
    spread = of[0].score - of[-1].score if of else 0.0
    relevant = {hit.id: (hit.score - of[-1].score) / spread if spread else 1.0 for hit in of}
    alike = dict.fromkeys(relevant, 0.0)
    for hit in taken:
        values = {
            name: relevance * relevant[name] - (1 - relevance) * alike[name] for name in alike
        }
        assert values[hit.id] >= max(values.values()) - 1e-5
        del alike[hit.id]
        alike = {name: max(alike[name], similar(name, hit.id, space)) for name in alike}
    by_id = {hit.id: hit for hit in of}
    assert taken == [by_id[hit.id] for hit in taken]


def similar(one: str, other: str, space: str) -> float:
    a, b = vector_of(one, space), vector_of(other, space)
    if a is None or b is None:
        return 0.0
    if METRICS[space] is Metric.EUCLID:
        return 1 / (1 + float(np.linalg.norm(a - b)))
    if METRICS[space] is Metric.MANHATTAN:
        return 1 / (1 + float(np.abs(a - b).sum()))
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(0.0, float(a @ b) / lengths) if lengths else 0.0


@given(
    legs=LEGS,
    space=SPACES,
    relevance=st.sampled_from([0.0, 0.31, 0.5, 0.77, 1.0]),
    candidates=st.sampled_from([7, 20, 200]),
    k=st.sampled_from([1, 6, 200]),
)
@quick
def test_hits_unlike_one_another(ranked: Collection, legs, space, relevance, candidates, k) -> None:
    weights = [1.0] * len(legs)
    plain, _ = ask(ranked, Asked(legs, 200, weights=weights))
    before = plain[:candidates]
    mmr = Mmr(space, relevance, candidates)
    hits, result = ask(ranked, Asked(legs, k, weights=weights, mmr=mmr))
    assert len(hits) == min(k, len(before))
    check_marginal(hits, before, space, relevance)
    assert f"mmr over the best {candidates}" in result.plan
    if relevance == 1:
        assert hits == before[:k]
    page, _ = ask(ranked, Asked(legs, 2, None, 3, weights=weights, mmr=mmr))
    assert page[: max(0, k - 3)] == hits[3:5]


def test_after_a_boost_and_a_least_score(ranked: Collection) -> None:
    query, boost = near(1, 2, 1, k=200), Boost((Adjustment(Range("n", lt=40), 1.0),), 50)
    boosted, _ = ask(ranked, Asked([query], 200, None, 0, 0.9, boost=boost))
    asked = Asked([query], 5, None, 0, 0.9, boost=boost, mmr=Mmr("dot", 0.5, 50))
    hits, result = ask(ranked, asked)
    check_marginal(hits, boosted, "dot", 0.5)
    assert result.plan.endswith("; boosted over the best 50; mmr over the best 50")


def test_mmr_by_a_space_that_is_none(ranked: Collection) -> None:
    with pytest.raises(InvalidArgument, match="'nope'") as caught:
        ask(ranked, Asked([near(1, 0, 0)], 5, mmr=Mmr("nope", 0.5, 10)))
    assert caught.value.field == "mmr.space"


# --- damaged records


def test_damaged_records_are_left_out(tmp_path: Path) -> None:
    made = Database(tmp_path / "data", StorageConfig(map_bytes=MIB), LimitsConfig())
    made.create("c", SCHEMA)
    with made.collection("c") as collection:
        collection.write(prepare(points(), SCHEMA, LimitsConfig())).result()
        query = near(1, 2, 3, k=100)
        sound, _ = ask(collection, query)
        environment = collection._store.environment
        with environment.begin(write=True) as txn:
            slot = int(sound[1].id[1:])
            txn.put(slot_key(slot), b"junk", db=environment.databases[b"points"])
        boost = Boost((Adjustment(DECAY, 1e-9), Adjustment(Exists("n"), 1.0)), 50)
        hits, result = ask(collection, Asked([query], 5, boost=boost, mmr=Mmr("", 1.0, 50)))
        assert [hit.id for hit in hits] == [sound[at].id for at in (0, 2, 3, 4, 5)]
        assert not result.complete
    made.close()
