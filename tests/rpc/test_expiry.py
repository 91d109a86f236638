"""Points that expire on a real server: in every process, over kill -9, and to who watches."""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import connections
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.pb import points_pb2_grpc
from vecdb_client import (
    Cancelled,
    Client,
    Collection,
    F,
    InvalidArgument,
    Patch,
    Point,
    WriteFailed,
)

TTL_S = 1.0


@pytest.fixture(params=[1, 2], ids=["one-process", "workers"])
def live(request: pytest.FixtureRequest, make_server: MakeServer) -> LiveServer:
    return make_server(server__workers=request.param, storage__tail_points=16)


def points_of(n: int, **options: object) -> list[dict]:
    return [{"id": f"p{at}", "vector": [at, 1], "payload": {"n": at}, **options} for at in range(n)]


def is_there(points: Collection) -> set[str]:
    """Return the ids that all ways to read agree on; the moment may pass between two calls."""
    listed = {point.id for point in points.list()}
    found = {hit.id for hit in points.search([1, 0], k=1_000)}
    return listed & found


def test_expired_points_go_and_tell_those_who_watch(live: LiveServer) -> None:
    with live.client() as client, live.client() as watching:
        points = client.create_collection("sessions", dim=2, metric="dot", ttl_s=TTL_S)
        assert points.info().ttl_s == TTL_S
        deleted: list[str] = []
        put: set[str] = set()

        def follow() -> None:
            try:
                for changes in watching.collection("sessions").watch(0):
                    put.update(point.id for point in changes.points)
                    deleted.extend(changes.deleted)
            except Cancelled:
                pass

        thread = threading.Thread(target=follow)
        thread.start()
        points.upsert(points_of(100))
        before = time.time()
        points.upsert([*points_of(20), {"id": "kept", "vector": [5, 5]}], ttl_s=math.inf)
        wait_until(lambda: put >= {"p99", "kept"})
        kept = {*(f"p{at}" for at in range(20)), "kept"}
        wait_until(lambda: is_there(points) == kept)
        assert time.time() - before > TTL_S / 2
        assert points.count() == 21
        assert points.count(F("n") >= 20) == 0
        assert points.search([1, 0], k=10, filter=F("n") >= 10).matched == 10
        wait_until(lambda: points.stats().points == 21)
        wait_until(lambda: len(deleted) == 80)
        assert set(deleted) == {f"p{at}" for at in range(20, 100)}
        watching.close()
        thread.join(30)
        assert not thread.is_alive()


def test_no_process_shows_a_point_whose_time_has_come(make_server: MakeServer) -> None:
    """Each worker asked by itself, all the time: what is shown expires later than the question."""
    live = make_server(server__workers=2)
    with live.client() as client, connections(live) as channels:
        points = client.create_collection("c", dim=2, metric="dot")
        asked = pb.ListPointsRequest(collection="c", page_size=1_000)
        stubs = [points_pb2_grpc.PointsStub(channel) for channel in channels.values()]
        ends = time.time() + 3
        shown = 0
        while time.time() < ends:
            soon = datetime.now(UTC) + timedelta(milliseconds=15)
            points.upsert(
                {"id": f"{at}", "vector": [1, 1], "expires_at": soon + timedelta(milliseconds=at)}
                for at in range(20)
            )
            for stub in stubs:
                now_ms = time.time_ns() // 1_000_000
                reply = stub.List(asked)
                shown += len(reply.points)
                assert all(point.expires_at_ms > now_ms for point in reply.points)
        assert shown


def test_expiry_survives_kill(live: LiveServer) -> None:
    with live.client() as client:
        points = client.create_collection("c", dim=2, metric="dot")
        points.upsert(points_of(40), ttl_s=TTL_S)
        points.upsert([Point("stays", [1, 1]), Point("long", [1, 1], ttl_s=3_600)])
        ends = points.get("long").points[0].expires_at
    live.kill()
    live.start()
    with live.client() as client:
        points = client.collection("c")
        assert points.get("long").points[0].expires_at == ends
        wait_until(lambda: is_there(points) == {"stays", "long"})
        wait_until(lambda: points.stats().points == 2)
        live.kill()
        live.start()
    with live.client() as client:
        assert is_there(client.collection("c")) == {"stays", "long"}


def test_the_client_says_and_shows_when(client: Client) -> None:
    points = client.create_collection("when", dim=2, metric="dot")
    moment = datetime(2100, 5, 17, 12, 30, 15, 123_000, UTC)
    points.upsert([Point("a", [1, 1], expires_at=moment), {"id": "b", "vector": [1, 2]}])
    points.upsert(ids=["c"], vectors=[[1, 3]], ttl_s=60)
    points.upsert([{"id": "d", "vector": [1, 4], "ttl_s": 0.0001}])
    found = {hit.id: hit.expires_at for hit in points.search([1, 1], k=9)}
    assert found.keys() == {"a", "b", "c"}
    assert (found["a"], found["b"]) == (moment, None)
    assert found["c"] is not None
    assert 50 < (found["c"] - datetime.now(UTC)).total_seconds() <= 60
    points.patch("a", set={"n": 1})
    points.patch("b", expires_at=moment)
    points.write([Patch("c", ttl_s=math.inf)])
    now = {point.id: point.expires_at for point in points.get(["a", "b", "c"]).points}
    assert now == {"a": moment, "b": moment, "c": None}
    points.patch("b", expires_at=datetime(1960, 1, 1, tzinfo=UTC))
    assert points.get("b").missing == ["b"]
    assert client.update_collection("when", ttl_s=90).ttl_s == 90
    assert client.update_collection("when", metadata={"n": 1}).ttl_s == 90
    assert client.update_collection("when", ttl_s=math.inf).ttl_s == math.inf
    client.delete_collection("when")


@pytest.mark.parametrize("ttl_s", [0, -1, math.nan, True, "soon", 1e30])
def test_what_is_no_ttl_is_named(client: Client, ttl_s: object) -> None:
    with pytest.raises(InvalidArgument, match="ttl_s is a number of seconds"):
        client.collection("c").upsert([], ttl_s=ttl_s)
    with pytest.raises(InvalidArgument, match="ttl_s is a number of seconds"):
        client.create_collection("never made", dim=2, ttl_s=ttl_s)
    with pytest.raises(InvalidArgument, match="ttl_s is a number of seconds"):
        client.update_collection("c", ttl_s=ttl_s)


def test_a_moment_has_a_timezone(client: Client) -> None:
    points = client.collection("c")
    naive = datetime(2100, 1, 1)
    for bad in (naive, 5, "2100-01-01"):
        with pytest.raises(WriteFailed, match="a datetime with a timezone"):
            points.upsert([{"id": "a", "vector": [1, 1], "expires_at": bad}])
    with pytest.raises(WriteFailed, match="either ttl_s or expires_at"):
        points.patch("a", ttl_s=1, expires_at=datetime.now(UTC))
