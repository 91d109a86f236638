"""Sparse vectors and keyword searches: what is sent for what a caller writes, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from vecdb_client import InvalidArgument, Sparse, SparseSpace, TextField, WriteFailed
from vecdb_client.pb import common_pb2


@pytest.mark.parametrize(
    "vector",
    [
        {7: 0.5, 3: -2.0},
        ([7, 3], [0.5, -2]),
        Sparse([7, 3], [0.5, -2]),
        (np.array([7, 3]), np.array([0.5, -2])),
        (np.array([7, 3], np.uint32), np.array([0.5, -2], np.float32)),
    ],
)
def test_forms_of_a_sparse_vector(books, server, vector):
    books.upsert([{"id": "a", "vectors": {"s": vector}}])
    books.upsert(ids=["b"], vectors={"s": [vector]})
    books.search(sparse=vector, space="s")
    sent = [write.ops[0].put.vectors["s"].sparse for write in server.writes]
    near = server.queries[0].legs[0].near
    assert near.space == "s"
    for one in (*sent, near.vector.sparse):
        assert (list(one.indices), list(one.values)) == ([7, 3], [0.5, -2])


def test_a_tuple_of_numbers_is_dense(books, server):
    books.upsert([{"id": "a", "vector": (1.0, 2.0, 3.0)}])
    assert server.writes[0].ops[0].put.vectors[""].f32


@pytest.mark.parametrize(
    "vector",
    [{-1: 1.0}, {2**32: 1.0}, {"a": 1.0}, {1: "x"}, ([1, 2], [1.0]), ([1.5], [1.0])],
)
def test_what_is_no_sparse_vector(books, server, vector):
    with pytest.raises(InvalidArgument) as caught:
        books.search(sparse=vector)
    assert caught.value.reason == "BAD_VECTOR"
    with pytest.raises(WriteFailed) as failed:
        books.upsert([{"id": "a", "vectors": {"s": vector}}])
    assert failed.value.report.failures[0].reason == "BAD_VECTOR"
    assert not server.queries


def test_sparse_vectors_come_back(books, server):
    books.upsert([{"id": "a", "vectors": {"s": {7: 0.5}}, "vector": [1, 0, 0]}])
    (point,) = books.get("a", with_vectors=True).points
    assert list(point.vector) == [1, 0, 0]
    assert point.vectors.keys() == {""}
    assert list(point.sparse["s"].indices) == [7]
    assert list(point.sparse["s"].values) == [0.5]


def test_keyword_request(books, server):
    books.search(keyword="brave new world", k=3)
    books.search(keyword="world", match="phrase", fields=["title", "a.b"])
    plain, phrase = (query.legs[0].keyword for query in server.queries)
    assert (plain.text, plain.mode) == ("brave new world", common_pb2.KEYWORD_MODE_ANY)
    assert not plain.fields
    assert (phrase.mode, list(phrase.fields)) == (
        common_pb2.KEYWORD_MODE_PHRASE,
        ["title", "a.b"],
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "one of query, image, keyword and sparse"),
        ({"query": [1], "keyword": "a"}, "one of query, image, keyword and sparse"),
        ({"keyword": "a", "sparse": {1: 1.0}}, "one of query, image, keyword and sparse"),
        ({"keyword": "a", "match": "some"}, "match is one of any, all, phrase"),
        ({"keyword": 3}, "a keyword query is a str"),
        ({"sparse": [1.0, 2.0]}, "sparse is a dict"),
    ],
)
def test_searches_refused_before_sending(books, server, arguments, why):
    with pytest.raises(InvalidArgument, match=why):
        books.search(**arguments)
    assert not server.calls


def test_schemas(db, server):
    fields = [TextField("title", "english"), TextField("body", k1=2.0, b=0.0)]
    db.create_collection("texts", text_fields=fields)
    db.create_collection("both", dim=3, text_fields=fields[:1])
    db.create_collection("sparse", spaces={"s": SparseSpace()})
    assert not server.collections["texts"].spaces
    assert server.collections["both"].spaces[""].dense.dim == 3
    assert db.collection("texts").info().text_fields == tuple(fields)
    assert db.collection("sparse").info().spaces == {"s": SparseSpace()}
    with pytest.raises(InvalidArgument, match="text_fields holds TextField"):
        db.create_collection("wrong", text_fields=["title"])
