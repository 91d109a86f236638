"""ONNX models of two files: a graph, and the weights that it says are beside it."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from tests.embed import checkpoints_bert as checkpoints
from tests.embed.test_bert_text import load, spec_of, vectors
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution
from vecdb.errors import Corrupt, FailedPrecondition

onnx = pytest.importorskip("onnx")
CASE = checkpoints.CASES["bert"]


@pytest.fixture
def folder(tmp_path):
    return checkpoints.write(tmp_path / "tiny", CASE)


@pytest.fixture
def exported(folder):
    """The checkpoint as a graph, its weights in model.onnx_data, as large ones are exported."""
    from vecdb.embed.bert_graph import bert_graph, bert_shape
    from vecdb.embed.safetensors_file import Tensors

    shape = bert_shape(json.loads((folder / "config.json").read_text()), "tiny")
    content = (folder / "model.safetensors").read_bytes()
    made = bert_graph(shape, Tensors({folder: content}))
    model = onnx.load_from_string(made.graph)
    parts: list[bytes] = []
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            del tensor.external_data[:]
            array = made.weights[tensor.name]
            for key, value in (
                ("location", "model.onnx_data"),
                ("offset", sum(map(len, parts))),
                ("length", array.nbytes),
            ):
                tensor.external_data.add(key=key, value=str(value))
            parts.append(array.tobytes())
    (folder / "model.onnx_data").write_bytes(b"".join(parts))
    return model


def entry(folder, model, data=True):
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    files = {"model": "model.onnx", "tokenizer": "tokenizer.json"}
    if data:
        files["model_data"] = "model.onnx_data"
    refs = {
        role: catalog.FileRef(
            str(folder / name), hashlib.sha256((folder / name).read_bytes()).hexdigest()
        )
        for role, name in files.items()
    }
    return dataclasses.replace(spec_of(folder, CASE), kind="onnx-text", files=refs)


def opened(spec):
    from vecdb.embed.onnx_text import OnnxText

    return OnnxText(spec, catalog.resolve_files(spec), Execution(1))


def test_a_graph_of_two_files_gives_the_vectors_of_one(folder, exported):
    found = vectors(opened(entry(folder, exported)), checkpoints.TEXTS)
    np.testing.assert_allclose(found, vectors(load(folder, CASE), checkpoints.TEXTS), atol=1e-6)


def test_weights_that_the_catalogue_does_not_name_are_not_read(folder, exported, monkeypatch):
    """Not even where ONNX Runtime would find them by itself."""
    monkeypatch.chdir(folder)
    with pytest.raises(FailedPrecondition, match=r"weights in model\.onnx_data, expected none"):
        opened(entry(folder, exported, data=False))


def test_other_weights_than_the_catalogues_are_refused(folder, exported):
    spec = entry(folder, exported)
    content = bytearray((folder / "model.onnx_data").read_bytes())
    content[-1] ^= 1
    (folder / "model.onnx_data").write_bytes(content)
    with pytest.raises(Corrupt, match="sha256"):
        opened(spec)


@pytest.mark.parametrize("value", ["-4", "100000", "99999999999999999999", "here", ""])
def test_a_place_that_is_not_in_the_file_is_refused(folder, exported, value):
    outside = [one for one in exported.graph.initializer if one.external_data]
    outside[0].external_data[1].value = value
    with pytest.raises(Corrupt, match=r"model\.onnx: float32 of shape .* is not at byte"):
        opened(entry(folder, exported))


def test_a_size_that_is_not_in_the_file_is_refused(folder, exported):
    outside = [one for one in exported.graph.initializer if one.external_data]
    outside[0].dims[0] = 1 << 60
    with pytest.raises(Corrupt, match="is not at byte 0 of"):
        opened(entry(folder, exported))


def test_a_second_file_is_refused(folder, exported):
    outside = [one for one in exported.graph.initializer if one.external_data]
    outside[1].external_data[0].value = "/etc/passwd"
    with pytest.raises(FailedPrecondition, match=r"in /etc/passwd, model\.onnx_data, expected one"):
        opened(entry(folder, exported))


def test_a_graph_that_is_none_is_refused(folder, exported):
    spec = entry(folder, exported)
    (folder / "model.onnx").write_bytes(b"location")
    digest = hashlib.sha256(b"location").hexdigest()
    ref = catalog.FileRef(str(folder / "model.onnx"), digest)
    spec = dataclasses.replace(spec, files={**spec.files, "model": ref})
    with pytest.raises(Corrupt, match=r"model\.onnx is not an ONNX graph"):
        opened(spec)
