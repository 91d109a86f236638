"""Writes and reads by id that are wrong, sent as raw messages: what the server itself refuses.

One table of bad points drives two tests: in a batch of items each is named and the others are
stored; in an atomic write the call fails and nothing is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest

from tests.live import LiveServer
from vecdb.rpc.pb import collections_pb2, collections_pb2_grpc, points_pb2_grpc
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.pb.common_pb2 import Floats, Point, Vector
from vecdb_client import Client, InvalidArgument, VecdbError, WriteFailed
from vecdb_client.status import error_of

NAME = "points"
DIM = 4
PAYLOAD_BYTES = 1 << 18
BATCH_ITEMS = 50
SETTINGS = {
    "embed.enabled": "false",
    "limits.message_bytes": 1 << 20,
    "limits.payload_bytes": PAYLOAD_BYTES,
    "limits.batch_items": BATCH_ITEMS,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("bad") / "data", dict(SETTINGS)).start()
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def points(server: LiveServer) -> Iterator[points_pb2_grpc.PointsStub]:
    with grpc.insecure_channel(server.address) as channel:
        request = collections_pb2.CreateCollectionRequest()
        request.collection.name = NAME
        for space, metric in (("", "COSINE"), ("dot", "DOT"), ("euclid", "EUCLID")):
            dense = request.collection.spaces[space].dense
            dense.dim, dense.metric = DIM, collections_pb2.Metric.Value(f"METRIC_{metric}")
        collections_pb2_grpc.CollectionsStub(channel).Create(request, timeout=30)
        yield points_pb2_grpc.PointsStub(channel)


def refused(call, request) -> VecdbError:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return error_of(caught.value, "")


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


GOOD = f32(1, 2, 3, 4)


def put(name: str = "bad", payload: bytes = b"", space: str = "", **vector) -> pb.WriteOp:
    point = Point(id=name, payload=payload)
    if vector:
        point.vectors[space].CopyFrom(Vector(**vector))
    return pb.WriteOp(put=point)


def numbers(*values: float, space: str = "") -> pb.WriteOp:
    return put(space=space, f32=f32(*values))


def payload(content: bytes) -> pb.WriteOp:
    return put(payload=content, f32=GOOD)


def write(*ops: pb.WriteOp, **options) -> pb.WriteRequest:
    return pb.WriteRequest(collection=NAME, ops=ops, **options)


def ids(points: points_pb2_grpc.PointsStub) -> list[str]:
    found: list[str] = []
    request = pb.ListPointsRequest(collection=NAME, page_size=10_000, without_payload=True)
    while True:
        reply = points.List(request, timeout=30)
        found += [point.id for point in reply.points]
        request.page_token = reply.next_page_token
        if not request.page_token:
            return found


def clear(points: points_pb2_grpc.PointsStub) -> None:
    there = ids(points)
    for first in range(0, len(there), BATCH_ITEMS):
        ops = [remove(name) for name in there[first : first + BATCH_ITEMS]]
        points.Write(write(*ops), timeout=30)


@dataclass(frozen=True)
class Bad:
    """An operation that is refused: its reason, its field below ops[i], words of the message."""

    op: pb.WriteOp
    reason: str
    field: str
    words: tuple[str, ...] = ()

    @property
    def code(self) -> grpc.StatusCode:
        codes = grpc.StatusCode
        return codes.FAILED_PRECONDITION if self.reason == "NO_MODEL" else codes.INVALID_ARGUMENT


def vector(op: pb.WriteOp, reason: str, *words: str, space: str = "") -> Bad:
    return Bad(op, reason, f".put.vectors[{space!r}]", words)


def broken(content: bytes, *words: str) -> Bad:
    return Bad(payload(content), "BAD_PAYLOAD", ".put.payload", words)


def bad_id(op: pb.WriteOp, *words: str) -> Bad:
    return Bad(op, "INVALID_ARGUMENT", f".{op.WhichOneof('op')}.id", words)


def remove(name: str) -> pb.WriteOp:
    return pb.WriteOp(delete=pb.DeletePoint(id=name))


WRONG_LENGTH = "DIMENSION_MISMATCH"
BAD = {
    "short": vector(numbers(1, 2, 3), WRONG_LENGTH, "4 dimensions", "got 3"),
    "long": vector(numbers(1, 2, 3, 4, 5), WRONG_LENGTH, "4 dimensions", "got 5"),
    "empty": vector(put(f32=b""), WRONG_LENGTH, "4 dimensions", "got 0"),
    "ragged": vector(put(f32=GOOD + b"x"), WRONG_LENGTH, "4 dimensions", "got 4.25"),
    "floats-short": vector(put(floats=Floats(values=[1, 2])), WRONG_LENGTH, "got 2"),
    "floats-empty": vector(put(floats=Floats()), WRONG_LENGTH, "got 0"),
    "short-in-dot": vector(numbers(1, space="dot"), WRONG_LENGTH, "'dot'", "got 1", space="dot"),
    "nan": vector(numbers(1, math.nan, 3, 4), "NOT_FINITE", "position 1", "nan"),
    "infinity": vector(numbers(1, 2, math.inf, 4), "NOT_FINITE", "position 2", "inf"),
    "minus-infinity": vector(numbers(-math.inf, 2, 3, 4), "NOT_FINITE", "position 0", "-inf"),
    "nan-in-floats": vector(
        put(floats=Floats(values=[0, 0, 0, math.nan])), "NOT_FINITE", "position 3", "nan"
    ),
    "norm-overflow": vector(numbers(1e38, 1e38, 1e38, 1e38), "NOT_FINITE", "1e+18"),
    "norm-overflow-in-euclid": vector(
        numbers(1e38, 1e38, 1e38, 1e38, space="euclid"), "NOT_FINITE", "1e+18", space="euclid"
    ),
    "zero": vector(numbers(0, 0, 0, 0), "ZERO_VECTOR", "zero", "cosine"),
    "minus-zero": vector(numbers(-0.0, 0, -0.0, 0), "ZERO_VECTOR", "zero", "cosine"),
    "unknown-space": vector(
        put(space="nope", f32=GOOD), "INVALID_ARGUMENT", "'nope'", "'dot'", space="nope"
    ),
    "text-without-model": Bad(
        put(text="hello"), "NO_MODEL", ".put.vectors[''].text", ("no model", "4 numbers")
    ),
    "text-unknown-space": vector(
        put(space="nope", text="hello"), "INVALID_ARGUMENT", "'nope'", space="nope"
    ),
    "point": vector(put(point="other"), "INVALID_ARGUMENT", "expected f32", "got point"),
    "no-kind": Bad(
        pb.WriteOp(put=Point(id="bad", vectors={"": Vector()})),
        "INVALID_ARGUMENT",
        ".put.vectors['']",
        ("expected f32", "got nothing"),
    ),
    "op-without-kind": Bad(
        pb.WriteOp(), "INVALID_ARGUMENT", "", ("expected put, delete or patch",)
    ),
    "id-empty": bad_id(put("", f32=GOOD), "0 bytes", "1 to 256"),
    "id-257": bad_id(put("x" * 257, f32=GOOD), "257 bytes", "1 to 256"),
    "id-257-in-bytes": bad_id(put("é" * 128 + "x", f32=GOOD), "257 bytes", "1 to 256"),
    "id-nul": bad_id(put("a\0b", f32=GOOD), "NUL"),
    "delete-empty": bad_id(remove(""), "0 bytes"),
    "delete-257": bad_id(remove("x" * 257), "257 bytes"),
    "delete-nul": bad_id(remove("\0"), "NUL"),
    "payload-array": broken(b"[1]", "object", "list"),
    "payload-string": broken(b'"a"', "object", "str"),
    "payload-number": broken(b"7", "object", "int"),
    "payload-null": broken(b"null", "object"),
    "payload-true": broken(b"true", "object", "bool"),
    "payload-spaces": broken(b"  ", "not JSON"),
    "payload-cut": broken(b'{"a": 1', "not JSON"),
    "payload-two": broken(b"{}{}", "not JSON"),
    "payload-quotes": broken(b"{'a': 1}", "not JSON"),
    "payload-control": broken(b'{"a": "\x01"}', "not JSON"),
    "payload-not-utf8": broken(b'{"a": "\xff\xfe"}', "not JSON"),
    "payload-overlong-utf8": broken(b'{"a": "\xc0\x80"}', "not JSON"),
    "payload-utf8-surrogate": broken(b'{"a": "\xed\xa0\x80"}', "not JSON"),
    "payload-nan": broken(b'{"a": NaN}', "not JSON", "NaN"),
    "payload-infinity": broken(b'{"a": [Infinity]}', "not JSON", "Infinity"),
    "payload-minus-infinity": broken(b'{"a": {"b": -Infinity}}', "not JSON", "-Infinity"),
    "payload-utf16": broken('{"a": 1}'.encode("utf-16"), "not JSON"),
    "payload-utf16-le": broken('{"a": 1}'.encode("utf-16-le"), "not JSON"),
    "payload-utf8-bom": broken(b'\xef\xbb\xbf{"a": 1}', "not JSON"),
    "payload-deep": broken(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
    "payload-over-limit": Bad(
        payload(b'{"a":"%s"}' % (b"x" * (PAYLOAD_BYTES - 7))),
        "LIMIT_EXCEEDED",
        ".put.payload",
        (str(PAYLOAD_BYTES + 1), str(PAYLOAD_BYTES), "limits.payload_bytes"),
    ),
}
EVERY_BAD = pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())


@EVERY_BAD
def test_a_bad_item_is_named_and_the_others_are_stored(points, bad: Bad) -> None:
    clear(points)
    reply = points.Write(write(put("first", f32=GOOD), bad.op, put("last", f32=GOOD)), timeout=30)
    assert [result.code for result in reply.results] == [0, bad.code.value[0], 0]
    result = reply.results[1]
    assert (result.reason, result.version, result.found) == (bad.reason, 0, False)
    for word in bad.words:
        assert word in result.message
    assert reply.results[0].version == reply.results[2].version == reply.commit_seq > 0
    assert ids(points) == ["first", "last"]


@EVERY_BAD
def test_an_atomic_write_with_a_bad_item_stores_nothing(points, bad: Bad) -> None:
    clear(points)
    ops = (put("first", f32=GOOD), bad.op, put("last", f32=GOOD))
    error = refused(points.Write, write(*ops, atomic=True))
    assert (error.code, error.reason) == (bad.code.name, bad.reason)
    for word in ("operation 1", *bad.words):
        assert word in error.message
    assert [one.field for one in error.violations] == [f"ops[1]{bad.field}"]
    assert ids(points) == []
    reply = points.Write(write(ops[0], ops[2], atomic=True), timeout=30)
    assert [result.code for result in reply.results] == [0, 0]


def test_a_write_of_bad_items_alone_has_no_commit(points) -> None:
    clear(points)
    before = points.Count(pb.CountRequest(collection=NAME), timeout=30).commit_seq
    reply = points.Write(write(*[bad.op for bad in list(BAD.values())[:20]]), timeout=30)
    assert reply.commit_seq == 0
    assert [r.reason for r in reply.results] == [bad.reason for bad in list(BAD.values())[:20]]
    after = points.Count(pb.CountRequest(collection=NAME), timeout=30)
    assert (after.count, after.commit_seq) == (0, before)


def test_results_come_in_the_order_of_the_operations(points) -> None:
    clear(points)
    names = ["short", "id-nul", "nan", "text-without-model", "payload-nan", "zero"]
    ops: list[pb.WriteOp] = []
    for name in names:
        ops += [BAD[name].op, put(f"good-{name}", f32=GOOD)]
    reply = points.Write(write(*ops), timeout=30)
    assert [r.reason for r in reply.results[::2]] == [BAD[name].reason for name in names]
    assert [r.code for r in reply.results[1::2]] == [0] * len(names)
    assert ids(points) == sorted(f"good-{name}" for name in names)


def test_of_one_id_twice_in_a_batch_the_last_stands(points) -> None:
    clear(points)
    ops = [
        put("twice", b'{"n":1}', f32=GOOD),
        put("twice", b'{"n":2}', f32=GOOD),
        remove("once"),
        put("once", b'{"n":3}', f32=GOOD),
        remove("once"),
        put("twice", b'{"n":4}', f32=f32(4, 3, 2, 1)),
    ]
    reply = points.Write(write(*ops), timeout=30)
    assert [result.found for result in reply.results] == [False, True, False, False, True, True]
    assert [bool(result.version) for result in reply.results] == [1, 1, 0, 1, 0, 1]
    request = pb.GetPointsRequest(collection=NAME, ids=["once", "twice"], with_vectors=True)
    got = points.Get(request, timeout=30)
    assert list(got.missing) == ["once"]
    assert got.points[0].payload == b'{"n":4}'
    assert got.points[0].vectors[""].f32 == f32(4, 3, 2, 1)


# --- the request as a whole


def test_no_operations_at_all(points) -> None:
    error = refused(points.Write, write())
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert [one.field for one in error.violations] == ["ops"]


@pytest.mark.parametrize("atomic", [False, True])
def test_too_many_operations(points, atomic: bool) -> None:
    clear(points)
    ops = [put(f"many-{at}", f32=GOOD) for at in range(BATCH_ITEMS + 1)]
    error = refused(points.Write, write(*ops, atomic=atomic))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")
    assert [one.field for one in error.violations] == ["ops"]
    for word in ("51 items", "50", "limits.batch_items"):
        assert word in error.message
    assert ids(points) == []
    points.Write(write(*ops[:-1], atomic=atomic), timeout=30)
    assert len(ids(points)) == BATCH_ITEMS


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        ([], "INVALID_ARGUMENT", "ids"),
        (["a"] * (BATCH_ITEMS + 1), "LIMIT_EXCEEDED", "ids"),
        (["a", ""], "INVALID_ARGUMENT", "ids[1]"),
        (["a", "b", "x" * 257], "INVALID_ARGUMENT", "ids[2]"),
        (["a\0"], "INVALID_ARGUMENT", "ids[0]"),
    ],
)
def test_ids_that_cannot_be_got(points, asked: list[str], reason: str, field: str) -> None:
    error = refused(points.Get, pb.GetPointsRequest(collection=NAME, ids=asked))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    assert [one.field for one in error.violations] == [field]


def test_a_message_over_the_cap_is_refused_and_the_server_lives(points) -> None:
    clear(points)
    huge = write(put("huge", b'{"a":"%s"}' % (b"x" * (1 << 20)), f32=GOOD))
    error = refused(points.Write, huge)
    assert error.code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in error.message
    assert ids(points) == []


def test_a_reply_over_the_cap_says_what_to_do(points) -> None:
    clear(points)
    content = b'{"a":"%s"}' % (b"x" * (PAYLOAD_BYTES - 8))
    names = [f"big-{at}" for at in range(5)]
    for name in names:
        assert points.Write(write(put(name, content, f32=GOOD)), timeout=30).results[0].code == 0
    error = refused(points.Get, pb.GetPointsRequest(collection=NAME, ids=names))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")
    assert str(1 << 20) in error.message
    assert "fewer" in error.message
    reply = points.List(pb.ListPointsRequest(collection=NAME), timeout=30)
    assert 0 < len(reply.points) < 5
    assert reply.next_page_token


@pytest.mark.parametrize("garbage", [b"\xff" * 40, b"\x0a\x05ab", b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_no_message(server: LiveServer, points, garbage: bytes) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/vecdb.v1.Points/Write")
        assert refused(call, garbage).code == "INVALID_ARGUMENT"
    assert points.Count(pb.CountRequest(collection=NAME), timeout=30).commit_seq > 0


# --- through the client


def test_the_client_reports_what_the_server_refused(server: LiveServer, points) -> None:
    clear(points)
    with Client(server.address, message_bytes=1 << 20) as client:
        collection = client.collection(NAME)
        given = [
            {"id": "a", "vector": [1, 2, 3, 4]},
            {"id": "b", "vector": [1, 2, 3]},
            {"id": "c", "vector": [1, 2, 3, math.nan]},
            {"id": "d", "vector": [1, 2, 3, 4], "payload": {"n": math.inf}},
            {"id": "e", "vector": [0, 0, 0, 0]},
            {"id": "f", "vector": [1, 2, 3, 4], "payload": "[]"},
            {"id": "", "vector": [1, 2, 3, 4]},
            {"id": "z", "vector": [4, 3, 2, 1]},
        ]
        with pytest.raises(WriteFailed) as caught:
            collection.upsert(given, batch_size=3)
        failures = {one.index: (one.id, one.reason) for one in caught.value.report.failures}
        assert failures == {
            1: ("b", "DIMENSION_MISMATCH"),
            2: ("c", "NOT_FINITE"),
            3: ("d", "BAD_PAYLOAD"),
            4: ("e", "ZERO_VECTOR"),
            5: ("f", "BAD_PAYLOAD"),
            6: ("", "INVALID_ARGUMENT"),
        }
        assert [point.id for point in collection.list()] == ["a", "z"]
        with pytest.raises(InvalidArgument) as wrong:
            collection.search([1, 2, 3])
        assert wrong.value.reason == "DIMENSION_MISMATCH"
        assert wrong.value.metadata == {"expected": "4", "got": "3"}
