"""Grouped queries: k groups, each with what the query finds of it, by looking at every payload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collection import test_legs
from tests.collection.test_legs import (
    NEAREST,
    NUMBERS,
    ONE_LEG,
    SCHEMA,
    WEIGHTED_LEGS,
    WORDS,
    ask,
)
from tests.examples import examples
from tests.query.test_fusion import FUSIONS
from tests.read_model import kind_and_value, values_at
from vecdb.collection.asked import AnyQuery, Asked, GroupBy
from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded
from vecdb.outcomes import QueryResult
from vecdb.query import grouping
from vecdb.query.boost import Adjustment, Boost, Curve, Decay
from vecdb.query.fusion import Rrf
from vecdb.query.order import OrderBy, OrderQuery
from vecdb.rpc.pb.search_pb2 import Hit, QueryResponse
from vecdb.segment.fields import FieldSource, NotIndexed
from vecdb.segment.fields_disk import FieldIndex
from vecdb.storage.codec import to_json
from vecdb.types import (
    Delete,
    Equals,
    Exists,
    Op,
    Put,
    Query,
    SparseVector,
    Wanted,
)
from vecdb.write.prepare import prepare

MIB = 1 << 20
POINTS = 150
LONG = "x" * 300
VALUES = ["a", "b", "c", 1, 1.0, 2.5, True, False, None, {"k": 1}, LONG, LONG + "y", -3, 2**70]
Groups = list[tuple[object, list[Hit]]]


def payloads() -> dict[str, dict]:
    """Return payloads by id: `g` is a value or several, `one` a single one, most of them equal."""
    rng = np.random.default_rng(4)
    made: dict[str, dict] = {}
    for n in range(POINTS):
        payload: dict = {"n": n, "title": " ".join(rng.choice(WORDS, rng.integers(0, 4)))}
        picked = [VALUES[at] for at in rng.integers(0, len(VALUES), rng.integers(0, 4))]
        if n % 4:
            payload["g"] = picked if n % 3 else (picked or ["a"])[0]
        if n % 7:
            payload["one"] = "most" if n % 5 else f"rare {n % 20}"
        payload["tag"] = "abc"[n % 3]
        payload["deep"] = [{"g": n % 6}, {"g": n % 5}]
        made[f"p{n}"] = payload
    return made


PAYLOADS = payloads()
GONE = {f"p{n}" for n in range(0, POINTS, 11)}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("groups") / "data"
    config = StorageConfig(map_bytes=MIB, tail_points=16, segment_points=1024)
    made = Database(folder, config, LimitsConfig())
    made._closing.set()
    made.create("c", SCHEMA)
    ops: list[Op] = []
    for n, (name, payload) in enumerate(PAYLOADS.items()):
        vectors = {"": rng.normal(size=3).astype("<f4").tobytes()} if n % 9 else {}
        vectors["far"] = rng.integers(0, 4, 2).astype("<f4").tobytes()
        indices = np.sort(rng.choice(6, 2, replace=False)).astype(np.uint32)
        sparse = {"s": SparseVector(indices, rng.normal(size=2).astype(np.float32))}
        ops.append(Put(name, to_json(payload), vectors, {}, sparse))
    with made.collection("c") as collection:
        for first in range(0, POINTS, 30):
            collection.write(prepare(ops[first : first + 30], SCHEMA, LimitsConfig())).result()
            while first < 90 and collection.maintain(None):
                pass
        gone: list[Op] = [Delete(name) for name in GONE]
        collection.write(prepare(gone, SCHEMA, LimitsConfig())).result()
        assert collection.stats().segments
        assert collection.stats().tail_points
    yield made
    made.close()


@pytest.fixture
def collection(database: Database) -> Iterator[Collection]:
    with database.collection("c") as opened:
        yield opened


def ask_groups(collection: Collection, asked: Asked) -> tuple[Groups, QueryResult]:
    with collection.snapshot() as snapshot:
        result = snapshot.query(asked, Wanted(), MIB)
    groups: Groups = [
        (group.value, list(QueryResponse.FromString(group.hits).hits)) for group in result.groups
    ]
    assert [group.found for group in result.groups] == [len(hits) for _, hits in groups]
    assert result.found == sum(len(hits) for _, hits in groups)
    assert result.hits == b""
    return groups, result


def reference(hits: list[Hit], path: str) -> list[tuple[tuple[int, object], list[Hit]]]:
    """Group hits, best first, by what their payloads hold."""
    found: dict[tuple[int, object], list[Hit]] = {}
    for hit in hits:
        held = {kind_and_value(value) for value in values_at(json.loads(hit.payload), path)}
        for key in held - {None}:
            found.setdefault(key, []).append(hit)
    return list(found.items())


def check(
    groups: Groups, expected: list[tuple[tuple[int, object], list[Hit]]], offset: int, size: int
) -> None:
    """Compare groups; among those of one best hit any order will do."""
    shown = [(kind_and_value(value), [hit.id for hit in hits]) for value, hits in groups]
    wanted = [(key, [hit.id for hit in hits[:size]]) for key, hits in expected]
    best = [ids[0] for _, ids in wanted[offset:]]
    assert [ids[0] for _, ids in shown] == best[: len(shown)]
    assert len({key for key, _ in shown}) == len(shown)
    every = dict(wanted)
    for key, ids in shown:
        assert ids == every[key]


harmed = test_legs.harmed
PATHS = st.sampled_from(["g", "one", "deep.g", "n", "nowhere"])
PROPERTY = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(
    query=ONE_LEG,
    path=PATHS,
    count=st.sampled_from([1, 2, 5, 40]),
    size=st.sampled_from([1, 2, 7, 50]),
    offset=st.sampled_from([0, 0, 1, 6]),
    min_score=st.none() | NUMBERS,
)
@PROPERTY
def test_groups_of_one_leg(
    collection: Collection, query: AnyQuery, path, count, size, offset, min_score
) -> None:
    """Whatever the path: k groups where there are k, each with its best hits."""
    every = ask(collection, Asked([replace(query, k=200)], 200, None, 0, min_score))[0]
    expected = reference(every, path)
    asked = Asked([query], count, None, offset, min_score, group=GroupBy(path, size, 200))
    groups, result = ask_groups(collection, asked)
    assert len(groups) == max(0, min(count, len(expected) - offset))
    check(groups, expected, offset, size)
    assert result.complete
    assert bool(result.warnings) == (path == "nowhere")


@given(legs=WEIGHTED_LEGS, how=FUSIONS, path=PATHS, count=st.sampled_from([1, 3, 40]))
@PROPERTY
def test_groups_of_several_legs(collection: Collection, legs, how, path, count) -> None:
    """Legs that give all they find: the groups are those of the fused list."""
    queries, weights = [replace(query, k=200) for query, _ in legs], [w for _, w in legs]
    every = ask(collection, Asked(queries, 200, None, 0, None, how, weights))[0]
    expected = reference(every, path)
    asked = Asked(queries, count, None, 0, None, how, weights, group=GroupBy(path, 3, 200))
    groups, _ = ask_groups(collection, asked)
    assert len(groups) == min(count, len(expected))
    check(groups, expected, 0, 3)
    for _, hits in groups:
        assert all(hit.legs for hit in hits)


ADJUSTMENTS = st.lists(
    st.sampled_from(
        [
            Adjustment(Equals("tag", "b"), 1.0),
            Adjustment(Exists("g"), -0.5),
            Adjustment(Decay("n", Curve.LINEAR, 60.0, 50.0), 2.0),
        ]
    ),
    min_size=1,
    max_size=2,
)


@given(
    legs=st.one_of(WEIGHTED_LEGS, st.tuples(ONE_LEG, st.just(1.0)).map(lambda leg: [leg])),
    adjustments=ADJUSTMENTS,
    candidates=st.sampled_from([6, 25, 200]),
    path=PATHS,
    count=st.sampled_from([1, 2, 40]),
    size=st.sampled_from([1, 3, 50]),
    offset=st.sampled_from([0, 1, 6]),
    min_score=st.none() | NUMBERS,
)
@PROPERTY
def test_groups_of_boosted_candidates(
    collection: Collection, legs, adjustments, candidates, path, count, size, offset, min_score
) -> None:
    """Of one leg and of several: the groups are those of the list that a boost has made."""
    queries, weights = [replace(query, k=200) for query, _ in legs], [w for _, w in legs]
    boost = Boost(tuple(adjustments), candidates)
    flat = Asked(queries, 200, None, 0, min_score, Rrf(), weights, boost=boost)
    expected = reference(ask(collection, flat)[0], path)
    asked = flat._replace(k=count, offset=offset, group=GroupBy(path, size, 200))
    groups, result = ask_groups(collection, asked)
    assert len(groups) == max(0, min(count, len(expected) - offset))
    check(groups, expected, offset, size)
    assert f"boosted over the best {candidates}" in result.plan
    for _, hits in groups:
        assert all(hit.legs for hit in hits)


def near(k: int = 10) -> Query:
    return Query(np.array([1, 0, 0], np.float32), k)


def test_legs_give_more_until_there_are_enough_groups(collection: Collection) -> None:
    legs = [near(3), Query(np.array([1, 1], np.float32), 3, "far")]
    few = Asked(legs, 4, None, 0, None, Rrf(), [1, 1], group=GroupBy("one", 2, 3))
    assert len(ask_groups(collection, few)[0]) < 4
    enough = few._replace(group=GroupBy("one", 2, 200))
    assert len(ask_groups(collection, enough)[0]) == 4


def test_groups_in_the_order_of_a_field(collection: Collection) -> None:
    query = OrderQuery(OrderBy("n"), 2)
    groups, result = ask_groups(collection, Asked([query], 4, group=GroupBy("one", 1, 200)))
    every = ask(collection, Asked([OrderQuery(OrderBy("n"), 200)], 200))[0]
    check(groups, reference(every, "one"), 0, 1)
    assert len(groups) == 4
    assert result.plan.startswith("order of 'n' in ")


def test_a_leg_says_how_it_searched(collection: Collection) -> None:
    _, result = ask_groups(collection, Asked([near()], 5, group=GroupBy("one", 2, 200)))
    assert result.plan.startswith("exact scan of ")
    assert result.plan.endswith("grouped by 'one': 5 groups")


def test_a_path_that_is_like_another(collection: Collection) -> None:
    _, result = ask_groups(collection, Asked([near()], 5, group=GroupBy("title2", 2, 200)))
    assert result.warnings == ("no point holds anything at 'title2'; did you mean 'title'?",)
    _, result = ask_groups(collection, Asked([near()], 5, group=GroupBy("deep", 2, 200)))
    assert "of other types" in result.warnings[0]


def test_a_path_that_no_index_knows(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payloads are read then, and the answer is the same."""
    asked = Asked([near()], 5, Equals("tag", "a"), group=GroupBy("g", 3, 200))
    known = ask_groups(collection, asked)[0]

    made = grouping.grouping

    def unknown(fields: FieldSource, path: str) -> grouping.Grouping:
        if isinstance(fields, FieldIndex):
            raise NotIndexed(path)
        return made(fields, path)

    monkeypatch.setattr(grouping, "grouping", unknown)
    assert ask_groups(collection, asked)[0] == known


def test_a_deadline_is_kept(collection: Collection) -> None:
    asked = Asked([near()], 5, group=GroupBy("g", 3, 200))
    with (
        collection.snapshot(deadline=0.0) as snapshot,
        pytest.raises(DeadlineExceeded, match="groups"),
    ):
        snapshot.query(asked, Wanted(), MIB)


def test_damaged_records_shift_no_page(harmed: Collection) -> None:
    """Each point is a group of its own; the third and seventh are damaged."""
    for size in (1, 2, 3, 5, 10):
        found: list[object] = []
        for offset in range(0, 10, size):
            asked = Asked([near()], size, None, offset, group=GroupBy("id", 2, 200))
            groups, result = ask_groups(harmed, asked)
            found += [value for value, _ in groups]
            assert result.complete == (not result.warnings)
        assert found == NEAREST


def test_damaged_records_cost_a_group_no_place(harmed: Collection) -> None:
    asked = Asked([near()], 1, group=GroupBy("all", 4, 200))
    (((value, hits),), result) = ask_groups(harmed, asked)
    assert value is True
    assert [hit.id for hit in hits] == NEAREST[:4]
    assert not result.complete
    assert "points/2" in result.warnings[0]


def test_damaged_candidates_shift_no_page(harmed: Collection) -> None:
    """The same where a boost has ordered them: it looks at those two as at the others."""
    boost = Boost((Adjustment(Exists("id"), 1.0),), 10)
    for size in (1, 3, 10):
        found: list[object] = []
        for offset in range(0, 10, size):
            group = GroupBy("id", 1, 200)
            asked = Asked([near()], size, None, offset, boost=boost, group=group)
            groups, result = ask_groups(harmed, asked)
            found += [value for value, _ in groups]
            assert result.complete == (not result.warnings)
        assert found == NEAREST
