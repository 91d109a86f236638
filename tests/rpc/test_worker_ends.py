"""What may end of a server of several processes, and how all of it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.live import LiveServer, alive, descendants, wait_until
from tests.rpc.nodes import (
    WORKERS,
    ask,
    connections,
    health,
    metrics,
    processes,
    whole,
)
from vecdb.rpc.pb import points_pb2, points_pb2_grpc
from vecdb_client import NO_RETRIES, NotFound, Unavailable, VecdbError

pytestmark = pytest.mark.takes_turns

DIM = 4


# --- what may end


def test_a_killed_worker_is_replaced_and_nobody_notices(node: LiveServer) -> None:
    with node.client() as client:
        points = client.create_collection("c", dim=DIM)
        for number in range(60):
            points.upsert([{"id": str(number), "vector": [1] * DIM}])
        for _ in range(3):
            _, workers = processes(node)
            os.kill(workers[0], signal.SIGKILL)
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                assert points.count() == 60
                points.upsert([{"id": "0", "vector": [2] * DIM}])
            wait_until(lambda: whole(node))
        assert workers[0] not in processes(node)[1]
    with connections(node) as channels:
        assert len(channels) == WORKERS


def test_reads_go_on_while_the_writer_is_away(node: LiveServer) -> None:
    writer, workers = processes(node)
    with connections(node) as channels, node.client() as client:
        points = client.create_collection("c", dim=DIM)
        points.upsert([{"id": "a", "vector": [1] * DIM}])
        stubs = [points_pb2_grpc.PointsStub(channel) for channel in channels.values()]
        os.kill(writer, signal.SIGKILL)
        wait_until(lambda: ask(node, "/readyz")[0] == 503)
        for stub, channel in zip(stubs, channels.values(), strict=True):
            count = points_pb2.CountRequest(collection="c")
            assert stub.Count(count, timeout=10).count == 1
            assert health(channel, "vecdb.v1.Search") == "SERVING"
        assert ask(node, "/livez")[0] == 200
        assert [info.name for info in client.list_collections()] == ["c"]  # the worker's own word
        points.upsert([{"id": "b", "vector": [1] * DIM}])  # tried again until it is back
        wait_until(lambda: whole(node))
        assert points.count() == 2
        assert processes(node)[1] == workers
        for channel in channels.values():
            wait_until(lambda channel=channel: health(channel) == "SERVING")


def test_without_a_writer_a_write_is_unavailable(node: LiveServer) -> None:
    writer, _ = processes(node)
    with node.client(retries=NO_RETRIES) as client:
        os.kill(writer, signal.SIGSTOP)  # until it is found out, calls wait for it
        os.kill(writer, signal.SIGKILL)
        wait_until(lambda: not alive(writer))
        with pytest.raises(Unavailable) as caught:
            client.create_collection("c", dim=DIM)
        assert caught.value.reason == "UNAVAILABLE"
        assert caught.value.retry_after_s
        wait_until(lambda: whole(node))
        with pytest.raises(NotFound):
            client.collection("c").count()


def test_all_end_with_a_killed_supervisor(node: LiveServer) -> None:
    assert node.process is not None
    with node.client() as client:
        client.create_collection("c", dim=DIM).upsert([{"id": "a", "vector": [1] * DIM}])
    those = descendants(node.process.pid)
    assert len(those) == 2 + WORKERS  # the writer, and what all are forked from
    node.kill()
    for pid in those:
        wait_until(lambda pid=pid: not alive(pid), 5)
    node.start()
    with node.client() as client:
        assert client.collection("c").count() == 1


def test_those_that_hang_are_replaced(node: LiveServer) -> None:
    writer, workers = processes(node)
    for pid in (writer, workers[0]):
        os.kill(pid, signal.SIGSTOP)
    for pid in (writer, workers[0]):
        wait_until(lambda pid=pid: not alive(pid), 30)
    wait_until(lambda: whole(node))
    assert "hangs" in node.tail()
    assert workers[1] in processes(node)[1]


def test_one_that_always_dies_is_started_ever_less_often(node: LiveServer) -> None:
    # What a worker cannot do without.
    catalog = node.data / "catalog" / "data.mdb"
    _, workers = processes(node)
    catalog.rename(catalog.with_suffix(".away"))
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: metrics(node)['vecdb_process_restarts_total{role="worker"}'] >= 4)
    status, text = ask(node, "/readyz")
    assert (status, text.split("\n")[0]) == (200, "ok")  # the other one serves
    assert "warning: workers" in text
    said = [line for line in node.log.read_text().splitlines() if "it is started again in" in line]
    pauses = [float(line.split()[-2]) for line in said]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert "no store at" in said[1]
    catalog.with_suffix(".away").rename(catalog)
    wait_until(lambda: whole(node))


# --- the end


def writing(server: LiveServer, codes: list[str], done: list[int], at: int) -> None:
    """Write and read until told that the server is unavailable; retry nothing."""
    with server.client(retries=NO_RETRIES) as client:
        points = client.collection("load")
        try:
            while True:
                points.upsert([{"id": f"{at}-{done[at]}", "vector": [1] * DIM}])
                done[at] += 1
                points.search([1] * DIM, k=1)
        except VecdbError as error:
            codes.append(error.code)


def end_by_group(server: LiveServer, number: int) -> int:
    assert server.process is not None
    os.killpg(server.process.pid, number)
    return server.process.wait(60)


ENDS: dict[str, Callable[[LiveServer], int]] = {
    "SIGTERM": LiveServer.stop,
    "Ctrl-C to all": lambda server: end_by_group(server, signal.SIGINT),
    "SIGTERM to all": lambda server: end_by_group(server, signal.SIGTERM),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_stopped_under_load(node: LiveServer, end: Callable[[LiveServer], int]) -> None:
    assert node.process is not None
    with node.client() as client:
        client.create_collection("load", dim=DIM)
    codes: list[str] = []
    done = [0] * 6
    threads = [threading.Thread(target=writing, args=(node, codes, done, n)) for n in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: min(done) > 20)
    those = descendants(node.process.pid)
    assert end(node) == 0
    for thread in threads:
        thread.join(60)
    assert codes == ["UNAVAILABLE"] * len(done)
    assert [pid for pid in those if alive(pid)] == []
    assert "Traceback" not in node.tail()
    assert "SIGKILL" not in node.tail()
    node.start()
    with node.client() as client:
        stored = {point.id for point in client.collection("load").list()}
    for at, number in enumerate(done):
        assert {f"{at}-{n}" for n in range(number)} <= stored
