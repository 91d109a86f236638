"""Keys and TLS: what a client sends with its calls, and to whom it sends nothing."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from vecdb_client import Client, InvalidArgument, Tls
from vecdb_client.target import Target, is_local

KEY = "vdb-a-key-of-many-letters"


class Seen(health.HealthServicer):
    """Serves health, and keeps what calls came with."""

    def __init__(self):
        super().__init__()
        self.keys = []

    def Check(self, request, context):
        sent = dict(context.invocation_metadata())
        self.keys.append(sent.get("authorization"))
        return super().Check(request, context)


def serve(seen, credentials=None):
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(seen, server)
    address = "127.0.0.1:0"
    port = (
        server.add_secure_port(address, credentials)
        if credentials
        else server.add_insecure_port(address)
    )
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture
def plain():
    seen = Seen()
    server, address = serve(seen)
    yield seen, address
    server.stop(0).wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_a_key_goes_with_every_call(plain):
    seen, address = plain
    with Client(address, api_key=KEY) as client:
        client.health()
    assert seen.keys
    assert set(seen.keys) == {f"Bearer {KEY}"}


def test_without_a_key_none_is_sent(plain):
    seen, address = plain
    with Client(address) as client:
        client.health()
    assert set(seen.keys) == {None}


def test_a_key_in_a_file_is_read_again_once_it_changed(plain, tmp_path):
    seen, address = plain
    file = tmp_path / "key"
    file.write_text("the-first\n")
    with Client(address, api_key=file) as client:
        client.health()
        file.write_text("the-second-one\n")
        client.health()
        file.unlink()
        client.health()
    assert seen.keys[0] == "Bearer the-first"
    assert seen.keys[-2:] == ["Bearer the-second-one"] * 2


def test_no_key_travels_in_plain_text_to_another_machine():
    with pytest.raises(InvalidArgument, match="plain text") as refused:
        Client("db.example.com:6363", api_key=KEY)
    assert KEY not in str(refused.value)
    Client("db.example.com:6363", api_key=KEY, insecure=True).close()
    Client("db.example.com:6363", api_key=KEY, tls=True).close()


@pytest.mark.parametrize("key", ["", "two words", "a\nb", "schlüssel"])
def test_what_is_no_key_is_refused_and_not_shown(key):
    with pytest.raises(InvalidArgument, match="is no key") as refused:
        Target("127.0.0.1:1", api_key=key)
    assert not key or key not in str(refused.value)


def test_a_key_is_in_no_repr():
    assert KEY not in repr(Target("127.0.0.1:1", api_key=KEY))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:6363", True),
        ("localhost:6363", True),
        ("[::1]:6363", True),
        ("unix:/run/vecdb.sock", True),
        ("dns:///localhost:6363", True),
        ("10.0.0.7:6363", False),
        ("localhost.example.com:6363", False),
        ("[2001:db8::1]:6363", False),
    ],
)
def test_which_addresses_are_of_this_machine(address, local):
    assert is_local(address) is local


def test_tls_with_a_file_of_whom_to_trust(certificate):
    credentials = grpc.ssl_server_credentials(
        [((certificate / "key.pem").read_bytes(), (certificate / "cert.pem").read_bytes())]
    )
    seen = Seen()
    server, address = serve(seen, credentials)
    try:
        with Client(address, api_key=KEY, tls=Tls(ca_file=certificate / "cert.pem")) as client:
            client.health()
    finally:
        server.stop(0).wait()
    assert f"Bearer {KEY}" in seen.keys


def test_files_that_tls_cannot_use_are_named(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing of the kind")
    with pytest.raises(InvalidArgument, match=r"bad\.pem"):
        Client("127.0.0.1:1", tls=Tls(ca_file=bad))
    with pytest.raises(InvalidArgument, match=r"missing\.pem"):
        Client("127.0.0.1:1", tls=Tls(ca_file=tmp_path / "missing.pem"))
    with pytest.raises(InvalidArgument, match="belong together"):
        Tls(cert_file=bad)
