"""A node that is restarted while clients work: no call of theirs fails, and none is done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from vecdb_client import Client, Collection, Retries, VecdbError

pytestmark = pytest.mark.takes_turns

DIM, CLIENTS, RESTARTS = 4, 3, 2
PATIENT = Retries(attempts_max=60)  # a restart takes long on a machine that has other work


class Clients:
    """Programs that do one thing again and again, each over a connection of its own."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.failed: list[VecdbError] = []
        self.written = [0] * CLIENTS
        self.read = 0
        self._stop = threading.Event()
        jobs: list[Callable[[Collection], None]] = [self._reader]
        jobs += [self._writer(number) for number in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._run, args=(job,)) for job in jobs]
        for thread in self._threads:
            thread.start()

    def _run(self, job: Callable[[Collection], None]) -> None:
        with self.server.client(retries=PATIENT, timeout_s=120) as client:
            points = client.collection("c")
            while not self._stop.is_set():
                try:
                    job(points)
                except VecdbError as error:
                    self.failed.append(error)
                    return

    def _writer(self, number: int) -> Callable[[Collection], None]:
        def write(points: Collection) -> None:
            # Only where there is no such point: a call that is sent again may not have been lost.
            name = f"{number}-{self.written[number]}"
            points.upsert([{"id": name, "vector": [1.0] * DIM, "if_version": 0}])
            self.written[number] += 1
            assert points.get([name]).points

        return write

    def _reader(self, points: Collection) -> None:
        assert len(points.search(np.ones(DIM, "<f4"), k=5)) == 5
        assert points.count() >= 5
        self.read += 1

    def go_on(self) -> None:
        """Return once each has done more."""
        written, read = list(self.written), self.read
        wait_until(
            lambda: (
                self.failed
                or (
                    self.read > read + 3
                    and all(now > then + 3 for now, then in zip(self.written, written, strict=True))
                )
            ),
            60,
        )
        assert self.failed == []

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(130)


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
def test_no_call_fails(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    with server.client() as client:
        made = client.create_collection("c", dim=DIM)
        made.upsert(ids=[f"p{n}" for n in range(9)], vectors=np.eye(9, DIM, dtype="<f4") + 1)
    server.listen = server.address
    clients = Clients(server)
    try:
        for _ in range(RESTARTS):
            clients.go_on()
            assert server.stop() == 0
            server.start()
        clients.go_on()
    finally:
        clients.stop()
    assert clients.failed == []
    stored = points_of(server.client())
    for number, written in enumerate(clients.written):
        mine = {name for name in stored if name.startswith(f"{number}-")}
        assert mine == {f"{number}-{n}" for n in range(written)}
    assert "Traceback" not in server.log.read_text()


def points_of(client: Client) -> set[str]:
    with client:
        return {point.id for point in client.collection("c").list()}
