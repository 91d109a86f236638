"""The client's write_stream against a real server: reports in order, sources that block or fail."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import calls
from vecdb_client import (
    Client,
    Collection,
    Delete,
    InvalidArgument,
    NotFound,
    Patch,
    Unavailable,
)

pytestmark = pytest.mark.parametrize(
    "server", [1, 2], ids=["one-process", "workers"], indirect=True, scope="module"
)


@pytest.fixture
def books(client: Client) -> Iterator[Collection]:
    yield client.create_collection("live", dim=2, metric="dot")
    client.delete_collection("live")


def point(n: int) -> dict:
    return {"id": f"p{n}", "vector": [n, 1], "payload": {"n": n}}


def test_a_report_a_batch_in_order(books: Collection) -> None:
    stream = [
        *(point(n) for n in range(9)),
        {"id": "bad", "vector": "text", "text": "two"},
        Delete("p0"),
        Patch("p1", set={"n": 7}),
        Patch("nobody", set={"n": 7}),
        {"id": "p2", "vector": [1, 2, 3]},
    ]
    reports = list(books.write_stream(stream, batch_size=4))
    assert [report.settled for report in reports] == [4, 8, 13, 14]
    assert [report.written for report in reports] == [4, 4, 3, 0]
    assert [report.found for report in reports] == [0, 0, 2, 0]
    seqs = [report.commit_seq for report in reports[:3]]
    assert seqs == sorted(set(seqs))
    failures = [(one.index, one.id, one.reason) for r in reports for one in r.failures]
    assert failures == [
        (9, "bad", "BAD_POINT"),
        (12, "nobody", "POINT_NOT_FOUND"),
        (13, "p2", "DIMENSION_MISMATCH"),
    ]
    assert sorted(point.id for point in books.list()) == [f"p{n}" for n in range(1, 9)]


def test_a_source_that_waits_hears_of_what_is_stored(books: Collection) -> None:
    source: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
    reports = books.write_stream(iter(source.get, None), batch_size=1)
    for n in range(30):
        source.put(point(n))
        assert next(reports).settled == n + 1
        assert books.count() == n + 1
    source.put(None)
    assert list(reports) == []


def test_nothing_and_what_is_all_refused(books: Collection) -> None:
    assert list(books.write_stream([])) == []
    (report,) = books.write_stream([{"id": 7}])
    assert (report.settled, len(report.failures), report.written) == (1, 1, 0)
    with pytest.raises(InvalidArgument, match="batch_size"):
        books.write_stream([], batch_size=0)


def test_a_source_that_fails_is_heard_after_the_answers(books: Collection) -> None:
    def source() -> Iterator[dict]:
        yield from map(point, range(10))
        raise RuntimeError("the source is broken")

    reports = books.write_stream(source(), batch_size=3)
    assert [next(reports).settled for _ in range(3)] == [3, 6, 9]
    with pytest.raises(RuntimeError, match="the source is broken"):
        next(reports)
    assert books.count() == 9


def test_errors_of_a_whole_request_end_it(client: Client) -> None:
    with pytest.raises(NotFound, match="nowhere") as caught:
        next(client.collection("nowhere").write_stream(map(point, range(10))))
    assert caught.value.reason == "NOT_FOUND"
    assert caught.value.call == "Points.WriteStream"


def test_a_caller_that_goes_ends_the_stream(server: LiveServer, books: Collection) -> None:
    def endless() -> Iterator[dict]:
        n = 0
        while True:
            yield point(n % 100)
            n += 1

    def ended() -> float:
        return calls(server, "WriteStream", "CANCELLED") + calls(server, "WriteStream")

    before = ended()
    for report in books.write_stream(endless(), batch_size=50):
        if report.settled >= 1_000:
            break
    assert books.count() == 100
    wait_until(lambda: ended() == before + 1)


def test_a_server_that_is_killed(make_server: MakeServer, server: LiveServer) -> None:
    """Whatever was reported is there once it is up again."""
    own = make_server("killed")
    with own.client() as client:
        client.create_collection("live", dim=2)
        points = map(point, range(10**9))
        reports = client.collection("live").write_stream(points, batch_size=20)
        seen = [next(reports).settled for _ in range(100)]
        own.kill()
        with pytest.raises(Unavailable):
            seen.extend(report.settled for report in reports)
        settled = seen[-1]
    own.start()
    with own.client() as client:
        found = client.collection("live").get([f"p{n}" for n in range(settled)])
        assert settled >= 2_000
        assert not found.missing
