"""Queries of several legs: each is what it finds alone, and the hits are what is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.query.test_fusion import FUSIONS, reference
from vecdb.collection import search
from vecdb.collection.asked import AnyQuery, Asked
from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded, InvalidArgument
from vecdb.outcomes import QueryResult
from vecdb.query.fusion import LegHits, Rrf
from vecdb.rpc.pb.search_pb2 import Hit, QueryResponse
from vecdb.storage.codec import slot_key, to_json
from vecdb.types import (
    And,
    Delete,
    Equals,
    Exists,
    Filter,
    KeywordQuery,
    Metric,
    Op,
    Put,
    Query,
    Range,
    Schema,
    Space,
    SparseQuery,
    SparseSpace,
    SparseVector,
    TextField,
    Wanted,
)
from vecdb.write.prepare import prepare

MIB = 1 << 20
POINTS = 90
SCHEMA = Schema(
    (Space("", 3, Metric.COSINE), Space("far", 2, Metric.EUCLID)),
    (SparseSpace("s"),),
    (TextField("title"),),
)
WORDS = ["red", "green", "blue", "ship", "sail"]


def points() -> list[Op]:
    """Return points of which some lack a vector, a word, a field; slots are by number."""
    rng = np.random.default_rng(1)
    ops: list[Op] = []
    for n in range(POINTS):
        payload = {"n": n, "title": " ".join(rng.choice(WORDS, rng.integers(0, 4)))}
        if n % 3:
            payload["tag"] = "abc"[n % 4 % 3]
        vectors = {"": rng.normal(size=3).astype("<f4").tobytes()} if n % 5 else {}
        if n % 2:
            vectors["far"] = rng.integers(0, 4, 2).astype("<f4").tobytes()
        sparse = {}
        if n % 4:
            indices = np.sort(rng.choice(6, 2, replace=False)).astype(np.uint32)
            sparse["s"] = SparseVector(indices, rng.normal(size=2).astype(np.float32))
        ops.append(Put(f"p{n}", to_json(payload), vectors, {}, sparse))
    return ops


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("legs") / "data"
    config = StorageConfig(map_bytes=MIB, tail_points=16, segment_points=1024)
    made = Database(folder, config, LimitsConfig())
    made._closing.set()
    made.create("c", SCHEMA)
    with made.collection("c") as collection:
        ops = points()
        for first in range(0, POINTS, 30):
            collection.write(prepare(ops[first : first + 30], SCHEMA, LimitsConfig())).result()
            while first < 60 and collection.maintain(None):
                pass
        gone: list[Op] = [Delete(f"p{n}") for n in range(0, POINTS, 11)]
        collection.write(prepare(gone, SCHEMA, LimitsConfig())).result()
        assert collection.stats().segments
        assert collection.stats().tail_points
    yield made
    made.close()


@pytest.fixture
def collection(database: Database) -> Iterator[Collection]:
    with database.collection("c") as opened:
        yield opened


def ask(collection: Collection, query: AnyQuery | Asked) -> tuple[list[Hit], QueryResult]:
    with collection.snapshot() as snapshot:
        result = snapshot.query(query, Wanted(), MIB)
    hits = list(QueryResponse.FromString(result.hits).hits)
    assert len(hits) == result.found
    return hits, result


def dense(*values: float, k: int = 10, space: str = "", **more) -> Query:
    return Query(np.array(values, np.float32), k, space, **more)


def sparse(values: dict[int, float], k: int = 10, chosen: Filter | None = None) -> SparseQuery:
    vector = SparseVector(np.array(list(values), np.uint32), np.array(list(values.values()), "f4"))
    return SparseQuery(vector, k, "s", chosen)


NUMBERS = st.sampled_from([-1.0, 0.5, 1.0, 2.0])
CHOSEN: st.SearchStrategy[Filter | None] = st.sampled_from(
    [None, None, Equals("tag", "a"), Range("n", gte=40), Exists("tag"), Equals("tag", "nothing")]
)
KS = st.sampled_from([1, 5, 20, 200])
ONE_LEG: st.SearchStrategy[AnyQuery] = st.one_of(
    st.builds(lambda x, y, k, f: dense(1, x, y, k=k, filter=f), NUMBERS, NUMBERS, KS, CHOSEN),
    st.builds(
        lambda x, y, k, f: dense(x, y, k=k, space="far", filter=f), NUMBERS, NUMBERS, KS, CHOSEN
    ),
    st.builds(lambda x, k, f: sparse({1: x, 4: 0.5}, k, f), NUMBERS, KS, CHOSEN),
    st.builds(
        lambda words, k, f: KeywordQuery(" ".join(words), k, filter=f),
        st.lists(st.sampled_from([*WORDS, "unknown"]), min_size=1, max_size=3),
        KS,
        CHOSEN,
    ),
)
WEIGHTED_LEGS = st.lists(
    st.tuples(ONE_LEG, st.sampled_from([1.0, 0.3, 2.5])), min_size=2, max_size=4
)


def both(one: Filter | None, other: Filter | None) -> Filter | None:
    held = [filter for filter in (one, other) if filter is not None]
    return And(tuple(held)) if held else None


@given(
    legs=WEIGHTED_LEGS,
    how=FUSIONS,
    chosen=CHOSEN,
    k=st.integers(1, 30),
    offset=st.integers(0, 20),
    min_score=st.none() | st.sampled_from([0.02, 0.5, -1.0]),
)
@settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_hits_are_the_legs_fused(
    collection: Collection, legs, how, chosen, k, offset, min_score
) -> None:
    queries, weights = [query for query, _ in legs], [weight for _, weight in legs]
    alone: list[list[Hit]] = [
        ask(collection, replace(query, filter=both(chosen, query.filter)))[0] for query in queries
    ]
    given_ = [
        LegHits([int(hit.id[1:]) for hit in hits], [hit.score for hit in hits]) for hits in alone
    ]
    expected = reference(given_, weights, how)
    asked = Asked(queries, k, chosen, offset, min_score, how, weights)
    hits, result = ask(collection, asked)
    # Which of two that are nearly equal comes first is up to rounding: scores tell, not ids.
    passed = sorted(expected.values(), reverse=True)
    if min_score is not None:
        near = [s for s in passed if math.isclose(s, min_score, rel_tol=1e-4, abs_tol=1e-4)]
        passed = [s for s in passed if s >= min_score]
        assume(not near)
    shown = [hit.score for hit in hits]
    assert shown == pytest.approx(passed[offset : offset + k], rel=1e-5, abs=1e-4)
    for hit in hits:
        slot = int(hit.id[1:])
        assert hit.score == pytest.approx(expected[slot], rel=1e-5, abs=1e-4)
        assert hit.distance == 0
        legs_of = [
            (at, next(one.score for one in found if one.id == hit.id), leg.slots.index(slot) + 1)
            for at, (leg, found) in enumerate(zip(given_, alone, strict=True))
            if slot in leg.slots
        ]
        assert [(leg.leg, leg.score, leg.rank) for leg in hit.legs] == legs_of
    assert result.complete
    with collection.snapshot() as snapshot:
        assert result.matched == snapshot.count(chosen)


@given(query=ONE_LEG, offset=st.integers(0, 30), min_score=st.none() | NUMBERS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_leg_is_cut(collection: Collection, query: AnyQuery, offset, min_score) -> None:
    k = query.k
    every = ask(collection, replace(query, k=200))[0]
    wanted = [hit for hit in every if min_score is None or hit.score >= min_score]
    asked = Asked([replace(query, k=offset + k)], k, None, offset, min_score)
    hits, _ = ask(collection, asked)
    assert hits == wanted[offset : offset + k]
    assert not any(hit.legs for hit in hits)


def test_a_leg_may_find_nothing(collection: Collection) -> None:
    legs = [KeywordQuery("nowhere", 10), dense(1, 0, 0, filter=Equals("tag", "no"))]
    hits, result = ask(collection, Asked(legs, 5, weights=[1, 1]))
    assert (hits, result.complete) == ([], True)
    assert "0 found; legs[1]" in result.plan
    hits, _ = ask(collection, Asked([*legs, dense(1, 0, 0)], 5, weights=[1, 1, 1]))
    assert [[(leg.leg, leg.rank) for leg in hit.legs] for hit in hits] == [
        [(2, rank)] for rank in range(1, 6)
    ]


def test_a_point_in_every_leg(collection: Collection) -> None:
    only = Equals("n", 47)
    legs = [dense(1, 0, 0), dense(0, 1, space="far"), sparse({n: 1.0 for n in range(6)})]
    ((hit,), result) = ask(collection, Asked(legs, 5, only, weights=[1, 2, 3]))
    assert [(leg.leg, leg.rank) for leg in hit.legs] == [(0, 1), (1, 1), (2, 1)]
    assert hit.score == pytest.approx(6 / 61)
    assert result.matched == 1
    assert result.plan.endswith("fused by rrf (k 60), weights 1, 2, 3: 1 points")


def test_equal_filters_are_evaluated_once(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[Filter | None] = []
    made = search.Searcher.__init__

    def watched(self, txn, schema, candidates_of, *rest) -> None:
        def told(filter: Filter | None, within: Sequence | None):
            asked_for.append(filter)
            return candidates_of(filter, within)

        made(self, txn, schema, told, *rest)

    monkeypatch.setattr(search.Searcher, "__init__", watched)
    base = Exists("tag")
    filters = [Equals("n", 1), Equals("n", 1), Equals("n", 1.0), base, None]
    legs = [dense(1, 0, 0, filter=one) for one in filters]
    ask(collection, Asked(legs, 5, base, weights=[1] * 5))
    assert list(map(repr, asked_for)) == list(map(repr, [base, filters[0], filters[2]]))


def test_errors_name_their_leg(collection: Collection) -> None:
    for wrong, field in (
        (dense(1, 2), "legs[1].vector"),
        (dense(1, 2, space="no"), "legs[1].space"),
        (KeywordQuery("a", 5, ("body",)), "legs[1].fields"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            ask(collection, Asked([dense(1, 0, 0), wrong], 5, weights=[1, 1]))
        assert caught.value.field == field


def test_a_deadline_is_seen_between_legs(collection: Collection) -> None:
    with collection.snapshot(deadline=0.0) as snapshot:
        assert snapshot.query(dense(1, 0, 0), Wanted(), MIB).found == 10
        with pytest.raises(DeadlineExceeded, match=r"legs\[1\]"):
            snapshot.query(Asked([dense(1, 0, 0)] * 2, 5, weights=[1, 1]), Wanted(), MIB)


# --- damaged records


@pytest.fixture
def harmed(tmp_path: Path) -> Iterator[Collection]:
    """Return a collection of ten points in a row, nearest first; the third and seventh damaged."""
    made = Database(tmp_path / "data", StorageConfig(map_bytes=MIB), LimitsConfig())
    made.create("c", SCHEMA)
    with made.collection("c") as opened:
        ops: list[Op] = [
            Put(f"p{n}", to_json(payload), {"": vector(n)}, {}, {})
            for n in range(10)
            for payload in [{"title": "red " * (10 - n), "id": f"p{n}", "all": True}]
        ]
        opened.write(prepare(ops, SCHEMA, LimitsConfig())).result()
        assert len(ask(opened, dense(1, 0, 0))[0]) == 10  # and now they are in memory
        environment = opened._store.environment
        with environment.begin(write=True) as txn:
            for slot in (2, 6):
                txn.put(slot_key(slot), b"junk", db=environment.databases[b"points"])
        yield opened
    made.close()


def vector(n: int) -> bytes:
    return np.array([1, n / 10, 0], "<f4").tobytes()


NEAREST = ["p0", "p1", "p3", "p4", "p5", "p7", "p8", "p9"]


@pytest.mark.parametrize("legs", [1, 2])
def test_damaged_records_cost_no_place_and_shift_no_page(harmed: Collection, legs: int) -> None:
    for size in (1, 2, 3, 5, 10):
        found: list[str] = []
        for offset in range(0, 10, size):
            queries = [dense(1, 0, 0, k=offset + size)] * legs
            asked = Asked(queries, size, None, offset, None, Rrf(), [1.0] * legs)
            hits, result = ask(harmed, asked)
            found += [hit.id for hit in hits]
            assert result.complete == (not result.warnings)
            if offset == 0:
                assert len(result.warnings) == {1: 0, 2: 0, 10: 2}.get(size, 1)
        assert found == NEAREST


def test_damage_in_one_leg_alone(harmed: Collection) -> None:
    legs = [dense(1, 0, 0, k=3), KeywordQuery("red", 3)]
    hits, result = ask(harmed, Asked(legs, 3, weights=[1, 1]))
    assert [hit.id for hit in hits] == NEAREST[:3]
    assert not result.complete
    assert "points/2" in result.warnings[0]
