"""TLS on every port: who gets in, what a replaced certificate does, and what does not start."""

from __future__ import annotations

import datetime
import http.client
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.live import LiveServer, run_vecdb, wait_until
from vecdb_client import NO_RETRIES, Client, Tls, Unavailable

pytestmark = pytest.mark.takes_turns

EXPIRY = "vecdb_tls_certificate_expiry_timestamp_seconds"


class Files:
    """Certificates in a folder, which can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = self.write("ca.pem", self.authority.cert_pem.bytes())
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.issue(self.authority)
        mine = self.authority.issue_cert("someone@example.org")
        self.my_cert = self.write("my-cert.pem", mine.cert_chain_pems[0].bytes())
        self.my_key = self.write("my-key.pem", mine.private_key_pem.bytes())

    def write(self, name: str, content: bytes) -> Path:
        """Put a file in place, as a whole."""
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        os.replace(new, self.folder / name)
        return self.folder / name

    def issue(self, authority: trustme.CA, until: datetime.datetime | None = None) -> None:
        """Replace the server's pair."""
        made = authority.issue_cert("127.0.0.1", not_after=until)
        self.write("key.pem", made.private_key_pem.bytes())
        self.write("cert.pem", made.cert_chain_pems[0].bytes())

    @property
    def settings(self) -> dict[str, object]:
        return {"tls.cert_file": self.cert, "tls.key_file": self.key, "embed.enabled": "false"}

    @property
    def mine(self) -> Tls:
        return Tls(self.ca, cert_file=self.my_cert, key_file=self.my_key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LiveServer]]:
    made: list[LiveServer] = []

    def serve(settings: dict[str, object], tls: Tls | None) -> LiveServer:
        live = LiveServer(tmp_path / f"data-{len(made)}", settings, reach={"tls": tls or False})
        made.append(live)
        return live.start()

    yield serve
    for live in made:
        if live.process is not None:
            live.stop()


def refused(server: LiveServer, tls: Tls | bool) -> bool:
    with Client(server.address, tls=tls, retries=NO_RETRIES, timeout_s=10) as client:
        try:
            client.list_collections()
        except Unavailable:
            return True
    return False


def get(address: str, path: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    connection = (
        http.client.HTTPSConnection(host, int(port), timeout=20, context=context)
        if context
        else http.client.HTTPConnection(host, int(port), timeout=20)
    )
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def expiry(server: LiveServer, context: ssl.SSLContext) -> float:
    _, body = get(server.metrics, "/metrics", context)
    (line,) = [line for line in body.splitlines() if line.startswith(EXPIRY)]
    return float(line.split()[-1])


def shown(address: str) -> bytes:
    """Return the certificate that a port shows."""
    host, _, port = address.rpartition(":")
    pem = ssl.get_server_certificate((host, int(port)))
    return ssl.PEM_cert_to_DER_cert(pem)


@pytest.mark.parametrize("workers", [1, 2])
def test_who_gets_in(files: Files, start: Callable[..., LiveServer], workers: int) -> None:
    server = start({**files.settings, "server.workers": workers}, Tls(files.ca))
    with server.client() as client:
        points = client.create_collection("books", dim=2)
        points.upsert([{"id": "a", "vector": [1, 0]}])  # forwarded, where there is a writer
        assert [hit.id for hit in points.search([1, 0], k=1)] == ["a"]
    stranger = files.write("stranger.pem", trustme.CA().cert_pem.bytes())
    assert refused(server, Tls(stranger))
    assert refused(server, False)
    context = ssl.create_default_context(cafile=str(files.ca))
    code, said = get(server.metrics, "/readyz", context)
    assert code == 200
    assert "certificates" not in said
    assert expiry(server, context) > time.time()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        get(server.metrics, "/livez", None)


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_need_certificates_where_that_is_asked(
    files: Files, start: Callable[..., LiveServer], workers: int
) -> None:
    settings = {**files.settings, "tls.client_ca_file": files.ca, "server.workers": workers}
    server = start({**settings, "embed.http": "127.0.0.1:0"}, files.mine)
    with server.client() as client:
        assert client.list_collections() == []
    assert refused(server, Tls(files.ca))
    other = Files(_folder(files, "other"))
    assert refused(server, Tls(files.ca, cert_file=other.my_cert, key_file=other.my_key))
    # Prometheus and probes come without one; clients of embeddings do not.
    context = ssl.create_default_context(cafile=str(files.ca))
    assert get(server.metrics, "/livez", context)[0] == 200
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        get(server.embeddings, "/v1/models", context)
    context.load_cert_chain(str(files.my_cert), str(files.my_key))
    assert get(server.embeddings, "/v1/models", context)[0] == 200


def _folder(files: Files, name: str) -> Path:
    folder = files.folder / name
    folder.mkdir()
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_certificate_is_shown_without_a_dropped_call(
    files: Files, start: Callable[..., LiveServer], workers: int
) -> None:
    server = start({**files.settings, "server.workers": workers}, Tls(files.ca))
    context = ssl.create_default_context(cafile=str(files.ca))
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        with server.client(retries=NO_RETRIES) as client:
            while not done.is_set():
                try:
                    client.list_collections()
                except Exception as error:
                    failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        before = shown(server.address)
        # A pair that does not fit is not taken, and said.
        files.write("cert.pem", files.authority.issue_cert("127.0.0.1").cert_chain_pems[0].bytes())
        wait_until(lambda: "is not that of the certificate" in server.tail())
        assert shown(server.address) == shown(server.metrics) == before
        wait_until(lambda: "warning: certificates" in get(server.metrics, "/readyz", context)[1])
        files.issue(files.authority)
        for _ in range(4):  # whichever worker answers
            wait_until(lambda: shown(server.address) != before)
        wait_until(lambda: shown(server.metrics) != before)
        assert not refused(server, Tls(files.ca))
        wait_until(lambda: "certificates" not in get(server.metrics, "/readyz", context)[1])
    finally:
        done.set()
        asking.join()
    assert failures == []


def test_an_expired_certificate_is_told(files: Files, start: Callable[..., LiveServer]) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    files.issue(files.authority, soon)
    server = start(files.settings, Tls(files.ca))
    context = ssl.create_default_context(cafile=str(files.ca))
    assert expiry(server, context) == pytest.approx(soon.timestamp(), abs=2)
    assert "warning: certificates" in get(server.metrics, "/readyz", context)[1]
    # One that has expired does not take the place of one that is good.
    before = shown(server.address)
    files.issue(files.authority, datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1))
    wait_until(lambda: "has expired already" in server.tail())
    assert shown(server.address) == before
    server.stop()
    try:
        server.start(ready=False)
        assert refused(server, Tls(files.ca))
        assert "clients will refuse it" in server.tail()
    finally:
        server.stop()


def test_a_slow_client_holds_up_nobody(files: Files, start: Callable[..., LiveServer]) -> None:
    server = start(files.settings, Tls(files.ca))
    context = ssl.create_default_context(cafile=str(files.ca))
    host, _, port = server.metrics.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    try:
        assert get(server.metrics, "/livez", context)[0] == 200
    finally:
        for one in silent:
            one.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tls.key_file": ""}, "belong together"),
        ({"tls.cert_file": "FOLDER/missing.pem"}, "missing.pem: No such file"),
        ({"tls.cert_file": "FOLDER/key.pem"}, "no certificate in PEM"),
        ({"tls.key_file": "FOLDER/my-key.pem"}, "is not that of the certificate"),
        ({"tls.key_file": "FOLDER/ca.pem"}, "are not a certificate and its key"),
        ({"tls.client_ca_file": "FOLDER/key.pem"}, "no certificate in PEM"),
    ],
)
def test_bad_files_do_not_start(
    files: Files, tmp_path: Path, wrong: dict[str, str], words: str
) -> None:
    settings = {**files.settings, **wrong}
    flags = ["serve", "--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0", "--metrics", ""]
    for name, value in settings.items():
        flags += ["--set", f"{name}={str(value).replace('FOLDER', str(files.folder))}"]
    ended = run_vecdb(*flags)
    assert ended.returncode == 1
    said = " ".join(ended.stderr.split())
    assert words in said
    assert "Traceback" not in said


def test_tls_allows_an_address_that_others_reach(files: Files, tmp_path: Path) -> None:
    reach: dict[str, object] = {"tls": Tls(files.ca, server_name="127.0.0.1")}
    live = LiveServer(tmp_path / "open", files.settings, listen="0.0.0.0:0", reach=reach)
    try:
        live.start()
    finally:
        live.stop()


def test_commands_reach_it(files: Files, start: Callable[..., LiveServer]) -> None:
    server = start({**files.settings, "tls.client_ca_file": files.ca}, files.mine)

    def vecdb(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, **environment}
        return run_vecdb("info", "-a", server.address, *words, environment=given)

    mine = ("--client-cert", str(files.my_cert), "--client-key", str(files.my_key))
    done = vecdb("--ca", str(files.ca), *mine)
    assert done.returncode == 0, done.stderr
    assert "SERVING" in done.stdout
    assert vecdb(*mine, VECDB_CA=str(files.ca), VECDB_API_KEY="a-key").returncode == 0
    lost = vecdb()
    assert lost.returncode == 1
    assert "--ca" in lost.stderr
