"""What stands on an encoder of the BERT and RoBERTa families: scores of words, scores of pairs.

SPLADE and cross-encoders from weights and a configuration, run without torch: the graph is made
with the head that transformers gives BertForMaskedLM, BertForSequenceClassification and their kin.
Everything else is as for those that come as a graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vecdb.embed.bert_graph import WORDS, BertGraph, BertShape, Builder
from vecdb.embed.bert_text import open_weights
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Execution
from vecdb.embed.onnx_rerank import OnnxRerank
from vecdb.embed.onnx_sparse import OnnxSparse
from vecdb.embed.runtime import Graph
from vecdb.embed.safetensors_file import Tensors
from vecdb.errors import FailedPrecondition

OUTPUT = "logits"


class BertSparse(OnnxSparse):
    """An Encoder over weights, of which a graph is made that scores the words of its vocabulary."""

    def _opened(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> Graph:
        return open_weights(spec, paths, execution, self.tokens, words_graph)


class BertRerank(OnnxRerank):
    """An Encoder over weights, of which a graph is made that scores pairs."""

    def _opened(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> Graph:
        return open_weights(spec, paths, execution, self.pairs.tokens, pairs_graph)


def words_graph(shape: BertShape, tensors: Tensors) -> BertGraph:
    """Return the graph of a score per token and word, logits (texts, tokens, vocabulary).

    Raises FailedPrecondition that names a weight which is not as expected.
    """
    builder = Builder(shape, tensors)
    before = _outside(builder.prefix)
    # What the two families call the layers: dense, its normalisation, and what has the bias.
    named = {
        "cls.predictions.bias": (
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
        ),
        "lm_head.bias": ("lm_head.dense", "lm_head.layer_norm"),
    }
    bias = _there(tensors, before, named)
    dense, norm = named[bias]
    state = builder.encoded()
    state = builder.linear(dense, state, (shape.hidden, shape.hidden), before)
    # RoBERTa's head has gelu, whatever its layers have.
    activation = "gelu" if bias.startswith("lm_head") else ""
    state = builder.normed(norm, builder.active(state, "words_active", activation), before)
    size = (shape.vocabulary, shape.hidden)
    decoder = bias.replace("bias", "decoder.weight")
    # The words' own vectors, unless the head has others.
    words = (
        builder.weight(decoder, size, before)
        if before + decoder in tensors
        else builder.single(WORDS)
    )
    bias = builder.weight(bias, (shape.vocabulary,), before)
    scores = builder.node("Gemm", [state, words, bias], "scores", transB=1)
    builder.per_token(scores, shape.vocabulary, OUTPUT)
    return builder.built(OUTPUT, ["texts", "tokens", shape.vocabulary])


def pairs_graph(shape: BertShape, tensors: Tensors) -> BertGraph:
    """Return the graph of a score per pair, logits (texts, 1).

    Raises FailedPrecondition that names a weight which is not as expected.
    """
    builder = Builder(shape, tensors, pairs=shape.types > 1)
    before = _outside(builder.prefix)
    square = (shape.hidden, shape.hidden)
    state = builder.per_token(builder.encoded(), shape.hidden, "states")
    # The first token's vector; an index that is no list takes its axis away.
    first = builder.node(
        "Gather", [state, builder.constant("first", np.int64(0))], "first_state", axis=1
    )
    last = _there(tensors, before, ("classifier.weight", "classifier.out_proj.weight"))
    if last == "classifier.weight":
        pooled = builder.linear("pooler.dense", first, square)
    else:
        pooled = builder.linear("classifier.dense", first, square, before)
    pooled = builder.node("Tanh", [pooled], "pooled")
    name = last.removesuffix(".weight")
    scores = builder.linear(name, pooled, (1, shape.hidden), before)
    builder.node("Identity", [scores], OUTPUT)
    return builder.built(OUTPUT, ["texts", 1])


def _outside(prefix: str) -> str:
    """Return what stands before the head's names, where prefix stands before the encoder's."""
    names = prefix.removesuffix(".").split(".")
    return ".".join([*names[:-1], ""]) if prefix else ""


def _there(tensors: Tensors, before: str, names: Mapping[str, object] | tuple[str, ...]) -> str:
    for name in names:
        if before + name in tensors:
            return name
    raise FailedPrecondition(
        f"{tensors.path} has none of {', '.join(before + name for name in names)}",
        hint="is it the model that was trained, or the encoder it began with?",
        path=tensors.path,
    )
