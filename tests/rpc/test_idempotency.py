"""Idempotency keys: a write that is sent again is answered again, and applied once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer
from vecdb.rpc.pb import collections_pb2, collections_pb2_grpc, points_pb2_grpc
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.pb.common_pb2 import Point
from vecdb_client.status import error_of

NAME = "points"


@contextmanager
def connected(server: LiveServer) -> Iterator[points_pb2_grpc.PointsStub]:
    with grpc.insecure_channel(server.address) as channel:
        request = collections_pb2.CreateCollectionRequest(if_not_exists=True)
        request.collection.name = NAME
        dense = request.collection.spaces[""].dense
        dense.dim, dense.metric = 2, collections_pb2.METRIC_COSINE
        collections_pb2_grpc.CollectionsStub(channel).Create(request, timeout=30)
        yield points_pb2_grpc.PointsStub(channel)


@pytest.fixture
def points(server: LiveServer) -> Iterator[points_pb2_grpc.PointsStub]:
    with connected(server) as stub:
        yield stub


def put(name: str, *values: float) -> pb.WriteOp:
    point = Point(id=name, payload=b"{}")
    point.vectors[""].f32 = struct.pack(f"<{len(values)}f", *values)
    return pb.WriteOp(put=point)


def remove(name: str) -> pb.WriteOp:
    return pb.WriteOp(delete=pb.DeletePoint(id=name))


def write(key: str, *ops: pb.WriteOp, **options) -> pb.WriteRequest:
    return pb.WriteRequest(collection=NAME, ops=ops, idempotency_key=key, **options)


def send(points: points_pb2_grpc.PointsStub, request: pb.WriteRequest) -> pb.WriteResponse:
    return points.Write(request, timeout=30)


def refused(points: points_pb2_grpc.PointsStub, request: pb.WriteRequest):
    with pytest.raises(grpc.RpcError) as caught:
        send(points, request)
    return error_of(caught.value, "")


def there(points: points_pb2_grpc.PointsStub, *names: str) -> list[str]:
    got = points.Get(pb.GetPointsRequest(collection=NAME, ids=names), timeout=30)
    return [point.id for point in got.points]


MIXED = (put("a", 1, 2), put("b", 1), put("c", 3, 4), remove("a"), remove("nobody"), pb.WriteOp())


def same(first: pb.WriteResponse, again: pb.WriteResponse) -> None:
    assert not first.replayed
    assert again.replayed
    assert again.commit_seq == first.commit_seq > 0
    assert again.results == first.results


def test_sent_again_it_is_answered_the_same_and_applied_once(points) -> None:
    first = send(points, write("mixed", *MIXED))
    assert [result.code for result in first.results] == [0, 3, 0, 0, 0, 3]
    send(points, write("", put("a", 5, 6), remove("c")))
    again = send(points, write("mixed", *MIXED))
    same(first, again)
    assert there(points, "a", "b", "c") == ["a"]  # what came between still stands
    stamp = points.Count(pb.CountRequest(collection=NAME), timeout=30).commit_seq
    assert stamp == first.commit_seq + 1


def test_an_atomic_write_is_replayed_too(points) -> None:
    request = write("atomic", put("x", 1, 2), put("x", 3, 4), atomic=True)
    first = send(points, request)
    same(first, send(points, request))


def test_without_a_key_everything_is_applied_again(points) -> None:
    first, again = (send(points, write("", put("plain", 1, 2))) for _ in range(2))
    assert (first.replayed, again.replayed) == (False, False)
    assert again.commit_seq == first.commit_seq + 1
    assert (first.results[0].found, again.results[0].found) == (False, True)


@pytest.mark.parametrize(
    "other",
    [
        write("taken", put("k", 1, 2), put("l", 1, 2)),
        write("taken", put("k", 2, 1)),
        write("taken", put("other", 1, 2)),
        write("taken", remove("k")),
        write("taken", put("k", 1, 2), atomic=True),
    ],
    ids=["more", "vector", "id", "kind", "atomic"],
)
def test_other_operations_under_the_same_key(points, other: pb.WriteRequest) -> None:
    send(points, write("taken", put("k", 1, 2)))
    before = points.Count(pb.CountRequest(collection=NAME), timeout=30)
    error = refused(points, other)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert [one.field for one in error.violations] == ["idempotency_key"]
    assert "'taken'" in error.message
    assert points.Count(pb.CountRequest(collection=NAME), timeout=30) == before


def test_what_was_refused_as_a_whole_leaves_the_key_free(points) -> None:
    assert refused(points, write("free", put("f", 1), atomic=True)).code == "INVALID_ARGUMENT"
    reply = send(points, write("free", put("f", 1, 2), atomic=True))
    assert not reply.replayed
    assert there(points, "f") == ["f"]


@pytest.mark.parametrize("key", ["k" * 256, "🦆" * 64, "a\0b", "\n", "/" * 10])
def test_an_odd_key_is_a_key(points, key: str) -> None:
    request = write(key, put("odd-key", 1, 2))
    same(send(points, request), send(points, request))


@pytest.mark.parametrize("key", ["k" * 257, "é" * 129, "k" * 600, "k" * 100_000])
def test_a_key_that_is_too_long(points, key: str) -> None:
    error = refused(points, write(key, put("long-key", 1, 2)))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")
    assert [one.field for one in error.violations] == ["idempotency_key"]
    assert "256 bytes" in error.message
    assert there(points, "long-key") == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_key_outlives_the_server(make_server: MakeServer, end: str) -> None:
    server = make_server()
    with connected(server) as points:
        first = send(points, write("kept", *MIXED))
    if end == "stop":
        assert server.stop() == 0
    else:
        server.kill()
    server.start()
    with connected(server) as points:
        same(first, send(points, write("kept", *MIXED)))
        assert refused(points, write("kept", put("a", 1, 2))).code == "INVALID_ARGUMENT"
        assert there(points, "a", "c") == ["c"]


def test_a_key_past_the_horizon_is_new_again(make_server: MakeServer) -> None:
    with connected(make_server(storage__changes_retained=16)) as points:
        first = send(points, write("old", put("o", 1, 2)))
        for n in range(16):
            send(points, write("", put(f"later-{n}", 1, 2)))
        again = send(points, write("old", put("o", 1, 2)))
        assert (again.replayed, again.results[0].found) == (False, True)
        assert again.commit_seq == first.commit_seq + 17
