"""Admin.Status, as operators see it: by the client and by `vecdb status`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, alive, run_vecdb, wait_until
from tests.rpc.nodes import processes
from vecdb import __version__
from vecdb_client import NodeStatus

WAYS = pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])


def look(server: LiveServer, **options: int) -> NodeStatus:
    with server.client() as client:
        return client.status(**options)


def status(server: LiveServer, *words: str) -> subprocess.CompletedProcess[str]:
    wide = {**os.environ, "COLUMNS": "200"}
    return run_vecdb("status", "--address", server.address, *words, environment=wide)


def fill(server: LiveServer, name: str, count: int) -> None:
    points = [{"id": f"{name}-{number}", "vector": [number, 1]} for number in range(count)]
    with server.client() as client:
        client.create_collection(name, dim=2).upsert(points)


def spoil(server: LiveServer) -> None:
    """Stop, cut the store of the largest collection, and start again."""
    assert server.stop() == 0
    stores = Path(server.data).glob("collections/*/store/data.mdb")
    with max(stores, key=lambda one: one.stat().st_size).open("r+b") as file:
        file.truncate(4096)
    server.start()


@WAYS
def test_a_node_that_is_well(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    fill(server, "small", 3)
    fill(server, "large", 30)
    found = look(server)
    assert (found.version, found.state, found.conditions) == (__version__, "ok", ())
    assert found.addresses == {"grpc": server.address, "metrics": server.metrics}
    assert [(one.name, one.points, one.tail_points) for one in found.collections] == [
        ("large", 30, 30),
        ("small", 3, 3),
    ]
    assert {one.state for one in found.collections} == {"ok"}
    assert (found.data.collections, found.data.collections_open, found.data.points) == (2, 2, 33)
    assert all(one.store_bytes <= one.map_bytes and one.readers_max for one in found.collections)
    assert Path(found.data.directory) == server.data
    assert 0 < found.data.disk_free_bytes <= found.data.disk_bytes
    names = [one.name for one in found.processes]
    assert names == (["node"] if workers == 1 else ["supervisor", "writer", "worker 1", "worker 2"])
    assert all(one.ready and alive(one.pid) and one.memory_bytes for one in found.processes)
    assert sum(one.memory_bytes for one in found.processes) == found.memory_bytes
    assert 0 < found.uptime_s < 300
    assert [one.name for one in look(server, collections=1).collections] == ["large"]


@WAYS
def test_a_quarantined_collection(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    fill(server, "sound", 3)
    fill(server, "spoilt", 3_000)
    spoil(server)
    with server.client() as client:
        with pytest.raises(Exception, match="quarantined"):
            client.collection("spoilt").count()
        assert client.collection("sound").count() == 3
    wait_until(lambda: look(server).data.collections_quarantined)
    wait_until(lambda: look(server).data.collections_open)
    found = look(server)
    assert found.state == "error"
    first, second = found.collections
    assert (first.name, first.state, second.name, second.state) == (
        "spoilt",
        "quarantined",
        "sound",
        "ok",
    )
    assert first.reason
    (condition,) = found.conditions
    assert condition.name == "collections"
    assert "spoilt" in condition.reason
    assert "vecdb check" in condition.advice
    said = status(server)
    assert said.returncode == 1, said.stderr
    for word in ("spoilt", "quarantined", "vecdb check", "sound", "process", __version__):
        assert word in said.stdout
    told = json.loads(status(server, "--json").stdout)
    assert told["collections"][0]["state"] == "quarantined"


def test_the_command_of_a_node_that_is_well(make_server: MakeServer) -> None:
    server = make_server()
    said = status(server)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("ok")
    assert "what to do" not in said.stdout


def test_while_the_writer_is_away(make_server: MakeServer) -> None:
    """A query worker says what it knows."""
    server = make_server(server__workers=2)
    fill(server, "books", 3)
    with server.client() as client:
        client.collection("books").search([1, 1], k=1)
    writer, _ = processes(server)

    def ailing() -> NodeStatus | None:
        found = look(server)
        return found if [one.name for one in found.conditions] == ["writer"] else None

    os.kill(writer, signal.SIGKILL)
    wait_until(lambda: (found := ailing()) and found.state == "error")
    wait_until(lambda: look(server).state == "ok")
    again = {one.name: one for one in look(server).processes}["writer"]
    assert (again.restarts, again.ready) == (1, True)
    assert again.pid != writer
