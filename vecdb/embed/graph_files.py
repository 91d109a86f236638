"""A graph from its files: one, or one of nodes and one of weights, as large models are exported.

Both are read as verified bytes; nothing else that a graph may point to is opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from mmap import mmap
from pathlib import Path

import numpy as np

from vecdb.embed.catalog import ModelSpec, map_verified, read_verified
from vecdb.embed.encoder import Execution
from vecdb.embed.runtime import Graph, open_graph
from vecdb.embed.safetensors_file import Array
from vecdb.errors import Corrupt, FailedPrecondition


def open_files(spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> Graph:
    """Return the graph of an entry's `model`, with the weights in its `model_data` if it has that.

    Raises Corrupt and FailedPrecondition, as open_graph does, and for weights that are elsewhere.
    """
    path = paths["model"]
    graph = read_verified(path, spec.files["model"])
    mapped = None
    if "model_data" in paths:
        mapped = map_verified(paths["model_data"], spec.files["model_data"])
    # A weight that is kept outside has a place, whose key this is.
    weights = outside_weights(graph, mapped, path) if mapped or b"location" in graph else None
    return open_graph(graph, path, execution, weights)


def outside_weights(graph: bytes, content: mmap | bytes | None, path: Path) -> dict[str, Array]:
    """Return the weights that a graph keeps in another file, as they lie in its content.

    path: the graph's, for messages. Raises Corrupt for what is no graph or a place that is not in
    the file, FailedPrecondition where there is no such file, or more than one.
    """
    import onnx  # most graphs are whole, and need no library that reads them

    try:
        model = onnx.load_from_string(graph)
    except Exception as error:
        raise Corrupt(f"{path} is not an ONNX graph: {error}", path=path) from None
    found: dict[str, Array] = {}
    locations: set[str] = set()
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        said = {entry.key: entry.value for entry in tensor.external_data}
        locations.add(said.get("location", ""))
        if content is None or len(locations) > 1:
            raise FailedPrecondition(
                f"{path} keeps weights in {', '.join(sorted(locations))}, "
                f"expected {'one file' if content else 'none'} beside it",
                hint="name that file as model_data, or export the graph as a single file",
            )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        found[tensor.name] = _at(said, dtype, tuple(tensor.dims), content, path)
    return found


def _at(
    said: Mapping[str, str],
    dtype: np.dtype,
    shape: tuple[int, ...],
    content: mmap | bytes,
    path: Path,
) -> Array:
    try:
        begin = int(said.get("offset", "0"))
    except ValueError:
        begin = -1
    size = math.prod(shape) * dtype.itemsize
    if min(begin, size, *shape, 0) < 0 or begin + size > len(content):
        raise Corrupt(
            f"{path}: {dtype} of shape {list(shape)} is not at byte {begin} of {len(content)}",
            path=path,
        )
    array = np.frombuffer(content, np.uint8)[begin : begin + size].view(dtype).reshape(shape)
    return np.require(array, requirements="A")
