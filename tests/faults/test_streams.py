"""Streams and calls without end, without a reader, or of callers that are gone."""

from __future__ import annotations

import os
import signal
import threading
import time

import grpc
import pytest

from tests.live import LiveServer, descendants, wait_until
from tests.rpc.test_hostile import resident_bytes
from vecdb.rpc.pb import points_pb2, points_pb2_grpc

STREAMS = 1_000
MIB = 1 << 20
ALONE = [("grpc.use_local_subchannel_pool", 1)]


@pytest.mark.parametrize("server", [1, 2], indirect=True, scope="module")
def test_a_thousand_streams(server: LiveServer) -> None:
    channels = [grpc.insecure_channel(server.address, ALONE) for _ in range(10)]
    with server.client(timeout_s=20) as client:
        points = client.create_collection("c", dim=2)
        points.upsert([{"id": "a", "vector": [1, 1]}])
        before = resident_bytes(server)
        request = points_pb2.WatchRequest(collection="c")
        begun = time.monotonic()
        calls = [
            points_pb2_grpc.PointsStub(channels[at % 10]).Watch(request, timeout=120)
            for at in range(STREAMS)
        ]
        codes = [first(call) for call in calls]
        assert time.monotonic() - begun < 60
        assert set(codes) == {"open", "RESOURCE_EXHAUSTED"}
        assert codes.count("open") <= 100 * server.settings["server.workers"]
        assert resident_bytes(server) - before < 256 * MIB
        assert points.count() == 1  # the others are served
        for call in calls:
            call.cancel()
        again = points_pb2_grpc.PointsStub(channels[0])
        wait_until(lambda: first(again.Watch(request, timeout=20)) == "open")
    for channel in channels:
        channel.close()


def first(call: grpc.Call) -> str:
    """Return how a stream begins."""
    try:
        next(call)
        return "open"
    except grpc.RpcError as error:
        return error.code().name


@pytest.mark.parametrize("server", [1, 2], indirect=True, scope="module")
def test_nothing_is_done_for_callers_that_are_gone(server: LiveServer) -> None:
    with server.client() as client, grpc.insecure_channel(server.address) as channel:
        points = client.create_collection("late", dim=2)
        stub = points_pb2_grpc.PointsStub(channel)
        ops = [points_pb2.WriteOp() for _ in range(50)]
        for number, op in enumerate(ops):
            op.put.id = f"late {number}"
            op.put.vectors[""].f32 = bytes(4) + b"\0\0\x80\x3f"
        stub.Count(points_pb2.CountRequest(collection="late"), timeout=20)  # connected
        pause(server, signal.SIGSTOP)
        try:
            requests = [points_pb2.WriteRequest(collection="late", ops=[op]) for op in ops]
            calls = [stub.Write.future(request, timeout=0.3) for request in requests]
            ends = [call.exception(timeout=20).code() for call in calls]
        finally:
            pause(server, signal.SIGCONT)
        assert set(ends) == {grpc.StatusCode.DEADLINE_EXCEEDED}
        threading.Event().wait(1)
        points.upsert([{"id": "after", "vector": [1, 1]}])
        done = {point.id for point in points.list()}
        # A process reads calls in the order of their bytes: it may be at the first of them before
        # it has read that all were given up.
        assert "after" in done
        assert len(done) <= 4


def pause(server: LiveServer, number: int) -> None:
    assert server.process is not None
    for pid in (server.process.pid, *descendants(server.process.pid)):
        os.kill(pid, number)
