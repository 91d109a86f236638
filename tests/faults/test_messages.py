"""Messages made to cost more than they weigh: bombs of bytes, of nodes, of levels, of patterns."""

from __future__ import annotations

import threading
import time

import grpc
import pytest

from tests.live import LiveServer
from tests.rpc.test_hostile import resident_bytes
from vecdb.rpc.pb import common_pb2, points_pb2, points_pb2_grpc
from vecdb_client import F, TextField

MIB = 1 << 20
SECONDS = 20.0
POINTS = 3_000


def test_a_message_that_unpacks_to_more_than_the_cap(server: LiveServer) -> None:
    before, peak, over = resident_bytes(server), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], resident_bytes(server))

    looking = threading.Thread(target=look)
    looking.start()
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        call = channel.unary_unary("/vecdb.v1.Points/Count")
        for packed in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
            with pytest.raises(grpc.RpcError) as caught:
                call(bytes(256 * MIB), timeout=60, compression=packed)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    over.set()
    looking.join()
    assert peak[0] - before < 160 * MIB  # the cap is 64


def nested(levels: int) -> common_pb2.Filter:
    filter = common_pb2.Filter()
    inner = filter
    for _ in range(levels - 1):
        inner = getattr(inner, "not")
    inner.exists.path = "n"
    return filter


def wide(nodes: int) -> common_pb2.Filter:
    filter = common_pb2.Filter()
    for number in range(nodes - 1):
        part = getattr(filter, "or").filters.add()
        part.range.path = "n"
        part.range.gte.int64 = -number
        part.range.lt.int64 = -number
    return filter


@pytest.fixture(scope="module")
def many(server: LiveServer) -> LiveServer:
    with server.client() as client:
        points = client.create_collection("many", dim=2, text_fields=[TextField("text")])
        points.upsert(
            {
                "id": f"{n:05}",
                "vector": [1, n],
                "payload": {"n": n, "s": "a" * 60, "text": "a " * 60},
            }
            for n in range(POINTS)
        )
    return server


def count(server: LiveServer, filter: common_pb2.Filter) -> int:
    with grpc.insecure_channel(server.address) as channel:
        stub = points_pb2_grpc.PointsStub(channel)
        request = points_pb2.CountRequest(collection="many", filter=filter)
        return stub.Count(request, timeout=SECONDS).count


@pytest.mark.parametrize("filter", [wide(10_000), nested(33), nested(45)])
def test_filters_past_the_limits(many: LiveServer, filter: common_pb2.Filter) -> None:
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        count(many, filter)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert time.monotonic() - begun < 5


def test_a_hundred_levels(many: LiveServer) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        count(many, nested(90))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("filter", [wide(1_000), nested(32)])
def test_filters_at_the_limits(many: LiveServer, filter: common_pb2.Filter) -> None:
    begun = time.monotonic()
    assert 0 <= count(many, filter) <= POINTS
    assert time.monotonic() - begun < 10


PATTERNS = ["(a+)+$", "a" * 59 + "!", "(a|a)*b", ".*" * 200, "^(([a-z])+.)+[A-Z]([a-z])+$"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_words_and_nothing_else(many: LiveServer, pattern: str) -> None:
    with many.client(timeout_s=SECONDS) as client:
        points = client.collection("many")
        begun = time.monotonic()
        assert points.count(F("s") == pattern) == 0
        assert points.count(F("s").prefix(pattern)) == 0
        points.count(F("text").matches(pattern))
        points.search(keyword=pattern, k=3, fields=["text"])
        assert time.monotonic() - begun < 10
