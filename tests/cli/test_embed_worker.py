"""`vecdb embed-worker`: how it starts, says how it is, and ends; and a node that uses it."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from click.testing import Result
from typer.testing import CliRunner

from tests.conftest import MakeServer
from tests.embed import words
from tests.embed.alone import WorkerAlone, alone
from tests.live import START_S, wait_until
from tests.rpc.nodes import metrics
from vecdb.cli import application
from vecdb.embed import catalog
from vecdb.errors import InvalidArgument
from vecdb.sockets import split_address

pytestmark = pytest.mark.takes_turns

MODEL = "all-minilm-l6-v2"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerAlone]:
    if reason := catalog.missing(catalog.load_catalog()[MODEL]):
        pytest.skip(reason)
    with alone(tmp_path) as made:
        yield made


def run(*flags: str) -> Result:
    return CliRunner().invoke(application(), ["embed-worker", *flags])


def get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*split_address(address), timeout=30)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("flag", ["--listen", "--metrics"])
def test_an_address_that_others_reach_is_refused(flag: str) -> None:
    ended = run(flag, "0.0.0.0:0")
    assert isinstance(ended.exception, InvalidArgument)
    said = str(ended.exception)
    assert f"{flag} = 0.0.0.0:0 can be reached by other machines, without a key" in said
    assert "--insecure" in said


def test_settings_are_those_of_serve() -> None:
    printed = run("--set", "embed.threads=3", "--print-config")
    assert printed.exit_code == 0
    assert "threads = 3" in printed.stdout
    assert "[embed]" in printed.stdout
    assert "did you mean embed.threads" in str(run("--set", "embed.thread=3").exception)
    assert "embed.enabled is false" in str(run("--set", "embed.enabled=false").exception)


def test_a_node_that_uses_one(worker: WorkerAlone, make_server: MakeServer) -> None:
    worker.start("127.0.0.1:0", "--metrics", "127.0.0.1:0")
    assert get(worker.metrics, "/readyz") == (200, "ok\n")
    node = make_server(embed=True, embed__worker=worker.address, server__workers=2)
    with node.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        (model,) = client.list_models()
        assert (model.ready, model.name) == (True, MODEL)
        points = client.create_collection("c", model=MODEL)
        points.upsert([{"id": "a", "text": "a kitten"}, {"id": "b", "text": "a car"}])
        assert points.search("a cat", k=1)[0].id == "a"
        _, counted = get(worker.metrics, "/metrics")
        assert f'vecdb_embed_worker_items_total{{model="{MODEL}",role="document"}} 2.0' in counted
        assert "process_resident_memory_bytes" in counted
        # It tells for itself, to whoever else uses it too.
        assert not [name for name in metrics(node) if name.startswith("vecdb_embed_worker_")]

        worker.kill()
        wait_until(lambda: not metrics(node)["vecdb_embed_ready"])
        worker.start(worker.address)
        client.wait_ready(START_S, service="vecdb.v1.Models")
        assert points.search("a motor vehicle", k=1)[0].id == "b"
    assert "is asked again" in node.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_tls_and_a_shared_key(
    worker: WorkerAlone, make_server: MakeServer, tmp_path: Path, workers: int
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key, ca = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    ca.write_bytes(authority.cert_pem.bytes())
    shared, wrong = tmp_path / "shared", tmp_path / "wrong"
    shared.write_text("new-key\nold-key\n")
    wrong.write_text("third-key\n")
    settings = (f"tls.cert_file={cert}", f"tls.key_file={key}", f"embed.worker_key_file={shared}")
    flags = [word for one in settings for word in ("--set", one)]
    worker.start("0.0.0.0:0", *flags)  # which is refused without
    address = f"127.0.0.1:{split_address(worker.address)[1]}"
    old = tmp_path / "old"
    old.write_text("old-key\n")
    reach = {"embed__worker": address, "embed__worker_ca_file": ca, "server__workers": workers}
    node = make_server(embed=True, **reach, embed__worker_key_file=old)
    with node.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        client.create_collection("c", model=MODEL).upsert([{"id": "a", "text": "a kitten"}])
        assert client.collection("c").search("a cat", k=1)[0].id == "a"
    if workers > 1:
        return  # what is refused is refused by the writer, in the same way
    other = tmp_path / "other.pem"
    other.write_bytes(trustme.CA().cert_pem.bytes())
    for name, how, expected in (
        ("strangers", {"embed__worker_key_file": wrong}, "embed.worker_key_file"),
        ("keyless", {}, "embed.worker_key_file"),
        ("distrustful", {"embed__worker_ca_file": other}, "no TLS"),
    ):
        refused = make_server(name, embed=True, **{**reach, **how})
        wait_until(lambda server=refused, said=expected: said in server.tail())
        for secret in ("third-key", "old-key", "new-key"):
            assert secret not in refused.tail() + worker.said()
        refused.stop()


def test_the_key_does_not_travel_in_plain_text(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("a-key")
    settings = {"embed.worker": "192.0.2.1:6365", "embed.worker_key_file": str(file)}
    flags = [word for item in settings.items() for word in ("--set", "=".join(item))]
    ended = CliRunner().invoke(application(), ["serve", "--data", str(tmp_path / "data"), *flags])
    assert isinstance(ended.exception, InvalidArgument)
    assert "in plain text" in str(ended.exception)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told(worker: WorkerAlone, number: signal.Signals) -> None:
    worker.start(f"unix:{worker.file.parent / 'w.sock'}")
    assert worker.process is not None
    worker.process.send_signal(number)
    assert worker.process.wait(30) == 0
    assert worker.said().rstrip().endswith("stopped")


def test_it_is_not_ready_before_its_models_are(worker: WorkerAlone, tmp_path: Path) -> None:
    """A model of 64 GiB, none of which is on the disk, takes a while to be checked."""
    models = tmp_path / "models.toml"
    models.write_text(words.entry(tmp_path, {"glove": words.text_of()}, name="slow"))
    os.truncate(tmp_path / "slow-glove.dat", 64 << 30)
    worker.start(
        "127.0.0.1:0",
        *("--metrics", "127.0.0.1:0", "--set", f"embed.catalog={models}"),
        *("--set", "embed.model=slow", "--set", f"embed.memory_bytes={1 << 40}"),
        wait=False,
    )

    def address() -> str:
        said = worker.said().partition("metrics on ")[2]
        return said.split()[0] if "\n" in said else ""

    wait_until(address)
    assert get(address(), "/livez")[0] == 200
    assert get(address(), "/readyz") == (503, "models are being loaded\n")
    assert worker.process is not None
    worker.process.terminate()
    assert worker.process.wait(30) == 128 + signal.SIGTERM
