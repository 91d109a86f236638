"""The async client against a real server: writes, reads, searches and a watch, side by side."""

from __future__ import annotations

import asyncio
import itertools
import queue
from collections.abc import Iterator

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer
from vecdb_client import AsyncClient, F, Patch, Unavailable, WriteFailed

DIM, N = 8, 3_000


async def use(address: str) -> None:
    vectors = np.random.default_rng(1).random((N, DIM), dtype=np.float32)
    async with AsyncClient(address) as db:
        await db.wait_ready(30)
        points = await db.create_collection("points", dim=DIM, metric="dot", if_not_exists=True)
        watch = points.watch()
        first = await anext(watch)
        report = await points.upsert(
            ids=[f"p{i:04}" for i in range(N)],
            vectors=vectors,
            payloads=[{"n": i, "odd": bool(i % 2)} for i in range(N)],
            batch_size=500,
        )
        assert (report.written, report.failures) == (N, [])
        changed: set[str] = set()
        async for changes in watch:
            assert changes.commit_seq > first.commit_seq
            changed.update(point.id for point in changes.points)
            if len(changed) == N:
                break
        best = (vectors @ vectors.T).argmax(axis=1)
        found = await asyncio.gather(*(points.search(vector, k=1) for vector in vectors[:200]))
        assert [result[0].id for result in found] == [f"p{i:04}" for i in best[:200]]
        assert await points.count(F("odd") == True) == N // 2  # noqa: E712
        listed = [point.id async for point in points.list(F("n") < 10, page_size=3)]
        assert listed == [f"p{i:04}" for i in range(10)]
        got = await points.get(["p0001", "nobody"])
        assert (got.points[0].payload["n"], got.missing) == (1, ["nobody"])
        await points.write([Patch("p0001", set={"n": -1})])
        with pytest.raises(WriteFailed, match="VERSION_MISMATCH"):
            await points.patch("p0001", set={"n": 0}, if_version=1)
        assert (await points.delete(f"p{i:04}" for i in range(100))).found == 100
        assert (await points.info()).name == "points"
        assert await db.delete_collection("points")


def test_one_process_and_several(make_server: MakeServer) -> None:
    for workers in (1, 2):
        server = make_server(f"data-{workers}", server__workers=workers)
        asyncio.run(use(server.address))


def test_a_stream_of_writes(make_server: MakeServer) -> None:
    server = make_server()
    source: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()

    async def main() -> None:
        async with AsyncClient(server.address) as db:
            points = await db.create_collection("points", dim=2)
            reports = points.write_stream(iter(source.get, None), batch_size=1)
            for n in range(20):  # each is answered while the source says nothing
                source.put({"id": f"p{n}", "vector": [n, 1]})
                report = await anext(reports)
                assert (report.written, report.settled) == (1, n + 1)
                assert await points.count() == n + 1
            source.put({"id": "bad", "vector": [1]})
            source.put(None)
            assert [one.failures[0].id async for one in reports] == ["bad"]

            def broken() -> Iterator[dict[str, object]]:
                yield from ({"id": f"q{n}", "vector": [n, 1]} for n in range(50))
                raise RuntimeError("the source broke")

            seen: list[int] = []
            reports = points.write_stream(broken(), batch_size=7)
            with pytest.raises(RuntimeError, match="the source broke"):
                [seen.append(report.written) async for report in reports]
            assert sum(seen) >= 49
            endless = ({"id": str(n), "vector": [n, 1]} for n in itertools.count())
            async for report in points.write_stream(endless, batch_size=10):
                if report.settled >= 100:
                    break

    asyncio.run(main(), debug=True)


def test_a_restart_is_waited_for(make_server: MakeServer) -> None:
    server = make_server()

    async def main(server: LiveServer) -> None:
        async with AsyncClient(server.address) as db:
            points = await db.create_collection("points", dim=2)
            server.kill()
            waiting = asyncio.create_task(points.upsert([{"id": "a", "vector": [1, 0]}]))
            server.listen = server.address
            await asyncio.to_thread(server.start)
            try:
                assert (await waiting).written == 1
            except Unavailable:  # the start took longer than the attempts
                assert (await points.upsert([{"id": "a", "vector": [1, 0]}])).written == 1
            assert await points.count() == 1

    asyncio.run(main(server))
