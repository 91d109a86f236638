"""What is the async client's own: its surface, many calls side by side, cancelling, loops."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time

import grpc
import pytest

import vecdb_client
from vecdb_client import (
    AsyncClient,
    AsyncCollection,
    AsyncDocuments,
    Cancelled,
    Client,
    Collection,
    Documents,
    FailedPrecondition,
    NotFound,
)

V = [0.1, 0.2, 0.3]


def points(n):
    return [{"id": f"p{i:03}", "vector": V} for i in range(n)]


def surface(kind):
    """Return the public names of a class, and what each takes and gives, in words of the sync."""
    found = {}
    for name, member in inspect.getmembers(kind):
        if name.startswith("_") and name not in ("__init__", "__repr__"):
            continue
        if inspect.isfunction(member):
            shown = str(inspect.signature(member)).replace("Async", "")
            found[name] = shown, (inspect.getdoc(member) or "").replace("Async", "")
    return found


BOTH = [(Client, AsyncClient), (Collection, AsyncCollection), (Documents, AsyncDocuments)]


@pytest.mark.parametrize(("sync", "own"), BOTH)
def test_both_have_the_same_surface(sync, own):
    assert surface(own) == surface(sync)
    entered = {"__enter__", "__exit__"} & set(dir(sync))
    assert {name.replace("__", "__a", 1) for name in entered} <= set(dir(own))
    assert not entered & set(dir(own))
    for name, member in inspect.getmembers(own, inspect.isfunction):
        if name.startswith("_") or name in ("collection", "documents"):
            continue
        waits = inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        assert waits or "AsyncIterator" in str(inspect.signature(member)), name


def test_both_are_documented_in_one_place():
    assert {"AsyncClient", "AsyncCollection"} <= set(vecdb_client.__all__)


def run(work, server, **options):
    async def main():
        async with AsyncClient(server.address, **options) as db:
            return await work(db, db.collection("books"))

    return asyncio.run(main(), debug=True)  # which names coroutines that nobody awaits


def test_a_client_may_be_made_before_its_loop(server):
    db = AsyncClient(server.address)

    async def main():
        async with db:
            return await db.collection("books").count()

    assert asyncio.run(main()) == 0


def test_calls_run_side_by_side(server):
    meet = threading.Barrier(6, timeout=10)
    server.during_write = lambda request: meet.wait()

    async def work(db, books):
        writes = (books.upsert([{"id": f"p{i}", "vector": V}]) for i in range(6))
        return await asyncio.gather(*writes)

    assert sum(report.written for report in run(work, server)) == 6


def test_the_loop_goes_on_while_a_write_waits(server):
    release = threading.Event()
    server.during_write = lambda request: release.wait(10)

    async def work(db, books):
        write = asyncio.create_task(books.upsert(points(40), batch_size=10))
        await asyncio.sleep(0.05)
        assert await books.count() == 0
        release.set()
        return await write

    assert run(work, server).written == 40


def test_a_cancelled_write_ends_at_once_and_sends_no_more(server):
    release, entered = threading.Event(), threading.Event()

    def hold(request):
        entered.set()
        release.wait(20)

    server.during_write = hold

    async def work(db, books):
        write = asyncio.create_task(books.upsert(points(100), batch_size=10, parallel=3))
        await asyncio.to_thread(entered.wait, 10)
        write.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await write
        took = time.monotonic() - began
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        release.set()
        return took

    assert run(work, server) < 5
    assert server.calls.count("Write") <= 3


def test_a_cancelled_call_is_not_taken_for_the_server_s_answer(server):
    release = threading.Event()
    server.during_write = lambda request: release.wait(20)

    async def work(db, books):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await books.upsert(points(1))
        release.set()
        return await books.count()

    assert run(work, server) in (0, 1)


def test_closing_ends_calls_and_pauses_under_way(server, make_fault):
    release, entered = threading.Event(), threading.Event()

    def hold(request):
        entered.set()
        release.wait(20)

    server.during_write = hold

    async def work(db, books):
        write = asyncio.create_task(books.upsert(points(1)))
        await asyncio.to_thread(entered.wait, 10)
        server.faults = [make_fault(grpc.StatusCode.UNAVAILABLE)] * 20
        count = asyncio.create_task(books.count())
        await asyncio.sleep(0.05)
        await db.close()
        with pytest.raises((Cancelled, FailedPrecondition)):
            await count
        with pytest.raises(Cancelled):
            await write
        release.set()
        with pytest.raises(FailedPrecondition, match="closed"):
            await books.count()

    run(work, server)


def test_a_list_that_is_left_early_asks_for_no_more(server):
    async def work(db, books):
        await books.upsert(points(50))
        server.calls.clear()
        seen = []
        async for point in books.list(page_size=10):
            seen.append(point.id)
            if len(seen) == 15:
                break
        return seen, [point.id async for point in books.list(page_size=10)]

    seen, every = run(work, server)
    assert seen == every[:15]
    assert len(every) == 50
    assert server.calls == ["List"] * 7


def test_a_call_that_fails_says_what_was_written(server, make_fault):
    server.faults = [None, None, make_fault(grpc.StatusCode.NOT_FOUND)]

    async def work(db, books):
        with pytest.raises(NotFound) as caught:
            await books.upsert(points(100), batch_size=10, parallel=1)
        return caught.value.report

    report = run(work, server)
    assert report.written == report.settled == 20


def test_points_are_taken_no_faster_than_they_are_sent(server):
    ahead = []

    def stream():
        for i in range(200):
            ahead.append(i - server.applied)
            yield {"id": f"p{i}", "vector": V}

    async def work(db, books):
        return await books.upsert(stream(), batch_size=10, parallel=2)

    assert run(work, server).written == 200
    assert max(ahead) <= 40
