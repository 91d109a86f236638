"""What `vecdb models check` finds: nothing of a sound model, and what is wrong with another."""

import dataclasses

import numpy as np
import pytest

from tests.embed import checkpoints_bert as checkpoints
from tests.embed.test_bert_text import spec_of
from vecdb.embed import catalog, inspection
from vecdb.embed.encoder import HERE, Prepared
from vecdb.embed.inspection import State

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

CASE = checkpoints.CASES["bert"]


@pytest.fixture
def folder(tmp_path):
    return checkpoints.write(tmp_path / "tiny", CASE)


def found_of(spec, asked_for=True) -> dict[str, inspection.Finding]:
    return {one.check: one for one in inspection.inspect(spec, asked_for=asked_for)}


def states(found) -> dict[str, str]:
    return {check: str(one.state) for check, one in found.items()}


def test_a_sound_model_passes_every_check(folder):
    from vecdb.embed.pull import known_of

    spec = spec_of(folder, CASE)
    spec = dataclasses.replace(spec, known=known_of(spec))
    assert states(found_of(spec)) == {
        "sha256 of weights": "ok",
        "sha256 of config": "ok",
        "sha256 of tokenizer": "ok",
        "loads": "ok",
        "dim": "ok",
        "alone as in a batch": "ok",
        "unit length": "ok",
        "known vector": "ok",
    }


def test_another_vector_than_the_known_one_fails(folder):
    known = catalog.Known("cat", (0.5, 0.5))
    found = found_of(spec_of(folder, CASE, known=known))
    assert found["known vector"].state is State.FAILED
    assert states(found)["unit length"] == "ok"


def test_without_a_known_vector_that_check_is_skipped(folder):
    assert found_of(spec_of(folder, CASE))["known vector"].state is State.SKIPPED


def test_a_tampered_file_is_named_and_not_loaded(folder):
    spec = spec_of(folder, CASE)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = found_of(spec)
    assert states(found) == {"sha256 of weights": "failed"}
    assert spec.files["weights"].sha256 in found["sha256 of weights"].detail
    assert found_of(spec, asked_for=False)["sha256 of weights"].state is State.FAILED


def test_a_model_that_does_not_load_says_why(folder):
    found = found_of(spec_of(folder, CASE, dim=17))
    assert found["loads"].state is State.FAILED
    assert "dim is 17, its configuration says 16" in found["loads"].detail


def test_what_is_not_here_fails_only_if_it_was_asked_for(folder):
    spec = spec_of(folder, CASE)
    (folder / "config.json").unlink()
    assert states(found_of(spec)) == {"files": "failed"}
    assert states(found_of(spec, asked_for=False)) == {"files": "skipped"}
    entries = catalog.load_catalog()
    found = found_of(entries["bilingual-embedding-large"])
    assert found["files"].detail == "not fetched: vecdb models pull bilingual-embedding-large"


def test_the_end_token_of_a_model_that_pools_it(folder):
    spec = spec_of(folder, CASE, pooling="last")
    found = found_of(spec)["end token"]
    assert (found.state, found.detail) == (State.OK, "3, of a text cut off 3, expected 3")


class Wrong:
    """A model of which one thing is not right."""

    batching = HERE

    def __init__(self, **wrong):
        self.wrong = wrong

    def prepare(self, items, role):
        end = self.wrong.get("cut_end", 2)
        return [
            Prepared(np.array([1, *[5] * (len(one) % 7), end if cut else 2]), cut)
            for one in items
            for cut in (len(one) > 40,)
        ]

    def encode(self, batch, deadline=None):
        longest = max(map(len, batch)) * self.wrong.get("padding", 0)
        vectors = np.array([[1, len(one), longest, 0] for one in batch], dtype=np.float32)
        vectors = vectors[:, : self.wrong.get("dim", 4)]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit * self.wrong.get("length", 1)

    def close(self):
        pass


@pytest.mark.parametrize(
    ("wrong", "failed"),
    [
        ({}, set()),
        ({"padding": 0.01}, {"alone as in a batch"}),
        ({"length": 1.001}, {"unit length"}),
        ({"dim": 3}, {"dim"}),
        ({"cut_end": 5}, {"end token"}),
    ],
)
def test_one_thing_that_is_wrong_is_found(folder, monkeypatch, wrong, failed):
    monkeypatch.setattr(inspection, "load_model", lambda spec, execution: Wrong(**wrong))
    found = found_of(spec_of(folder, CASE, dim=4, pooling="last"))
    assert {check for check, one in found.items() if one.state is State.FAILED} == failed


def test_of_a_service_the_key_alone_is_looked_for(monkeypatch, tmp_path):
    spec = catalog.load_catalog()["text-embedding-3-small"]
    variable = spec.options["key_env"]
    monkeypatch.delenv(variable, raising=False)
    found = found_of(spec)
    assert (found["key"].state, found["key"].detail) == (State.FAILED, f"{variable} is not set")
    assert found_of(spec, asked_for=False)["key"].state is State.SKIPPED
    monkeypatch.setenv(variable, "secret")
    found = found_of(spec)
    assert (found["key"].state, found["key"].detail) == (State.OK, variable)
    (tmp_path / "key").write_text("secret")
    own = dataclasses.replace(spec, options={"key_file": str(tmp_path / "key")})
    assert found_of(own)["key"].state is State.OK
    retired = catalog.load_catalog()["gemini-embedding-exp-03-07"]
    assert "gemini-embedding-001" in found_of(retired)["available"].detail


@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "all-minilm-l6-v2-fp32", "bm25"])
def test_the_models_of_the_catalogue_are_sound(name):
    spec = catalog.load_catalog()[name]
    if reason := catalog.missing(spec):
        pytest.skip(reason)
    found = found_of(spec)
    assert {one.state for one in found.values()} == {State.OK}, found
