"""What is answered in fewer steps is what the others lead to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vecdb.collection import snapshot as snapshots
from vecdb.collection.asked import Asked
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import LimitExceeded, VecdbError
from vecdb.outcomes import QueryResult
from vecdb.types import Delete, Equals, Metric, Put, Query, Schema, Space, Wanted
from vecdb.write.prepare import prepare

DIM, ROWS = 6, 400
SCHEMA = Schema(tuple(Space(one.name.lower(), DIM, one) for one in Metric))
LIMITS = LimitsConfig()
SPACES = [space.name for space in SCHEMA.spaces]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path: Path = tmp_path_factory.mktemp("plain") / "data"
    made = Database(path, StorageConfig(map_bytes=1 << 22, tail_points=64), LIMITS)
    made.create("c", SCHEMA)
    rng = np.random.default_rng(1)
    with made.collection("c") as collection:
        for first in range(0, ROWS, 100):
            rows = rng.normal(size=(100, DIM)).astype("<f4")
            ops = [
                Put(f"p{first + at}", b'{"n":%d}' % (at % 7), dict.fromkeys(SPACES, row.tobytes()))
                for at, row in enumerate(rows)
            ]
            collection.write(prepare(ops, SCHEMA, LIMITS)).result()
            if first < ROWS / 2:
                while collection.maintain(None):  # segments, and a tail
                    pass
        gone = [Delete(f"p{at}") for at in range(0, ROWS, 9)]
        collection.write(prepare(gone, SCHEMA, LIMITS)).result()
    yield made
    made.close()


def both(
    database: Database, monkeypatch: pytest.MonkeyPatch, asked: Asked, bytes_max: int = 1 << 20
) -> list[QueryResult | VecdbError]:
    """Return what a query finds in fewer steps, and in all of them; times left out."""
    found: list[QueryResult | VecdbError] = []
    for in_few in (True, False):
        with monkeypatch.context() as patched, database.collection("c") as collection:
            if not in_few:
                patched.setattr(snapshots, "plain_query", lambda asked: None)
            with collection.snapshot() as snapshot:
                try:
                    result = snapshot.query(asked, Wanted(vectors=True), bytes_max)
                    assert result.timings_us.keys() == {"filter", "search", "fetch"}
                    found.append(result._replace(timings_us={}))
                except VecdbError as error:
                    found.append(error)
    return found


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("chosen", [None, Equals("n", 3), Equals("n", 99)], ids=str)
def test_the_same_is_found(database, monkeypatch, space, chosen) -> None:
    rng = np.random.default_rng(2)
    for k, ef, exact in ((1, 0, False), (10, 40, False), (500, 0, True)):
        query = Query(rng.normal(size=DIM).astype(np.float32), k, space, chosen, ef, exact)
        few, many = both(database, monkeypatch, Asked((query,), k, chosen))
        assert isinstance(few, QueryResult)
        assert few == many
        assert few.found == min(k, few.matched)


def test_the_same_errors(database, monkeypatch) -> None:
    sound = np.ones(DIM, np.float32)
    for query in (
        Query(np.ones(DIM + 1, np.float32), 3, "dot"),
        Query(np.full(DIM, np.nan, np.float32), 3, "dot"),
        Query(np.zeros(DIM, np.float32), 3, "cosine"),
        Query(sound, 3, "nowhere"),
    ):
        few, many = both(database, monkeypatch, Asked.one(query))
        assert isinstance(few, VecdbError)
        assert (type(few), str(few), few.field) == (type(many), str(many), many.field)
    few, many = both(database, monkeypatch, Asked.one(Query(sound, 50, "dot")), bytes_max=100)
    assert isinstance(few, LimitExceeded)
    assert str(few) == str(many)


def test_what_has_more_to_it_is_not_plain() -> None:
    query = Query(np.ones(DIM, np.float32), 3, "dot")
    assert snapshots.plain_query(Asked.one(query)) is query
    for more in (
        {"offset": 1},
        {"min_score": 0.0},
        {"filter": Equals("n", 1)},
        {"tokens": 3},
        {"legs": (query, query)},
        {"k": 2},
    ):
        assert snapshots.plain_query(Asked.one(query)._replace(**more)) is None
