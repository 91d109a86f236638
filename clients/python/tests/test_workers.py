"""A server of several workers on one port: the client finds them all, and finds them again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from vecdb_client import Client, connections
from vecdb_client.aio import connections as async_connections
from vecdb_client.pb import points_pb2, points_pb2_grpc
from vecdb_client.target import Target


class Worker(points_pb2_grpc.PointsServicer, health.HealthServicer):
    """One of several that listen on a port, or, without a name, a server of one process."""

    def __init__(self, name, address, workers):
        super().__init__()
        self.name = name
        self.workers = workers
        self.calls = 0
        self.checks = 0
        self.hold = threading.Event()
        self.hold.set()
        self.answers = threading.Event()  # to health checks
        self.answers.set()
        self.rpc = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 1)])
        points_pb2_grpc.add_PointsServicer_to_server(self, self.rpc)
        health_pb2_grpc.add_HealthServicer_to_server(self, self.rpc)
        self.address = f"127.0.0.1:{self.rpc.add_insecure_port(address)}"
        self.rpc.start()

    def Count(self, request, context):
        self.calls += 1
        self.hold.wait(20)
        return points_pb2.CountResponse(count=1)

    def Check(self, request, context):
        self.checks += 1
        self.answers.wait(20)
        if self.name:
            said = (("vecdb-worker", self.name), ("vecdb-workers", str(self.workers)))
            context.set_trailing_metadata(said)
        return super().Check(request, context)

    def stop(self):
        self.hold.set()
        self.answers.set()
        self.rpc.stop(0).wait()


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    made = [Worker("w0", "127.0.0.1:0", 3)]
    made += [Worker(f"w{n}", made[0].address, 3) for n in (1, 2)]
    yield made
    for worker in made:
        worker.stop()


def tune(monkeypatch, name, value):
    for module in (connections, async_connections):
        monkeypatch.setattr(module, name, value)


def count(db: Client, times: int = 1) -> None:
    for _ in range(times):
        assert db.collection("c").count() == 1


def reached(db: Client) -> Counter:
    found = [one.worker() for one in db._transport._connections._open]
    return Counter(name for name, _ in filter(None, found))


def test_each_worker_gets_one_connection_and_its_part(workers, connect):
    with connect(workers[0].address) as db:
        count(db, 200)
        assert reached(db) == {"w0": 1, "w1": 1, "w2": 1}
    assert min(worker.calls for worker in workers) > 40


def test_a_few_calls_open_one_connection(workers, connect):
    with connect(workers[0].address) as db:
        count(db, connections.CALLS_BEFORE_LOOK)
        assert len(db._transport._connections) == 1
    assert sum(worker.checks for worker in workers) == 0


def test_a_server_of_one_process_gets_one_connection_and_is_asked_once(connect):
    worker = Worker("", "127.0.0.1:0", 1)
    with connect(worker.address) as db:
        count(db, 100)
        assert len(db._transport._connections) == 1
    assert worker.checks == 1
    worker.stop()


def test_a_server_without_health_gets_one_connection(connect):
    rpc = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])

    class Points(points_pb2_grpc.PointsServicer):
        def Count(self, request, context):
            return points_pb2.CountResponse(count=1)

    points_pb2_grpc.add_PointsServicer_to_server(Points(), rpc)
    port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    with connect(f"127.0.0.1:{port}") as db:
        count(db, 50)
        assert len(db._transport._connections) == 1
    rpc.stop(0).wait()


@pytest.mark.parametrize("said", ["", "x", "-1", "0", "1", "100000"])
def test_strange_words_about_workers_do_no_harm(said, monkeypatch, connect):
    tune(monkeypatch, "WORKERS_MAX", 4)
    worker = Worker("w", "127.0.0.1:0", said)
    with connect(worker.address) as db:
        count(db, 60)
        assert len(db._transport._connections) == 1
    assert worker.checks <= 1 + connections.TRIES * connections.WORKERS_MAX
    worker.stop()


def test_a_worker_that_ended_is_done_without_and_found_again(workers, monkeypatch, connect):
    tune(monkeypatch, "LOOK_EVERY_S", 0.2)
    with connect(workers[0].address, timeout_s=20) as db:
        count(db, 100)
        gone = workers.pop()
        gone.stop()
        count(db, 100)  # none fails: tried again at another
        workers.append(Worker("again", workers[0].address, 3))
        deadline = time.monotonic() + 20
        while reached(db) != {"w0": 1, "w1": 1, "again": 1}:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
            count(db)


def test_looking_for_workers_that_hang_takes_little_of_a_call_s_time(workers, monkeypatch, connect):
    tune(monkeypatch, "LOOK_EVERY_S", 0.0)
    with connect(workers[0].address, timeout_s=20) as db:
        count(db, 60)
        for worker in workers:
            worker.answers.clear()
        begun = time.monotonic()
        assert db.collection("c").count(timeout_s=2) == 1
        assert time.monotonic() - begun < 1.5
        for worker in workers:
            worker.answers.set()
        count(db, 20)
        assert reached(db) == {"w0": 1, "w1": 1, "w2": 1}


def test_calls_go_where_the_fewest_are_under_way(workers, connect):
    with connect(workers[0].address) as db:
        count(db, 60)
        stuck = workers[1]
        stuck.hold.clear()
        before = stuck.calls
        threads = [threading.Thread(target=count, args=(db,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 15
        # Those that are held are held here, and nobody is at another worker any more.
        while not 0 < stuck.calls - before == sum(thread.is_alive() for thread in threads):
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        held = stuck.calls
        count(db, 60)
        assert stuck.calls == held
        stuck.hold.set()
        for thread in threads:
            thread.join()


def test_a_connection_that_is_let_go_finishes_its_calls(workers, monkeypatch):
    tune(monkeypatch, "LOOK_EVERY_S", 0.0)
    with Client(workers[0].address, timeout_s=20) as db:
        every = db._transport._connections
        # As after a restart: two connections have come to the same worker.
        count(db, 60)
        name = workers[0].name
        twice = None
        while twice is None:
            more = connections.Connection(Target(workers[0].address))
            found = more.worker()
            if found and found[0] == name:
                twice = more
            else:
                more.channel.close()
        workers[0].hold.clear()
        with every._lock:
            every._open = [*every._open, twice]
            twice.calls += 1  # a call of another thread that has just chosen it
        outcome = []
        thread = threading.Thread(
            target=lambda: outcome.append(
                twice.channel.call(
                    "/vecdb.v1.Points/Count",
                    points_pb2.CountResponse.FromString,
                    b"",
                    timeout_s=20,
                )
            )
        )
        thread.start()
        assert workers[0].hold.wait(0.2) is False
        every._look()
        assert twice not in every._open
        assert twice.retired
        workers[0].hold.set()
        thread.join()
        assert outcome[0].count == 1


def test_closing_while_others_call(workers, connect):
    db = connect(workers[0].address)
    errors: list[BaseException] = []

    def run():
        try:
            while True:
                count(db)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.2)
    db.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert {type(error).__name__ for error in errors} <= {"Cancelled", "FailedPrecondition"}
