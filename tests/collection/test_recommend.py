"""Recommend legs, and legs in the order of a field: held against plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests import read_model
from tests.collection.ranked import (
    CHOSEN,
    METRICS,
    MIB,
    PAYLOADS,
    SPACES,
    VECTORS,
    ask,
    near,
    quick,
    score,
    vector_of,
)
from tests.model import holds
from vecdb.collection.asked import Asked
from vecdb.collection.collection import Collection
from vecdb.errors import DeadlineExceeded
from vecdb.query import recommend
from vecdb.query.order import OrderBy, OrderQuery
from vecdb.query.recommend import BestScoreQuery, Examples, averaged, best_scored
from vecdb.query.search import Candidates
from vecdb.segment.memory import MemoryRows, Row
from vecdb.segment.vectors import Effort
from vecdb.types import (
    Metric,
    Range,
    Schema,
    Space,
    Wanted,
)

# --- best score


def squashed(x: float) -> float:
    return (1 + x / (1 + abs(x))) / 2


@given(
    positive=st.lists(VECTORS, min_size=1, max_size=3),
    negative=st.lists(VECTORS, max_size=3),
    space=SPACES,
    chosen=CHOSEN,
    k=st.sampled_from([1, 3, 10, 200]),
    exact=st.booleans(),
)
@quick
def test_best_scores(ranked: Collection, positive, negative, space, chosen, k, exact) -> None:
    expected: dict[str, float] = {}
    for name, payload in PAYLOADS.items():
        vector = vector_of(name, space)
        if vector is None or (chosen and not holds(chosen, payload, name, frozenset())):
            continue
        metric = METRICS[space]
        best = max(score(metric, vector, np.array(one)) for one in positive)
        worst = max([score(metric, vector, np.array(one)) for one in negative], default=-math.inf)
        assume(abs(best - worst) > 1e-5)  # or rounding decides
        expected[name] = squashed(best) if best > worst else -squashed(worst)
    query = BestScoreQuery(
        *(tuple(np.array(one, np.float32) for one in kind) for kind in (positive, negative)),
        *(k, space, chosen, 0, exact),
    )
    hits, result = ask(ranked, query)
    ranked = sorted(expected.values(), reverse=True)[:k]
    assert [hit.score for hit in hits] == pytest.approx(ranked, abs=1e-5)
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.id], abs=1e-5)
        assert hit.distance == pytest.approx(-hit.score)
    assert result.plan.startswith(f"best score beside {len(positive)} and {len(negative)} examples")


def test_what_is_as_near_to_a_negative_as_to_a_positive_is_scored_below(
    ranked: Collection,
) -> None:
    both = (np.array((1, 2, 3), np.float32),)
    hits, _ = ask(ranked, BestScoreQuery(both, both, 200))
    assert hits
    assert all(hit.score < 0 for hit in hits)


def test_negatives_beside_the_positives_are_seen_past(ranked: Collection, monkeypatch) -> None:
    """The nearest of the positive are all nearer to the negative: it goes on behind them."""
    vectors = tuple(np.array(one, np.float32) for one in ((1, 1, 1), (1.01, 1, 1)))
    query = BestScoreQuery(vectors[:1], vectors[1:], 2)
    hits, _ = ask(ranked, query)
    assert all(hit.score > 0 for hit in hits)
    monkeypatch.setattr(recommend, "CANDIDATES_MAX", 4)
    short, _ = ask(ranked, query)
    assert len(short) == 2  # as many as were asked for all the same
    assert [hit.score for hit in short] <= [hit.score for hit in hits]


def test_it_looks_on_where_the_unseen_may_be_best() -> None:
    """All that is first seen near one positive is nearer to the negative, what lies behind is not.

    What the other positive has is good enough for its own list alone.
    """
    schema = Schema((space := Space("", 1, Metric.EUCLID),))
    places = [10, 20, 30, 40, 1000.6, 1000.7, 1000.8, 1000.9, 999]
    cells = [Row(at, b"", {"": np.array([x], "<f4").tobytes()}) for at, x in enumerate(places)]
    part = MemoryRows(schema).append(cells)
    positive, negative = [np.array([x], np.float32) for x in (0, 1000)], np.array([1001], "f4")
    found = best_scored(
        [Candidates(part, None, len(places))], space, Examples(positive, [negative]), 2, Effort()
    )
    assert found.slots == [8, 0]
    assert found.scores == pytest.approx([squashed(-1), squashed(-10)])


def test_the_average_of_directions_and_of_vectors() -> None:
    long, short = np.array([10, 0, 0], np.float32), np.array([0, 1, 0], np.float32)
    assert averaged([long, short], [], Metric.COSINE).tolist() == [0.5, 0.5, 0]
    assert averaged([long, short], [], Metric.DOT).tolist() == [5, 0.5, 0]
    assert averaged([long, short], [short], Metric.EUCLID).tolist() == [10, 0, 0]


def test_the_deadline_of_a_best_score(ranked: Collection) -> None:
    vector = np.array([1, 2, 3], np.float32)
    with ranked.snapshot(deadline=0.0) as snapshot, pytest.raises(DeadlineExceeded):
        snapshot.query(BestScoreQuery((vector,), (), 3), Wanted(), MIB)


# --- in order


@given(path=st.sampled_from(["n", "year", "at.time"]), descending=st.booleans(), chosen=CHOSEN)
@quick
def test_a_leg_in_order_is_the_list_in_order(ranked, path, descending, chosen) -> None:
    query = OrderQuery(OrderBy(path, descending), 100, chosen)
    hits, result = ask(ranked, query)
    of_chosen = {
        name: payload
        for name, payload in PAYLOADS.items()
        if chosen is None or holds(chosen, payload, name, frozenset())
    }
    ranks = read_model.ranks(of_chosen, path, descending)
    key = {name: (rank, int(name[1:])) for name, rank in ranks.items()}
    assert [hit.id for hit in hits] == sorted(key, key=key.__getitem__, reverse=descending)
    assert [hit.score for hit in hits] == [-1.0 - at for at in range(len(hits))]
    assert [hit.distance for hit in hits] == [1.0 + at for at in range(len(hits))]
    assert f"order of {path!r} in" in result.plan
    assert ask(ranked, OrderQuery(query.order, 3, chosen))[0] == hits[:3]


def test_order_is_fused_like_any_leg(ranked: Collection) -> None:
    legs = [OrderQuery(OrderBy("n", True), 5), near(1, 0, 0, k=5, filter=Range("n", gte=78))]
    hits, _ = ask(ranked, Asked(legs, 3, weights=[1, 1]))
    assert {leg.leg for leg in hits[0].legs} == {0, 1}
    assert hits[0].id == "p79"
