"""`vecdb models pull` and `check`: from a folder to a model that a server can be told to use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import failed, vecdb
from tests.embed import checkpoints_bert as checkpoints
from vecdb.cli import model_files
from vecdb.embed import catalog
from vecdb.errors import AlreadyExists, InvalidArgument, NotFound

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of models, and what the command said when it was made."""
    folder = tmp_path_factory.mktemp("pull")
    source = checkpoints.write(folder / "Tiny", checkpoints.CASES["bert"])
    ended = vecdb("models", "pull", str(source), "--into", str(folder / "models"))
    assert ended.returncode == 0, ended.stderr
    return folder / "models", ended.stdout


def test_pull_says_what_to_set(pulled: tuple[Path, str]) -> None:
    into, said = pulled
    assert said.splitlines() == [
        "tiny: bert-text, 16 dimensions",
        "set, for the server:",
        f"embed.catalog={into / 'catalog.toml'}",
        "embed.models=tiny",
    ]


def test_check_finds_nothing_then_what_was_done_to_a_file(pulled: tuple[Path, str]) -> None:
    own = str(pulled[0] / "catalog.toml")
    ended = vecdb("models", "check", "tiny", "--catalog", own, "--json")
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {line["state"] for line in lines} == {"ok"}
    assert {line["model"] for line in lines} == {"tiny"}
    assert {"sha256 of weights", "loads", "known vector"} <= {line["check"] for line in lines}
    path = pulled[0] / "tiny" / "config.json"
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    try:
        ended = vecdb("models", "check", "tiny", "--catalog", own)
    finally:
        path.write_bytes(before)
    assert ended.returncode == 1
    assert "sha256 of config" in ended.stdout
    assert "failed" in ended.stdout


def test_a_failure_is_a_message(tmp_path: Path) -> None:
    failed(
        vecdb("models", "pull", "own", "--from", str(tmp_path), "--into", str(tmp_path / "models")),
        "has no config.json",
    )


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="Not a directory"):
        model_files.pull_model("own", str(tmp_path), tmp_path / "file" / "models")


@pytest.mark.parametrize(
    ("given", "name", "source"),
    [
        ("sfr-embedding-mistral", "sfr-embedding-mistral", "Salesforce/SFR-Embedding-Mistral"),
        ("somebody/Tiny-Model", "tiny-model", "somebody/Tiny-Model"),
        ("Own-Folder", "own-folder", "Own-Folder"),
        ("a_model-1.0.0-py3-none-any.whl", "a_model", "a_model-1.0.0-py3-none-any.whl"),
    ],
)
def test_name_and_source_of_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, name: str, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Own-Folder").mkdir()
    assert model_files._named(given, tmp_path / "models") == (name, source)


def test_what_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is no model of the catalogue and no folder"):
        model_files._named("nothing", tmp_path)
    with pytest.raises(AlreadyExists, match="come as packages"):
        model_files._named("all-minilm-l6-v2", tmp_path)
    with pytest.raises(NotFound, match="no model 'nothing'"):
        model_files.check_models(["nothing"])


def test_the_whole_catalogue_is_checked_where_nothing_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every model has a line, and what is not there is no failure."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "missing", lambda spec: "nothing is installed")
    model_files.check_models(as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["model"] for line in lines} == set(catalog.load_catalog())
    assert not [line for line in lines if line["state"] == "failed"]
