"""A wall clock that jumps: what expires goes by it, and nothing else does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.live import LiveServer, wait_until
from tests.surroundings import FakedClock
from vecdb_client import VecdbError

pytestmark = pytest.mark.takes_turns

HOUR_S, DAY_S = 3_600, 86_400


def test_a_clock_that_jumps(tmp_path: Path) -> None:
    clock = FakedClock(tmp_path / "clock")
    if clock.library is None:
        pytest.skip("needs Debian's libfaketime")
    settings = {"embed.enabled": "false", "server.workers": 2}
    server = LiveServer(tmp_path / "data", settings, clock.environment).start()
    failed: list[VecdbError] = []
    over, done = threading.Event(), [0]

    def go_on() -> None:
        with server.client(timeout_s=30) as client:
            while not over.is_set():
                try:
                    client.collection("c").upsert([{"id": "busy", "vector": [1, 1]}])
                    assert client.collection("c").get(["busy"]).points
                    done[0] += 1
                except VecdbError as error:
                    failed.append(error)
                    return

    try:
        with server.client(timeout_s=30) as client:
            points = client.create_collection("c", dim=2)
            points.upsert([{"id": "kept", "vector": [1, 0]}])
            points.upsert([{"id": "hour", "vector": [0, 1]}], ttl_s=HOUR_S)
            busy = threading.Thread(target=go_on)
            busy.start()
            for offset_s in (1, -DAY_S, -1, 1_800, 0):
                clock.jump(offset_s)
                before = done[0]
                wait_until(lambda before=before: failed or done[0] > before + 5)
                assert len(points.get(["kept", "hour"]).points) == 2
                assert len(points.search([1, 1], k=3)) == 3
            clock.jump(2 * HOUR_S)
            wait_until(lambda: points.get(["hour"]).missing)
            before = done[0]
            wait_until(lambda: failed or done[0] > before + 5)
            over.set()
            busy.join(30)
            assert failed == []
            assert sorted(point.id for point in points.list()) == ["busy", "kept"]
            assert client.health() == "SERVING"
    finally:
        over.set()
        assert server.stop() == 0
    assert "hangs" not in server.log.read_text()
