"""Patches and if_version through a real server: codes, races, text, what searches then see."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.live import LiveServer
from vecdb.rpc.pb import common_pb2, points_pb2_grpc
from vecdb.rpc.pb import points_pb2 as pb
from vecdb_client import (
    Client,
    Collection,
    F,
    Patch,
    Space,
    SparseSpace,
    TextField,
    VecdbError,
    WriteFailed,
)
from vecdb_client.status import error_of

NAME = "patched"
SPACES = {"": Space(2, "dot"), "b": Space(3, "dot"), "words": SparseSpace()}

pytestmark = pytest.mark.parametrize(
    "server", [1, 2], ids=["one-process", "workers"], indirect=True, scope="module"
)


@pytest.fixture
def books(client: Client) -> Iterator[Collection]:
    made = client.create_collection(NAME, spaces=SPACES, text_fields=[TextField("title")])
    made.upsert([{"id": "a", "vector": [1, 2], "payload": {"n": 1, "title": "old words"}}])
    yield made
    client.delete_collection(NAME)


def op(**parts) -> pb.WriteOp:
    version = parts.pop("if_version", None)
    return pb.WriteOp(patch=pb.PatchPoint(**parts), if_version=version)


def write(server: LiveServer, *ops: pb.WriteOp, **options) -> pb.WriteResponse:
    with grpc.insecure_channel(server.address) as channel:
        stub = points_pb2_grpc.PointsStub(channel)
        return stub.Write(pb.WriteRequest(collection=NAME, ops=ops, **options), timeout=30)


def refused(server: LiveServer, *ops: pb.WriteOp) -> VecdbError:
    with pytest.raises(grpc.RpcError) as caught:
        write(server, *ops, atomic=True)
    return error_of(caught.value, "")


BAD = [
    (op(id="a", set=b"{}", if_version=9), "ABORTED", "VERSION_MISMATCH", "if_version", 1),
    (op(id="z", set=b"{}"), "NOT_FOUND", "POINT_NOT_FOUND", "patch.id", 0),
    (op(id="a", set=b'{"n.x": 1}'), "FAILED_PRECONDITION", "PATH_CLASH", "patch.set", 1),
    (op(id="a", append=b'{"n": [1]}'), "FAILED_PRECONDITION", "PATH_CLASH", "patch.append", 1),
    (op(id="a", set=b"[]"), "INVALID_ARGUMENT", "BAD_PAYLOAD", "patch.set", 0),
    (op(id="a", remove=b'{"n": 1}'), "INVALID_ARGUMENT", "BAD_PAYLOAD", "patch.remove", 0),
    (op(id="a", unset=[""]), "INVALID_ARGUMENT", "INVALID_ARGUMENT", "patch.unset", 0),
    (op(id="a"), "INVALID_ARGUMENT", "INVALID_ARGUMENT", "", 0),
    (op(id="a", set=b"{}", if_version=0), "INVALID_ARGUMENT", "INVALID_ARGUMENT", "if_version", 0),
    (
        op(id="a", unset_vectors=["zz"]),
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "patch.unset_vectors",
        0,
    ),
    (
        op(id="a", vectors={"": common_pb2.Vector(f32=bytes(12))}),
        "INVALID_ARGUMENT",
        "DIMENSION_MISMATCH",
        "patch.vectors['']",
        0,
    ),
    (
        op(id="a", vectors={"": common_pb2.Vector(point="a")}),
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "patch.vectors['']",
        0,
    ),
    (
        op(id="a", vectors={"": common_pb2.Vector(text="words")}),
        "FAILED_PRECONDITION",
        "NO_MODEL",
        "patch.vectors[''].text",
        0,
    ),
]


@pytest.mark.parametrize(("bad", "code", "reason", "field", "version"), BAD)
def test_what_cannot_be_applied_is_named(
    server: LiveServer, books: Collection, bad: pb.WriteOp, code, reason, field, version
) -> None:
    good = op(id="a", set=b'{"good": true}')
    lost, won = write(server, bad, good).results
    number = getattr(grpc.StatusCode, code).value[0]
    assert (lost.code, lost.reason, lost.version) == (number, reason, version)
    assert (lost.found, lost.message != "") == (version > 0, True)
    assert (won.code, won.version, won.found) == (0, 2, True)

    if bad.if_version == 0:  # one that named version 1 would be right by now
        error = refused(server, op(id="a", set=b'{"sunk": 1}'), bad)
        assert (error.code, error.reason) == (code, reason)
        where = "ops[1]" + ("." if field else "") + field
        assert [one.field for one in error.violations] == ([where] if where else [])
        assert error.message.startswith("operation 1: ")
    assert books.get("a").points[0].payload == {"n": 1, "title": "old words", "good": True}


def test_an_atomic_loser_names_both_versions(server: LiveServer, books: Collection) -> None:
    error = refused(
        server,
        op(id="a", set=b'{"sunk": 1}'),
        pb.WriteOp(delete=pb.DeletePoint(id="b"), if_version=3),
    )
    assert (error.code, error.reason) == ("ABORTED", "VERSION_MISMATCH")
    assert error.metadata == {"id": "b", "expected": "3", "actual": "0"}
    assert [one.field for one in error.violations] == ["ops[1].if_version"]
    point = books.get("a").points[0]
    assert (point.version, point.payload) == (1, {"n": 1, "title": "old words"})


def test_searches_see_what_a_patch_made(books: Collection) -> None:
    books.upsert([{"id": "z", "vector": [9, 9], "payload": {"n": 7}}])
    report = books.patch(
        "a",
        set={"n": 2, "title": "new sails", "at.city": "Bergen"},
        append={"tags": ["x"]},
        vector=[5, 5],
        vectors={"b": [1, 1, 1], "words": {3: 1.0}},
    )
    assert (report.written, report.found) == (1, 1)
    assert [hit.id for hit in books.search(keyword="sails")] == ["a"]
    assert not books.search(keyword="old")
    assert books.count(F("n") == 1) == 0
    assert books.count((F("at.city") == "Bergen") & (F("tags") == "x")) == 1
    assert [hit.score for hit in books.search([1, 0], k=2)] == [9, 5]
    assert [hit.id for hit in books.search(sparse={3: 2.0}, space="words")] == ["a"]
    books.patch("a", unset=["title", "at"], vectors={"b": None})
    assert not books.search([1, 1, 1], space="b")
    assert not books.search(keyword="sails")
    (point,) = books.get("a", with_vectors=True).points
    assert point.payload == {"n": 2, "tags": ["x"]}
    assert {name: list(vector) for name, vector in point.vectors.items()} == {"": [5, 5]}


def test_counters_of_many_writers_add_up(books: Collection) -> None:
    """Read, decide, write at a version: no increment is lost, and a version has one winner."""
    WRITERS, TIMES = 4, 15

    def count(writer: int) -> list[int]:
        won: list[int] = []
        while len(won) < TIMES:
            point = books.get("a").points[0]
            change = {"n": point.payload["n"] + 1, "by": writer}
            report = books.write(
                [Patch("a", set=change, if_version=point.version)], on_error="collect"
            )
            if report.written:
                won.append(report.commit_seq)
                continue
            (failure,) = report.failures
            assert (failure.code, failure.reason) == ("ABORTED", "VERSION_MISMATCH")
            assert failure.version > point.version
        return won

    with ThreadPoolExecutor(WRITERS) as pool:
        versions = [version for won in pool.map(count, range(WRITERS)) for version in won]
    assert len(set(versions)) == WRITERS * TIMES
    point = books.get("a").points[0]
    assert point.payload["n"] == 1 + WRITERS * TIMES
    assert point.version == max(versions)


def test_of_many_inserts_one_wins(books: Collection) -> None:
    def insert(writer: int) -> int:
        new = [{"id": "new", "payload": {"by": writer}}]
        return books.upsert(new, if_version=0, on_error="collect").written

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(insert, range(16))) == 1
    with pytest.raises(WriteFailed, match="is there with version"):
        books.upsert([{"id": "new"}], if_version=0)
