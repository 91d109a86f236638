"""A graph cut off behind one of its tensors: a classifier without its head.

Works on the bytes of the graph, in memory; computes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableSequence, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import onnx

from vecdb.errors import Corrupt, FailedPrecondition

M = TypeVar("M")


class Tapped(NamedTuple):
    """What is left of a graph, and the one input that it takes.

    shape: of the input, with None where any size goes, or None where the graph does not say.
    """

    graph: bytes
    input: str
    shape: tuple[int | None, ...] | None


def tapped(content: bytes, output: str, path: Path) -> Tapped:
    """Return the graph that ends at the tensor output, with nothing that only came after it.

    path: where it came from, for messages. Raises Corrupt for what is no graph, FailedPrecondition
    where there is no such tensor, or it needs more than one input.
    """
    try:
        model = onnx.load_from_string(content)
    except Exception as error:
        raise Corrupt(f"{path} is not an ONNX graph: {error}", path=path) from None
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in weights.values()):
        # They would be read from wherever the graph says, and by no digest.
        raise FailedPrecondition(
            f"{path} keeps its weights in another file", hint="export the graph as a single file"
        )
    nodes, needed = _leading_to(graph, output)
    if not nodes:
        raise FailedPrecondition(
            f"{path} has no tensor {output!r} to tap: {_last_tensors(graph)}",
            field="options.output",
        )
    inputs = [one for one in graph.input if one.name in needed and one.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise FailedPrecondition(f"{path} takes {names} up to {output!r}, expected one image input")
    _replace(graph.node, nodes)
    _replace(graph.input, inputs)
    _replace(graph.initializer, [one for name, one in weights.items() if name in needed])
    _replace(graph.output, [onnx.ValueInfoProto(name=output)])  # its type is worked out anew
    return Tapped(model.SerializeToString(), inputs[0].name, _shape(inputs[0]))


def _leading_to(graph: onnx.GraphProto, output: str) -> tuple[list[onnx.NodeProto], set[str]]:
    """Return the nodes that a tensor comes from, in order, and the names of all that they read."""
    needed = {output}
    nodes: list[onnx.NodeProto] = []
    for node in reversed(graph.node):  # in a graph, what is read has been made before
        if needed.intersection(node.output):
            nodes.insert(0, node)
            needed.update(_reads(node))
    return nodes, needed


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, those of the graphs inside it included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for one in inner.node:
                yield from _reads(one)
            yield from (one.name for one in inner.output)


def _last_tensors(graph: onnx.GraphProto) -> str:
    last = [name for node in graph.node[-12:] for name in node.output]
    return f"the last are {', '.join(last)}"


def _replace(held: MutableSequence[M], by: Sequence[M]) -> None:
    kept = copy.deepcopy(list(by))  # what is deleted below is emptied, too
    del held[:]
    held.extend(kept)


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        int(one.dim_value) if one.HasField("dim_value") and one.dim_value > 0 else None
        for one in tensor.shape.dim
    )
