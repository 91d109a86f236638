"""Graphs computed by OpenVINO on the CPU: the same files, and bfloat16 where the processor has it.

The only file that knows OpenVINO. How far bfloat16 is from float32, exactness.py measures.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecdb.embed.encoder import Execution
from vecdb.errors import Corrupt, FailedPrecondition

_PRECISIONS: Mapping[str, str] = {"float32": "f32", "bfloat16": "bf16"}
TELEMETRY = "openvino_telemetry"
# Weights up to here go into the graph itself, where some nodes ask for a constant; a graph as one
# message has at most 2 GiB.
INSIDE_BYTES = 1 << 16


class _OpenvinoGraph:
    def __init__(self, compiled: Any) -> None:  # noqa: ANN401  # it has no types
        self._compiled = compiled
        # A request has its own place for what goes in and out, for one call at a time.
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self.inputs = frozenset(port.any_name for port in compiled.inputs)
        self.outputs = tuple(port.any_name for port in compiled.outputs)

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any]) -> list[Any]:
        """Return the arrays of those outputs."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        request.infer(dict(feed), share_inputs=True)
        # Copied, since the next call writes where these are.
        found = [np.array(request.get_tensor(name).data) for name in outputs]
        self._idle.put(request)
        return found


def import_openvino() -> Any:  # noqa: ANN401
    """Return the module, which tells nobody. Raises FailedPrecondition where there is none."""
    # By itself it reports each import to a service of Google's, and keeps a number for that in the
    # home directory; unless this package, which comes with it, is not there.
    sys.modules.setdefault(TELEMETRY, None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise FailedPrecondition(
            f"embed.device is openvino, which does not import: {error}",
            hint="pip install 'vecdb[openvino]', or set embed.device to cpu",
        ) from None
    return openvino


def open_openvino(
    graph: bytes, path: Path, execution: Execution, weights: Mapping[str, NDArray[Any]]
) -> _OpenvinoGraph:
    """Return a graph, ready to run; see runtime.open_graph, whose arguments these are.

    Raises Corrupt for what is no graph, FailedPrecondition where OpenVINO or the precision is not
    there.
    """
    openvino = import_openvino()
    asked = _PRECISIONS[execution.precision]
    settings = {
        # Said, because it takes bfloat16 by itself where the processor has that.
        "INFERENCE_PRECISION_HINT": asked,
        # Or it would round what a layer is given, where weights are int8.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        "INFERENCE_NUM_THREADS": str(execution.threads),
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": "NO",  # the cores are not ours alone
    }
    core = openvino.Core()
    try:
        model = _read(openvino, core, graph, weights)
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as error:
        raise Corrupt(f"{path} is not a graph that OpenVINO can run: {error}", path=path) from None
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != asked:
        raise FailedPrecondition(
            f"embed.precision is {execution.precision}, which this processor does not have: "
            f"OpenVINO would compute in {taken}",
            hint="set embed.precision to float32",
        )
    return _OpenvinoGraph(compiled)


def _read(
    openvino: Any,  # noqa: ANN401  # it has no types
    core: Any,  # noqa: ANN401
    graph: bytes,
    weights: Mapping[str, NDArray[Any]],
) -> Any:  # noqa: ANN401
    """Return a model of a graph, with weights that are kept outside put in.

    It reads those from files alone: small ones are written into the graph, and the others begin as
    inputs, in whose place they are put.
    """
    if not weights:
        return core.read_model(graph)
    import onnx

    whole = onnx.load_from_string(graph)
    inside, outside = [], {}
    for tensor in whole.graph.initializer:
        array = weights.get(tensor.name)
        if array is None:
            inside.append(tensor)
        elif array.nbytes <= INSIDE_BYTES:
            inside.append(onnx.numpy_helper.from_array(array, tensor.name))
        else:
            outside[tensor.name] = array
            whole.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, array.shape)
            )
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in inside]
    del whole.graph.initializer[:]
    whole.graph.initializer.extend(kept)
    model = core.read_model(whole.SerializeToString())
    for name, array in outside.items():
        taken = model.input(name).get_node()
        constant = openvino.op.Constant(np.ascontiguousarray(array))
        taken.output(0).replace(constant.output(0))
        model.remove_parameter(taken)
    model.validate_nodes_and_infer_types()
    return model
