"""Models of a few kilobytes that a test writes: a tokenizer, and graphs that know what a word is.

Their numbers are random but their answers can be told: the sparse one gives a word of the text the
greatest weight at that word, the re-ranker counts the words that query and text share.
"""

from __future__ import annotations

import hashlib
import string
from pathlib import Path
from typing import Any

import numpy as np

from vecdb.embed import catalog

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = (
    *("the", "a", "cat", "dog", "sat", "on", "mat", "stock", "fell", "rose", "market", "wing"),
    *("flow", "air", "heat", "query", "text", "red", "green", "blue"),
)
VOCABULARY = (
    *SPECIAL,
    *WORDS,
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
)
WIDTH = 64
SEED = 11

ENTRY = """
[models.{name}]
kind = "{kind}"
dim = {dim}
metric = "dot"
max_tokens = {max_tokens}
pooling = "{pooling}"
normalize = false
license = "CC0-1.0"
"""
KINDS = {
    "onnx-sparse": (len(VOCABULARY), "max"),
    "onnx-rerank": (1, "score"),
}


def tokenizer() -> bytes:
    """Return a tokenizer file like BERT's, of VOCABULARY."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(
        models.WordPiece(
            {word: number for number, word in enumerate(VOCABULARY)}, unk_token="[UNK]"
        )
    )
    made.add_special_tokens(list(SPECIAL))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made.to_str().encode()


class _Graph:
    """Nodes of a graph over ids, mask and types, each (n, t)."""

    def __init__(self) -> None:
        from onnx import TensorProto, helper

        self._helper, self._types = helper, TensorProto
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"value{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def embedded(self) -> tuple[str, str, str]:
        """Return the vectors of tokens, 0 of special ones; the mask and the types, (n, t, 1)."""
        vectors = embeddings()
        last = self.constant(np.array([2], np.int64))
        found = self.add("Gather", self.constant(vectors), "input_ids")
        mask, types = (
            self.add("Unsqueeze", self.add("Cast", name, to=self._types.FLOAT), last)
            for name in ("attention_mask", "token_type_ids")
        )
        return self.add("Mul", found, mask), mask, types

    def total(self, value: str) -> str:
        """Return the sums over tokens, (n, h)."""
        axis = self.constant(np.array([1], np.int64))
        return self.add("ReduceSum", value, axis, keepdims=0)

    def finish(self, value: str, shape: list[str | int]) -> bytes:
        helper, types = self._helper, self._types
        self._nodes.append(helper.make_node("Identity", [value], ["logits"]))
        names = ("input_ids", "attention_mask", "token_type_ids")
        graph = helper.make_graph(
            self._nodes,
            "tiny",
            [helper.make_tensor_value_info(name, types.INT64, ["n", "t"]) for name in names],
            [helper.make_tensor_value_info("logits", types.FLOAT, shape)],
            self._constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        content: bytes = model.SerializeToString()
        return content


def embeddings() -> np.ndarray:
    """Return a random unit vector for each word, 0 for special ones: they are nearly orthogonal."""
    vectors = np.random.default_rng(SEED).normal(size=(len(VOCABULARY), WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[: len(SPECIAL)] = 0
    return vectors.astype(np.float32)


def sparse_graph() -> bytes:
    """Return a graph whose logits say which word a token is, and a little which are beside it."""
    graph = _Graph()
    vectors, _, _ = graph.embedded()
    axis = graph.constant(np.array([1], np.int64))
    around = graph.add("ReduceSum", vectors, axis, keepdims=1)
    tenth = graph.constant(np.array(0.1, np.float32))
    mixed = graph.add("Add", vectors, graph.add("Tanh", graph.add("Mul", around, tenth)))
    words = graph.constant(np.ascontiguousarray(embeddings().T))
    bias = graph.constant(np.full(len(VOCABULARY), -0.3, np.float32))
    logits = graph.add("Add", graph.add("MatMul", mixed, words), bias)
    return graph.finish(logits, ["n", "t", len(VOCABULARY)])


def rerank_graph() -> bytes:
    """Return a graph whose score is how often words of the query are in the text, nearly."""
    graph = _Graph()
    vectors, _, types = graph.embedded()
    one = graph.constant(np.array(1, np.float32))
    query = graph.total(graph.add("Mul", vectors, graph.add("Sub", one, types)))
    text = graph.total(graph.add("Mul", vectors, types))
    axis = graph.constant(np.array([1], np.int64))
    return graph.finish(
        graph.add("ReduceSum", graph.add("Mul", query, text), axis, keepdims=1), ["n", 1]
    )


def entry(
    folder: Path,
    name: str,
    kind: str,
    *,
    graph: bytes | None = None,
    reader: bytes | None = None,
    max_tokens: int = 32,
    **options: Any,
) -> str:
    """Return an entry of a catalogue in that folder, whose files are written there."""
    graphs = {"onnx-sparse": sparse_graph, "onnx-rerank": rerank_graph}
    dim, pooling = KINDS[kind]
    files = {"model": graph or graphs[kind](), "tokenizer": reader or tokenizer()}
    lines = ENTRY.format(name=name, kind=kind, dim=dim, max_tokens=max_tokens, pooling=pooling)
    for role, content in files.items():
        path = folder / f"{name}.{role}"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        lines += f'[models.{name}.files.{role}]\npath = "{path.name}"\nsha256 = "{digest}"\n'
    if options:
        lines += f"[models.{name}.options]\n"
        lines += "".join(f"{key} = {str(value).lower()}\n" for key, value in options.items())
    return lines


def spec_of(folder: Path, kind: str, **given: Any) -> catalog.ModelSpec:
    """Return the entry of a model whose files are written into a folder."""
    own = folder / "own.toml"
    own.write_text(entry(folder, "tiny", kind, **given))
    return catalog.load_catalog(str(own))["tiny"]
