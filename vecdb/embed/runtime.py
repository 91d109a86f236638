"""Where graphs are computed: ONNX Runtime on the CPU, or another device that is configured.

The only file that knows onnxruntime; openvino_graph.py is the one that knows OpenVINO. A device or
a precision that is not there is refused when a model is loaded, with what to install; nothing falls
back to another by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import onnxruntime as ort
from numpy.typing import NDArray

from vecdb.embed.encoder import Execution
from vecdb.errors import Corrupt, FailedPrecondition

# What ONNX Runtime calls a device, and with what settings.
_PROVIDERS: Mapping[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # By itself it would round the factors of products to 10 bits.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
}
_NO_CUDA = (
    "pip uninstall onnxruntime, then pip install 'vecdb[cuda]', which replaces it, on a machine "
    "with an NVIDIA driver; or set embed.device to cpu"
)


class Graph(Protocol):
    """A graph that is ready to run; any threads may call it."""

    inputs: frozenset[str]
    outputs: tuple[str, ...]

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any]) -> list[Any]:
        """Return the arrays of those outputs. feed: an array for each input."""
        ...


class _OrtGraph:
    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.inputs = frozenset(node.name for node in session.get_inputs())
        self.outputs = tuple(node.name for node in session.get_outputs())

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any]) -> list[Any]:
        """Return the arrays of those outputs."""
        found: list[Any] = self._session.run(list(outputs), dict(feed))
        return found


def open_graph(
    graph: bytes,
    path: Path,
    execution: Execution,
    weights: Mapping[str, NDArray[Any]] | None = None,
) -> Graph:
    """Return a graph, ready to run. path: where it came from, for messages.

    weights: those that the graph says are kept outside, by name. What is needed of them is copied,
    so that they need not outlast the call.
    Raises Corrupt for what is no graph, FailedPrecondition for one whose answers would depend on
    what else is in a batch, and where the device or the precision is not there.
    """
    if b"DynamicQuantize" in graph:
        # Its scales come from the whole batch: the same text would differ with its neighbours.
        raise FailedPrecondition(
            f"{path} quantises activations at run time, so vectors would depend on the batch",
            hint="use a float32 graph or one whose weights alone are int8",
        )
    if execution.device == "openvino":
        from vecdb.embed.openvino_graph import open_openvino  # which few have installed

        return open_openvino(graph, path, execution, weights or {})
    if execution.precision != "float32":
        raise FailedPrecondition(
            f"ONNX Runtime has no {execution.precision} on {execution.device} for {path}",
            hint="set embed.precision to float32, or embed.device to openvino",
        )
    return _OrtGraph(_session(graph, path, execution, weights or {}))


def _session(
    graph: bytes, path: Path, execution: Execution, weights: Mapping[str, NDArray[Any]]
) -> ort.InferenceSession:
    provider, settings = _provider(execution.device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The cores are the node's too: threads that spin while they wait for one another, each with
    # half of the work, gave 24 short texts a second on two busy cores, and these two settings 55.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.dynamic_block_base", "4")
    # Patterns are kept per shape, and hardly two batches share one.
    options.enable_mem_pattern = False
    # The fused attention of the higher levels is slower: 512 tokens as (8, 64) took 45 ms at this
    # level and 50 ms above it on two cores, 4,096 as (16, 256) 805 and 1,212 ms.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        if weights:
            arrays = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
            options.add_external_initializers(list(weights), arrays)
        session = ort.InferenceSession(graph, options, providers=[(provider, settings)])
    except Exception as error:
        raise Corrupt(f"{path} is not a graph that can run: {error}", path=path) from None
    if session.get_providers()[0] != provider:
        # It is built for the device and does not find it: it says so in a log, and takes another.
        raise FailedPrecondition(
            f"embed.device is {execution.device}, and ONNX Runtime does not reach it", hint=_NO_CUDA
        )
    return session


def _provider(device: str) -> tuple[str, dict[str, str]]:
    """Return what ONNX Runtime calls a device. Raises FailedPrecondition where it has none."""
    if device not in _PROVIDERS:
        raise FailedPrecondition(f"embed.device is {device!r}, which graphs do not run on")
    provider, settings = _PROVIDERS[device]
    if provider not in ort.get_available_providers():
        raise FailedPrecondition(
            f"embed.device is {device}, and this ONNX Runtime ({ort.__version__}) is built "
            "without it",
            hint=_NO_CUDA,
        )
    if device == "cuda":
        ort.preload_dlls()  # the libraries of NVIDIA's packages, where those are installed
    return provider, settings
