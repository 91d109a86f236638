"""Filters over a whole collection, after updates and deletes, agree with the model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.filters import OBJECTS, filters
from tests.model import TEXT_FIELDS, holds
from tests.pages import points_of
from vecdb.collection.collection import Collection
from vecdb.collection.paging import Listing
from vecdb.collection.snapshot import Snapshot
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded, InvalidArgument
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.segment.fields import PATHS_MAX
from vecdb.types import (
    And,
    Delete,
    Equals,
    Exists,
    Filter,
    HasId,
    HasSpace,
    Metric,
    Nested,
    Not,
    Op,
    Put,
    Query,
    Schema,
    Space,
    TextField,
    Wanted,
)
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig()
SCHEMA = Schema(
    (Space("", 3, Metric.EUCLID), Space("other", 2, Metric.DOT)),
    text_fields=tuple(TextField(path, language) for path, language in TEXT_FIELDS.items()),
)
IDS = [f"p{n}" for n in range(24)]
SPACES = ["", "other"]
MIB = 1 << 20

Stored = dict[str, tuple[dict, frozenset[str]]]
"""Payload, and the spaces that there is a vector in, by id."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    storage = StorageConfig(map_bytes=1 << 20, tail_points=16)
    made = Database(tmp_path_factory.mktemp("filters") / "data", storage, LIMITS)
    yield made
    made.close()


def vector(dim: int, seed: int) -> bytes:
    return np.random.default_rng(seed).normal(size=dim).astype("<f4").tobytes()


def write(collection: Collection, ops: list[Op], stored: Stored) -> None:
    collection.write(prepare(ops, SCHEMA, LIMITS)).result()
    for op in ops:
        if isinstance(op, Delete):
            stored.pop(op.id, None)
        else:
            stored[op.id] = json.loads(op.payload or b"{}"), frozenset(op.vectors)


@st.composite
def batches(draw: st.DrawFn) -> list[Op]:
    puts = st.builds(
        lambda name, payload, spaces: Put(
            name,
            json.dumps(payload).encode(),
            {space: vector(3 if space == "" else 2, len(name)) for space in spaces},
        ),
        st.sampled_from(IDS),
        OBJECTS,
        st.sets(st.sampled_from(SPACES)),
    )
    ops = st.one_of(puts, puts, puts, st.builds(Delete, st.sampled_from(IDS)))
    return draw(st.lists(ops, min_size=1, max_size=20, unique_by=lambda op: op.id))


def found(snapshot: Snapshot, filter: Filter) -> list[str]:
    return [
        point.id for point in points_of(snapshot.page(Listing(filter), 100, "", Wanted(False), MIB))
    ]


def expected_of(filter: Filter, stored: Stored) -> list[str]:
    return sorted(
        name for name, (payload, has) in stored.items() if holds(filter, payload, name, has)
    )


def agree(snapshot: Snapshot, filter: Filter, stored: Stored) -> None:
    """The listing, the count, and a search for every point."""
    expected = expected_of(filter, stored)
    assert found(snapshot, filter) == expected
    assert snapshot.count(filter) == len(expected)
    for space, dim in (("", 3), ("other", 2)):
        query = Query(np.ones(dim, np.float32), 100, space, filter)
        result = snapshot.query(query, Wanted(), MIB)
        assert result.matched == len(expected)
        hits = sorted(hit.id for hit in QueryResponse.FromString(result.hits).hits)
        assert hits == [name for name in expected if space in stored[name][1]]


@settings(deadline=None, max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(
    st.lists(batches(), min_size=1, max_size=6),
    st.lists(filters(IDS, SPACES, list(TEXT_FIELDS)), min_size=1, max_size=6),
    st.booleans(),
)
def test_a_collection_agrees_with_the_model(
    database: Database, written: list[list[Op]], asked: list[Filter], maintained: bool
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
                    for filter in asked:
                        agree(snapshot, filter, stored)
    finally:
        database.drop("c")


# --- what only records can tell


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    made = Database(tmp_path / "data", StorageConfig(map_bytes=1 << 20, tail_points=16), LIMITS)
    made.create("c", SCHEMA)
    with made.collection("c") as opened:
        yield opened
    made.close()


def fill(collection: Collection, rows: int) -> Stored:
    """Points in one segment, each with a path of its own, more of them than an index holds."""
    stored: Stored = {}
    ops: list[Op] = [
        Put(
            f"p{n:05}",
            json.dumps(
                {"n": n, f"own{n}": n, "of": [{"a": n % 3, "b": n % 2}, {"a": 7, "b": n % 5}]}
            ).encode(),
            {"": vector(3, n)},
        )
        for n in range(rows)
    ]
    write(collection, ops, stored)
    while collection.maintain(None):
        pass
    return stored


ROWS = PATHS_MAX + 600
LEFT_OUT = "own999"  # of paths that as many rows hold, the first by name stay


def test_records_tell_what_indexes_cannot(collection: Collection) -> None:
    stored = fill(collection, ROWS)
    write(collection, [Delete("p00003"), Put("p00004", b'{"n":4}', {})], stored)
    with collection.snapshot() as snapshot:
        for filter in (
            Equals(LEFT_OUT, 999),
            Not(Exists(LEFT_OUT)),
            Nested("of", And((Equals("a", 1), Equals("b", 0)))),
            And((Nested("of", Not(Equals("a", 7))), Equals("n", 4))),
        ):
            assert found(snapshot, filter) == expected_of(filter, stored)[:100]
            assert snapshot.count(filter) == len(expected_of(filter, stored))


def test_reading_records_ends_with_the_deadline(collection: Collection) -> None:
    fill(collection, ROWS)
    past = time.monotonic() - 1
    with collection.snapshot(past) as snapshot:
        assert snapshot.count(Equals("n", 7)) == 1
        for filter in (Equals(LEFT_OUT, 1), Nested("of", Equals("a", 1))):
            with pytest.raises(DeadlineExceeded, match="payloads were read"):
                snapshot.count(filter)
        assert snapshot.count(And((Equals(LEFT_OUT, 1), Equals("n", -1)))) == 0
        with pytest.raises(DeadlineExceeded, match="ids were looked through"):
            snapshot.page(Listing(Equals("n", 7)), 100, "", Wanted(False, False, False), 1 << 20)


def test_conditions_on_points_that_cannot_be(collection: Collection) -> None:
    with collection.snapshot() as snapshot:
        with pytest.raises(InvalidArgument, match="unknown space 'nope'") as caught:
            snapshot.count(Not(HasSpace("nope")))
        assert caught.value.field == "filter"
        for name in ("", "x" * 257):
            with pytest.raises(InvalidArgument, match="1 to 256") as caught:
                snapshot.count(HasId((name,)))
            assert caught.value.field == "filter"
