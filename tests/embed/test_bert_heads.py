"""SPLADE models and cross-encoders from weights: what sentence-transformers makes of the same."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tests.embed import checkpoints_heads as checkpoints
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Pair, Role
from vecdb.errors import FailedPrecondition
from vecdb.types import Metric

pytest.importorskip("onnx", reason="onnx makes the graph")
pytest.importorskip("onnxruntime")

RECORDED = json.loads((Path(__file__).parent / "recorded" / "heads.json").read_text())
KINDS = {"sparse": ("bert-sparse", "max"), "score": ("bert-rerank", "score")}
FILES = {"weights": "model.safetensors", "config": "config.json", "tokenizer": "tokenizer.json"}


def spec_of(folder, gives, **changes):
    kind, pooling = KINDS[gives]
    config = json.loads((folder / "config.json").read_text())
    files = {
        role: catalog.FileRef(
            str(folder / name), hashlib.sha256((folder / name).read_bytes()).hexdigest()
        )
        for role, name in FILES.items()
    }
    spec = catalog.ModelSpec(
        name="tiny",
        kind=kind,
        dim=config["vocab_size"] if gives == "sparse" else 1,
        metric=Metric.DOT,
        max_tokens=32,
        pooling=pooling,
        normalize=False,
        license="",
        files=files,
    )
    return dataclasses.replace(spec, **changes)


def load(spec):
    from vecdb.embed import bert_heads

    _, name = spec.of_kind.loader
    return getattr(bert_heads, name)(spec, catalog.resolve_files(spec), Execution(1))


def answers(model, items):
    return model.encode([one.input for one in model.prepare(items, Role.DOCUMENT)])


@pytest.mark.parametrize("name", checkpoints.CASES)
def test_words_weigh_what_sentence_transformers_says(tmp_path, name):
    folder = checkpoints.write(tmp_path / "tiny", checkpoints.CASES[name], "sparse")
    found = answers(load(spec_of(folder, "sparse")), list(checkpoints.TEXTS))
    for vector, recorded in zip(found, RECORDED[name]["sparse"], strict=True):
        one, other = np.zeros(200), np.zeros(200)
        one[vector.indices] = vector.values
        other[[int(at) for at in recorded]] = list(recorded.values())
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", checkpoints.CASES)
@pytest.mark.parametrize("sigmoid", [False, True])
def test_pairs_score_what_sentence_transformers_says(tmp_path, name, sigmoid):
    folder = checkpoints.write(tmp_path / "tiny", checkpoints.CASES[name], "score")
    model = load(spec_of(folder, "score", options={"sigmoid": sigmoid}))
    scores = answers(model, [Pair(*pair) for pair in checkpoints.PAIRS])
    recorded = RECORDED[name]["sigmoid" if sigmoid else "score"]
    np.testing.assert_allclose(scores[:, 0], recorded, atol=1e-4)


@pytest.mark.parametrize("gives", KINDS)
@pytest.mark.parametrize("name", checkpoints.CASES)
def test_an_item_has_one_answer_whatever_its_neighbours(tmp_path, name, gives):
    folder = checkpoints.write(tmp_path / "tiny", checkpoints.CASES[name], gives)
    model = load(spec_of(folder, gives))
    items = [Pair(*pair) for pair in checkpoints.PAIRS] if gives == "score" else checkpoints.TEXTS
    for item, together in zip(items, answers(model, items), strict=True):
        (alone,) = answers(model, [item])
        if gives == "sparse":
            assert together.indices.tolist() == alone.indices.tolist()
            together, alone = together.values, alone.values
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_the_recorded_answers_are_those_of_the_reference(tmp_path):
    pytest.importorskip("sentence_transformers", reason="the reference is in the torch extra")
    fresh = checkpoints.reference(tmp_path)
    for name, recorded in RECORDED.items():
        np.testing.assert_allclose(fresh[name]["score"], recorded["score"], atol=1e-5)
        assert [sorted(one) for one in fresh[name]["sparse"]] == [
            sorted(one) for one in recorded["sparse"]
        ]


def test_an_encoder_without_a_head_is_refused(tmp_path):
    case = checkpoints.CASES["bert"]
    for gives in KINDS:
        folder = checkpoints.write(tmp_path / gives, case, gives)
        checkpoints.encoders.write(tmp_path / f"{gives}_bare", case)
        bare = tmp_path / f"{gives}_bare" / "model.safetensors"
        (folder / "model.safetensors").write_bytes(bare.read_bytes())
        with pytest.raises(FailedPrecondition, match=r"has none of (cls.predictions|classifier)"):
            load(spec_of(folder, gives))


def test_an_entry_of_another_size_is_refused(tmp_path):
    folder = checkpoints.write(tmp_path / "tiny", checkpoints.CASES["bert"], "sparse")
    spec = spec_of(folder, "sparse")
    with pytest.raises(FailedPrecondition, match=f"its configuration says {spec.dim}"):
        load(dataclasses.replace(spec, dim=7))
