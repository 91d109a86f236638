"""Legs, fusions, offsets that are wrong or contradict, each at its limit and one past it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import grpc
import pytest

from tests.live import LiveServer
from vecdb.rpc.pb import (
    collections_pb2,
    collections_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
    ranking_pb2,
    search_pb2,
    search_pb2_grpc,
)
from vecdb.rpc.pb.common_pb2 import Filter, Floats, Point, Vector
from vecdb_client import VecdbError
from vecdb_client.status import error_of

NAME = "points"
SETTINGS = {
    "embed.enabled": "false",
    "limits.k": 100,
    "limits.legs": 3,
    "limits.groups": 40,
}


def numbers(*values: float) -> Vector:
    return Vector(floats=Floats(values=values))


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[search_pb2_grpc.SearchStub]:
    """Search, beside a collection of ten points."""
    live = LiveServer(tmp_path_factory.mktemp("legs") / "data", dict(SETTINGS)).start()
    with grpc.insecure_channel(live.address) as channel:
        request = collections_pb2.CreateCollectionRequest()
        request.collection.name = NAME
        dense = request.collection.spaces[""].dense
        dense.dim, dense.metric = 3, collections_pb2.METRIC_COSINE
        collections_pb2_grpc.CollectionsStub(channel).Create(request, timeout=30)
        write = points_pb2.WriteRequest(collection=NAME)
        for n in range(10):
            point = Point(id=f"p{n}", vectors={"": numbers(n + 1, 1, 1)})
            write.ops.add().put.CopyFrom(point)
        points_pb2_grpc.PointsStub(channel).Write(write, timeout=30)
        yield search_pb2_grpc.SearchStub(channel)
    assert live.stop() == 0


def legs(*legs: search_pb2.Leg, k: int = 5, **more: object) -> search_pb2.QueryRequest:
    return search_pb2.QueryRequest(collection=NAME, k=k, legs=legs, **more)


def leg(**more: object) -> search_pb2.Leg:
    return search_pb2.Leg(near=search_pb2.Near(vector=numbers(1, 2, 3)), **more)


INVALID = "INVALID_ARGUMENT"
NEAR = leg()
OTHER = search_pb2.Near(vector=numbers(1, 2))
RRF = search_pb2.Fusion(rrf=search_pb2.Rrf())
NEITHER = search_pb2.Fusion(weighted=search_pb2.Weighted())
STEEP = search_pb2.Fusion(rrf=search_pb2.Rrf(k=1_000_001))
NO_CONDITION = Filter()


def group(path: str = "n", size: int = 0) -> search_pb2.Group:
    return search_pb2.Group(path=path, size=size)


BAD = {
    "four-legs": (legs(NEAR, NEAR, NEAR, NEAR), "LIMIT_EXCEEDED", "legs", "4", "limits.legs"),
    "leg-without-kind": (legs(NEAR, search_pb2.Leg()), INVALID, "legs[1]", "near"),
    "leg-k-alone": (legs(leg(k=3)), INVALID, "legs[0].k", "k of the query"),
    "weight-alone": (legs(leg(weight=1)), INVALID, "legs[0].weight", "nothing to weigh"),
    "fusion-alone": (legs(NEAR, fusion=RRF), INVALID, "fusion", "nothing to fuse"),
    "leg-k-over": (legs(NEAR, leg(k=101)), "LIMIT_EXCEEDED", "legs[1].k", "101", "limits.k"),
    "leg-ef-over": (legs(NEAR, leg(ef=10_001)), "LIMIT_EXCEEDED", "legs[1].ef", "limits.ef"),
    "weight-0": (legs(NEAR, leg(weight=0)), INVALID, "legs[1].weight", "more than 0"),
    "weight-nan": (legs(leg(weight=math.nan), NEAR), INVALID, "legs[0].weight", "nan"),
    "weight-over": (legs(NEAR, leg(weight=1e7)), INVALID, "legs[1].weight", "1000000"),
    "fusion-empty": (
        legs(NEAR, NEAR, fusion=search_pb2.Fusion()),
        *(INVALID, "fusion", "rrf or weighted"),
    ),
    "normalization": (
        legs(NEAR, NEAR, fusion=NEITHER),
        *(INVALID, "fusion.weighted.normalization", "min_max or z_score"),
    ),
    "rrf-k-over": (legs(NEAR, NEAR, fusion=STEEP), INVALID, "fusion.rrf.k", "1000001"),
    "offset-over": (legs(NEAR, k=60, offset=41), "LIMIT_EXCEEDED", "offset", "101", "List"),
    "offset-huge": (legs(NEAR, offset=2**32 - 1), "LIMIT_EXCEEDED", "offset", "List"),
    "group-path": (legs(NEAR, group=group("")), INVALID, "group.path", "1 to 512"),
    "group-path-long": (legs(NEAR, group=group("x" * 513)), INVALID, "group.path", "got 513"),
    "group-and-mmr": (
        legs(NEAR, group=group(), mmr=ranking_pb2.Mmr()),
        *(INVALID, "mmr", "leave out one of them"),
    ),
    "groups-over": (
        legs(NEAR, k=30, offset=11, group=group()),
        *("LIMIT_EXCEEDED", "k", "41 groups", "limits.groups"),
    ),
    "group-size-over": (
        legs(NEAR, k=10, group=group(size=11)),
        *("LIMIT_EXCEEDED", "group.size", "110 hits", "limits.k"),
    ),
    "min-score-nan": (legs(NEAR, min_score=math.nan), INVALID, "min_score", "finite"),
    "min-score-inf": (legs(NEAR, NEAR, min_score=math.inf), INVALID, "min_score", "finite"),
    "second-vector": (
        legs(NEAR, search_pb2.Leg(near=OTHER)),
        *("DIMENSION_MISMATCH", "legs[1].near.vector", "3 dimensions"),
    ),
    "second-space": (
        legs(NEAR, search_pb2.Leg(near=search_pb2.Near(space="nope"))),
        *(INVALID, "legs[1].near.space", "'nope'"),
    ),
    "second-kind": (
        legs(NEAR, search_pb2.Leg(near=search_pb2.Near())),
        *(INVALID, "legs[1].near.vector", "legs[1].near.vector: expected numbers"),
    ),
    "second-words": (
        legs(NEAR, search_pb2.Leg(keyword=search_pb2.Keyword(text="a", mode=1))),
        *(INVALID, "legs[1].keyword.fields", "no text fields"),
    ),
    "second-filter": (
        legs(NEAR, leg(filter=NO_CONDITION)),
        "BAD_FILTER",
        "legs[1].filter",
        "empty",
    ),
    "filter-of-space": (
        legs(NEAR, leg(filter=Filter(has_space={"space": "nope"}))),
        *(INVALID, "legs[1].filter", "'nope'"),
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_legs_that_cannot_be_asked(stub: search_pb2_grpc.SearchStub, bad: tuple) -> None:
    request, reason, field, *words = bad
    with pytest.raises(grpc.RpcError) as caught:
        stub.Query(request, timeout=30)
    error: VecdbError = error_of(caught.value, "")
    assert (error.code, error.reason) == (INVALID, reason)
    assert [one.field for one in error.violations] == [field]
    for word in words:
        assert word in error.message
    assert len(stub.Query(legs(NEAR), timeout=30).hits) == 5


AT_LIMIT = {
    "legs": legs(NEAR, NEAR, NEAR),
    "k and offset": legs(NEAR, k=60, offset=40),
    "leg k": legs(leg(k=100), leg(k=1), leg(ef=10_000)),
    "weight": legs(leg(weight=1e6), leg(weight=1e-30)),
    "rrf k": legs(NEAR, NEAR, fusion=search_pb2.Fusion(rrf=search_pb2.Rrf(k=1_000_000))),
    "groups": legs(NEAR, k=10, offset=30, group=group()),
    "group size": legs(NEAR, k=5, group=group("x" * 512, size=20)),
    "min score": legs(NEAR, min_score=-3e38),
}


@pytest.mark.parametrize("request_", AT_LIMIT.values(), ids=AT_LIMIT.keys())
def test_a_query_at_a_limit(stub: search_pb2_grpc.SearchStub, request_) -> None:
    nothing = request_.offset or request_.HasField("group")  # the points hold no payload
    assert len(stub.Query(request_, timeout=30).hits) == (0 if nothing else 5)
