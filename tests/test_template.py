"""Processes forked from a template: started, told of when they end, and outliving it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.live import children, command_of, nodes_of, wait_until
from tests.rpc.nodes import processes, whole
from vecdb import __version__
from vecdb.template import Forked, Template


@pytest.fixture
def template() -> Iterator[Template]:
    made = Template("vecdb.node")
    yield made
    made.close()


def run(template: Template, output: Path, *words: str, **options: bool) -> int:
    """Run the command line; return its exit status."""
    with open(os.devnull) as nothing, output.open("wb") as file:
        files = (nothing.fileno(), file.fileno(), file.fileno())
        there = {"VECDB_SERVER_LISTEN": "127.0.0.1:4321"}
        return template.start("vecdb.__main__", files, words, there, **options).wait(60)


def node(template: Template) -> tuple[Forked, socket.socket]:
    """Start a process that waits to be told what it is."""
    ours, theirs = socket.socketpair()
    with theirs:
        return template.start("vecdb.node", (theirs.fileno(), 1, 2)), ours


def test_it_runs_with_its_own_words_files_and_environment(
    template: Template, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    assert run(template, output, "--version") == 0
    assert output.read_text() == f"vecdb {__version__}\n"
    assert run(template, output, "info", "--address", "127.0.0.1:1", session=True) == 1
    assert "127.0.0.1:1" in output.read_text()
    assert run(template, output, "serve", "--print-config") == 0
    assert 'listen = "127.0.0.1:4321"' in output.read_text()


def test_how_it_ends_is_told(template: Template) -> None:
    first, line = node(template)
    assert first.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0.01)
    line.close()
    assert first.wait(30) == 1  # nobody said what it is
    first.kill()  # it is over, and stays so
    assert first.poll() == 1
    second, line = node(template)
    second.kill()
    assert second.wait(30) == -signal.SIGKILL
    line.close()


def test_one_that_outlives_its_template_is_ended_when_that_is_asked(template: Template) -> None:
    left, line = node(template)
    with line:
        template.close()
        assert line.send(b"") == 0
        left.kill()
        assert left.wait(30) == -signal.SIGKILL
        assert line.recv(1) == b""
    again, line = node(template)  # from a new template
    line.close()
    assert again.wait(60) == 1


def test_a_node_goes_on_without_it(make_server: MakeServer) -> None:
    server = make_server(server__workers=2)
    assert server.process is not None
    (template,) = children(server.process.pid)
    assert b"vecdb.template" in command_of(template)
    before = set(nodes_of(server))
    os.kill(template, signal.SIGKILL)
    with server.client() as client:
        client.create_collection("c", dim=1).upsert([{"id": "a", "vector": [1]}])
        assert set(nodes_of(server)) == before
        _, (first, second) = processes(server)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(processes(server)[1]) == 2 and whole(server))
        assert second in processes(server)[1]
        assert client.collection("c").count() == 1
    assert server.stop() == 0
