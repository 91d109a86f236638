"""Every model of the catalogue that is to be fetched is pulled, from a tiny folder laid out as its.

And folders of all kinds that no entry knows: what they say of themselves is what they give.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs the image extra")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

from tests.embed import (
    checkpoints_bert,
    checkpoints_decoders,
    checkpoints_heads,
    tiny,
    tiny_clip,
)
from tests.embed.checkpoints_bert import write_json
from tests.embed.test_pull import pulled, stand_in_for_hub
from vecdb.embed import catalog, hf_folder, pull
from vecdb.embed.encoder import Execution, Pair, Role
from vecdb.embed.inspection import State, inspect
from vecdb.embed.model_sources import Folder
from vecdb.embed.residents import load_model
from vecdb.errors import FailedPrecondition

UNFETCHED = sorted(spec.name for spec in catalog.load_catalog().values() if spec.unfetched)
RECORDED = json.loads((Path(__file__).parent / "recorded" / "heads.json").read_text())
END = tiny_clip.vocabulary()[tiny_clip.END]


# --- folders


def bert(folder, case):
    checkpoints_bert.write(folder, checkpoints_bert.CASES[case])
    return {"dim": checkpoints_bert.HIDDEN, "max_tokens": checkpoints_bert.MOST}


def head(folder, case, gives):
    checkpoints_heads.write(folder, checkpoints_heads.CASES[case], gives)
    config = json.loads((folder / "config.json").read_text())
    dim = config["vocab_size"] if gives == "sparse" else 1
    return {"dim": dim, "max_tokens": checkpoints_bert.MOST}


def clip(folder):
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "text_model.onnx").write_bytes(tiny_clip.text_graph())
    (folder / "onnx" / "vision_model.onnx").write_bytes(tiny_clip.vision_graph())
    (folder / "onnx" / "text_model_quantized.onnx").write_bytes(b"not asked for")
    (folder / "tokenizer.json").write_bytes(tiny_clip.tokenizer())
    write_json(
        folder / "tokenizer_config.json",
        {"eos_token": {"content": tiny_clip.END}, "model_max_length": 77, "do_lower_case": True},
    )
    write_json(
        folder / "config.json",
        {
            "model_type": "clip",
            "architectures": ["CLIPModel"],
            "projection_dim": tiny_clip.DIM,
            "text_config": {"max_position_embeddings": tiny_clip.TOKENS, "eos_token_id": 2},
        },
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_center_crop": True,
            "crop_size": {"height": tiny_clip.SIDE, "width": tiny_clip.SIDE},
            "size": {"shortest_edge": tiny_clip.SIDE},
            "resample": 3,
            "rescale_factor": 1 / 255,
            "image_mean": list(tiny_clip.MEAN),
            "image_std": list(tiny_clip.STD),
        },
    )
    pixels = {"resize": tiny_clip.SIDE, "crop": tiny_clip.SIDE}
    pixels |= {"mean": list(tiny_clip.MEAN), "std": list(tiny_clip.STD)}
    options = {"end_id": END, "pixels": pixels}
    return {"dim": tiny_clip.DIM, "max_tokens": tiny_clip.TOKENS, "options": options}


def decoder(folder, case):
    """Write a decoder's folder; weights in parts are named as the hub's, and listed."""
    spec = checkpoints_decoders.write(folder, case)
    parts = [role for role in spec.files if role.startswith("weights")]
    if len(parts) == 1:
        (folder / "weights.safetensors").rename(folder / "model.safetensors")
    else:
        named = {}
        for at, role in enumerate(parts, 1):
            named[role] = f"model-{at:05}-of-{len(parts):05}.safetensors"
            (folder / f"{role}.safetensors").rename(folder / named[role])
        write_json(folder / "model.safetensors.index.json", {"weight_map": named})
    return {"dim": spec.dim, "max_tokens": spec.max_tokens, "options": spec.options}


# How each model's folder is laid out: what writes one, and what of.
LAYOUTS = {
    "multilingual-e5-large-instruct": (bert, "xlm_roberta"),
    "bilingual-embedding-large": (bert, "bilingual"),
    "splade-tiny": (head, "bert", "sparse"),
    "splade-pp-en-v1": (head, "bert", "sparse"),
    "splade-cocondenser-ensembledistil": (head, "bert_half", "sparse"),
    "ms-marco-minilm-l6-v2": (head, "bert", "score"),
    "bge-reranker-base": (head, "xlm_roberta", "score"),
    "bge-reranker-v2-m3": (head, "xlm_roberta", "score"),
    "clip-vit-base-patch32": (clip,),
    "clip-vit-base-patch16": (clip,),
    "clip-vit-large-patch14": (clip,),
    **{case.entry: (decoder, case) for case in checkpoints_decoders.CASES.values()},
}


def test_every_model_that_is_to_be_fetched_has_a_layout_here():
    assert sorted(LAYOUTS) == UNFETCHED


@pytest.fixture
def laid_out(tmp_path, monkeypatch):
    """Make the folder of a model of the catalogue, and make the catalogue's entry as small."""
    plain = catalog.load_catalog

    def write(name):
        build, *given = LAYOUTS[name]
        changes = build(tmp_path / "folder", *given)

        def smaller(own=""):
            entries = plain(own)
            return {**entries, name: dataclasses.replace(entries[name], **changes)}

        monkeypatch.setattr(catalog, "load_catalog", smaller)
        return tmp_path / "folder"

    return write


@pytest.mark.parametrize("name", UNFETCHED)
def test_a_folder_completes_each_entry(laid_out, tmp_path, name):
    folder, into = laid_out(name), tmp_path / "models"
    found = pulled(name, folder, into)
    shutil.rmtree(folder)
    spec = catalog.load_catalog(str(into / "catalog.toml"))[name]
    assert spec == found.spec
    assert not spec.unfetched
    if reason := catalog.missing(spec):
        assert found.unloaded == reason
        return
    # It is loaded, and gives again what it gave when it was pulled.
    states = {one.check: one.state for one in inspect(spec, asked_for=True)}
    assert set(states.values()) == {State.OK}
    assert {"loads", "known vector", "known weights", "known score"} & set(states) > {"loads"}


@pytest.mark.parametrize("name", UNFETCHED)
def test_the_hub_is_asked_for_the_files_of_each_entry(laid_out, tmp_path, monkeypatch, name):
    folder, into = laid_out(name), tmp_path / "models"
    where = pull.default_source(name, into)
    stand_in_for_hub(monkeypatch, folder, where)
    found = pulled(name, where, into, load=False)
    assert not found.spec.unfetched
    assert all(path.is_file() for path in catalog.resolve_files(found.spec).values())


# --- folders that no entry knows


def answers(spec, items):
    model = load_model(spec, Execution(1))
    found = model.encode([one.input for one in model.prepare(items, Role.DOCUMENT)])
    model.close()
    return found


def checked(spec):
    return {one.check: str(one.state) for one in inspect(spec, asked_for=True)}


@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("name", checkpoints_heads.CASES)
def test_a_cross_encoder(tmp_path, name, sigmoid):
    folder = checkpoints_heads.write(tmp_path / "x", checkpoints_heads.CASES[name], "score")
    if not sigmoid:
        change(folder / "config.json", sentence_transformers={"activation_fn": "torch.nn.Identity"})
    spec = pulled("own", folder, tmp_path / "models").spec
    scores = answers(spec, [Pair(*pair) for pair in checkpoints_heads.PAIRS])
    recorded = RECORDED[name]["sigmoid" if sigmoid else "score"]
    np.testing.assert_allclose(scores[:, 0], recorded, atol=1e-4)
    assert (spec.kind, checked(spec)["known score"]) == ("bert-rerank", "ok")
    other = dataclasses.replace(spec, known=catalog.Known(spec.known.item, (7.0,)))
    assert checked(other)["known score"] == "failed"


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize("name", checkpoints_heads.CASES)
def test_a_splade(tmp_path, name, modules):
    folder = checkpoints_heads.write(tmp_path / "x", checkpoints_heads.CASES[name], "sparse")
    if modules:
        splade_modules(folder)
    found = pulled("own", folder, tmp_path / "models")
    assert len(found.remarks) == (not modules)
    for vector, recorded in zip(
        answers(found.spec, list(checkpoints_heads.TEXTS)), RECORDED[name]["sparse"], strict=True
    ):
        expected = {int(at): weight for at, weight in recorded.items()}
        given = dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))
        assert given == pytest.approx(expected, abs=1e-4)
    assert (found.spec.kind, checked(found.spec)["known weights"]) == ("bert-sparse", "ok")
    other = dataclasses.replace(found.spec, known=catalog.Known(found.spec.known.item, (99.0,)))
    assert checked(other)["known weights"] == "failed"


def splade_modules(folder, before="sentence_transformers.sparse_encoder.models", **pooling):
    listed = [("", "MLMTransformer"), ("1_SpladePooling", "SpladePooling")]
    write_json(
        folder / "modules.json",
        [{"path": path, "type": f"{before}.{name}"} for path, name in listed],
    )
    (folder / "1_SpladePooling").mkdir(exist_ok=True)
    write_json(
        folder / "1_SpladePooling" / "config.json",
        {"pooling_strategy": "max", "activation_function": "relu"} | pooling,
    )


def change(path, **changes):
    said = json.loads(path.read_text()) | changes
    write_json(path, {key: value for key, value in said.items() if value != "gone"})


GRAPHS = {
    "onnx-rerank": (
        tiny.rerank_graph,
        {"architectures": ["DebertaV2ForSequenceClassification"], "id2label": {"0": "LABEL_0"}},
    ),
    "onnx-sparse": (
        tiny.sparse_graph,
        {"architectures": ["DistilBertForMaskedLM"], "vocab_size": len(tiny.VOCABULARY)},
    ),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_of_other_architectures(tmp_path, monkeypatch, kind):
    graph, config = GRAPHS[kind]
    (tmp_path / "x" / "onnx").mkdir(parents=True)
    (tmp_path / "x" / "onnx" / "model.onnx").write_bytes(graph())
    (tmp_path / "x" / "tokenizer.json").write_bytes(tiny.tokenizer())
    settings = {"model_type": "other", "max_position_embeddings": 32}
    write_json(tmp_path / "x" / "config.json", settings | config)
    stand_in_for_hub(monkeypatch, tmp_path / "x", "somebody/tiny")
    spec = pulled("own", "somebody/tiny", tmp_path / "models").spec
    assert (spec.kind, set(spec.files)) == (kind, {"model", "tokenizer"})
    assert set(checked(spec).values()) == {"ok"}


def test_a_clip(tmp_path, monkeypatch):
    changes = clip(tmp_path / "x")
    stand_in_for_hub(monkeypatch, tmp_path / "x", "somebody/tiny")
    spec = pulled("own", "somebody/tiny", tmp_path / "models").spec
    assert (spec.kind, spec.dim, spec.max_tokens) == ("onnx-clip", tiny_clip.DIM, tiny_clip.TOKENS)
    assert spec.options["end_id"] == END
    assert spec.options["pixels"].items() >= changes["options"]["pixels"].items()
    (tmp_path / "plain").mkdir()
    plain = tiny_clip.spec_of(tmp_path / "plain", end_id=END)
    items = [tiny_clip.TEXTS[0], *tiny_clip.images().values()]
    np.testing.assert_array_equal(answers(spec, items), answers(plain, items))


# --- what is refused of them


def rerank_folder(folder, **config):
    checkpoints_heads.write(folder, checkpoints_heads.CASES["bert"], "score")
    change(folder / "config.json", **config)


def splade_folder(folder, **pooling):
    checkpoints_heads.write(folder, checkpoints_heads.CASES["bert"], "sparse")
    splade_modules(folder, **pooling)


def clip_folder(folder, file="preprocessor_config.json", **changes):
    clip(folder)
    change(folder / file, **changes)


def bare_clip(folder):
    clip(folder)
    shutil.rmtree(folder / "onnx")
    (folder / "model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("build", "changes", "said"),
    [
        (rerank_folder, {"id2label": {"0": "no", "1": "yes"}}, "2 classes apart"),
        (rerank_folder, {"id2label": "gone", "num_labels": "gone"}, "2 classes apart"),
        (rerank_folder, {"sentence_transformers": {"activation_fn": "a.Tanh"}}, r"puts a\.Tanh"),
        (rerank_folder, {"model_type": "qwen2"}, r"'qwen2'; known are bert, .*onnx"),
        (splade_folder, {"pooling_strategy": "sum"}, "pooling_strategy 'sum'"),
        (splade_folder, {"activation_function": "log1p_relu"}, "'log1p_relu', known is 'relu'"),
        (splade_folder, {"before": "own.code"}, r"module own\.code\.MLMTransformer"),
        (clip_folder, {"do_center_crop": False}, "does not make a square"),
        (clip_folder, {"resample": 5}, "does not make a square"),
        (clip_folder, {"size": {"height": 3, "width": 4}}, "has size .*3.*4"),
        (clip_folder, {"image_std": "gone"}, "no image_std"),
        (clip_folder, {"file": "tokenizer_config.json", "eos_token": "</s>"}, "no token '</s>'"),
        (clip_folder, {"file": "config.json", "projection_dim": "gone"}, "no projection_dim"),
        (bare_clip, {}, "no onnx/text_model.onnx.*two towers"),
    ],
)
def test_what_would_give_other_answers_is_refused(tmp_path, build, changes, said):
    build(tmp_path / "x", **changes)
    with pytest.raises(FailedPrecondition, match=said):
        hf_folder.read_folder(Folder(tmp_path / "x"))
