"""Encoders of the BERT and RoBERTa families from weights alone, against sentence-transformers."""

import dataclasses
import gc
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embed import checkpoints_bert as checkpoints
from tests.examples import examples
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.errors import Corrupt, FailedPrecondition, VecdbError
from vecdb.types import Metric

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

RECORDED = json.loads((Path(__file__).parent / "recorded" / "bert.json").read_text())
ROLES = {"query": Role.QUERY, "document": Role.DOCUMENT}
FILES = {"weights": "model.safetensors", "config": "config.json", "tokenizer": "tokenizer.json"}


def spec_of(folder: Path, case: checkpoints.Case, **changes):
    """Return an entry over the files of folder as they are now."""
    files = {
        role: catalog.FileRef(
            str(folder / name), hashlib.sha256((folder / name).read_bytes()).hexdigest()
        )
        for role, name in FILES.items()
    }
    spec = catalog.ModelSpec(
        name="tiny",
        kind="bert-text",
        dim=checkpoints.HIDDEN,
        metric=Metric.COSINE,
        max_tokens=checkpoints.MOST,
        pooling=case.pooling,
        normalize=case.normalize,
        license="CC0-1.0",
        files=files,
        query_prompt=checkpoints.QUERY_PROMPT,
    )
    return dataclasses.replace(spec, **changes)


def load(folder: Path, case: checkpoints.Case, **changes):
    from vecdb.embed.bert_text import BertText

    spec = spec_of(folder, case, **changes)
    return BertText(spec, catalog.resolve_files(spec), Execution(1))


def vectors(model, texts, role=Role.DOCUMENT):
    return model.encode([read.input for read in model.prepare(texts, role)])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return {
        name: load(checkpoints.write(folder / name, case), case)
        for name, case in checkpoints.CASES.items()
    }


@pytest.fixture
def tiny(tmp_path):
    """The plainest checkpoint, in a folder that a test may spoil."""
    return checkpoints.write(tmp_path / "tiny", checkpoints.CASES["bert"])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", checkpoints.CASES)
def test_vectors_are_those_of_sentence_transformers(models, name, role):
    found = vectors(models[name], checkpoints.TEXTS, ROLES[role])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, RECORDED[name][role], atol=1e-4, rtol=0)


def test_the_recorded_numbers_tell_apart_what_could_go_wrong():
    """Another text, role or family is further off than the tolerance, a hundred times."""
    for recorded in RECORDED.values():
        found = np.array(recorded["document"] + recorded["query"])
        apart = np.abs(found[:, None] - found[None]).max(axis=2)
        assert apart[~np.eye(len(found), dtype=bool)].min() > 1e-2


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed",
)
def test_the_recording_is_what_sentence_transformers_gives_today(tmp_path):
    found = subprocess.run(
        [sys.executable, checkpoints.__file__, str(tmp_path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    for name, roles in json.loads(found.stdout).items():
        for role, numbers in roles.items():
            np.testing.assert_allclose(numbers, RECORDED[name][role], atol=2e-6, rtol=0)


@settings(deadline=None, max_examples=examples(30))
@given(st.data())
def test_a_text_has_one_vector_whatever_its_neighbours(models, data):
    model = models[data.draw(st.sampled_from(sorted(models)))]
    some = st.sampled_from(checkpoints.TEXTS) | st.text(checkpoints.LETTERS + " ", max_size=60)
    texts = data.draw(st.lists(some, min_size=1, max_size=6))
    alone = np.concatenate([vectors(model, [text]) for text in texts])
    np.testing.assert_allclose(vectors(model, texts), alone, atol=1e-5, rtol=0)


def test_a_long_text_is_cut_and_says_so(models):
    for model in models.values():
        short, long = model.prepare(["cat", "cat " * 100], Role.DOCUMENT)
        assert (short.truncated, long.truncated) == (False, True)
        assert len(long.input) == checkpoints.MOST
        assert long.input[-1] == short.input[-1]


def test_weights_may_go_once_the_model_is_loaded(tiny):
    """What ONNX Runtime keeps of them is its own: the mapped file is closed and may be replaced."""
    from vecdb.embed.bert_graph import bert_graph, bert_shape
    from vecdb.embed.onnx_text import HiddenStates
    from vecdb.embed.runtime import open_graph
    from vecdb.embed.safetensors_file import Tensors

    case = checkpoints.CASES["bert"]
    content = bytearray((tiny / "model.safetensors").read_bytes())
    shape = bert_shape(json.loads((tiny / "config.json").read_text()), "tiny")
    made = bert_graph(shape, Tensors({tiny: content}))
    graph = open_graph(made.graph, tiny, Execution(1), made.weights)
    spec = spec_of(tiny, case)
    texts = [read.input for read in load(tiny, case).prepare(checkpoints.TEXTS, Role.DOCUMENT)]
    states = HiddenStates(spec, graph)
    before = states.vectors(texts)
    content[:] = b"\xff" * len(content)  # NaN, wherever they are still read
    del made
    gc.collect()
    np.testing.assert_array_equal(states.vectors(texts), before)


# --- what does not go together


def change_config(folder: Path, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in config.items() if value != "gone"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "t5"}, r"model_type is 't5', known are bert, bilingual, camembert, rob"),
        ({"model_type": "gone"}, "model_type is None"),
        ({"position_embedding_type": "relative_key"}, "'relative_key', not 'absolute'"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"hidden_act": "swish"}, "hidden_act is 'swish', known are gelu"),
        ({"num_hidden_layers": "gone"}, "lacks 'num_hidden_layers'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers, which is 0"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers, which is '2'"),
        ({"num_hidden_layers": 3}, r"model.safetensors has no encoder\.layer\.2\.attention\.self"),
        ({"num_attention_heads": 5}, "5 heads do not share 16"),
        ({"hidden_size": 32}, "dim is 16, its configuration says 32"),
        ({"intermediate_size": 25}, r"intermediate\.dense\.weight is \[24, 16\], .* \[25, 16\]"),
        ({"max_position_embeddings": 16}, "max_tokens is 32, it has positions for 16"),
        ({"model_type": "roberta", "pad_token_id": 1}, "it has positions for 30"),
        ({"vocab_size": 7}, "tokenizer knows id .*, there are vectors for 7 words"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(tiny, changes, said):
    change_config(tiny, **changes)
    with pytest.raises(FailedPrecondition, match=said):
        load(tiny, checkpoints.CASES["bert"])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_a_configuration_that_is_none_is_refused(tiny, content):
    (tiny / "config.json").write_bytes(content)
    with pytest.raises(Corrupt, match=r"config\.json is no"):
        load(tiny, checkpoints.CASES["bert"])


@pytest.mark.parametrize("role", FILES)
def test_a_tampered_file_is_refused(tiny, role):
    from vecdb.embed.bert_text import BertText

    spec = spec_of(tiny, checkpoints.CASES["bert"])
    path = tiny / FILES[role]
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=f"sha256 .* expects {spec.files[role].sha256}"):
        BertText(spec, catalog.resolve_files(spec), Execution(1))


# --- files of weights that lie


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def place(begin, end, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 3,
        (1 << 63).to_bytes(8, "little"),
        (100).to_bytes(8, "little") + b"{}",
        file_of(b"not json"),
        file_of(b"[" * 50_000),
        file_of(b"\xff\xff"),
        file_of([]),
        file_of({"a": []}),
        file_of({"a": place(0, 4)}),
        file_of({"a": place(0, 4)}, b"12345678"),
        file_of({"a": place(4, 8)}, b"12345678"),
        file_of({"a": place(-4, 0)}, b"1234"),
        file_of({"a": place(0, 4), "b": place(0, 4)}, b"1234"),
        file_of({"a": place(0, 8)}, b"12345678"),
        file_of({"a": place(0, 4, shape=(-1, -1))}, b"1234"),
        file_of({"a": place(0, 4, shape=(1.0,))}, b"1234"),
        file_of({"a": place(0, 4, shape=(1 << 62, 1 << 62, 0))}, b"1234"),
        file_of({"a": place(0, 4, dtype="Q4")}, b"1234"),
        file_of({"a": place(0, 4, dtype=["F32"])}, b"1234"),
        file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, b"1234"),
        file_of(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 1}', b"1234"),
    ],
)
def test_a_header_that_cannot_be_is_refused(content):
    from vecdb.embed.safetensors_file import Tensors

    with pytest.raises(Corrupt, match=r"w\.safetensors (is no safetensors|has a header that)"):
        Tensors({Path("w.safetensors"): content})


@settings(deadline=None, max_examples=examples(200), suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_spoilt_file_is_an_error_or_changes_numbers_alone(data):
    from vecdb.embed.safetensors_file import Tensors

    array = np.arange(6, dtype="<f4").reshape(2, 3)
    whole = checkpoints.safetensors_bytes({"a": ("F32", array), "b": ("F16", array.astype("<f2"))})
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        if at < len(content):
            content[at] = data.draw(st.integers(0, 255))
    try:
        tensors = Tensors({Path("w"): bytes(content)})
        assert tensors.floats("a", (2, 3)).shape == (2, 3)
    except VecdbError:
        return
    assert len(content) == len(whole)


def test_arrays_of_any_type_and_place_are_read():
    from vecdb.embed.safetensors_file import Tensors

    array = np.array([[1.5, -2.0, 0.25]], "<f4")
    for padding in (1, 8):
        content = checkpoints.safetensors_bytes(
            {
                "odd": ("U8", np.zeros(3, np.uint8)),
                "single": ("F32", array),
                "half": ("F16", array.astype("<f2")),
                "brain": ("BF16", checkpoints.stored(array, "BF16")),
                "ids": ("I64", np.zeros(1, "<i8")),
                "none": ("F32", np.zeros((0, 3), "<f4")),
            },
            padding,
        )
        tensors = Tensors({Path("w"): content})
        for name in ("single", "half", "brain"):
            found = tensors.floats(name, (1, 3))
            assert found.flags.aligned
            np.testing.assert_array_equal(found, array)
        assert tensors.floats("none", (0, 3)).size == 0
        with pytest.raises(FailedPrecondition, match="ids is I64, expected one of F32"):
            tensors.floats("ids", (1,))


def test_parts_of_a_model_are_one_and_share_no_name():
    from vecdb.embed.safetensors_file import Tensors

    one, two = (
        checkpoints.safetensors_bytes({name: ("F32", np.ones(2, "<f4"))}) for name in ("a", "b")
    )
    assert list(Tensors({Path("1"): one, Path("2"): two})) == ["a", "b"]
    with pytest.raises(Corrupt, match="2: a is in another file too"):
        Tensors({Path("1"): one, Path("2"): one})
