"""Recommend, OrderBy, Boost, Mmr and matches(): what is sent for them, what is refused before."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from vecdb_client import (
    Boost,
    Decay,
    F,
    InvalidArgument,
    Mmr,
    OrderBy,
    PointId,
    Prefer,
    Recommend,
)
from vecdb_client.pb import common_pb2, ranking_pb2


def test_examples_are_sent_as_what_they_are(books, server):
    legs = [
        Recommend([[1, 0, 0], PointId("dune")], ["a text"], space="s", ef=30, weight=2),
        Recommend((PointId(name) for name in "ab"), strategy="best_score", exact=True, k=7),
        OrderBy("year", descending=True, filter=F("n") == 1),
    ]
    books.search(legs=legs)
    first, second, order = server.queries[0].legs
    numbers, point = first.recommend.positive
    assert (len(numbers.f32), point.point) == (12, "dune")
    assert first.recommend.negative[0].text == "a text"
    assert (first.recommend.space, first.ef, first.weight) == ("s", 30, 2)
    assert first.recommend.strategy == ranking_pb2.RECOMMEND_STRATEGY_AVERAGE
    assert [one.point for one in second.recommend.positive] == ["a", "b"]
    assert (second.exact, second.k, second.HasField("weight")) == (True, 7, False)
    assert second.recommend.strategy == ranking_pb2.RECOMMEND_STRATEGY_BEST_SCORE
    assert (order.order_by.path, order.order_by.descending) == ("year", True)
    assert order.filter.equals.path == "n"


def test_boosts_are_sent(books, server):
    noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
    boost = Boost(
        [
            Prefer(F("year") > 2000, -0.5),
            Decay("year", 2000, scale=10, weight=2, offset=1, decay=0.25),
            Decay("at", noon, scale=timedelta(hours=1), weight=1, curve="exp"),
            Decay("at", date(2024, 3, 1), scale=60, weight=1, offset=timedelta(seconds=2)),
            Decay("at", "2024-03-02", scale=60, weight=1, curve="linear"),
            Decay("place", (52.5, 13.4), scale=1_000, weight=1),
        ],
        candidates=50,
    )
    books.search([1, 0, 0], boost=boost)
    sent = server.queries[0].boost
    assert sent.candidates == 50
    prefer, *decays = sent.adjustments
    assert (prefer.filter.range.path, prefer.weight) == ("year", -0.5)
    number, moment, day, text, place = [one.decay for one in decays]
    assert (number.path, number.number, number.curve) == (
        "year",
        2000,
        ranking_pb2.DECAY_CURVE_GAUSS,
    )
    assert (number.scale, number.offset, number.decay) == (10, 1, 0.25)
    assert (moment.time, moment.scale) == (noon.isoformat(), 3_600)
    assert moment.curve == ranking_pb2.DECAY_CURVE_EXP
    assert (day.time, day.offset) == ("2024-03-01", 2)
    assert (text.time, text.curve) == ("2024-03-02", ranking_pb2.DECAY_CURVE_LINEAR)
    assert (place.place.lat, place.place.lon) == (52.5, 13.4)


def test_mmr_is_sent(books, server):
    books.search([1, 0, 0], mmr=Mmr())
    books.search([1, 0, 0], mmr=Mmr(0, space="s", candidates=30))
    plain, full = (query.mmr for query in server.queries)
    assert (getattr(plain, "lambda"), plain.space, plain.candidates) == (0.5, "", 0)
    assert (getattr(full, "lambda"), full.space, full.candidates) == (0, "s", 30)
    assert full.HasField("lambda")
    books.search([1, 0, 0])
    assert not server.queries[2].HasField("mmr")
    assert not server.queries[2].HasField("boost")


def test_words_in_a_filter(books, server):
    chosen = F("title").matches("brave world", "all")
    assert repr(chosen) == "F(\"title\").matches('brave world', 'all')"
    books.search([1, 0, 0], filter=chosen & ~F("body").matches("x"))
    first, second = getattr(server.queries[0].filter, "and").filters
    assert (first.text.path, first.text.text) == ("title", "brave world")
    assert first.text.mode == common_pb2.KEYWORD_MODE_ALL
    assert getattr(second, "not").text.mode == common_pb2.KEYWORD_MODE_ANY


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"legs": [Recommend([])]}, "at least one positive"),
        ({"legs": [Recommend("dune")]}, "come in a list"),
        ({"legs": [Recommend(PointId("dune"))]}, "come in a list"),
        ({"legs": [Recommend([[1]], strategy="sum")]}, "average, best_score"),
        ({"legs": [OrderBy(3)]}, "the path of OrderBy"),
        ({"boost": [Prefer(F("a") == 1, 1)]}, "boost is Boost"),
        ({"boost": Boost([F("a") == 1])}, "made of Prefer"),
        ({"boost": Boost([Prefer(None, 1)])}, "made of Prefer"),
        ({"boost": Boost([Prefer(F("a") == 1, "much")])}, "a weight is a number"),
        ({"boost": Boost([Prefer(F("a") == 1, 1)], candidates=0)}, "candidates of Boost"),
        ({"boost": Boost([Decay("a", 1, 1, 1, curve="log")])}, "exp, gauss, linear"),
        ({"boost": Boost([Decay("a", None, 1, 1)])}, "an origin is a number"),
        ({"boost": Boost([Decay("a", datetime(2024, 1, 1), 1, 1)])}, "no time zone"),
        ({"boost": Boost([Decay("a", (1, 2, 3), 1, 1)])}, "a place is"),
        ({"boost": Boost([Decay("a", 1, "wide", 1)])}, "scale is a number"),
        ({"mmr": 0.5}, "mmr is Mmr"),
        ({"mmr": Mmr("half")}, "weight of Mmr"),
        ({"mmr": Mmr(candidates=-1)}, "candidates of Mmr"),
    ],
)
def test_what_is_refused_before_sending(books, server, arguments, why):
    query = {} if "legs" in arguments else {"query": [1, 0, 0]}
    with pytest.raises(InvalidArgument, match=why):
        books.search(**query, **arguments)
    assert not server.calls


@pytest.mark.parametrize(("words", "match"), [("", "any"), (3, "any"), ("a", "most")])
def test_words_that_are_refused(words, match):
    with pytest.raises(InvalidArgument, match="bad filter"):
        F("title").matches(words, match)
