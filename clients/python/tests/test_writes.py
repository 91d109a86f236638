"""Writes: batches, order, repeats, failures per item."""

from __future__ import annotations

import sys
import threading

import grpc
import pytest

from vecdb_client import (
    Delete,
    InvalidArgument,
    NotFound,
    Patch,
    Point,
    Retries,
    Unavailable,
    WriteFailed,
)

V = [0.1, 0.2, 0.3]


def points(n, start=0, **more):
    return [{"id": f"p{i}", "vector": V, **more} for i in range(start, start + n)]


def test_readme_example(db, server):
    from vecdb_client import F

    books = db.create_collection("books", dim=3, if_not_exists=True)
    report = books.upsert(
        [
            {"id": "dune", "vector": [0.9, 0.1, 0.0], "payload": {"year": 1965}},
            {"id": "emma", "vector": [0.0, 0.2, 0.9], "payload": {"year": 1815}},
        ]
    )
    assert (report.written, report.found, report.commit_seq, report.settled) == (2, 0, 1, 2)
    hits = books.search([1, 0, 0], k=2, filter=F("year") >= 1900)
    assert [hit.id for hit in hits] == ["dune", "emma"]
    assert hits[0].payload == {"year": 1965}
    assert books.upsert([{"id": "dune", "vector": V}]).found == 1


def test_batches_by_count(books, server):
    seen = []
    report = books.upsert(
        points(25), batch_size=10, progress=lambda done, total: seen.append((done, total))
    )
    assert sorted(len(write.ops) for write in server.writes) == [5, 10, 10]
    assert report.written == report.settled == 25
    assert seen[-1] == (25, 25)
    assert len(seen) == 3
    assert len({write.idempotency_key for write in server.writes}) == 3


def test_batches_by_bytes(start, connect):
    server = start(message_bytes=100_000)
    with connect(server.address, message_bytes=100_000) as db:
        report = db.collection("c").upsert(points(30, payload={"text": "é" * 10_000}))
    assert report.written == 30
    assert max(server.write_bytes) <= 100_000
    assert max(server.write_bytes) > 75_000  # no smaller than needed


def test_item_over_the_cap_is_refused_alone(start, connect):
    server = start(message_bytes=100_000)
    with connect(server.address, message_bytes=100_000) as db:
        big = {"id": "big", "vector": V, "payload": {"text": "x" * 200_000}}
        report = db.collection("c").upsert([*points(2), big, *points(1, 5)], on_error="collect")
    assert report.written == 3
    (failure,) = report.failures
    assert (failure.index, failure.id, failure.reason) == (2, "big", "LIMIT_EXCEEDED")


def test_smaller_cap_of_the_server_never_surfaces(start, connect):
    server = start(message_bytes=70_000)
    with connect(server.address) as db:
        report = db.collection("c").upsert(points(40, payload={"text": "x" * 10_000}))
    assert report.written == len(server.points) == 40
    assert max(server.write_bytes) <= 70_000


def test_smaller_batch_limit_of_the_server_never_surfaces(books, server):
    server.batch_items = 8
    refused = {"id": "bad", "vector": [1.0]}
    report = books.upsert([*points(20), refused, *points(20, 30)], on_error="collect")
    assert report.written == 40
    assert [failure.index for failure in report.failures] == [20]
    server.calls.clear()
    assert books.upsert(points(320), batch_size=32, parallel=1).written == 320
    assert server.calls.count("Write") == 40 + 2  # 32 and 16 were refused once, then never sent


def test_texts_make_smaller_batches(books, server):
    books.upsert({"id": f"t{i}", "text": "words"} for i in range(300))
    assert max(len(write.ops) for write in server.writes) == 128


def test_generator_is_read_in_step(books, server):
    """The generator is never ahead of the server by more than the batches in flight."""
    ahead = []

    def stream():
        for i in range(200):
            ahead.append(i - server.applied)
            yield {"id": f"p{i}", "vector": V}

    report = books.upsert(stream(), batch_size=10, parallel=2)
    assert report.written == 200
    assert max(ahead) <= 40


def test_last_of_an_id_wins(books, server):
    """Even where the batch of the earlier one is slow: the later one waits for it."""
    release = threading.Event()

    def slow_first(request):
        if any(op.put.payload == b'{"n":0}' for op in request.ops):
            release.wait(0.3)

    server.during_write = slow_first
    stream = [{"id": "same", "vector": V, "payload": {"n": n}} for n in range(5)]
    books.upsert(stream, batch_size=1, parallel=4)
    assert server.points["same"].payload == b'{"n":4}'
    assert [write.ops[0].put.payload for write in server.writes] == [
        b'{"n":%d}' % n for n in range(5)
    ]


def test_other_ids_run_side_by_side(books, server):
    meet = threading.Barrier(2, timeout=5)
    server.during_write = lambda request: meet.wait()
    assert books.upsert(points(4), batch_size=1, parallel=2).written == 4


def test_repeat_after_unavailable_applies_once(books, server, make_fault):
    server.faults = [make_fault(grpc.StatusCode.UNAVAILABLE, after=True)]
    report = books.upsert(points(3))
    assert report.written == server.applied == 3
    assert report.found == 0  # the stored result was replayed, not made anew
    assert server.calls.count("Write") == 2


def test_repeat_within_a_pipeline(books, server, make_fault):
    server.faults = [
        make_fault(grpc.StatusCode.UNAVAILABLE, after=True),
        make_fault(grpc.StatusCode.UNAVAILABLE),
    ]
    assert books.upsert(points(50), batch_size=10, parallel=3).written == 50
    assert server.applied == 50


def test_own_idempotency_key(books, server):
    for _ in range(2):
        assert books.upsert(points(30), batch_size=10, idempotency_key="load-7").written == 30
    assert server.applied == 30
    assert {write.idempotency_key for write in server.writes} == {f"load-7/{i}" for i in range(3)}
    with pytest.raises(InvalidArgument, match="200 bytes"):
        books.upsert(points(1), idempotency_key="é" * 101)


def test_failures_per_item(books, server):
    stream = [
        *points(2),
        {"id": "short", "vector": [1.0]},
        {"id": "nan", "vector": V, "payload": {"stats": {"mean": [1, float("nan")]}}},
        {"id": "both", "vector": V, "text": "x"},
        {"id": 7, "vector": V},
        {"vector": V},
        {"id": "typo", "vector": V, "payloads": {}},
        "what",
        {"id": "ragged", "vector": [[1, 2], [3]]},
        *points(2, 2),
    ]
    with pytest.raises(WriteFailed) as caught:
        books.upsert(stream, batch_size=3)
    report = caught.value.report
    assert report.written == len(server.points) == 4
    assert report.total == report.settled == len(stream)
    assert [(one.index, one.id, one.reason) for one in report.failures] == [
        (2, "short", "DIMENSION_MISMATCH"),
        (3, "nan", "BAD_PAYLOAD"),
        (4, "both", "BAD_POINT"),
        (5, "7", "INVALID_ARGUMENT"),
        (6, "", "BAD_POINT"),
        (7, "typo", "BAD_POINT"),
        (8, "", "BAD_POINT"),
        (9, "ragged", "BAD_VECTOR"),
    ]
    assert "8 of 12 items" in str(caught.value)
    assert "'short'" in str(caught.value)
    assert "stats.mean[1] is nan" in report.failures[1].message
    assert report.failures[0].code == "INVALID_ARGUMENT"


def test_only_refused_points_send_nothing(books, server):
    report = books.upsert([{"id": "a", "payload": {"x": float("inf")}}], on_error="collect")
    assert len(report.failures) == 1
    assert not server.calls


def test_empty_write_sends_nothing(books, server):
    assert books.upsert([]).written == 0
    assert books.delete([]).written == 0
    assert not server.calls


def test_call_that_fails_stops_the_write(books, server, make_fault):
    server.faults = [None, None, make_fault(grpc.StatusCode.NOT_FOUND)]
    with pytest.raises(NotFound) as caught:
        books.upsert(points(1_000), batch_size=10, parallel=1)
    assert caught.value.report.written == caught.value.report.settled == 20
    assert server.calls.count("Write") == 3


def test_settled_is_where_to_go_on(books, server, make_fault):
    server.faults = [None, make_fault(grpc.StatusCode.DATA_LOSS)]
    with pytest.raises(Exception, match="on order") as caught:
        books.upsert(points(100), batch_size=10, parallel=2)
    settled = caught.value.report.settled
    assert settled in (0, 10, 20)  # of the two in flight, either may have met the fault
    assert books.upsert(points(100 - settled, settled)).written == 100 - settled
    assert len(server.points) == 100


def test_error_of_the_callers_generator_surfaces(books, server):
    def stream():
        yield from points(20)
        raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError, match="disk gone") as caught:
        books.upsert(stream(), batch_size=5)
    assert "20 items were written" in caught.value.__notes__[0] or server.applied <= 20


def test_no_server_is_unavailable_within_the_deadline(connect):
    retries = Retries(attempts_max=3, backoff_s=0.01, backoff_max_s=0.02)
    with connect("127.0.0.1:1", retries=retries) as db, pytest.raises(Unavailable) as caught:
        db.collection("c").upsert(points(3))
    assert caught.value.report.settled == 0


def test_delete(books, server):
    books.upsert(points(5))
    report = books.delete(["p1", "p2", "nobody"])
    assert (report.written, report.found) == (3, 2)
    assert books.delete("p3").found == 1
    assert sorted(server.points) == ["p0", "p4"]
    report = books.delete(["p0", 4], on_error="collect")
    assert (report.written, report.failures[0].id) == (1, "4")


def test_patch_is_one_operation(books, server):
    books.upsert(points(1))
    report = books.patch(
        "p0",
        set={"a.b": 1, "c": {"d": None}},
        unset=["x", "y.z"],
        append={"tags": ("new",)},
        remove='{"tags": ["old"]}',
        vector=V,
        vectors={"t": "text", "s": {7: 0.5}, "gone": None},
        if_version=1,
    )
    assert (report.written, report.found, report.commit_seq) == (1, 1, 2)
    (op,) = server.writes[1].ops
    patch = op.patch
    assert (patch.id, op.if_version, list(patch.unset)) == ("p0", 1, ["x", "y.z"])
    assert (patch.set, patch.append) == (b'{"a.b":1,"c":{"d":null}}', b'{"tags":["new"]}')
    assert patch.remove == b'{"tags": ["old"]}'
    assert sorted(patch.vectors) == ["", "s", "t"]
    assert (patch.vectors["t"].text, list(patch.vectors["s"].sparse.indices)) == ("text", [7])
    assert list(patch.unset_vectors) == ["gone"]
    books.patch("p0", unset="one")
    assert list(server.writes[2].ops[0].patch.unset) == ["one"]
    assert not server.writes[2].ops[0].HasField("if_version")


def test_losers_say_which_version_there_is(books, server):
    books.upsert(points(2), if_version=0)
    with pytest.raises(WriteFailed) as caught:
        books.patch("p0", set={"a": 1}, if_version=7)
    assert (caught.value.code, caught.value.reason) == ("ABORTED", "VERSION_MISMATCH")
    assert caught.value.report.failures[0].version == 1
    with pytest.raises(WriteFailed) as caught:
        books.patch("nobody", set={"a": 1})
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "POINT_NOT_FOUND")
    stream = [{"id": "p0", "vector": V, "if_version": 1}, Point("p1", V, if_version=5)]
    report = books.upsert([*stream, {"id": "p2", "vector": V}], if_version=0, on_error="collect")
    assert report.written == 2
    assert [(one.index, one.id, one.version) for one in report.failures] == [(1, "p1", 1)]
    assert books.upsert(ids=["p2"], vectors=[V], if_version=0, on_error="collect").written == 0
    assert books.delete("p2", if_version=1, on_error="collect").written == 0
    assert books.delete("p2", if_version=4).found == 1


def test_mixed_operations_keep_their_order(books, server):
    stream = [
        {"id": "a", "vector": V},
        Patch("a", set={"n": 1}),
        Delete("a"),
        Patch("a", set={"n": 2}),
        Point("b", V),
        Delete("b", if_version=9),
        Patch("bad", set={"n": float("nan")}),
        Delete(7),
        7,
    ]
    report = books.write(stream, batch_size=2, parallel=4, on_error="collect")
    assert report.written == 4
    assert [(one.index, one.reason) for one in report.failures] == [
        (3, "POINT_NOT_FOUND"),
        (5, "VERSION_MISMATCH"),
        (6, "BAD_PAYLOAD"),
        (7, "INVALID_ARGUMENT"),
        (8, "BAD_POINT"),
    ]
    assert [len(write.ops) for write in server.writes] == [2, 2, 2]


def test_patches_make_batches_by_bytes_and_texts(start, connect):
    server = start(message_bytes=100_000)
    with connect(server.address, message_bytes=100_000) as db:
        books = db.collection("c")
        patches = [Patch(f"é{i}", {"t": "é" * 10_000}, ["x" * 100] * 9) for i in range(30)]
        assert len(books.write(patches, on_error="collect").failures) == 30
        assert max(server.write_bytes) <= 100_000
        server.writes.clear()
        texts = [Patch(f"p{i}", text="words") for i in range(300)]
        books.write(texts, on_error="collect")
        assert max(len(write.ops) for write in server.writes) == 128


@pytest.mark.parametrize("version", [-1, 1.0, True, "1", 1 << 64])
def test_a_version_is_a_whole_number(books, server, version):
    for call in (
        lambda: books.upsert(points(1), if_version=version),
        lambda: books.delete("a", if_version=version),
    ):
        with pytest.raises(InvalidArgument, match="if_version is a whole number"):
            call()
    with pytest.raises(WriteFailed, match="if_version is a whole number"):
        books.patch("a", set={}, if_version=version)
    with pytest.raises(InvalidArgument, match="put it into a list"):
        books.write(Patch("a"))
    assert not server.calls


def test_truncated_texts_are_named(books):
    report = books.upsert([Point("a", text="fine"), Point("b", text="cut me", payload={"n": 1})])
    assert report.truncated_total == 1
    assert (report.truncated[0].index, report.truncated[0].id) == (1, "b")
    assert report.truncated[0].spaces == ("",)


def test_misuse_is_named(books):
    with pytest.raises(InvalidArgument, match="put it into a list"):
        books.upsert({"id": "a", "vector": V})
    with pytest.raises(InvalidArgument, match="takes points"):
        books.upsert()
    with pytest.raises(InvalidArgument, match="either points"):
        books.upsert(points(1), ids=["a"])
    with pytest.raises(InvalidArgument, match="on_error"):
        books.upsert([], on_error="ignore")
    with pytest.raises(InvalidArgument, match="at least 1"):
        books.upsert([], batch_size=0)


def test_threads_share_a_client(books, server):
    def load(i):
        books.upsert(points(100, 100 * i), batch_size=9)

    threads = [threading.Thread(target=load, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.points) == 600


def test_a_bar_on_stderr(books, capsys):
    pytest.importorskip("rich")
    books.upsert(points(30), batch_size=10, progress=True)
    books.delete((f"p{i}" for i in range(20)), batch_size=10, progress=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert "books" in told.err
    assert "30/30" in told.err
    assert "20/?" in told.err
    books.write(points(1), progress=False)
    assert capsys.readouterr() == ("", "")


def test_without_rich_the_way_out_is_named(books, server, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ImportError, match=r"pip install 'vecdb-client\[progress\]'"):
        books.upsert(points(1), progress=True)
    assert not server.calls
