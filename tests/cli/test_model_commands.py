"""`vecdb models` list, show, load, unload and embed, of a running server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.live import LiveServer
from vecdb.cli import application
from vecdb.errors import InvalidArgument, NotFound

MODEL = "all-minilm-l6-v2"
ALIAS = "sentence-transformers/all-MiniLM-L6-v2"


def run(server: LiveServer, *words: str) -> Result:
    """Return how `vecdb models` ended, on a wide screen."""
    runner = CliRunner(env={"COLUMNS": "250"})
    return runner.invoke(application(), ["models", *words, "--address", server.address])


def said(server: LiveServer, *words: str) -> str:
    ended = run(server, *words)
    assert ended.exit_code == 0, ended.exception
    return " ".join(ended.output.split())


def test_a_model_is_loaded_shown_and_unloaded(text_server: LiveServer) -> None:
    assert said(text_server, "unload", ALIAS) == f"{ALIAS} is unloaded"
    assert said(text_server, "unload", MODEL) == f"{MODEL} was not loaded"
    assert "in memory no" in said(text_server, "show", MODEL)
    assert said(text_server, "load", MODEL).startswith(f"{MODEL} is loaded after ")
    assert said(text_server, "load", MODEL) == f"{MODEL} was loaded already"
    shown = said(text_server, "show", ALIAS)
    assert "in memory about " in shown
    assert "takes text gives dense dim 384 shorter no" in shown
    assert "licence Apache-2.0" in shown
    listed = said(text_server, "list")
    assert MODEL in listed
    assert "MiB" in listed
    one = json.loads(said(text_server, "show", MODEL, "--json"))
    assert (one["loaded"], one["gives"], one["takes"]) == (True, "dense", ["text"])
    assert one["memory_bytes"] > 1 << 20


def test_texts_are_encoded(text_server: LiveServer) -> None:
    ended = run(text_server, "embed", "one text", "another", "--query")
    first, second = (json.loads(line) for line in ended.output.splitlines())
    assert len(first["vector"]) == len(second["vector"]) == 384
    assert (first["tokens"], second["tokens"]) == (4, 3)
    assert not first["truncated"]


def test_what_cannot_be_done_is_said(text_server: LiveServer, tmp_path: Path) -> None:
    assert isinstance(run(text_server, "show", "gpt").exception, NotFound)
    for words in (["embed"], ["embed", "text", "--image", "x"]):
        assert isinstance(run(text_server, *words).exception, InvalidArgument)
    absent = run(text_server, "embed", "--image", str(tmp_path / "absent.png")).exception
    assert "absent.png: No such file" in str(absent)
    image = tmp_path / "some.png"
    image.write_bytes(b"no image")
    with pytest.raises(Exception, match="takes text, got image"):
        raise run(text_server, "embed", "--image", str(image)).exception or AssertionError
