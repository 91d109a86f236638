"""A classifier tapped before its head: tiny ones of every shape, and the real ResNet."""

import dataclasses
import hashlib

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs the image extra")
pytest.importorskip("onnx", reason="needs the image extra")
pytest.importorskip("onnxruntime", reason="needs the embed extra")

import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.embed import pictures
from vecdb.embed import catalog
from vecdb.embed.encoder import HERE, Execution, Role
from vecdb.embed.graph_tap import tapped
from vecdb.embed.onnx_image import OnnxImage
from vecdb.errors import Corrupt, FailedPrecondition, InvalidArgument, NotFinite

SIDE, CHANNELS, CLASSES = 16, 6, 3
RESNET = "opennsfw-resnet50"


def classifier(batch="n", side=SIDE, *, external=False, inputs=("pixels",)):
    """Return a graph of a convolution, its mean and a head: tensors map, pooled, scores."""
    draw = np.random.RandomState(3)
    weights = {
        "kernel": draw.normal(size=(CHANNELS, 3, 4, 4)).astype(np.float32),
        "head": draw.normal(size=(CHANNELS, CLASSES)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", [inputs[0], "kernel"], ["conv"], strides=[4, 4]),
        helper.make_node("Relu", ["conv"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled4"]),
        helper.make_node("Flatten", ["pooled4"], ["pooled"]),
        helper.make_node("MatMul", ["pooled", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    if len(inputs) > 1:
        nodes.insert(1, helper.make_node("Add", ["conv", inputs[1]], ["both"]))
        nodes[2].input[0] = "both"
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    if external:
        held[0].ClearField("raw_data")
        held[0].data_location = TensorProto.EXTERNAL
        held[0].external_data.add(key="location", value="/etc/hostname")
    graph = helper.make_graph(
        nodes,
        "classifier",
        [
            helper.make_tensor_value_info(inputs[0], TensorProto.FLOAT, [batch, 3, side, side]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in inputs[1:]),
            # As exporters of old wrote it: a weight is an input, too.
            helper.make_tensor_value_info("head", TensorProto.FLOAT, [CHANNELS, CLASSES]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def spec_of(folder, content=None, *, dim=CHANNELS, output="pooled", normalize=True, **pixels):
    path = folder / "model.onnx"
    path.write_bytes(content or classifier())
    known = catalog.load_catalog()[RESNET]
    return dataclasses.replace(
        known,
        dim=dim,
        normalize=normalize,
        files={"model": catalog.FileRef(str(path), hashlib.sha256(path.read_bytes()).hexdigest())},
        options={"output": output, "pixels": {"resize": SIDE, "crop": SIDE, **pixels}},
    )


def load(folder, *args, **given):
    spec = spec_of(folder, *args, **given)
    return OnnxImage(spec, catalog.resolve_files(spec), Execution(1))


def encode(model, items):
    return np.asarray(model.encode([one.input for one in model.prepare(items, Role.DOCUMENT)]))


IMAGES = [pictures.file_of(pictures.noise(30 + seed, 40, seed)) for seed in range(5)]


def test_a_map_is_averaged_over_the_image(tmp_path):
    pooled = encode(load(tmp_path), IMAGES)
    assert pooled.shape == (5, CHANNELS)
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-6)
    for output in ("map", "pooled4"):
        np.testing.assert_allclose(encode(load(tmp_path, output=output), IMAGES), pooled, atol=1e-6)


def test_a_map_that_is_flattened_is_not_averaged(tmp_path):
    content = onnx.load_from_string(classifier())
    content.graph.node.append(helper.make_node("Flatten", ["map"], ["flat"]))
    dim = CHANNELS * (SIDE // 4) ** 2
    vectors = encode(load(tmp_path, content.SerializeToString(), output="flat", dim=dim), IMAGES)
    assert vectors.shape == (5, dim)


def test_the_head_is_cut_off(tmp_path):
    path = tmp_path / "a.onnx"
    cut = tapped(classifier(), "pooled", path)
    graph = onnx.load_from_string(cut.graph).graph
    assert [node.op_type for node in graph.node] == [
        *("Conv", "Relu", "GlobalAveragePool", "Flatten"),
    ]
    assert [one.name for one in graph.initializer] == ["kernel"]
    assert [one.name for one in graph.input] == ["pixels"]
    assert [one.name for one in graph.output] == ["pooled"]
    assert (cut.input, cut.shape) == ("pixels", (None, 3, SIDE, SIDE))


def test_what_a_branch_reads_is_kept(tmp_path):
    """A node with graphs inside reads names of the graph around it, which it does not list."""
    inner = [
        helper.make_graph(
            [helper.make_node(op, ["conv", "shift"], ["out"])],
            op,
            [],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        )
        for op in ("Add", "Sub")
    ]
    model = onnx.load_from_string(classifier())
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(2, np.float32), "shift"))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "which"))
    graph.node.append(
        helper.make_node("If", ["which"], ["chosen"], then_branch=inner[0], else_branch=inner[1])
    )
    plain = encode(load(tmp_path, output="conv", normalize=False), IMAGES)
    content = model.SerializeToString()
    shifted = encode(load(tmp_path, content, output="chosen", normalize=False), IMAGES)
    np.testing.assert_allclose(shifted, plain + 2, atol=1e-4)


def test_a_graph_of_one_image_at_a_time_is_given_one(tmp_path):
    assert load(tmp_path).batching == HERE
    model = load(tmp_path, classifier(batch=1))
    assert model.batching.items == 1
    assert model.batching.at_once == HERE.at_once
    with pytest.raises(FailedPrecondition, match="takes 4 images at a time"):
        load(tmp_path, classifier(batch=4))


def test_an_image_has_one_vector_whatever_its_neighbours(tmp_path):
    model = load(tmp_path)
    together = encode(model, IMAGES)
    alone = np.concatenate([encode(model, [image]) for image in IMAGES])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"output": "nowhere"}, "no tensor 'nowhere' to tap: the last are .*, logits, scores"),
        ({"output": ""}, "no tensor '' to tap"),
        ({"dim": 7}, "makes 6 numbers of an image, expected 7"),
        ({"layout": "nhwc"}, "the graph takes .*options.pixels makes"),
        ({"content": classifier(side=SIDE + 4)}, "the graph takes .*options.pixels makes"),
        ({"content": classifier(external=True)}, "keeps its weights in another file"),
        ({"content": classifier(inputs=("pixels", "other"))}, "takes pixels, other"),
    ],
)
def test_a_graph_that_does_not_go_with_its_entry_is_refused(tmp_path, given, said):
    with pytest.raises(FailedPrecondition, match=said):
        load(tmp_path, **given)


def test_what_is_no_graph_is_refused(tmp_path):
    with pytest.raises(Corrupt, match=r"is not an ONNX graph|is not a graph"):
        load(tmp_path, b"\x80\x04\x95not a graph but a pickle\x94.")


def test_a_tampered_graph_is_refused(tmp_path):
    spec = spec_of(tmp_path)
    path = catalog.resolve_files(spec)["model"]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt, match=f"expects {spec.files['model'].sha256}"):
        OnnxImage(spec, {"model": path}, Execution(1))


def test_an_image_without_a_direction_is_refused(tmp_path):
    black = pictures.file_of(pictures.flag().point(lambda _: 0))
    with pytest.raises(NotFinite):
        encode(load(tmp_path), [black])


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    model = load(tmp_path)
    for bad in (b"", pictures.HTML, pictures.png_bomb(50_000, 50_000)):
        with pytest.raises(InvalidArgument) as refused:
            model.prepare([IMAGES[0], bad, IMAGES[1]], Role.DOCUMENT)
        assert refused.value.field == "items[1]"


# --- the real one

KNOWN_START = [0.0039434, 0.0255941, 0.0078007, 0.0, 0.0000489, 0.0272603, 0.0276202, 0.0379567]


@pytest.fixture(scope="module")
def resnet():
    spec = catalog.load_catalog()[RESNET]
    if reason := catalog.missing(spec):
        pytest.skip(reason)
    return OnnxImage(spec, catalog.resolve_files(spec), Execution(2))


def test_a_known_image_keeps_its_vector(resnet):
    """Recorded when the pixels were found equal to those of the package's own preprocessing."""
    y, x = np.mgrid[0:480, 0:640]
    pixels = np.stack([x * 255 // 639, y * 255 // 479, (x * y) % 256], -1).astype(np.uint8)
    (vector,) = encode(resnet, [pictures.file_of(pictures.Image.fromarray(pixels))])
    assert vector.shape == (1024,)
    np.testing.assert_allclose(vector[:8], KNOWN_START, atol=1e-4)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_images_of_one_look_are_nearest_to_one_another(resnet):
    """Three of each look, that differ in light, noise and where they are cut."""
    draw = np.random.RandomState(1)
    items, looks = [], []
    for look in range(3):
        y, x = np.mgrid[0:96, 0:96]
        for _ in range(3):
            (dx, dy), light = draw.randint(0, 12, 2).tolist(), draw.uniform(0.7, 1.0)
            wave = (np.sin((x + dx) / (3 + 5 * look)) + (np.cos((y + dy) / 4) if look else 0)) > 0
            pixels = np.stack([wave * 200, wave * (60 + 60 * look), 255 - wave * 200], -1) * light
            noisy = (pixels + draw.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
            items.append(pictures.file_of(pictures.Image.fromarray(noisy), "JPEG"))
            looks.append(look)
    vectors = encode(resnet, items)
    scores = vectors @ vectors.T - 2 * np.eye(len(items))
    assert np.array(looks)[scores.argmax(axis=1)].tolist() == looks
    alone = encode(resnet, items[4:5])
    np.testing.assert_allclose(vectors[4:5], alone, atol=1e-5, rtol=0)
