"""Aggregations over a whole collection, after updates and deletes, agree with the model."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import read_model
from tests.collection.test_filters import (
    IDS,
    LEFT_OUT,
    LIMITS,
    ROWS,
    SCHEMA,
    Stored,
    batches,
    fill,
    write,
)
from tests.examples import examples
from tests.filters import LONG, PATHS, filters
from tests.model import exact, holds, time_of
from vecdb.collection.collection import Collection
from vecdb.collection.snapshot import Snapshot
from vecdb.config import StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded
from vecdb.query.aggregate import (
    FacetCounts,
    Facets,
    NumberResult,
    NumberStats,
    TimeResult,
    TimeStats,
)
from vecdb.types import Delete, Equals, Exists, Filter, Nested, Op, Put, Range

EVERYTHING = 10_000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    storage = StorageConfig(map_bytes=1 << 20, tail_points=16)
    made = Database(tmp_path_factory.mktemp("aggregate") / "data", storage, LIMITS)
    yield made
    made.close()


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    made = Database(tmp_path / "data", StorageConfig(map_bytes=1 << 20, tail_points=16), LIMITS)
    made.create("c", SCHEMA)
    with made.collection("c") as opened:
        yield opened
    made.close()


def matching(stored: Stored, filter: Filter | None) -> read_model.Payloads:
    return {
        name: payload
        for name, (payload, has) in stored.items()
        if filter is None or holds(filter, payload, name, has)
    }


def agree(snapshot: Snapshot, path: str, filter: Filter | None, stored: Stored) -> None:
    """All of facets, numbers and times."""
    chosen = matching(stored, filter)
    asked = [Facets(path, EVERYTHING), Facets(path, 2), NumberStats(path), TimeStats(path)]
    found = snapshot.aggregate(asked, filter)
    assert found.points == len(chosen)
    values, few, numbers, times = found.results
    assert isinstance(values, FacetCounts)
    assert isinstance(few, FacetCounts)
    expected = read_model.facets(chosen, path)
    listed = [(read_model.kind_and_value(value), count) for value, count in values.values]
    assert (listed, values.others) == (expected, 0)
    assert (few.values, few.others) == (values.values[:2], max(0, len(expected) - 2))
    assert isinstance(numbers, NumberResult)
    same_numbers(numbers, read_model.numbers(chosen, path))
    assert isinstance(times, TimeResult)
    moments = read_model.times(chosen, path)
    assert (times.points, times.count) == (len(moments), sum(map(len, moments)))
    if moments:
        assert time_of(times.min) == min(map(min, moments))
        assert time_of(times.max) == max(map(max, moments))
    else:
        assert times == TimeResult(0, 0, "", "")


def same_numbers(found: NumberResult, expected: dict) -> None:
    assert (found.points, found.count) == (expected["points"], expected["count"])
    total = expected["sum"]
    if isinstance(found.sum, int):
        assert found.sum == total
    elif isinstance(total, float) and math.isnan(total):
        assert math.isnan(found.sum)
    else:
        assert found.sum == read_model.rounded(total)
    for end in ("min", "max"):
        number = getattr(found, end)
        assert (None if number is None else exact(number)) == expected[end]
    if found.count and math.isfinite(found.sum):
        assert found.avg == pytest.approx(found.sum / found.count, rel=1e-15)


@settings(deadline=None, max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(
    st.lists(batches(), min_size=1, max_size=6),
    st.lists(st.tuples(PATHS, st.one_of(st.none(), filters(IDS, [""]))), min_size=1, max_size=6),
    st.booleans(),
)
def test_aggregations_agree_with_the_model(
    database: Database,
    written: list[list[Op]],
    asked: list[tuple[str, Filter | None]],
    maintained: bool,
) -> None:
    database.create("c", SCHEMA)
    stored: Stored = {}
    try:
        with database.collection("c") as collection:
            for ops in written:
                write(collection, ops, stored)
                while maintained and collection.maintain(None):
                    pass
                with collection.snapshot() as snapshot:
                    for path, filter in asked:
                        agree(snapshot, path, filter, stored)
    finally:
        database.drop("c")


def put_all(collection: Collection, payloads: list[dict]) -> Stored:
    stored: Stored = {}
    ops: list[Op] = [
        Put(f"p{at:05}", json.dumps(payload).encode(), {}) for at, payload in enumerate(payloads)
    ]
    write(collection, ops, stored)
    return stored


def test_rows_enough_for_bitmaps(collection: Collection) -> None:
    """Common values, rare ones, several of one point, in segments and in memory."""
    chosen = random.Random(1)
    payloads = [
        {
            "kind": chosen.choice(["a", "b", "c", f"rare{n % 300}"]),
            "tags": chosen.choices(["x", "y", "z", 1, 1.0, True, 2.5], k=n % 4),
            "n": chosen.choice([n, -n, n / 3, 2**62, -(2**63)]),
            "when": f"2024-0{1 + n % 9}-01T00:00:00.5Z",
        }
        for n in range(3_000)
    ]
    stored = put_all(collection, payloads)
    for maintained in (False, True):
        while maintained and collection.maintain(None):
            pass
        write(collection, [Delete("p00007"), Put("p00008", b'{"kind":"late","n":1}', {})], stored)
        with collection.snapshot() as snapshot:
            for filter in (None, Equals("kind", "a"), Range("n", gt=0), Equals("kind", "none")):
                for path in ("kind", "tags", "n", "when"):
                    agree(snapshot, path, filter, stored)


def test_long_strings_come_back_whole(collection: Collection) -> None:
    texts = [LONG, LONG + "x", "y" * 5_000, "y" * 5_001, "\ud800", "short"]
    stored = put_all(collection, [{"t": [text, "short"]} for text in texts])
    for maintained in (False, True):
        while maintained and collection.maintain(None):
            pass
        with collection.snapshot() as snapshot:
            found = snapshot.aggregate([Facets("t", 10)], None).results[0]
            assert isinstance(found, FacetCounts)
            assert found.values[0] == ("short", len(texts))
            assert {value for value, _ in found.values} == set(texts)
            agree(snapshot, "t", None, stored)


def test_sums_are_exact_whichever_part_numbers_are_in(collection: Collection) -> None:
    numbers = [1e16, 1.0, -1e16, 2**62, 2**62, 2**62, 0.1, 1e308, 1e308, -1e308, 5e-324]
    stored = put_all(collection, [{"n": number} for number in numbers])
    write(collection, [Put("last", b'{"n":[0.2,1e308]}', {})], stored)
    with collection.snapshot() as snapshot:
        agree(snapshot, "n", None, stored)
        (only,) = snapshot.aggregate([NumberStats("n")], Equals("n", 2**62)).results
        assert isinstance(only, NumberResult)
        assert (only.sum, only.avg) == (float(3 * 2**62), float(2**62))
        assert isinstance(only.sum, float)


def test_records_tell_what_indexes_cannot(collection: Collection) -> None:
    stored = fill(collection, ROWS)
    write(collection, [Put("p00004", b'{"own999":"%s"}' % (b"z" * 300), {})], stored)
    with collection.snapshot() as snapshot:
        for filter in (None, Exists("n"), Nested("of", Equals("a", 1))):
            agree(snapshot, LEFT_OUT, filter, stored)
        assert snapshot.aggregate([Facets("own99", 3)], None).warnings == []
    with collection.snapshot(time.monotonic() - 1) as snapshot:
        assert snapshot.aggregate([NumberStats("n")], None).results
        with pytest.raises(DeadlineExceeded, match="payloads were read"):
            snapshot.aggregate([NumberStats(LEFT_OUT)], None)


def test_what_may_not_have_been_meant(collection: Collection) -> None:
    put_all(collection, [{"category": "a", "price": 1, "when": "2024-01-01", "sub": {"x": 1}}] * 20)
    for maintained in (False, True):
        while maintained and collection.maintain(None):
            pass
        with collection.snapshot() as snapshot:

            def warned(*asked: Facets | NumberStats | TimeStats, by: Filter | None = None) -> list:
                return snapshot.aggregate(asked, by).warnings

            assert warned(Facets("category", 1), NumberStats("price"), TimeStats("when")) == []
            assert warned(Facets("category", 1), by=Equals("price", 2)) == []
            assert warned(Facets("categroy", 1)) == [
                "no point holds anything at 'categroy'; did you mean 'category'?"
            ]
            (nothing,) = warned(NumberStats("?" * 512))
            assert nothing.endswith("?'")
            (other,) = warned(NumberStats("category"))
            assert other == "no point holds numbers at 'category': what it holds is of other types"
            assert len(warned(TimeStats("price"), Facets("sub", 1))) == 2


def test_of_no_points(collection: Collection) -> None:
    with collection.snapshot() as snapshot:
        found = snapshot.aggregate([Facets("a", 1), NumberStats("a"), TimeStats("a")], None)
    assert found.points == 0
    assert found.warnings == []
    assert found.results == [
        FacetCounts([], 0),
        NumberResult(0, 0, 0, None, None, None),
        TimeResult(0, 0, "", ""),
    ]
