"""Many queries at once: each is answered as it would be alone, and work is shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collection import test_legs
from tests.collection.test_legs import CHOSEN, ONE_LEG, WEIGHTED_LEGS, dense
from tests.examples import examples
from vecdb.collection import snapshot as snapshots
from vecdb.collection.asked import Asked, GroupBy
from vecdb.collection.collection import Collection
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded, InvalidArgument, LimitExceeded, VecdbError
from vecdb.outcomes import QueryResult
from vecdb.query.fusion import Rrf
from vecdb.segment.segment import Segment
from vecdb.types import Equals, Filter, Range, Wanted

MIB = 1 << 20
database = test_legs.database
collection = test_legs.collection

ASKED = st.one_of(
    st.builds(lambda query: Asked.one(query), ONE_LEG),
    st.builds(
        lambda legs, chosen, k: Asked(
            [query for query, _ in legs], k, chosen, 0, None, Rrf(), [weight for _, weight in legs]
        ),
        WEIGHTED_LEGS,
        CHOSEN,
        st.integers(1, 20),
    ),
    st.builds(
        lambda query, chosen: Asked([query], 3, chosen, group=GroupBy("tag", 2, 200)),
        ONE_LEG,
        CHOSEN,
    ),
).filter(lambda asked: len(asked.legs) > 1 or asked.weights == ())


def ask_many(
    collection: Collection, asked: Sequence[Asked], bytes_max: int = MIB, threads: int = 2
) -> list[QueryResult | VecdbError]:
    with collection.snapshot() as snapshot:
        queries = [(one, Wanted()) for one in asked]
        return snapshot.query_many(queries, bytes_max, lambda space: 1.0, threads)


def ask_one(collection: Collection, asked: Asked) -> QueryResult:
    with collection.snapshot() as snapshot:
        return snapshot.query(asked, Wanted(), MIB)


@given(asked=st.lists(ASKED, min_size=1, max_size=12), threads=st.sampled_from([1, 2, 5]))
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_is_answered_as_alone(collection: Collection, asked: list[Asked], threads) -> None:
    for one, found in zip(asked, ask_many(collection, asked, MIB, threads), strict=True):
        assert isinstance(found, QueryResult)
        assert found._replace(timings_us={}) == ask_one(collection, one)._replace(timings_us={})


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[int], list[object]]]:
    """Return how many queries segments were given together, and the filters evaluated."""
    together: list[int] = []
    filters: list[object] = []
    search_many = Segment.search_many
    matching = snapshots.matching

    def searched(self, space, queries, *more):
        together.append(len(queries))
        return search_many(self, space, queries, *more)

    def matched(filter: Filter, *more):
        filters.append(filter)
        return matching(filter, *more)

    monkeypatch.setattr(Segment, "search_many", searched)
    monkeypatch.setattr(snapshots, "matching", matched)
    return together, filters


def test_what_is_alike_is_done_once(collection: Collection, watched) -> None:
    together, filters = watched
    chosen = [Equals("n", 1), Equals("n", 1), Equals("n", 1.0), Range("n", gte=10)]
    asked = [Asked([dense(1, n, 0)], 10, one) for one in chosen for n in range(3)]
    ask_many(collection, asked)
    parts = len(filters) // 3
    assert list(map(repr, filters)) == [
        repr(one) for one in (chosen[0], chosen[2], chosen[3]) for _ in range(parts)
    ]
    # Twice the first, as equal filters are; none is searched where no row passes.
    assert set(together) <= {3, 6}
    assert 3 in together
    together.clear()
    ask_many(collection, [Asked.one(dense(1, n, 0)) for n in range(150)])
    assert set(together) == {64, 22}
    together.clear()
    ask_many(collection, [Asked.one(dense(1, 0, 0, k=k)) for k in (1, 2, 3)])
    assert not together


def test_legs_of_several_queries_go_together(collection: Collection, watched) -> None:
    together, _ = watched
    asked = [Asked([dense(1, n, 0), dense(1, n, space="far")], 5, weights=[1, 1]) for n in range(4)]
    ask_many(collection, asked)
    assert set(together) == {4}


def test_one_that_is_wrong_sinks_no_other(collection: Collection) -> None:
    wrong = Asked([dense(1, 2)], 5)
    right = Asked.one(dense(1, 0, 0))
    error, found, again = ask_many(collection, [wrong, right, wrong])
    assert isinstance(error, InvalidArgument)
    assert isinstance(again, InvalidArgument)
    assert error.field == "legs[0].vector"
    assert isinstance(found, QueryResult)
    assert found.found == 10


def test_all_hits_together_have_a_limit(collection: Collection) -> None:
    asked = [Asked.one(dense(1, n, 0)) for n in range(5)]
    sizes = [len(ask_one(collection, one).hits) for one in asked]
    found = ask_many(collection, asked, sum(sizes[:2]) + sizes[2] // 2)
    assert [type(one) for one in found] == [QueryResult, QueryResult] + [LimitExceeded] * 3


def test_a_deadline_is_kept(collection: Collection) -> None:
    queries = [(Asked.one(dense(1, n, 0)), Wanted()) for n in range(3)]
    with (
        collection.snapshot(deadline=0.0) as snapshot,
        pytest.raises(DeadlineExceeded, match="batch"),
    ):
        snapshot.query_many(queries, MIB, lambda space: 1.0, 1)


def test_segments_answer_many_as_one(database: Database) -> None:
    """With a mask and without, by scan, for a space that not all rows have."""
    rng = np.random.default_rng(1)
    with database.collection("c") as opened, opened.snapshot() as snapshot:
        for live in snapshot._view.parts:
            for space in test_legs.SCHEMA.spaces:
                queries = rng.normal(size=(5, space.dim)).astype(np.float32)
                for mask in (None, live.alive):
                    effort = snapshots.Effort()
                    many = live.part.search_many(space, queries, 7, effort, mask, 2)
                    for query, found in zip(queries, many, strict=True):
                        alone = live.part.search(space, query, 7, effort, mask)
                        assert found.rows.tolist() == alone.rows.tolist()
                        assert found.scores.tolist() == alone.scores.tolist()
                        assert found.ef == alone.ef
