"""Searches of several legs: what is sent for what a caller writes, what is refused before."""

from __future__ import annotations

import pytest

from vecdb_client import F, InvalidArgument, Keyword, Near, PointId, Rrf, Sparse, Weighted
from vecdb_client.pb import common_pb2, search_pb2


def test_legs_are_sent_as_written(books, server):
    legs = [
        Near([1, 0, 0], k=50, weight=2, filter=F("year") >= 1900, ef=40),
        Near({7: 0.5}, "terms", exact=True),
        Near(Sparse([3], [1.5]), "terms"),
        Near("a text"),
        Near(PointId("dune")),
        Keyword("brave world", ["title"], "all", k=20, weight=0.5, filter=F("n") == 1),
    ]
    books.search([1, 0, 0], group="author.name", group_size=3)
    assert server.queries.pop().group == search_pb2.Group(path="author.name", size=3)
    books.search(legs=legs, k=3, offset=6, min_score=-0.5, fusion=Rrf(10), filter=F("x").exists())
    (sent,) = server.queries
    assert (sent.k, sent.offset, sent.min_score) == (3, 6, -0.5)
    assert sent.fusion.rrf.k == 10
    assert sent.filter.exists.path == "x"
    first, terms, sparse, text, point, words = sent.legs
    assert (first.k, first.weight, first.ef, first.exact) == (50, 2, 40, False)
    assert first.near.vector.f32
    assert first.filter.range.path == "year"
    assert (terms.near.space, terms.exact) == ("terms", True)
    assert list(terms.near.vector.sparse.indices) == [7]
    assert list(sparse.near.vector.sparse.values) == [1.5]
    assert (text.near.vector.text, point.near.vector.point) == ("a text", "dune")
    assert (words.keyword.text, list(words.keyword.fields)) == ("brave world", ["title"])
    assert (words.keyword.mode, words.k, words.weight) == (common_pb2.KEYWORD_MODE_ALL, 20, 0.5)
    assert words.filter.equals.path == "n"
    for leg in (terms, sparse, text, point):
        assert not leg.k
        assert not leg.HasField("weight")
        assert not leg.HasField("filter")


def test_what_is_not_said_is_not_sent(books, server):
    books.search([1, 0, 0])
    books.search(legs=[Near([1, 0, 0])])
    assert server.queries[0] == server.queries[1]
    for name in ("fusion", "min_score", "group"):
        assert not server.queries[0].HasField(name)


@pytest.mark.parametrize(
    ("normalization", "number"),
    [
        ("min_max", search_pb2.NORMALIZATION_MIN_MAX),
        ("z_score", search_pb2.NORMALIZATION_Z_SCORE),
    ],
)
def test_weighted(books, server, normalization, number):
    books.search("tea", hybrid=True, fusion=Weighted(normalization))
    assert server.queries[0].fusion.weighted.normalization == number


def test_hybrid_is_a_leg_by_vector_and_one_by_words(books, server):
    books.search("tea time", hybrid=True, fields=["title"], match="all", ef=30)
    books.search([1, 0, 0], keyword="tea", hybrid=True, space="s")
    near, words = server.queries[0].legs
    assert (near.near.vector.text, near.ef) == ("tea time", 30)
    assert (words.keyword.text, list(words.keyword.fields)) == ("tea time", ["title"])
    assert words.keyword.mode == common_pb2.KEYWORD_MODE_ALL
    near, words = server.queries[1].legs
    assert near.near.vector.f32
    assert (near.near.space, words.keyword.text) == ("s", "tea")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"legs": []}, "at least one"),
        ({"legs": [Near([1])], "query": "a"}, "go into them"),
        ({"legs": [Near([1])], "exact": True}, "go into them"),
        ({"legs": [Near([1])], "hybrid": True}, "go into them"),
        ({"legs": [Near([1])], "fields": ["a"]}, "go into them"),
        ({"legs": ["tea"]}, "a leg is Near"),
        ({"legs": [Near([1], k=0)]}, "k of a leg is a whole number"),
        ({"legs": [Near([1], weight="much")]}, "a weight is a number"),
        ({"legs": [Keyword("a", match="most")]}, "match is one of"),
        ({"query": [1.0], "hybrid": True}, "hybrid takes a query that is a text"),
        ({"keyword": "a", "hybrid": True}, "hybrid takes a query that is a text"),
        ({"query": "a", "sparse": {1: 1.0}, "hybrid": True}, "hybrid takes a query"),
        ({"query": "a", "hybrid": True, "fusion": "rrf"}, "fusion is Rrf"),
        ({"query": "a", "hybrid": True, "fusion": Weighted("sum")}, "min_max or z_score"),
        ({"query": "a", "hybrid": True, "fusion": Rrf(0)}, "k of Rrf"),
        ({"query": "a", "offset": -1}, "offset is a whole number"),
        ({"query": "a", "min_score": "high"}, "min_score is a number"),
        ({"query": "a", "group": 7}, "group is a str"),
        ({"query": "a", "group": "g", "group_size": 0}, "group_size is a whole number"),
        ({"query": "a", "group_size": 2}, "group_size goes with group"),
    ],
)
def test_searches_refused_before_sending(books, server, arguments, why):
    with pytest.raises(InvalidArgument, match=why):
        books.search(**arguments)
    assert not server.calls


def test_what_each_leg_said_comes_back(books, server):
    books.upsert([{"id": "a", "vector": [1, 0, 0]}])
    server.hit_legs = [search_pb2.LegHit(score=0.5, rank=3), search_pb2.LegHit(leg=2, rank=1)]
    (hit,) = books.search("tea", hybrid=True)
    assert [(leg.leg, leg.score, leg.rank) for leg in hit.legs] == [(0, 0.5, 3), (2, 0.0, 1)]
    server.hit_legs = []
    assert books.search([1, 0, 0])[0].legs == ()
