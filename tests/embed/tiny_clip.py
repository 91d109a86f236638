"""A tiny random CLIP: tokenizer, two ONNX towers as Hugging Face's exporter lays them out, images.

Weights come from numpy and graphs from code, so that they are the same everywhere and need no
torch; checkpoints_clip.py says what transformers makes of the same weights.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from vecdb.embed import catalog

SEED = 23
LAYERS, HEADS, HIDDEN, INNER, DIM = 2, 4, 32, 64, 16
TOKENS, SIDE, PATCH = 24, 32, 8
START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = (("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("t", "h"), ("th", "e</w>"))
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

TEXTS = (
    "a photo of a cat",
    "A PHOTO OF THE DOG!",
    "x",
    "naïve café ☕ 数据",
    "the cat and the dog and the mouse, all of them asleep in one small basket",
)

ENTRY = """
[models.{name}]
kind = "onnx-clip"
dim = {dim}
metric = "cosine"
max_tokens = {max_tokens}
pooling = "projection"
normalize = true
license = "CC0-1.0"
[models.{name}.options]
{options}
[models.{name}.options.pixels]
resize = {side}
crop = {side}
mean = {mean}
std = {std}
"""


def vocabulary() -> dict[str, int]:
    """Return the pieces of CLIP's kind of tokenizer: bytes, bytes that end a word, merges."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{one}</w>" for one in letters), *("".join(two) for two in MERGES)]
    return {piece: at for at, piece in enumerate([*pieces, START, END])}


def tokenizer(*, ends: bool = True) -> bytes:
    """Return a tokenizer file like CLIP's. ends: whether it puts the end token behind a text."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    known = vocabulary()
    made = Tokenizer(
        models.BPE(known, list(MERGES), end_of_word_suffix="</w>", unk_token=END)  # type: ignore[arg-type]
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"<\|startoftext\|>|<\|endoftext\|>|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.add_special_tokens([START, END])
    made.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}" if ends else f"{START} $A",
        special_tokens=[(START, known[START]), (END, known[END])],
    )
    return made.to_str().encode()


def weights() -> dict[str, np.ndarray]:
    """Return every weight by the name that transformers gives it."""
    draw = np.random.RandomState(SEED)
    shapes: dict[str, tuple[int, ...]] = {
        "text_model.embeddings.token_embedding.weight": (len(vocabulary()), HIDDEN),
        "text_model.embeddings.position_embedding.weight": (TOKENS, HIDDEN),
        "text_projection.weight": (DIM, HIDDEN),
        "vision_model.embeddings.class_embedding": (HIDDEN,),
        "vision_model.embeddings.patch_embedding.weight": (HIDDEN, 3, PATCH, PATCH),
        "vision_model.embeddings.position_embedding.weight": ((SIDE // PATCH) ** 2 + 1, HIDDEN),
        "visual_projection.weight": (DIM, HIDDEN),
    }
    norms = ["text_model.final_layer_norm", "vision_model.pre_layrnorm"]
    norms += ["vision_model.post_layernorm"]
    for tower in ("text_model", "vision_model"):
        for layer in range(LAYERS):
            at = f"{tower}.encoder.layers.{layer}"
            norms += [f"{at}.layer_norm1", f"{at}.layer_norm2"]
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                shapes[f"{at}.self_attn.{name}.weight"] = (HIDDEN, HIDDEN)
                shapes[f"{at}.self_attn.{name}.bias"] = (HIDDEN,)
            shapes |= {f"{at}.mlp.fc1.weight": (INNER, HIDDEN), f"{at}.mlp.fc1.bias": (INNER,)}
            shapes |= {f"{at}.mlp.fc2.weight": (HIDDEN, INNER), f"{at}.mlp.fc2.bias": (HIDDEN,)}
    found = {name: draw.normal(0, 0.2, shape) for name, shape in shapes.items()}
    for name in norms:
        found[f"{name}.weight"] = draw.normal(1, 0.1, HIDDEN)
        found[f"{name}.bias"] = draw.normal(0, 0.1, HIDDEN)
    return {name: array.astype(np.float32) for name, array in found.items()}


class _Tower:
    """The nodes of a tower."""

    def __init__(self, tower: str) -> None:
        self.tower = tower
        self.weights = weights()
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, array: Any, name: str = "") -> str:
        from onnx import numpy_helper

        name = name or f"constant{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(self.weights[f"{self.tower}.{name}"], name)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def linear(self, value: str, name: str) -> str:
        matrix = np.ascontiguousarray(self.weights[f"{self.tower}.{name}.weight"].T)
        product = self.add("MatMul", value, self.constant(matrix))
        return self.add("Add", product, self.weight(f"{name}.bias"))

    def norm(self, value: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", value, scale, bias, epsilon=1e-5, axis=-1)

    def attention(self, value: str, at: str, mask: str) -> str:
        split = self.constant(np.array([0, 0, HEADS, HIDDEN // HEADS], np.int64))

        def heads(name: str, order: list[int]) -> str:
            linear = self.linear(value, f"{at}.{name}")
            return self.add("Transpose", self.add("Reshape", linear, split), perm=order)

        scores = self.add("MatMul", heads("q_proj", [0, 2, 1, 3]), heads("k_proj", [0, 2, 3, 1]))
        scale = self.constant(np.array((HIDDEN // HEADS) ** -0.5, np.float32))
        scores = self.add("Mul", scores, scale)
        if mask:
            scores = self.add("Add", scores, mask)
        seen = self.add(
            "MatMul", self.add("Softmax", scores, axis=-1), heads("v_proj", [0, 2, 1, 3])
        )
        joined = self.constant(np.array([0, 0, HIDDEN], np.int64))
        rows = self.add("Reshape", self.add("Transpose", seen, perm=[0, 2, 1, 3]), joined)
        return self.linear(rows, f"{at}.out_proj")

    def layers(self, value: str, mask: str = "") -> str:
        for layer in range(LAYERS):
            at = f"encoder.layers.{layer}"
            seen = self.attention(self.norm(value, f"{at}.layer_norm1"), f"{at}.self_attn", mask)
            value = self.add("Add", value, seen)
            inner = self.linear(self.norm(value, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
            steep = self.add("Mul", inner, self.constant(np.array(1.702, np.float32)))
            inner = self.add("Mul", inner, self.add("Sigmoid", steep))
            value = self.add("Add", value, self.linear(inner, f"{at}.mlp.fc2"))
        return value

    def project(self, value: str, name: str, output: str) -> None:
        from onnx import helper

        matrix = self.constant(np.ascontiguousarray(self.weights[f"{name}.weight"].T))
        self.nodes.append(helper.make_node("MatMul", [value, matrix], [output]))

    def finish(self, taken: Any, output: str) -> bytes:
        from onnx import TensorProto, helper

        given = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", DIM])
        graph = helper.make_graph(
            self.nodes, self.tower, [taken], [given], list(self.constants.values())
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        content: bytes = model.SerializeToString()
        return content


def text_graph() -> bytes:
    """Return the tower of texts: token ids (n, t) to text_embeds (n, DIM)."""
    from onnx import TensorProto, helper

    tower = _Tower("text_model")
    zero, one = (tower.constant(np.array([number], np.int64)) for number in (0, 1))
    length = tower.add("Shape", "input_ids", start=1, end=2)
    positions = tower.add(
        "Slice", tower.weight("embeddings.position_embedding.weight"), zero, length, zero
    )
    words = tower.add("Gather", tower.weight("embeddings.token_embedding.weight"), "input_ids")
    square = tower.add("Concat", length, length, axis=0)
    far = helper.make_tensor("far", TensorProto.FLOAT, [1], [-1e9])
    mask = tower.add(
        "Trilu",
        tower.add("ConstantOfShape", square, value=far),
        tower.constant(np.array(1, np.int64)),
        upper=1,
    )
    hidden = tower.norm(tower.layers(tower.add("Add", words, positions), mask), "final_layer_norm")
    end = tower.constant(np.array(vocabulary()[END], np.int64))
    ends = tower.add("Cast", tower.add("Equal", "input_ids", end), to=TensorProto.INT32)
    first = tower.add("ArgMax", ends, axis=1, keepdims=0)
    pooled = tower.add("GatherND", hidden, tower.add("Unsqueeze", first, one), batch_dims=1)
    tower.project(pooled, "text_projection", "text_embeds")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "t"])
    return tower.finish(ids, "text_embeds")


def vision_graph(output: str = "image_embeds") -> bytes:
    """Return the tower of images: pixels (n, 3, SIDE, SIDE) to image_embeds (n, DIM)."""
    from onnx import TensorProto, helper

    tower = _Tower("vision_model")
    patches = tower.add(
        "Conv", "pixel_values", tower.weight("embeddings.patch_embedding.weight"),
        strides=[PATCH, PATCH], kernel_shape=[PATCH, PATCH],
    )  # fmt: skip
    flat = tower.constant(np.array([0, HIDDEN, -1], np.int64))
    patches = tower.add("Transpose", tower.add("Reshape", patches, flat), perm=[0, 2, 1])
    images = tower.add("Shape", "pixel_values", start=0, end=1)
    ones = tower.constant(np.array([1, 1], np.int64))
    shape = tower.add("Concat", images, ones, axis=0)
    first = tower.add("Expand", tower.weight("embeddings.class_embedding"), shape)
    seen = tower.add("Concat", first, patches, axis=1)
    seen = tower.add("Add", seen, tower.weight("embeddings.position_embedding.weight"))
    hidden = tower.layers(tower.norm(seen, "pre_layrnorm"))
    whole = tower.add("Gather", hidden, tower.constant(np.array(0, np.int64)), axis=1)
    tower.project(tower.norm(whole, "post_layernorm"), "visual_projection", output)
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    return tower.finish(pixels, output)


def images() -> dict[str, bytes]:
    """Return PNG files of several shapes and modes, the same everywhere."""
    from PIL import Image

    made = {}
    for at, (name, mode, width, height) in enumerate(
        (
            ("square", "RGB", SIDE, SIDE),
            ("wide", "RGB", 101, 40),
            ("tall", "RGB", 37, 90),
            ("grey", "L", 64, 48),
            ("large", "RGB", 640, 480),
        )
    ):
        y, x = np.mgrid[0:height, 0:width]
        waves = [np.sin(x / (5 + at)), np.cos(y / 7), np.sin((x + 2 * y) / (9 + at))]
        pixels = ((np.stack(waves, -1) + 1) * 127).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(file, "PNG")
        made[name] = file.getvalue()
    return made


def entry(folder: Path, name: str = "tiny-clip", **given: Any) -> str:
    """Return an entry of a catalogue in that folder, whose files are written there.

    given: contents of files by role, dim, max_tokens, and options such as end_id.
    """
    made = {"text_model": text_graph, "vision_model": vision_graph, "tokenizer": tokenizer}
    files = {role: given.pop(role, None) or make() for role, make in made.items()}
    dim, max_tokens = given.pop("dim", DIM), given.pop("max_tokens", TOKENS)
    lines = ENTRY.format(
        name=name,
        dim=dim,
        max_tokens=max_tokens,
        options="\n".join(f"{key} = {value}" for key, value in given.items()),
        side=SIDE,
        mean=list(MEAN),
        std=list(STD),
    )
    for role, content in files.items():
        path = folder / f"{name}.{role}"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        lines += f'[models.{name}.files.{role}]\npath = "{path.name}"\nsha256 = "{digest}"\n'
    return lines


def spec_of(folder: Path, **given: Any) -> catalog.ModelSpec:
    """Return the entry of a model whose files are written into a folder."""
    own = folder / "own.toml"
    own.write_text(entry(folder, **given))
    return catalog.load_catalog(str(own))["tiny-clip"]
