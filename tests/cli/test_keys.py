"""`vecdb keys`: how a server's first key is made, and how its operator gets in without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer
from tests.rpc.test_keys import vecdb
from vecdb_client import FailedPrecondition, Unauthenticated

FILE_KEY = "the-operators-own-key-0123456789"


def test_nobody_who_calls_makes_the_first_key(server: LiveServer) -> None:
    with server.client() as client:
        with pytest.raises(FailedPrecondition, match="without a key"):
            client.create_key("mine", ["admin"])
        assert client.list_keys() == []


def test_keys_let_a_server_be_reached(tmp_path: Path, make_server: MakeServer) -> None:
    refused = vecdb("serve", "--data", tmp_path / "data", "--listen", "0.0.0.0:0", "--metrics", "")
    assert refused.returncode == 1
    assert "vecdb keys create" in refused.stderr
    assert (
        vecdb("keys", "create", "root", "--allow", "all", "--data", tmp_path / "data").returncode
        == 0
    )
    server = LiveServer(tmp_path / "data", {"embed.enabled": "false"}, listen="0.0.0.0:0")
    server.start()
    assert "plain text" in server.tail()
    assert server.stop() == 0


def test_a_key_of_a_file_is_enough(tmp_path: Path, make_server: MakeServer) -> None:
    (tmp_path / "key").write_text(FILE_KEY)
    server = make_server(auth__key_file=tmp_path / "key", server__workers=2)
    with server.client(api_key=FILE_KEY) as client:
        made = client.create_key("reader", ["read"])
        assert client.list_keys()[0].id == made.info.id
        client.revoke_key(made.info.id)
    with server.client() as client, pytest.raises(Unauthenticated):
        client.list_collections()
    assert FILE_KEY not in server.log.read_text()
    assert (
        FILE_KEY
        not in vecdb("serve", "--set", f"auth.key_file={tmp_path / 'key'}", "--print-config").stdout
    )


def test_keys_are_kept_over_a_restart_and_made_offline(tmp_path: Path) -> None:
    data = tmp_path / "data"
    root = vecdb("keys", "create", "root", "--allow", "all", "--data", data).stdout.strip()
    with LiveServerRunning(data) as server:
        busy = vecdb("keys", "list", "--data", data)
        assert busy.returncode == 1
        assert "another process" in busy.stderr
        with server.client(api_key=root) as client:
            assert [one.name for one in client.list_keys()] == ["root"]
        online = vecdb("keys", "list", "--json", "--address", server.address)
        assert online.returncode == 1
        assert "API key" in online.stderr
    listed = [
        json.loads(line)
        for line in vecdb("keys", "list", "--json", "--data", data).stdout.splitlines()
    ]
    assert vecdb("keys", "revoke", listed[0]["id"], "--data", data).returncode == 0
    with LiveServerRunning(data) as server, server.client(api_key=root) as client:
        with pytest.raises(Unauthenticated):  # the last is gone, and nobody gets in
            client.list_collections()


class LiveServerRunning(LiveServer):
    """A server for a block."""

    def __init__(self, data: Path) -> None:
        super().__init__(data, {"embed.enabled": "false"})

    def __enter__(self) -> LiveServer:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        assert self.stop() == 0
