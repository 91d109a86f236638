"""Watch: every change once and in order, over restarts and kill -9, and what it refuses."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import calls
from vecdb_client import (
    NO_RETRIES,
    Cancelled,
    Changes,
    Client,
    Collection,
    InvalidArgument,
    NotFound,
    OutOfRange,
    Overloaded,
    Unavailable,
    VecdbError,
)

DIM = 3


class Copy:
    """What one who follows a collection knows of it."""

    def __init__(self) -> None:
        self.points: dict[str, tuple[int, object]] = {}
        self.seq = -1

    def take(self, changes: Changes) -> None:
        assert changes.commit_seq >= self.seq
        assert not changes.warnings
        if changes.truncated:
            self.points.clear()
        for name in changes.deleted:
            self.points.pop(name, None)
        for point in changes.points:
            assert list(point.vector or []) == [point.payload["n"]] * DIM
            self.points[point.id] = (point.version, point.payload["n"])
        self.seq = changes.commit_seq


def truth(points: Collection) -> dict[str, tuple[int, object]]:
    return {point.id: (point.version, point.payload["n"]) for point in points.list()}


@contextmanager
def following(points: Collection, copy: Copy, after: int | None = None) -> Iterator[None]:
    """Keep a copy up in a thread, until the client is closed."""
    ended: list[VecdbError] = []

    def follow() -> None:
        try:
            for changes in points.watch(after, with_vectors=True):
                copy.take(changes)
        except VecdbError as error:
            ended.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive()
    assert [type(error) for error in ended] == [Cancelled], ended


def put(points: Collection, name: str, n: int) -> int:
    return points.upsert([{"id": name, "vector": [n] * DIM, "payload": {"n": n}}]).commit_seq


def test_a_copy_is_the_collection(server: LiveServer, client: Client) -> None:
    points = client.create_collection("copied", dim=DIM, metric="dot")
    chosen = random.Random(1)
    copy = Copy()
    with server.client() as other:
        with following(other.collection("copied"), copy):
            wait_until(lambda: copy.seq >= 0)
            for n in range(300):
                names = [str(chosen.randrange(40)) for _ in range(chosen.randrange(1, 5))]
                if chosen.random() < 0.4:
                    points.delete(names)
                else:
                    points.upsert(
                        [{"id": m, "vector": [n] * DIM, "payload": {"n": n}} for m in names]
                    )
            wait_until(lambda: copy.points == truth(points))
            other.close()
    # From the beginning, in another order of looking, the same comes out.
    again = Copy()
    for changes in points.watch(0, with_vectors=True):
        again.take(changes)
        if again.seq == copy.seq:
            break
    assert again.points == copy.points


def test_it_begins_at_once_and_sends_what_is_asked_for(client: Client) -> None:
    points = client.create_collection("begins", dim=DIM, metric="dot")
    seq = put(points, "old", 1)
    stream = points.watch()
    first = next(stream)
    assert (first.commit_seq, first.points, first.deleted, first.complete) == (seq, [], [], True)
    put(points, "new", 2)
    second = next(stream)
    assert [(point.id, point.payload, point.vectors) for point in second.points] == [
        ("new", {"n": 2}, {})
    ]
    points.delete(["old", "nobody"])
    third = next(stream)
    assert (third.deleted, third.points) == (["old"], [])
    stream.close()
    bare = points.watch(seq, with_payload=False)
    next(bare)
    both = next(bare)
    assert ([point.payload for point in both.points], both.deleted) == ([{}], ["old"])


def test_a_large_write_comes_in_parts(make_server: MakeServer) -> None:
    server = make_server(limits__message_bytes=64 << 10)
    with server.client() as client:
        points = client.create_collection("large", dim=DIM, metric="dot")
        whole = [{"id": str(n), "vector": [n] * DIM, "payload": {"n": n}} for n in range(2_500)]
        points.upsert(whole, batch_size=800)
        copy, parts = Copy(), []
        for changes in points.watch(0, with_vectors=True):
            copy.take(changes)
            parts.append(changes.complete)
            if len(copy.points) == len(whole) and changes.complete:
                break
        assert copy.points == truth(points)
        assert parts.count(False) > 3


@pytest.mark.parametrize("workers", [1, 2])
def test_it_survives_restarts_and_kills(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    server.listen = server.address  # the same port when it comes back
    with server.client() as client:
        points = client.create_collection("long", dim=DIM, metric="dot")
        put(points, "first", 0)
    copy = Copy()
    with Client(server.address, timeout_s=60) as follower:
        with following(follower.collection("long"), copy, 0):
            n = 0
            for end in (server.stop, server.kill, server.stop):
                with server.client() as client:
                    for _ in range(20):
                        n += 1
                        put(client.collection("long"), str(n % 7), n)
                end()
                server.start()
            with server.client() as client:
                put(client.collection("long"), "last", n)
                wait_until(lambda: copy.points == truth(client.collection("long")))
            follower.close()


def test_who_comes_back_too_late_is_told(make_server: MakeServer) -> None:
    server = make_server(storage__changes_retained=16)
    with server.client() as client:
        points = client.create_collection("short", dim=DIM, metric="dot")
        seqs = [put(points, "a", n) for n in range(40)]
        assert next(points.watch(seqs[-10])).commit_seq == seqs[-10]
        with pytest.raises(OutOfRange, match="write 1 ") as caught:
            list(points.watch(0))
        assert caught.value.reason == "HORIZON_PASSED"
        with pytest.raises(InvalidArgument, match="after_seq is 1000000"):
            next(points.watch(1_000_000))
        with pytest.raises(NotFound):
            next(client.collection("nowhere").watch())


def test_a_collection_that_goes_ends_it(client: Client) -> None:
    points = client.create_collection("goes", dim=DIM, metric="dot")
    stream = points.watch()
    next(stream)
    client.delete_collection("goes")
    with pytest.raises(NotFound):
        next(stream)
    points = client.create_collection("goes", dim=DIM, metric="dot")
    stream = points.watch()
    next(stream)
    client.delete_collection("goes")
    client.create_collection("goes", dim=DIM, metric="dot")
    with pytest.raises(NotFound):
        next(stream)


def test_streams_are_bounded_and_given_back(make_server: MakeServer) -> None:
    server = make_server(limits__streams=3)
    with server.client(retries=NO_RETRIES) as client:
        points = client.create_collection("many", dim=DIM, metric="dot")
        streams = [points.watch() for _ in range(3)]
        for stream in streams:
            next(stream)
        with pytest.raises(Overloaded, match=r"limits\.streams"):
            next(points.watch())
        streams.pop().close()

        def opens() -> bool:
            with suppress(Overloaded):
                streams.append(points.watch())
                next(streams[-1])
                return True
            return False

        wait_until(opens)
        assert points.count() == 0  # other calls are not in their way


def test_a_stop_does_not_wait_for_watchers(make_server: MakeServer) -> None:
    server = make_server()
    with server.client(retries=NO_RETRIES) as client:
        stream = client.create_collection("stop", dim=DIM, metric="dot").watch()
        next(stream)
        said: queue.SimpleQueue[VecdbError] = queue.SimpleQueue()

        def follow() -> None:
            try:
                next(stream)
            except VecdbError as error:
                said.put(error)

        thread = threading.Thread(target=follow)
        thread.start()
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 5
        error = said.get(timeout=10)
        thread.join()
        assert isinstance(error, Unavailable)
        assert "stopping" in error.message


def test_it_is_counted(make_server: MakeServer) -> None:
    server = make_server()
    with server.client() as client:
        stream = client.create_collection("counted", dim=DIM, metric="dot").watch()
        next(stream)
        stream.close()
        wait_until(lambda: calls(server, "Watch", "CANCELLED") == 1)


def test_a_truncation_is_told(server: LiveServer, client: Client) -> None:
    points = client.create_collection("emptied", dim=DIM, metric="dot")
    for n in range(5):
        put(points, f"{n}", n)
    copy = Copy()
    with server.client() as other:
        with following(other.collection("emptied"), copy, 0):
            wait_until(lambda: copy.points == truth(points))
            client.truncate_collection("emptied")
            put(points, "3", 30)
            wait_until(lambda: copy.points == truth(points) != {})
            client.truncate_collection("emptied")
            wait_until(lambda: not copy.points)
            other.close()
    changes = points.watch(2)
    begin, emptied = next(changes), next(changes)
    assert (begin.commit_seq, begin.truncated) == (2, False)
    assert (emptied.commit_seq, emptied.truncated) == (copy.seq, True)
    changes.close()
    client.delete_collection("emptied")
