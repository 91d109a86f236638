"""Documents.Delete with erase: what was deleted is on no disk afterwards, and the rest is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.live import START_S, LiveServer
from vecdb_client import Client, TextField

pytestmark = pytest.mark.takes_turns

FIELDS = [TextField("text", "english"), TextField("section", "english")]
SECRETS = (b"Zanzibarqx", b"zanzibarqx", b"quintessentialxw", b"Wolframvy", b"wolframvy")
SECRET = (
    "# Zanzibarqx\n\nThe password of the vault is quintessentialxw, says Wolframvy.\n\n"
    "## More\n\n" + "Wolframvy walks along the harbour and counts the ships. " * 120
)


def grep(folder: Path) -> dict[str, list[str]]:
    """Return which secrets stand in which files."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            for secret in SECRETS:
                if secret in content:
                    found.setdefault(secret.decode(), []).append(path.name)
    return found


def fill(client: Client, model: str | None) -> None:
    client.create_collection("c", model=model, text_fields=FIELDS)
    docs = client.documents("c")
    for at in range(0, 60, 20):
        docs.put(
            [
                {"id": f"plain-{n}", "content": f"Document {n} tells of the sea and of tea. " * 8}
                for n in range(at, at + 20)
            ]
        )
        docs.put(
            {
                "id": f"zanzibarqx-{at}",
                "content": SECRET + f"Version {at}.",
                "media_type": "markdown",
                "metadata": {"author": "Wolframvy"},
            }
        )
    # An older version of it is gone already, and must be gone from the disk too.
    docs.put({"id": "zanzibarqx-0", "content": SECRET[:400], "media_type": "markdown"})


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_of_it_is_left(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers, storage__tail_points=32)
    with server.client(timeout_s=60) as client:
        fill(client, None)
        check(client, server)


def test_nothing_of_it_is_left_of_what_a_model_read(make_server: MakeServer) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    server = make_server(embed=True, storage__tail_points=32)
    with server.client(timeout_s=120) as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        fill(client, "all-minilm-l6-v2")
        check(client, server)
        found = client.documents("c").context("a document that tells of the sea")
        assert found.passages


def check(client: Client, server: LiveServer) -> None:
    docs, names = client.documents("c"), [f"zanzibarqx-{at}" for at in (0, 20, 40)]
    client.collection("c").compact()
    assert grep(server.data), "the test would find nothing if it were there"
    gone = docs.delete([*names, "never-there"], erase=True)
    assert grep(server.data) == {}
    assert (gone.documents, gone.missing) == (3, ("never-there",))
    receipt = gone.receipt
    assert receipt is not None
    hashed = [hashlib.sha256(name.encode()).hexdigest() for name in (*names, "never-there")]
    assert list(receipt.document_sha256) == hashed
    assert receipt.points == gone.documents + gone.chunks
    assert receipt.pages > 0
    assert receipt.segments > 0
    assert receipt.erased_at.startswith("20")
    assert sorted(one.id for one in docs.list()) == sorted(f"plain-{n}" for n in range(60))
    text = docs.get("plain-7", with_content=True).text
    assert text.split() == ("Document 7 tells of the sea and of tea. " * 8).split()
    # Once more is no error, also for what was deleted without it.
    docs.delete("plain-3")
    again = docs.delete("plain-3", erase=True)
    assert again.missing == ("plain-3",)
    assert client.collection("c").count() == 2 * 59


def test_it_survives_a_restart(make_server: MakeServer) -> None:
    server = make_server(storage__tail_points=32)
    with server.client(timeout_s=60) as client:
        fill(client, None)
        client.documents("c").delete([f"zanzibarqx-{at}" for at in (0, 20, 40)], erase=True)
    assert server.stop() == 0
    assert grep(server.data) == {}
    server.start()
    with server.client() as client:
        assert len(list(client.documents("c").list())) == 60
        assert client.documents("c").context("the sea and tea", min_relevance=0).passages
