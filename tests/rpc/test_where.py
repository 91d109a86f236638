"""delete_where and patch_where through a real server: what is changed, named, refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import grpc
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from vecdb.rpc.pb import common_pb2, points_pb2_grpc
from vecdb.rpc.pb import points_pb2 as pb
from vecdb_client import (
    AsyncClient,
    Client,
    Collection,
    Conflict,
    F,
    InvalidArgument,
    NotFound,
    Space,
    SparseSpace,
    TextField,
    VecdbError,
    WriteFailed,
)
from vecdb_client.filters import filter_message
from vecdb_client.status import error_of

NAME = "swept"
SPACES = {"": Space(2, "dot"), "b": Space(3, "dot"), "words": SparseSpace()}
MANY = 2_500

pytestmark = pytest.mark.parametrize(
    "server", [1, 2], ids=["one-process", "workers"], indirect=True, scope="module"
)


@pytest.fixture
def books(client: Client) -> Iterator[Collection]:
    made = client.create_collection(NAME, spaces=SPACES, text_fields=[TextField("title")])
    made.upsert(
        {"id": f"{n:04}", "vector": [n, 1], "payload": {"n": n, "even": n % 2 == 0}}
        for n in range(MANY)
    )
    yield made
    client.delete_collection(NAME)


def test_all_that_match_are_deleted(books: Collection) -> None:
    seen: list[tuple[int, int | None]] = []
    report = books.delete_where(
        F("even") == True,  # noqa: E712
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (report.written, report.found, report.skipped) == (MANY // 2, MANY // 2, 0)
    assert seen[-1] == (MANY // 2, MANY // 2)
    assert books.count() == MANY // 2
    assert books.count(F("even") == True) == 0  # noqa: E712
    assert report.commit_seq == books.page(page_size=1).commit_seq
    assert books.delete_where(F("even") == True).written == 0  # noqa: E712


def test_all_that_match_are_patched_and_searches_see_it(books: Collection) -> None:
    report = books.patch_where(
        F("n") < MANY - 500,
        set={"title": "a grey heron", "n": 7},
        append={"tags": ["new"]},
        unset=["even"],
        vector=[5, 5],
        vectors={"b": [1, 2, 3], "words": {1: 0.5}},
    )
    assert (report.written, report.skipped, report.failures) == (MANY - 500, 0, [])
    point = books.get("0000", with_vectors=True).points[0]
    assert point.payload == {"n": 7, "title": "a grey heron", "tags": ["new"]}
    assert list(point.vectors["b"]) == [1, 2, 3]
    assert books.count((F("n") == 7) & ~F("even").exists()) == MANY - 500
    assert books.search(keyword="heron").matched == MANY
    assert len(books.search(keyword="heron", k=MANY)) == MANY - 500
    assert len(books.search(sparse={1: 1.0}, space="words", k=MANY)) == MANY - 500
    assert books.patch_where(F("n") == 7, vectors={"b": None}).written == MANY - 500
    point = books.get("0000", with_vectors=True).points[0]
    assert (point.vectors.keys(), point.sparse.keys()) == ({""}, {"words"})


def test_what_has_expired_is_left_alone_and_patches_say_when(books: Collection) -> None:
    soon = F("n") < 3
    assert books.patch_where(soon, ttl_s=600).written == 3
    assert books.get("0001").points[0].expires_at is not None
    assert books.patch_where(soon, ttl_s=0.001).written == 3
    wait_until(lambda: books.count(soon) == 0)
    assert books.patch_where(soon, set={"x": 1}).written == 0
    assert books.delete_where(F("n") < 5).written == 2
    assert books.count() == MANY - 5


def test_points_that_cannot_be_patched_are_named(books: Collection) -> None:
    books.upsert([{"id": "odd", "payload": {"n": {"deep": 1}}}, {"id": "bare"}])
    with pytest.raises(WriteFailed) as caught:
        books.patch_where(F("n") < 3, set={"n.deep": 1})
    report = caught.value.report
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "PATH_CLASH")
    version = books.get("0000").points[0].version
    assert [(f.index, f.id, f.version) for f in report.failures] == [
        (n, f"000{n}", version) for n in range(3)
    ]
    mixed = books.patch_where(
        (F("n") < 2) | F("n.deep").exists(), set={"n.deep": 2}, on_error="collect"
    )
    assert (mixed.written, [f.id for f in mixed.failures]) == (1, ["0000", "0001"])
    assert books.get("odd").points[0].payload == {"n": {"deep": 2}}


def test_what_others_write_meanwhile_is_not_lost(server: LiveServer, books: Collection) -> None:
    """A counter that others raise while all points are marked: no raise is undone, none marked."""
    over = threading.Event()

    def raise_counters() -> None:
        with server.client() as other:
            mine = other.collection(NAME)
            while not over.is_set():
                for n in range(0, MANY, 97):
                    mine.patch(f"{n:04}", append={"raised": [1]}, on_error="collect")

    other = threading.Thread(target=raise_counters)
    other.start()
    try:
        report = books.patch_where(F("n") >= 0, append={"marked": [1]})
        deleted = books.delete_where(F("n") >= MANY - 100)
    finally:
        over.set()
        other.join()
    assert report.written + report.skipped == MANY
    assert books.count(F("marked").count_between(2)) == 0
    assert books.count(F("n") >= MANY - 100) == 0
    assert deleted.written == 100
    marked = books.count(F("marked").exists())
    assert report.written - 100 <= marked <= report.written


def test_a_server_that_is_killed_meanwhile_patches_nothing_twice(
    make_server: MakeServer, server: LiveServer
) -> None:
    """Requests are sent again, with the version that the first one named."""
    own, many = make_server("killed"), 12_000
    own.listen = own.address
    restarted = threading.Event()

    def restart() -> None:
        own.kill()
        own.start()
        restarted.set()

    with own.client() as client:
        points = client.create_collection(NAME, dim=2)
        points.upsert({"id": f"{n}", "payload": {"n": n}} for n in range(many))
        timer = threading.Timer(0.3, restart)
        timer.start()
        report = points.patch_where(F("n") >= 0, append={"tags": [1]})
        assert restarted.wait(60)
        timer.join()
        assert report.written + report.skipped == many
        assert points.count(F("tags").count_between(1, 1)) == many
        assert points.delete_where(F("n") >= 0).written == many


def call(server: LiveServer, name: str, request: object) -> object:
    with grpc.insecure_channel(server.address) as channel:
        return getattr(points_pb2_grpc.PointsStub(channel), name)(request, timeout=30)


def refused(server: LiveServer, name: str, request: object) -> VecdbError:
    with pytest.raises(grpc.RpcError) as caught:
        call(server, name, request)
    return error_of(caught.value, "")


SOME = filter_message(F("n") < 3)
SET = pb.PatchPoint(set=b'{"x": 1}')

BAD = [
    (None, SET, "INVALID_ARGUMENT", "filter"),
    (common_pb2.Filter(), SET, "BAD_FILTER", "filter"),
    (common_pb2.Filter(**{"in": common_pb2.In(path="n")}), SET, "BAD_FILTER", "filter"),
    (filter_message(F.has_space("zz")), SET, "INVALID_ARGUMENT", "filter"),
    (SOME, pb.PatchPoint(id="a", set=b'{"x": 1}'), "INVALID_ARGUMENT", "patch.id"),
    (SOME, pb.PatchPoint(), "INVALID_ARGUMENT", ""),
    (SOME, None, "INVALID_ARGUMENT", ""),
    (SOME, pb.PatchPoint(set=b"[]"), "BAD_PAYLOAD", "patch.set"),
    (
        SOME,
        pb.PatchPoint(vectors={"": common_pb2.Vector(f32=bytes(12))}),
        "DIMENSION_MISMATCH",
        "patch.vectors['']",
    ),
    (
        SOME,
        pb.PatchPoint(vectors={"": common_pb2.Vector(f32=b"\0\0\x80\x7f" * 2)}),
        "NOT_FINITE",
        "patch.vectors['']",
    ),
    (SOME, pb.PatchPoint(unset_vectors=["zz"]), "INVALID_ARGUMENT", "patch.unset_vectors"),
    (
        SOME,
        pb.PatchPoint(vectors={"": common_pb2.Vector(text="words")}),
        "NO_MODEL",
        "patch.vectors[''].text",
    ),
]


@pytest.mark.parametrize(("filter", "patch", "reason", "field"), BAD)
def test_bad_requests_change_nothing(
    server: LiveServer, books: Collection, filter, patch, reason, field
) -> None:
    before = books.page(page_size=1).commit_seq
    requests = [("PatchWhere", pb.PatchWhereRequest(collection=NAME, filter=filter, patch=patch))]
    if field.startswith("filter"):
        requests.append(("DeleteWhere", pb.DeleteWhereRequest(collection=NAME, filter=filter)))
    for name, request in requests:
        error = refused(server, name, request)
        assert error.reason == reason, error
        assert [one.field.partition(".")[0] for one in error.violations] == (
            [field.partition(".")[0]] if field else []
        ), error.violations
        if not field.startswith("filter"):
            assert [one.field for one in error.violations] == ([field] if field else [])
    assert books.page(page_size=1).commit_seq == before


def test_versions_of_requests(server: LiveServer, books: Collection) -> None:
    def patch(after: int = 0, upto: int | None = None) -> pb.WhereProgress:
        request = pb.PatchWhereRequest(
            collection=NAME, filter=SOME, patch=SET, after_version=after, max_version=upto
        )
        return call(server, "PatchWhere", request).progress

    first = patch()
    assert (first.found, first.complete, first.commit_seq) == (3, True, first.max_version + 1)
    assert first.after_version == first.max_version
    assert patch(upto=first.max_version).found == 0
    assert patch(upto=0).found == 0
    assert patch(upto=0).commit_seq == 0
    assert patch(after=first.max_version).found == 3
    assert patch(upto=2**64 - 1).found == 3
    assert patch(after=2**64 - 1).found == 0


def test_misuse_of_the_client(client: Client, books: Collection) -> None:
    with pytest.raises(InvalidArgument, match="truncate_collection"):
        books.delete_where(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="on_error"):
        books.patch_where(F("n") == 1, set={"a": 1}, on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        client.collection("nowhere").delete_where(F("n") == 1)
    with pytest.raises(InvalidArgument, match="changes nothing"):
        books.patch_where(F("n") == 1)


def test_the_async_client_does_the_same(server: LiveServer, books: Collection) -> None:
    async def change() -> None:
        async with AsyncClient(server.address) as client:
            mine = client.collection(NAME)
            patched = await mine.patch_where(F("n") < 10, set={"x": 1})
            deleted = await mine.delete_where(F("x") == 1)
            assert (patched.written, deleted.written) == (10, 10)
            with pytest.raises(Conflict):
                await mine.upsert([{"id": "0010", "if_version": 0}], atomic=True)

    asyncio.run(change())
    assert books.count() == MANY - 10
