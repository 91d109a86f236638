"""`vecdb health`: what a container's health check and a pod's probes run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.live import LiveServer
from vecdb_client import Tls

VECDB = (sys.executable, "-m", "vecdb")


def health(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VECDB, "health", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_a_server_that_serves(server: LiveServer) -> None:
    asked = health("--address", server.address)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "SERVING\n", "")


def test_one_service_of_it(server: LiveServer) -> None:
    assert health("-a", server.address, "--service", "vecdb.v1.Search").returncode == 0
    models = health("-a", server.address, "--service", "vecdb.v1.Models")
    assert models.returncode == 1  # there is no embedding worker
    assert "NOT_SERVING" in models.stderr
    nobody = health("-a", server.address, "--service", "vecdb.v1.Nobody")
    assert nobody.returncode == 1
    assert "NOT_FOUND" in nobody.stderr


def test_the_address_of_the_environment(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECDB_ADDRESS", server.address)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which gRPC would ask
    assert health().returncode == 0


def test_a_unix_socket_before_and_after(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'vecdb.sock'}"
    assert "UNAVAILABLE" in health("-a", address).stderr
    live = LiveServer(tmp_path / "data", {"embed.enabled": "false"}, listen=address)
    live.start()
    assert health("-a", address).returncode == 0
    assert live.stop() == 0
    assert health("-a", address).returncode == 1


def test_nobody_answers() -> None:
    asked = health("-a", "127.0.0.1:1", "--timeout-s", "1")
    assert asked.returncode == 1
    assert asked.stdout == ""
    assert asked.stderr.startswith("error: 127.0.0.1:1 does not serve: ")
    assert "Traceback" not in asked.stderr


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    asked = health("--ca", str(tmp_path / "ca.pem"))
    assert asked.returncode == 1
    assert str(tmp_path / "ca.pem") in asked.stderr


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    own, mine = authority.issue_cert("127.0.0.1"), authority.issue_cert("probe@example.org")
    for name, blob in (
        ("ca", authority.cert_pem),
        ("cert", own.cert_chain_pems[0]),
        ("key", own.private_key_pem),
        ("my-cert", mine.cert_chain_pems[0]),
        ("my-key", mine.private_key_pem),
    ):
        blob.write_to_path(tmp_path / name)
    settings = {
        "embed.enabled": "false",
        "tls.cert_file": tmp_path / "cert",
        "tls.key_file": tmp_path / "key",
        "tls.client_ca_file": tmp_path / "ca",
    }
    trusted = ("--ca", str(tmp_path / "ca"))
    pair = ("--client-cert", str(tmp_path / "my-cert"), "--client-key", str(tmp_path / "my-key"))
    tls = Tls(tmp_path / "ca", cert_file=tmp_path / "my-cert", key_file=tmp_path / "my-key")
    live = LiveServer(tmp_path / "data", settings, reach={"tls": tls}).start()
    assert health("-a", live.address, *trusted, *pair).returncode == 0
    for without in ((), trusted, ("--tls", *pair)):
        asked = health("-a", live.address, *without)
        assert (asked.returncode, asked.stdout) == (1, ""), without
    assert live.stop() == 0


def test_it_loads_little(server: LiveServer) -> None:
    code = "import sys; from vecdb.rpc import probe; assert probe.main(['-a', sys.argv[1]]) == 0;"
    code += "print(*[n for n in ('typer', 'numpy', 'lmdb', 'vecdb_client') if n in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code, server.address], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "SERVING\n\n"


def test_it_is_in_the_list() -> None:
    listed = subprocess.run([*VECDB, "--help"], capture_output=True, text=True, check=True)
    assert "health" in listed.stdout
