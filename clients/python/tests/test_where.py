"""delete_where and patch_where: which requests follow which answers, and what is counted.

The transport is a script; the real server has its own tests.
"""

from __future__ import annotations

import pytest

from vecdb_client import F, InvalidArgument, Unavailable
from vecdb_client.operations import patch_op
from vecdb_client.pb import points_pb2 as pb
from vecdb_client.types import ItemFailure, Patch
from vecdb_client.where import WhereWrite

SOME = F("n") > 1


class Script:
    """Answers of a server in their order, each to the call it is for."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def call(self, method, request, *, timeout_s):
        assert timeout_s == 7.0
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, method.reply)
        return answer


def count(points, seq):
    return pb.CountResponse(count=points, commit_seq=seq)


def progress(after, *, complete=False, seq=0, **counts):
    return pb.WhereProgress(after_version=after, complete=complete, commit_seq=seq, **counts)


def deleted(number, *args, **named):
    return pb.DeleteWhereResponse(deleted=number, progress=progress(*args, **named))


def patched(number, failures, *args, **named):
    reply = pb.PatchWhereResponse(patched=number, progress=progress(*args, **named))
    for id in failures:
        reply.failures.add(id=id).result.MergeFrom(
            pb.WriteResult(code=9, reason="PATH_CLASH", message="no", version=3)
        )
    return reply


def where(script, seen=None):
    told = None if seen is None else lambda done, total: seen.append((done, total))
    return WhereWrite(script, "books", SOME, told, 7.0)


def versions(script):
    return [
        (request.after_version, request.max_version)
        for request in script.requests
        if not isinstance(request, pb.CountRequest)
    ]


def test_parts_follow_each_other_to_the_end():
    seen = []
    script = Script(
        count(9, 50), deleted(4, 20, seq=51), deleted(3, 40, seq=55), deleted(2, 50, complete=True)
    )
    report = where(script, seen).delete()
    assert (report.written, report.found, report.commit_seq, report.skipped) == (9, 9, 55, 0)
    assert versions(script) == [(0, 50), (20, 50), (40, 50)]
    assert {request.collection for request in script.requests} == {"books"}
    assert seen == [(4, 9), (7, 9), (9, 9)]


def test_nothing_there_asks_for_nothing():
    script = Script(count(0, 50))
    assert where(script).delete().written == 0
    assert len(script.requests) == 1


def test_deletes_go_on_until_nobody_was_first():
    script = Script(
        count(9, 50),
        deleted(6, 50, complete=True, seq=51),
        count(4, 60),
        deleted(4, 60, complete=True, seq=61, damaged=0),
    )
    report = where(script).delete()
    assert (report.written, report.skipped, report.commit_seq) == (10, 0, 61)
    assert versions(script) == [(0, 50), (0, 60)]


def test_damaged_points_are_not_waited_for():
    script = Script(count(9, 50), deleted(7, 50, complete=True, damaged=2))
    report = where(script).delete()
    assert (report.written, report.skipped, report.damaged) == (7, 0, 2)


def test_patches_are_made_once_and_failures_numbered():
    script = Script(
        count(9, 50), patched(4, ["a", "b"], 20, seq=51), patched(1, ["c"], 50, complete=True)
    )
    report = where(script).patch(patch_op(Patch("", set={"x": 1}, unset="y")))
    assert (report.written, report.skipped, report.total) == (5, 1, 8)
    assert report.failures == [
        ItemFailure(at, id, "FAILED_PRECONDITION", "PATH_CLASH", "no", 3)
        for at, id in enumerate("abc")
    ]
    assert versions(script) == [(0, 50), (20, 50)]
    for request in script.requests[1:]:
        assert (request.patch.id, request.patch.set) == ("", b'{"x":1}')
        assert list(request.patch.unset) == ["y"]


def test_an_error_brings_what_was_done():
    script = Script(count(9, 50), deleted(4, 20, seq=51), Unavailable("gone"))
    with pytest.raises(Unavailable) as caught:
        where(script).delete()
    assert (caught.value.report.written, caught.value.report.commit_seq) == (4, 51)


def test_a_filter_is_needed():
    with pytest.raises(InvalidArgument, match="truncate_collection"):
        WhereWrite(Script(), "books", None, None, None)


def points(*ids):
    return [{"id": id, "vector": [1.0, 2.0, 3.0]} for id in ids]


def test_an_atomic_write_is_one_request(books, server):
    report = books.upsert(points(*map(str, range(50))), atomic=True, batch_size=10)
    assert report.written == 50
    (request,) = server.writes
    assert request.atomic
    assert request.idempotency_key
    assert books.delete(["1", "2"], atomic=True).found == 2
    assert books.write([Patch("3", set={"a": 1})], atomic=True).written == 1
    assert [request.atomic for request in server.writes] == [True] * 3
    assert books.upsert([], atomic=True).written == 0
    assert len(server.writes) == 3
    books.upsert(points("x"))
    assert not server.writes[-1].atomic


def test_what_cannot_be_one_request_is_none(books, server):
    with pytest.raises(InvalidArgument, match=r"operation 1 \('bad'\)"):
        books.upsert([*points("a"), {"id": "bad", "vector": "text", "text": "two"}], atomic=True)
    with pytest.raises(InvalidArgument, match="collect"):
        books.upsert(points("a"), atomic=True, on_error="collect")
    server.batch_items = 4
    with pytest.raises(InvalidArgument, match="5 is more than 4"):
        books.upsert(points("a", "b", "c", "d", "e"), atomic=True)
    books._message_bytes = 1_000
    with pytest.raises(InvalidArgument, match=r"one message.*operation \d+"):
        books.upsert(points(*map(str, range(50))), atomic=True)
    assert server.points == {}
