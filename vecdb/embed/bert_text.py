"""Text models that are weights and a configuration: encoders of the BERT and RoBERTa families.

A folder as Hugging Face has them, run without torch. Leaves tokens to text_tokens.py, weights to
safetensors_file.py, the graph to bert_graph.py and runtime.py, pooling to onnx_text.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vecdb.embed.bert_graph import BertGraph, BertShape, bert_graph, bert_shape
from vecdb.embed.catalog import ModelSpec, map_verified, read_verified
from vecdb.embed.encoder import Execution
from vecdb.embed.onnx_text import OnnxText
from vecdb.embed.runtime import Graph, open_graph
from vecdb.embed.safetensors_file import Tensors
from vecdb.embed.text_tokens import TextTokens
from vecdb.errors import Corrupt, FailedPrecondition


class BertText(OnnxText):
    """An Encoder over weights of which the graph is made when it is loaded."""

    def _opened(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> Graph:
        return open_weights(spec, paths, execution, self.tokens, bert_graph)


Make: TypeAlias = Callable[[BertShape, Tensors], BertGraph]


def open_weights(
    spec: ModelSpec,
    paths: Mapping[str, Path],
    execution: Execution,
    tokens: TextTokens,
    make: Make,
) -> Graph:
    """Return the graph that is made of an entry's weights, ready to run.

    Raises Corrupt, FailedPrecondition where entry, files and weights do not go together.
    """
    config = _config(read_verified(paths["config"], spec.files["config"]), paths["config"])
    shape = bert_shape(config, spec.name)
    _check_entry(spec, shape, tokens)
    parts = sorted(role for role in spec.files if role.partition("-")[0] == "weights")
    mapped = {paths[role]: map_verified(paths[role], spec.files[role]) for role in parts}
    made = make(shape, Tensors(mapped))
    return open_graph(made.graph, paths[parts[0]], execution, made.weights)


def _config(content: bytes, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{path} is not JSON: {error}", path=path) from None
    if not isinstance(config, dict):
        raise Corrupt(f"{path} is no JSON object", path=path)
    return config


def _check_entry(spec: ModelSpec, shape: BertShape, tokens: TextTokens) -> None:
    """Raise FailedPrecondition where entry, configuration and tokenizer do not go together."""
    dim = {"dense": shape.hidden, "sparse": shape.vocabulary}.get(spec.of_kind.gives, 1)
    if spec.dim != dim:
        raise FailedPrecondition(
            f"model {spec.name}: dim is {spec.dim}, its configuration says {dim}"
        )
    if spec.max_tokens > shape.positions:
        raise FailedPrecondition(
            f"model {spec.name}: max_tokens is {spec.max_tokens}, it has positions for "
            f"{shape.positions}"
        )
    # Ids may have gaps, so their number says nothing.
    last = max(tokens.tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if last >= shape.vocabulary:
        raise FailedPrecondition(
            f"model {spec.name}: its tokenizer knows id {last}, there are vectors for "
            f"{shape.vocabulary} words"
        )
