"""Sparse vectors and keyword queries over the wire: what comes back, what is refused, and how."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import grpc
import pytest

from tests.live import LiveServer
from vecdb.rpc.pb import (
    collections_pb2,
    collections_pb2_grpc,
    common_pb2,
    points_pb2,
    points_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from vecdb_client import VecdbError
from vecdb_client.status import error_of

NAME = "c"
VALUES_MAX, WORDS_MAX, FIELDS_MAX = 5, 8, 3
SETTINGS = {
    "embed.enabled": "false",
    "limits.sparse_values": VALUES_MAX,
    "limits.query_words": WORDS_MAX,
    "limits.text_fields": FIELDS_MAX,
    "limits.text_bytes": 200,
}
ANY, PHRASE = common_pb2.KEYWORD_MODE_ANY, common_pb2.KEYWORD_MODE_PHRASE


def sparse(indices: list[int], values: list[float]) -> common_pb2.Vector:
    return common_pb2.Vector(sparse=common_pb2.SparseVector(indices=indices, values=values))


def dense(*values: float) -> common_pb2.Vector:
    return common_pb2.Vector(floats=common_pb2.Floats(values=values))


def put(name: str, payload: bytes = b"", **vectors: common_pb2.Vector) -> points_pb2.WriteOp:
    return points_pb2.WriteOp(put=common_pb2.Point(id=name, payload=payload, vectors=vectors))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("sparse") / "data", dict(SETTINGS)).start()
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def stubs(server: LiveServer) -> Iterator[SimpleNamespace]:
    with grpc.insecure_channel(server.address) as channel:
        made = SimpleNamespace(
            collections=collections_pb2_grpc.CollectionsStub(channel),
            points=points_pb2_grpc.PointsStub(channel),
            search=search_pb2_grpc.SearchStub(channel),
        )
        metric = collections_pb2.METRIC_DOT
        create(
            made,
            collections_pb2.Collection(
                name=NAME,
                spaces={
                    "s": collections_pb2.Space(sparse=collections_pb2.Sparse()),
                    "d": collections_pb2.Space(dense=collections_pb2.Dense(dim=2, metric=metric)),
                },
                text_fields=[
                    collections_pb2.TextField(path="title", language="english"),
                    collections_pb2.TextField(path="body", k1=0, b=1),
                ],
            ),
        )
        ops = [
            put("a", b'{"title": "Running shoes"}', s=sparse([9, 2**32 - 1, 0], [1, -2, 0])),
            put("b", b'{"body": ["two shoes", "run"]}', s=sparse([9], [3]), d=dense(1, 2)),
        ]
        write(made, ops)
        yield made


def create(stubs: SimpleNamespace, collection: collections_pb2.Collection):
    return stubs.collections.Create(
        collections_pb2.CreateCollectionRequest(collection=collection)
    ).collection


def write(stubs: SimpleNamespace, ops: list[points_pb2.WriteOp]) -> list:
    request = points_pb2.WriteRequest(collection=NAME, ops=ops)
    return list(stubs.points.Write(request).results)


def near(vector: common_pb2.Vector, space: str = "s") -> search_pb2.Leg:
    return search_pb2.Leg(near=search_pb2.Near(vector=vector, space=space))


def keyword(text: str, mode: int = ANY, *fields: str) -> search_pb2.Leg:
    return search_pb2.Leg(keyword=search_pb2.Keyword(text=text, mode=mode, fields=fields))


def query(stubs: SimpleNamespace, leg: search_pb2.Leg, **more: object) -> list:
    request = search_pb2.QueryRequest(collection=NAME, legs=[leg], k=10, **more)
    return list(stubs.search.Query(request).hits)


def refused(work) -> VecdbError:
    with pytest.raises(grpc.RpcError) as caught:
        work()
    return error_of(caught.value, "")


def test_schema_comes_back(stubs: SimpleNamespace) -> None:
    request = collections_pb2.GetCollectionRequest(name=NAME)
    found = stubs.collections.Get(request).collection
    assert found.spaces["s"].WhichOneof("kind") == "sparse"
    assert [(f.path, f.language, f.k1, f.b) for f in found.text_fields] == [
        ("title", "english", 1.2, 0.75),
        ("body", "", 0.0, 1.0),
    ]


def test_sparse_vectors_come_back_in_order(stubs: SimpleNamespace) -> None:
    request = points_pb2.GetPointsRequest(collection=NAME, ids=["a", "b"], with_vectors=True)
    a, b = stubs.points.Get(request).points
    assert list(a.vectors["s"].sparse.indices) == [9, 2**32 - 1]
    assert list(a.vectors["s"].sparse.values) == [1, -2]
    assert b.vectors["d"].f32
    assert b.vectors["s"].WhichOneof("kind") == "sparse"


def test_queries(stubs: SimpleNamespace) -> None:
    hits = query(stubs, near(sparse([2**32 - 1, 9], [0.5, 1])), with_vectors=True)
    assert [(hit.id, hit.score, hit.distance) for hit in hits] == [("b", 3, -3), ("a", 0, 0)]
    assert str(hits[1].distance) == "0.0"  # not -0
    assert list(hits[0].vectors["s"].sparse.values) == [3]
    hits = query(stubs, near(common_pb2.Vector(point="b")))
    assert [(hit.id, hit.score) for hit in hits] == [("b", 9), ("a", 3)]
    assert query(stubs, near(sparse([1], [1]))) == []
    assert {hit.id for hit in query(stubs, keyword("shoes"))} == {"a", "b"}
    assert [hit.id for hit in query(stubs, keyword("runs"))] == ["a"]  # body has no stemmer
    assert [hit.id for hit in query(stubs, keyword("shoes", ANY, "body"))] == ["b"]
    assert [hit.id for hit in query(stubs, keyword("two shoes", PHRASE))] == ["b"]
    assert query(stubs, keyword("shoes run", PHRASE)) == []
    assert query(stubs, keyword("?!")) == []


@pytest.mark.parametrize(
    ("vector", "reason", "message"),
    [
        (sparse([], []), "ZERO_VECTOR", "no value that is not zero"),
        (sparse([1, 2], [0, 0]), "ZERO_VECTOR", "no value that is not zero"),
        (sparse([1, 2], [1]), "INVALID_ARGUMENT", "2 indices and 1 values"),
        (sparse([3, 1, 3], [1, 2, 3]), "INVALID_ARGUMENT", "index 3 comes twice"),
        (sparse([1], [float("nan")]), "NOT_FINITE", "not finite"),
        (sparse([1], [float("-inf")]), "NOT_FINITE", "not finite"),
        (sparse([1], [3e38]), "NOT_FINITE", "too long"),
        (sparse(list(range(6)), [1.0] * 6), "LIMIT_EXCEEDED", "raise limits.sparse_values"),
        (dense(1, 2), "INVALID_ARGUMENT", "it takes indices and values"),
        (common_pb2.Vector(text="x"), "INVALID_ARGUMENT", "it takes indices and values"),
    ],
)
def test_wrong_sparse_vectors(stubs: SimpleNamespace, vector, reason, message) -> None:
    bad, good = write(stubs, [put("bad", s=vector), put("good", s=sparse([77], [1]))])
    assert (bad.reason, good.reason) == (reason, "")
    assert message in bad.message
    error = refused(lambda: query(stubs, near(vector)))
    assert (error.reason, error.code) == (reason, "INVALID_ARGUMENT")
    assert message in error.message
    assert error.violations[0].field == "legs[0].near.vector"


def test_the_wrong_kind_of_space(stubs: SimpleNamespace) -> None:
    (result,) = write(stubs, [put("x", d=sparse([1], [1]))])
    assert "space 'd' is dense: it takes 2 numbers" in result.message
    error = refused(lambda: query(stubs, near(sparse([1], [1]), "d")))
    assert "space 'd' is dense" in error.message
    (result,) = write(stubs, [put("x", nowhere=sparse([1], [1]))])
    assert "unknown space 'nowhere': the collection has 'd', 's'" in result.message
    error = refused(lambda: query(stubs, near(sparse([1], [1]), "nowhere")))
    assert error.violations[0].field == "legs[0].near.space"


@pytest.mark.parametrize(
    ("leg", "field", "message"),
    [
        (keyword(""), "text", "the text is empty"),
        (keyword("é" * 101), "text", "202 bytes, the limit is 200"),
        (keyword("a b c d e f g h i"), "text", "9 words, the limit is 8"),
        (keyword("a", ANY, "nowhere"), "fields", "no text field 'nowhere': the collection has"),
        (keyword("a", 0), "mode", "expected mode any, all or phrase"),
        (keyword("a", 9), "mode", "expected mode any, all or phrase"),
    ],
)
def test_wrong_keyword_queries(stubs: SimpleNamespace, leg, field, message) -> None:
    error = refused(lambda: query(stubs, leg))
    assert error.code == "INVALID_ARGUMENT"
    assert message in error.message
    assert error.violations[0].field == f"legs[0].keyword.{field}"


def test_a_collection_without_text_fields_or_spaces(stubs: SimpleNamespace) -> None:
    text = [collections_pb2.TextField(path="title")]
    create(stubs, collections_pb2.Collection(name="texts", text_fields=text))
    space = {"s": collections_pb2.Space(sparse=collections_pb2.Sparse())}
    create(stubs, collections_pb2.Collection(name="vectors", spaces=space))
    request = search_pb2.QueryRequest(collection="vectors", legs=[keyword("a")], k=1)
    assert "no text fields" in refused(lambda: stubs.search.Query(request)).message
    error = refused(lambda: create(stubs, collections_pb2.Collection(name="nothing")))
    assert "1 to 16 spaces" in error.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([{"path": ""}], "paths have 1 to 512 characters"),
        ([{"path": "x" * 513}], "paths have 1 to 512 characters"),
        ([{"path": "a"}, {"path": "a"}], "none comes twice"),
        ([{"path": "a", "language": "klingon"}], "no language 'klingon'; there are arabic"),
        ([{"path": "a", "k1": -1.0}], "k1 is 0 to 100"),
        ([{"path": "a", "k1": float("nan")}], "k1 is 0 to 100"),
        ([{"path": "a", "b": 1.5}], "b 0 to 1"),
        ([{"path": f"p{n}"} for n in range(4)], "up to 3 text fields, got 4"),
    ],
)
def test_wrong_text_fields(stubs: SimpleNamespace, fields, message) -> None:
    made = [collections_pb2.TextField(**field) for field in fields]
    collection = collections_pb2.Collection(name="wrong", text_fields=made)
    error = refused(lambda: create(stubs, collection))
    assert error.code == "INVALID_ARGUMENT"
    assert message in error.message


# --- several legs


def ask(stubs: SimpleNamespace, *legs: search_pb2.Leg, **more: object):
    """Return the reply, of the two points of the collection that all tests find there."""
    both = common_pb2.Filter(has_id=common_pb2.HasId(ids=["a", "b"]))
    request = search_pb2.QueryRequest(collection=NAME, legs=legs, k=10, filter=both, **more)
    return stubs.search.Query(request)


def test_legs_are_fused_and_kept(stubs: SimpleNamespace) -> None:
    words, terms = keyword("shoes run"), near(sparse([9], [2]))
    terms.weight = 3
    reply = ask(stubs, words, terms, near(dense(1, 1), "d"))
    alone = [{hit.id: hit.score for hit in query(stubs, leg)} for leg in (words, near_of(terms))]
    b, a = reply.hits
    assert (b.id, a.id) == ("b", "a")
    assert b.score == pytest.approx(1 / 61 + 3 / 61 + 1 / 61, rel=1e-6)
    assert a.score == pytest.approx(1 / 62 + 3 / 62, rel=1e-6)
    assert [(leg.leg, leg.rank) for leg in b.legs] == [(0, 1), (1, 1), (2, 1)]
    assert [(leg.leg, leg.score) for leg in a.legs] == [(0, alone[0]["a"]), (1, alone[1]["a"])]
    assert [leg.score for leg in b.legs] == [alone[0]["b"], 6, 3]
    assert a.distance == b.distance == 0
    assert (reply.matched, reply.complete) == (2, True)
    assert "legs[2] exact scan" in reply.plan
    assert "fused by rrf (k 60), weights 1, 3, 1: 2 points" in reply.plan
    stages = reply.timings
    assert stages.total_us >= stages.filter_us + stages.search_us + stages.fetch_us


def near_of(leg: search_pb2.Leg) -> search_pb2.Leg:
    return search_pb2.Leg(near=leg.near)


def test_weighted_with_a_filter_of_a_leg_offset_and_min_score(stubs: SimpleNamespace) -> None:
    only = common_pb2.Filter(has_id=common_pb2.HasId(ids=["b"]))
    legs = [
        search_pb2.Leg(keyword=keyword("shoes").keyword, weight=2, filter=only),
        near(sparse([9], [2])),
    ]
    how = search_pb2.Weighted(normalization=search_pb2.NORMALIZATION_MIN_MAX)
    fusion = search_pb2.Fusion(weighted=how)
    reply = ask(stubs, *legs, fusion=fusion)
    # The only one of a leg has all that there is to have in it, the last of a leg nothing.
    assert [(hit.id, hit.score, len(hit.legs)) for hit in reply.hits] == [("b", 3, 2), ("a", 0, 1)]
    assert reply.matched == 2
    assert [hit.id for hit in ask(stubs, *legs, fusion=fusion, offset=1).hits] == ["a"]
    assert [hit.id for hit in ask(stubs, *legs, fusion=fusion, min_score=2.5).hits] == ["b"]
    assert not ask(stubs, *legs, fusion=fusion, offset=2).hits
    # One leg: its own filter, and the same cuts.
    assert [hit.id for hit in ask(stubs, keyword("shoes"), offset=1).hits] == ["a"]
    alone = search_pb2.Leg(keyword=keyword("shoes").keyword, filter=only)
    (hit,) = ask(stubs, alone).hits
    assert (hit.id, len(hit.legs)) == ("b", 0)
    assert not ask(stubs, alone, min_score=hit.score * 2).hits


def test_near_to_a_stored_point_among_other_legs(stubs: SimpleNamespace) -> None:
    like = near(common_pb2.Vector(point="a"))
    assert [hit.id for hit in ask(stubs, keyword("two"), like).hits] == ["b", "a"]
    missing = near(common_pb2.Vector(point="nobody"))
    assert refused(lambda: ask(stubs, keyword("two"), missing)).code == "NOT_FOUND"
