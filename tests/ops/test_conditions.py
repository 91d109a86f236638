"""What ails a node, as its operators read it: /readyz, /metrics, by one process and by several."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import ask, metrics, processes
from vecdb.conditions import NAMES, STATES, Condition, Conditions, ready_text, worst

pytestmark = pytest.mark.takes_turns

WAYS = pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])


def states(server: LiveServer) -> dict[str, str]:
    """Return the state that each condition is in, as /metrics has it."""
    found: dict[str, list[str]] = {}
    now = metrics(server)
    for name in NAMES:
        for state in STATES:
            if now[f'vecdb_condition{{name="{name}",state="{state}"}}']:
                found.setdefault(name, []).append(state)
    assert all(len(one) == 1 for one in found.values())
    return {name: one[0] for name, one in found.items()}


def spoil(server: LiveServer) -> None:
    """Stop, cut the store of the only collection, and start again."""
    assert server.stop() == 0
    (store,) = Path(server.data).glob("collections/*/store/data.mdb")
    with store.open("r+b") as file:
        file.truncate(4096)
    server.start()


def test_only_known_names_and_states() -> None:
    with pytest.raises(ValueError, match="unknown"):
        Condition("weather", "error")
    with pytest.raises(ValueError, match="unknown"):
        Condition("disk", "bad")  # type: ignore[arg-type]


def test_a_part_that_fails_is_told_and_the_others_too() -> None:
    def broken() -> list[Condition]:
        raise RuntimeError("a secret")

    conditions = Conditions()
    conditions.add(broken)
    conditions.add(lambda: [Condition("disk", "warning", "x"), Condition("maps", "ok")])
    found = conditions.now()
    assert [(one.name, one.state) for one in found] == [("status", "error"), ("disk", "warning")]
    assert worst(found) == "error"
    assert worst([]) == "ok"
    assert "secret" not in repr(found) + ready_text(found)


@WAYS
def test_a_node_that_is_well(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    assert states(server) == dict.fromkeys(NAMES, "ok")
    assert ask(server, "/readyz") == (200, "ok\n")


@WAYS
def test_a_quarantined_collection(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    with server.client() as client:
        client.create_collection("spoilt-name", dim=2).upsert([{"id": "a", "vector": [1, 2]}])
    spoil(server)
    with server.client() as client, pytest.raises(Exception, match="quarantined"):
        client.collection("spoilt-name").count()
    wait_until(lambda: states(server)["collections"] == "error")
    code, text = ask(server, "/readyz")
    assert code == 200  # the others are served
    assert text.startswith("ok\nerror: collections, ")
    assert "spoilt-name" not in text  # of no concern to whoever probes


@WAYS
def test_little_space(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers, storage__disk_reserve_bytes=1 << 40)
    wait_until(lambda: states(server)["disk"] == "error")


def test_the_embedding_worker_is_down(make_server: MakeServer) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    server = make_server(embed=True, embed__start_s=60)
    assert states(server)["embedding"] in ("ok", "warning")  # it may be loading
    with server.client() as client:
        client.wait_ready(60, service="vecdb.v1.Models")
    assert states(server)["embedding"] == "ok"


def test_the_writer_and_a_worker_are_away(make_server: MakeServer) -> None:
    server = make_server(server__workers=2)
    writer, (worker, _) = processes(server)
    os.kill(writer, signal.SIGKILL)
    wait_until(lambda: states(server)["writer"] == "error")
    wait_until(lambda: states(server)["writer"] == "ok")
    os.kill(worker, signal.SIGSTOP)  # hangs: it is killed, and another started
    wait_until(lambda: states(server)["workers"] == "warning")
    wait_until(lambda: states(server)["workers"] == "ok")
