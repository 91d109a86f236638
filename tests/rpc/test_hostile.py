"""What no client of ours does: the server goes on answering the others, and is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.live import LiveServer, descendants
from vecdb.rpc.pb import points_pb2, points_pb2_grpc
from vecdb_client import Client, F, InvalidArgument

SECONDS = 10.0
MIB = 1 << 20


@pytest.fixture
def channel(server: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as made:
        yield made


@pytest.fixture
def collection(client: Client) -> Iterator[str]:
    client.create_collection("c", dim=2)
    yield "c"
    client.delete_collection("c")


def put(name: str, payload: bytes = b"") -> points_pb2.WriteOp:
    op = points_pb2.WriteOp()
    op.put.id, op.put.payload = name, payload
    op.put.vectors[""].f32 = np.ones(2, "<f4").tobytes()
    return op


def test_calls_without_a_deadline(channel: grpc.Channel, collection: str) -> None:
    points = points_pb2_grpc.PointsStub(channel)
    for name in "abc":
        reply = points.Write(points_pb2.WriteRequest(collection=collection, ops=[put(name)]))
        assert reply.results[0].code == 0
    assert points.Count(points_pb2.CountRequest(collection=collection)).count == 3


@pytest.mark.parametrize(
    "payload",
    [
        b'"' + b'\\"' * 200_000 + b"{" * 201,
        b'{"a":"' + b'\\"' * 200_000 + b"{" * 201,
        b'{"a":' + b"[" * 150 + b"]" * 150 + b',"b":"' + b"[{" * 200_000 + b'"}',
    ],
    ids=["no object", "no end", "brackets in a string"],
)
def test_checking_a_payload_takes_one_pass(
    channel: grpc.Channel, collection: str, payload: bytes
) -> None:
    points = points_pb2_grpc.PointsStub(channel)
    request = points_pb2.WriteRequest(collection=collection, ops=[put("a", payload)])
    reply = points.Write(request, timeout=SECONDS)
    valid = payload.endswith(b"}")
    assert reply.results[0].reason == ("" if valid else "BAD_PAYLOAD")


def test_a_long_key_with_many_children_costs_what_it_weighs(
    server: LiveServer, client: Client, collection: str
) -> None:
    children = {str(number): 0 for number in range(20_000)}
    points = client.collection(collection)
    points.upsert([{"id": "bomb", "vector": [1, 1], "payload": {"k" * 150_000: children, "n": 1}}])
    before = resident_bytes(server)
    assert points.count(F("n") == 1) == 1
    assert points.count(F("k.1") == 0) == 0
    assert resident_bytes(server) - before < 200 * MIB
    with pytest.raises(InvalidArgument, match="at most 512 characters"):
        points.count(F("k" * 513) == 0)


def resident_bytes(server: LiveServer) -> int:
    assert server.process is not None
    total = 0
    for pid in (server.process.pid, *descendants(server.process.pid)):
        status = Path(f"/proc/{pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        total += int(line.split()[1]) * 1024
    return total


def test_calls_whose_body_never_comes_keep_nobody_waiting(
    server: LiveServer, collection: str
) -> None:
    go_on = threading.Event()

    def nothing() -> Iterator[bytes]:
        go_on.wait(60)
        yield from ()

    with (
        grpc.insecure_channel(server.address) as idle,
        grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as busy,
    ):
        method = idle.stream_unary("/vecdb.v1.Points/Get")
        calls = [method.future(nothing()) for _ in range(40)]
        points = points_pb2_grpc.PointsStub(busy)
        count = points_pb2.CountRequest(collection=collection)
        for _ in range(20):
            assert points.Count(count, timeout=SECONDS).count == 0
        health = health_pb2_grpc.HealthStub(busy)
        reply = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        go_on.set()
        for call in calls:
            call.cancel()


def test_a_reply_is_bounded_before_it_is_built(client: Client, collection: str) -> None:
    points = client.collection(collection)
    payload = {"x": "y" * 900_000}
    points.upsert(
        ids=[str(number) for number in range(90)],
        vectors=np.ones((90, 2), np.float32),
        payloads=[payload] * 90,
    )
    with pytest.raises(InvalidArgument, match="more than 67108864 bytes"):
        points.search([1, 1], k=90)
    assert len(points.search([1, 1], k=90, with_payload=False)) == 90
    # The client asks again for less at once.
    assert len(points.get([str(number) for number in range(90)]).points) == 90


def test_folders_can_be_entered_by_their_owner(server: LiveServer, collection: str) -> None:
    folders = [server.data, *(path for path in server.data.rglob("*") if path.is_dir())]
    assert len(folders) > 3
    assert [path for path in folders if path.stat().st_mode & 0o700 != 0o700] == []
    assert [path for path in folders if path.stat().st_mode & 0o002] == []
