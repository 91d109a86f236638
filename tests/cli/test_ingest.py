"""`vecdb ingest` and `vecdb ask`: files in, passages and answers out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, run_vecdb
from tests.rag.chat_server import MODEL, ChatServer, chatting
from vecdb_client import TextField

FILES = {
    "tea.md": "# Tea\n\nTea is brewed from leaves in boiling water.\n",
    "below/sea.html": "<title>The sea</title><p>The sea is deep and salty; ships sail on it.</p>",
    "below/notes.txt": "Bread is baked from flour, water and salt.",
    ".hidden.md": "Nobody reads this.",
    "picture.png": "\x89PNG",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "files"


@pytest.fixture
def server(make_server: MakeServer) -> LiveServer:
    return make_server(embed__models="", embed__enabled="false")


def vecdb(server: LiveServer, *args: str, status: int = 0) -> str:
    plain = {"COLUMNS": "200", "PATH": "", "TERM": "dumb"}
    done = run_vecdb(*args, "--address", server.address, environment=plain)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def made(server: LiveServer) -> LiveServer:
    """A server with a collection that finds by words: there is no model."""
    with server.client() as client:
        fields = [TextField("text", "english"), TextField("section", "english")]
        client.create_collection("documents", text_fields=fields)
    return server


def test_files_go_in_and_only_changes_go_in_again(made: LiveServer, folder: Path):
    said = vecdb(made, "ingest", str(folder), "-m", "shelf=3")
    assert "3 documents stored, 0 unchanged, 0 refused" in said
    with made.client() as client:
        found = {one.id: one for one in client.documents("documents").list()}
    assert sorted(found) == ["below/notes.txt", "below/sea.html", "tea.md"]
    assert found["tea.md"].metadata == {"shelf": 3}
    assert found["below/sea.html"].title == "The sea"
    (folder / "tea.md").write_text("# Tea\n\nTea is brewed for four minutes.\n")
    (folder / "below/notes.txt").unlink()
    said = vecdb(made, "ingest", str(folder), "-m", "shelf=3", "--prune")
    assert "1 documents stored, 1 unchanged, 0 refused, 1 removed" in said


def test_what_cannot_be_read_is_named_and_the_rest_goes_in(made: LiveServer, folder: Path):
    (folder / "broken.txt").write_bytes(b"caf\xe9")
    said = vecdb(made, "ingest", str(folder), status=1)
    assert "broken.txt" in said
    assert "UTF-8" in said
    assert "3 documents stored" in said
    lines = vecdb(made, "ingest", str(folder), "--json", status=1).splitlines()
    results = [json.loads(line) for line in lines if line.startswith("{")]
    assert {one["id"]: one["reason"] for one in results}["broken.txt"] == "BAD_DOCUMENT"


def test_nothing_to_ingest_says_what_is_read(made: LiveServer, tmp_path: Path):
    (tmp_path / "x.png").write_bytes(b"x")
    assert ".markdown" in vecdb(made, "ingest", str(tmp_path), status=1)
    assert "NAME=VALUE" in vecdb(made, "ingest", __file__[:-3] + ".py", "-m", "x", status=1)


def test_without_a_language_model_the_passages_are_shown(made: LiveServer, folder: Path):
    vecdb(made, "ingest", str(folder))
    said = vecdb(made, "ask", "How deep is the sea?")
    assert re.search(r"\[1\] The sea +below/sea.html, characters 0 to 44", said)
    assert "no language model is configured" in said
    found = json.loads(vecdb(made, "ask", "deep sea", "--context", "--json"))
    assert found["passages"][0]["document"] == "below/sea.html"
    assert "nothing relevant" in vecdb(made, "ask", "Who won the election?", "--context")
    assert "expected" in vecdb(made, "ask", "x", "--mode", "guess", status=1)


@pytest.fixture
def model() -> Iterator[ChatServer]:
    with chatting() as made:
        yield made


def test_an_answer_is_streamed_with_its_sources(
    make_server: MakeServer, model: ChatServer, folder: Path
):
    model.answer = "It is deep [1]."
    server = make_server(answer__endpoint=model.url, answer__model=MODEL)
    with server.client() as client:
        client.create_collection("documents", text_fields=[TextField("text", "english")])
    vecdb(server, "ingest", str(folder))
    said = vecdb(server, "ask", "How deep is the sea?")
    assert said.startswith("It is deep [1].\n[1] The sea")
    answer = json.loads(vecdb(server, "ask", "How deep is the sea?", "--json"))
    assert answer["text"] == "It is deep [1]."
    assert answer["citations"][0]["document"] == "below/sea.html"
