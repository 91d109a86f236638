"""The graph of an encoder of the BERT and RoBERTa families, made from its weights.

What transformers computes in BertModel, RobertaModel and XLMRobertaModel, as nodes of ONNX. Weights
stay out of the graph, which may hold 2 GiB at most; they go beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vecdb.embed.safetensors_file import Array, Tensors, float32
from vecdb.errors import FailedPrecondition

# Of these, positions count from behind the id of the padding token.
_ROBERTA = frozenset({"roberta", "xlm-roberta", "camembert", "bilingual"})
MODEL_TYPES = frozenset({"bert"}) | _ROBERTA
# Gelu came with operator set 20, and that with the tenth format of files.
_OPSET, _IR = 20, 10
_ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}
WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class BertShape:
    """What a config.json says of an encoder. positions: how many tokens it can tell apart."""

    layers: int
    heads: int
    hidden: int
    inner: int
    vocabulary: int
    position_rows: int
    types: int
    epsilon: float
    activation: str
    pad_id: int | None

    @property
    def positions(self) -> int:
        """Return the most tokens of a text."""
        return self.position_rows - (0 if self.pad_id is None else self.pad_id + 1)


class BertGraph(NamedTuple):
    """A graph of input_ids, attention_mask and maybe token_type_ids, and its weights by name."""

    graph: bytes
    weights: dict[str, Array]


def bert_shape(config: Mapping[str, Any], model: str) -> BertShape:
    """Return what a config.json says. Raises FailedPrecondition for what is not of the families."""
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise FailedPrecondition(
            f"model {model}: model_type is {kind!r}, known are {', '.join(sorted(MODEL_TYPES))}",
            hint="a model of another architecture is of kind onnx-text, by an ONNX export of it",
        )
    for name, expected in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("add_cross_attention", False),
    ):
        if config.get(name, expected) != expected:
            raise FailedPrecondition(f"model {model}: {name} is {config[name]!r}, not {expected!r}")
    try:
        shape = BertShape(
            layers=_count(config, "num_hidden_layers"),
            heads=_count(config, "num_attention_heads"),
            hidden=_count(config, "hidden_size"),
            inner=_count(config, "intermediate_size"),
            vocabulary=_count(config, "vocab_size"),
            position_rows=_count(config, "max_position_embeddings"),
            types=_count({"type_vocab_size": 2, **config}, "type_vocab_size"),
            epsilon=float(config.get("layer_norm_eps", 1e-12 if kind == "bert" else 1e-5)),
            activation=config.get("hidden_act", "gelu"),
            pad_id=int(config.get("pad_token_id", 1)) if kind in _ROBERTA else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"model {model}: its configuration lacks {error}") from None
    if shape.activation not in _ACTIVATIONS:
        raise FailedPrecondition(
            f"model {model}: hidden_act is {shape.activation!r}, "
            f"known are {', '.join(_ACTIVATIONS)}"
        )
    if shape.hidden % shape.heads:
        raise FailedPrecondition(
            f"model {model}: {shape.heads} heads do not share {shape.hidden} numbers evenly"
        )
    return shape


def bert_graph(shape: BertShape, tensors: Tensors) -> BertGraph:
    """Return the graph of a vector per token, last_hidden_state.

    Raises FailedPrecondition that names a weight which is not as expected.
    """
    builder = Builder(shape, tensors)
    builder.per_token(builder.encoded(), shape.hidden, "last_hidden_state")
    return builder.built("last_hidden_state", ["texts", "tokens", shape.hidden])


class Builder:
    """Nodes in the order that they run. A tensor's name is that of what made it.

    pairs: whether token_type_ids say of which text a token is; else there is but one.
    """

    def __init__(self, shape: BertShape, tensors: Tensors, *, pairs: bool = False) -> None:
        self._shape = shape
        self._tensors = tensors
        self.prefix = _prefix(tensors)
        self._inputs = ["input_ids", "attention_mask", *["token_type_ids"] * pairs]
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._weights: dict[str, Array] = {}
        self._attributes: dict[str, Any] = {"axis": -1, "epsilon": shape.epsilon}

    def encoded(self) -> str:
        """Add all layers, and return the vectors of tokens, (texts * tokens, hidden)."""
        shape = self._shape
        # What all layers share: how the heads' numbers lie, and what no token may look at.
        sizes = self.node("Shape", ["input_ids"], "sizes")
        per_head = self.constant("per_head", [shape.heads, shape.hidden // shape.heads])
        self.node("Concat", [sizes, per_head], "head_shape", axis=0)
        self.constant("flat", [-1, shape.hidden])
        self.constant("scale", np.float32((shape.hidden // shape.heads) ** -0.5))
        self._mask()
        state = self._embeddings()
        for layer in range(shape.layers):
            state = self._layer(f"encoder.layer.{layer}.", state)
        return state

    def per_token(self, state: str, width: int, output: str) -> str:
        """Add numbers of tokens (texts * tokens, width) as (texts, tokens, width)."""
        size = self.constant(f"{output}.width", [width])
        full = self.node("Concat", ["sizes", size], f"{output}.shape", axis=0)
        return self.node("Reshape", [state, full], output)

    def built(self, output: str, sizes: Sequence[str | int]) -> BertGraph:
        """Return the graph of what was added, and its weights. sizes: of its output."""
        return BertGraph(self._model(output, sizes), self._weights)

    def _model(self, output: str, sizes: Sequence[str | int]) -> bytes:
        ids = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
            for name in self._inputs
        ]
        last = helper.make_tensor_value_info(output, TensorProto.FLOAT, sizes)
        outside = [_outside(name, array) for name, array in self._weights.items()]
        graph = helper.make_graph(self._nodes, "bert", ids, [last], [*self._constants, *outside])
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
        )
        return made.SerializeToString()

    def _mask(self) -> None:
        """Add what is added to attention: nothing where there is a token, else the least number."""
        one, axes = self.constant("one", np.float32(1)), self.constant("axes", [1, 2])
        least = self.constant("least", np.finfo(np.float32).min)
        there = self.node("Cast", ["attention_mask"], "there", to=TensorProto.FLOAT)
        away = self.node("Sub", [one, there], "away")
        self.node("Mul", [self.node("Unsqueeze", [away, axes], "away_from"), least], "mask")

    def _embeddings(self) -> str:
        shape, hidden = self._shape, self._shape.hidden
        words = self.weight(WORDS, (shape.vocabulary, hidden), keep_half=True)
        state = self.node("Gather", [words, "input_ids"], "words")
        if self._weights[words].dtype != np.float32:
            # As large as all the rest in multilingual models: only the rows that are used are made
            # float32.
            state = self.node("Cast", [state], "words_single", to=TensorProto.FLOAT)
        types = self.weight("embeddings.token_type_embeddings.weight", (shape.types, hidden))
        if "token_type_ids" in self._inputs:
            types = self.node("Gather", [types, "token_type_ids"], "types")
        else:  # text stands alone, so all of it is of the first type
            self._weights[types] = self._weights[types][0]
        state = self.node("Add", [state, types], "typed")
        rows = self.weight("embeddings.position_embeddings.weight", (shape.position_rows, hidden))
        positions = self.node("Gather", [rows, self._positions()], "placed")
        state = self.node("Add", [state, positions], "embedded")
        return self.normed("embeddings.LayerNorm", self.node("Reshape", [state, "flat"], "rows"))

    def _positions(self) -> str:
        """Add the positions of tokens: from 0, or of RoBERTa from behind the padding's id."""
        last = self.constant("last_axis", np.int64(1))
        pad = self._shape.pad_id
        if pad is None:
            one = numpy_helper.from_array(np.array([1], np.int64))
            ones = self.node("ConstantOfShape", ["sizes"], "ones", value=one)
            return self.node("CumSum", [ones, last], "from_zero", exclusive=1)
        # Padding that stands in a text is not counted, and has the padding's own position.
        is_pad = self.node("Equal", ["input_ids", self.constant("pad", np.int64(pad))], "is_pad")
        counted = self.node(
            "Cast", [self.node("Not", [is_pad], "is_text")], "counted", to=TensorProto.INT64
        )
        total = self.node("CumSum", [counted, last], "so_far")
        return self.node("Add", [self.node("Mul", [total, counted], "numbered"), "pad"], "at")

    def _layer(self, name: str, state: str) -> str:
        shape, hidden = self._shape, self._shape.hidden
        square = (hidden, hidden)
        query, key, value = (
            self.linear(f"{name}attention.self.{part}", state, square)
            for part in ("query", "key", "value")
        )
        query = self.node("Mul", [query, "scale"], f"{name}scaled")
        mixed = self._attention(name, query, key, value)
        mixed = self.linear(f"{name}attention.output.dense", mixed, square)
        state = self.normed(
            f"{name}attention.output.LayerNorm",
            self.node("Add", [mixed, state], f"{name}attended"),
        )
        inner = self.linear(f"{name}intermediate.dense", state, (shape.inner, hidden))
        inner = self.active(inner, f"{name}active")
        outer = self.linear(f"{name}output.dense", inner, (hidden, shape.inner))
        return self.normed(
            f"{name}output.LayerNorm", self.node("Add", [outer, state], f"{name}fed")
        )

    def _attention(self, name: str, query: str, key: str, value: str) -> str:
        turned = [
            self.node(
                "Transpose",
                [self.node("Reshape", [part, "head_shape"], f"{part}.heads")],
                f"{part}.turned",
                perm=order,
            )
            for part, order in ((query, [0, 2, 1, 3]), (key, [0, 2, 3, 1]), (value, [0, 2, 1, 3]))
        ]
        scores = self.node("MatMul", turned[:2], f"{name}scores")
        scores = self.node("Add", [scores, "mask"], f"{name}masked")
        shares = self.node("Softmax", [scores], f"{name}shares", axis=-1)
        mixed = self.node("MatMul", [shares, turned[2]], f"{name}mixed")
        mixed = self.node("Transpose", [mixed], f"{name}beside", perm=[0, 2, 1, 3])
        return self.node("Reshape", [mixed, "flat"], f"{name}joined")

    def active(self, state: str, output: str, activation: str = "") -> str:
        """Add an activation: of that name, or the configuration's."""
        operator, attributes = _ACTIVATIONS[activation or self._shape.activation]
        return self.node(operator, [state], output, **attributes)

    def linear(
        self, name: str, state: str, size: tuple[int, int], prefix: str | None = None
    ) -> str:
        """Add a layer of weights (out, in) and biases. prefix: of their names, if another."""
        # transB: weights lie as torch keeps them, and need no copy that is turned.
        weight = self.weight(f"{name}.weight", size, prefix)
        bias = self.weight(f"{name}.bias", size[:1], prefix)
        return self.node("Gemm", [state, weight, bias], name, transB=1)

    def normed(self, name: str, state: str, prefix: str | None = None) -> str:
        """Add a layer that gives vectors of tokens the same mean and size."""
        size = (self._shape.hidden,)
        before = self.prefix if prefix is None else prefix
        old = f"{before}{name}.gamma" in self._tensors  # as the first BERT called them
        scale = self.weight(f"{name}.{'gamma' if old else 'weight'}", size, prefix)
        shift = self.weight(f"{name}.{'beta' if old else 'bias'}", size, prefix)
        return self.node("LayerNormalization", [state, scale, shift], name, **self._attributes)

    def weight(
        self,
        name: str,
        size: tuple[int, ...],
        prefix: str | None = None,
        *,
        keep_half: bool = False,
    ) -> str:
        """Add a weight of a file. Raises FailedPrecondition where it is not as expected."""
        array = self._tensors.floats((self.prefix if prefix is None else prefix) + name, size)
        self._weights[name] = array if keep_half else float32(array)
        return name

    def single(self, name: str) -> str:
        """Return the name of a weight that was added, in single precision."""
        if self._weights[name].dtype == np.float32:
            return name
        return self.node("Cast", [name], f"{name}.single", to=TensorProto.FLOAT)

    def constant(self, name: str, value: list[int] | np.generic) -> str:
        """Add a constant of the graph itself."""
        array = np.asarray(value)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Add a node, and return the name of its output."""
        node = NodeProto(op_type=operator, name=output, input=inputs, output=[output])
        node.attribute.extend(helper.make_attribute(*one) for one in attributes.items())
        self._nodes.append(node)
        return output


def _count(config: Mapping[str, Any], name: str) -> int:
    if name not in config:
        raise KeyError(name)
    value = config[name]
    if type(value) is not int or value < 1:
        raise ValueError(f"{name}, which is {value!r}")
    return value


def _prefix(tensors: Tensors) -> str:
    """Return what stands before every weight's name, such as "roberta."."""
    found = [name.removesuffix(WORDS) for name in tensors if name.endswith(WORDS)]
    if len(found) != 1:
        raise FailedPrecondition(
            f"{tensors.path} has {len(found)} weights called {WORDS}, expected one",
            hint="is it an encoder of the BERT or RoBERTa family?",
        )
    return found[0]


def _outside(name: str, array: Array) -> TensorProto:
    """Return the place of a weight that comes beside the graph."""
    tensor = TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        data_location=TensorProto.EXTERNAL,
    )
    tensor.external_data.add(key="location", value="weights")
    return tensor
