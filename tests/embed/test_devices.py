"""Devices and precisions: those that are not there are refused, and those that are agree.

There is no NVIDIA device where these run: of CUDA, its refusals are tested. What bfloat16 does is
tested where the processor has it, and by a model that rounds elsewhere.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embed import checkpoints_bert as checkpoints
from vecdb.embed import catalog, exactness, openvino_graph, residents
from vecdb.embed.encoder import Execution, Role
from vecdb.errors import Corrupt, FailedPrecondition, NotFinite
from vecdb.types import SparseVector

ort = pytest.importorskip("onnxruntime", reason="needs the embed extra")

CPU = Execution(2)
OPENVINO = Execution(2, "openvino")
ROUNDED = Execution(2, "openvino", "bfloat16")
TEXTS = (
    *("hi", "How do I reset my password?", "数据库存储向量。", "naïve café ☕ 🤖", "x" * 300),
    "one two three four five six seven eight nine ten " * 12,
)


def make(spec, execution):
    from vecdb.embed.onnx_text import OnnxText

    return OnnxText(spec, catalog.resolve_files(spec), execution)


def vectors(model, texts):
    return model.encode([read.input for read in model.prepare(texts, Role.DOCUMENT)])


@pytest.fixture(scope="module")
def openvino():
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("needs the openvino extra")
    return openvino_graph.import_openvino()  # its own import would report itself


@pytest.fixture(scope="module")
def on_openvino(spec, openvino):
    return make(spec, OPENVINO)


@pytest.fixture(scope="module")
def in_bfloat16(spec, openvino):
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("the processor has no bfloat16")
    return make(spec, ROUNDED)


# --- what is not there


def test_cuda_that_is_not_built_in_is_refused_with_what_to_install(spec):
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(FailedPrecondition, match=r"embed\.device is cuda.*built without") as caught:
        make(spec, Execution(1, "cuda"))
    assert "vecdb[cuda]" in str(caught.value)


def test_cuda_that_finds_no_device_is_refused_and_not_run_on_the_cpu(spec, monkeypatch):
    class Session(ort.InferenceSession):
        """As one of onnxruntime-gpu without a driver: it says so in a log, and takes the CPU."""

        def __init__(self, graph, options, providers):
            assert providers == [("CUDAExecutionProvider", {"use_tf32": "0"})]
            super().__init__(graph, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(FailedPrecondition, match=r"is cuda, and ONNX Runtime does not reach it"):
        make(spec, Execution(1, "cuda"))


def test_openvino_that_is_not_installed_is_refused_with_what_to_install(spec, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(FailedPrecondition, match=r"embed\.device is openvino") as caught:
        make(spec, OPENVINO)
    assert "pip install 'vecdb[openvino]'" in str(caught.value)


def test_a_device_nobody_knows_is_refused(spec):
    with pytest.raises(FailedPrecondition, match="'tpu', which graphs do not run on"):
        make(spec, Execution(1, "tpu"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_onnx_runtime_has_no_bfloat16(spec, device):
    with pytest.raises(FailedPrecondition, match=f"no bfloat16 on {device}") as caught:
        make(spec, Execution(1, device, "bfloat16"))
    assert "embed.precision to float32" in str(caught.value)


def test_openvino_that_would_compute_in_float32_instead_is_refused(spec, openvino):
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("the processor has bfloat16")
    with pytest.raises(FailedPrecondition, match="would compute in f32"):
        make(spec, ROUNDED)
    with pytest.raises(FailedPrecondition, match="this processor does not have"):
        residents.load_model(spec, ROUNDED)


# --- OpenVINO


def test_openvino_gives_the_vectors_of_onnx_runtime(minilm, on_openvino):
    np.testing.assert_allclose(
        vectors(on_openvino, TEXTS), vectors(minilm, TEXTS), atol=1e-5, rtol=0
    )


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(TEXTS) | st.text(max_size=80), min_size=1, max_size=8))
def test_on_openvino_too_a_text_has_one_vector_whatever_its_neighbours(on_openvino, texts):
    alone = np.concatenate([vectors(on_openvino, [text]) for text in texts])
    np.testing.assert_allclose(vectors(on_openvino, texts), alone, atol=1e-5, rtol=0)


def test_outputs_outlast_the_next_call(on_openvino):
    ids = [read.input for read in on_openvino.prepare(TEXTS[:2], Role.DOCUMENT)]
    first, _ = on_openvino.states.of_tokens(ids[:1])
    kept = first.copy()
    on_openvino.states.of_tokens(ids[1:])
    np.testing.assert_array_equal(first, kept)


QUIETLY = """
import os, sys, threading
from vecdb.embed.openvino_graph import import_openvino
import_openvino().Core()
assert "openvino_telemetry.main" not in sys.modules
assert threading.active_count() == 1, threading.enumerate()
assert os.listdir(os.environ["HOME"]) == []
"""


def test_openvino_reports_nothing_to_anybody(openvino, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", QUIETLY],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_no_graph_is_refused(openvino, tmp_path):
    from vecdb.embed.runtime import open_graph

    with pytest.raises(Corrupt, match="not a graph that OpenVINO can run"):
        open_graph(b"no graph", tmp_path / "model.onnx", OPENVINO)


@pytest.mark.parametrize("inside_bytes", [0, 1 << 30], ids=["all beside", "all inside"])
def test_weights_beside_a_graph_are_put_in(openvino, tmp_path, monkeypatch, inside_bytes):
    from vecdb.embed.bert_graph import bert_graph, bert_shape
    from vecdb.embed.runtime import open_graph
    from vecdb.embed.safetensors_file import Tensors

    pytest.importorskip("onnx", reason="needs the embed extra")
    monkeypatch.setattr(openvino_graph, "INSIDE_BYTES", inside_bytes)
    folder = checkpoints.write(tmp_path / "tiny", checkpoints.CASES["bert"])
    content = bytearray((folder / "model.safetensors").read_bytes())
    shape = bert_shape(json.loads((folder / "config.json").read_text()), "tiny")
    made = bert_graph(shape, Tensors({folder: content}))
    ids = np.arange(1, 13, dtype=np.int64).reshape(3, 4)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0}
    found = []
    for execution in (CPU, OPENVINO):
        graph = open_graph(made.graph, tmp_path, execution, made.weights)
        asked = {name: array for name, array in feed.items() if name in graph.inputs}
        if execution is OPENVINO:
            content[:] = b"\xff" * len(content)  # NaN, wherever they are still read
        found.append(graph.run(graph.outputs, asked))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


# --- bfloat16


def test_bfloat16_is_near_to_float32(minilm, in_bfloat16):
    cosines = (vectors(minilm, TEXTS) * vectors(in_bfloat16, TEXTS)).sum(axis=1)
    assert (1 - cosines < exactness.COSINE_MOST).all()


def test_in_bfloat16_a_text_has_nearly_one_vector(in_bfloat16):
    alone = np.concatenate([vectors(in_bfloat16, [text]) for text in TEXTS])
    together = vectors(in_bfloat16, TEXTS)
    assert (1 - (alone * together).sum(axis=1) < exactness.COSINE_MOST).all()


class Rounding:
    """A model in float32 whose vectors move by some length in another precision."""

    def __init__(self, model, precision, share, closed):
        self._model = model
        self._precision = precision
        self._share = share if precision != "float32" else 0.0
        self._closed = closed
        self.prepare = model.prepare

    def encode(self, batch, deadline=None):
        found = self._model.encode(batch).copy()
        found[:, 0] += self._share
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def close(self):
        self._closed.append(self._precision)


@pytest.mark.parametrize(("share", "fits"), [(0.05, True), (0.5, False)])
def test_a_precision_that_moves_vectors_is_refused_with_figures(
    spec, minilm, monkeypatch, share, fits
):
    closed = []
    monkeypatch.setattr(
        residents,
        "_made",
        lambda spec, execution: Rounding(minilm, execution.precision, share, closed),
    )
    if fits:
        residents.load_model(spec, ROUNDED)
    else:
        with pytest.raises(FailedPrecondition, match=r"0\.\d+ from itself in float32 at the worst"):
            residents.load_model(spec, ROUNDED)
    assert closed == ["float32"]


def of_kind(spec, gives):
    kind = next(
        name
        for name, kind in catalog.KINDS.items()
        if kind.gives == gives and "embed" in kind.extra
    )
    return dataclasses.replace(spec, kind=kind)


def sparse(*pairs):
    indices, values = zip(*pairs, strict=True) if pairs else ((), ())
    return SparseVector(np.array(indices, np.uint32), np.array(values, np.float32))


def test_sparse_vectors_and_scores_are_held_against_each_other_too(spec):
    words = of_kind(spec, "sparse")
    exact = [sparse((1, 2.0), (7, 1.0)), sparse()]
    near = [sparse((1, 2.0), (7, 1.01), (9, 0.01)), sparse()]
    assert 0 < exactness.check_precision(words, "bfloat16", exact, near) < 1e-4
    with pytest.raises(FailedPrecondition, match=r"0\.2"):
        exactness.check_precision(words, "bfloat16", exact, [sparse((1, 2.0), (8, 1.0)), sparse()])
    with pytest.raises(FailedPrecondition, match="is 1 from itself"):
        exactness.check_precision(words, "bfloat16", exact, [exact[0], sparse((3, 1.0))])
    scores = of_kind(spec, "score")
    exact = [np.array([value], np.float32) for value in (-10.0, 0.0, 10.0)]
    assert exactness.check_precision(scores, "bfloat16", exact, [one + 0.1 for one in exact]) < 0.01
    with pytest.raises(FailedPrecondition, match=r"0\.05"):
        exactness.check_precision(scores, "bfloat16", exact, [one + 1 for one in exact])
    with pytest.raises(FailedPrecondition, match="nan"):
        exactness.check_precision(scores, "bfloat16", exact, [one * np.nan for one in exact])
    with pytest.raises(NotFinite):
        exactness.check_precision(scores, "bfloat16", exact, [NotFinite("inf"), *exact[1:]])


def test_probes_are_of_every_sort_that_a_model_takes():
    assert len(exactness.probes(frozenset({"text", "image"}))) == 12
    assert all(pair.query for pair in exactness.probes(frozenset({"pair"})))
    pictures = exactness.probes(frozenset({"image"}))
    assert len(set(pictures)) == len(pictures)
    image = pytest.importorskip("PIL.Image", reason="needs the image extra")
    from io import BytesIO

    for content in pictures:
        with image.open(BytesIO(content)) as opened:
            opened.load()
            assert (opened.format, opened.mode, opened.size) == ("PNG", "RGB", (64, 64))
