"""Text models that are an ONNX graph and a tokenizer file: BERT and its kin.

Leaves tokens to text_tokens.py, the graph to runtime.py, scheduling to batcher.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import HERE, I64, Batching, Execution, Prepared, Role
from vecdb.embed.graph_files import open_files
from vecdb.embed.pooling import finished, padded, pool
from vecdb.embed.runtime import Graph
from vecdb.embed.text_tokens import TextTokens
from vecdb.errors import FailedPrecondition
from vecdb.types import F32

OUTPUT = "last_hidden_state"
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class OnnxText:
    """An Encoder over an ONNX graph that yields a vector per token."""

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self.tokens = TextTokens(spec, paths["tokenizer"])
        self.states = HiddenStates(spec, self._opened(spec, paths, execution))

    def _opened(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> Graph:
        return open_files(spec, paths, execution)

    @property
    def batching(self) -> Batching:
        """It computes here."""
        return HERE

    def prepare(self, items: Sequence[str], role: Role) -> list[Prepared]:
        """Return the tokens of each text, the role's prompt in front, cut to max_tokens."""
        return self.tokens.prepare(items, role)

    def encode(self, batch: Sequence[I64], deadline: float | None = None) -> F32:
        """Return the vectors of texts that prepare() made, (n, dim) float32. Raises NotFinite."""
        return self.states.vectors(batch)

    def close(self) -> None:
        """Let go of the graph."""
        del self.states


class HiddenStates:
    """A graph that yields a vector per token, and the pooling after it.

    Raises FailedPrecondition where the graph does not go with the entry.
    """

    def __init__(self, spec: ModelSpec, graph: Graph, output: str = OUTPUT) -> None:
        """output: the name of the graph's output, where the entry does not say."""
        self._spec = spec
        self._graph = graph
        self._output = spec.options.get("output", output)
        unknown = graph.inputs - _INPUTS
        if unknown or self._output not in graph.outputs:
            raise FailedPrecondition(
                f"model {spec.name}: the graph takes {', '.join(sorted(graph.inputs))} and "
                f"gives {', '.join(sorted(graph.outputs))}; expected input_ids, attention_mask, "
                f"token_type_ids and {self._output}"
            )

    def vectors(self, batch: Sequence[I64]) -> F32:
        """Return the vectors of texts by their ids, (n, dim) float32. Raises NotFinite."""
        hidden, mask = self.of_tokens(batch)
        vectors = pool(hidden, mask, self._spec.pooling)
        return finished(vectors, self._spec.name, normalize=self._spec.normalize)

    def of_tokens(self, batch: Sequence[I64]) -> tuple[F32, I64]:
        """Return a vector per token, (n, t, dim) float32, and which tokens are there, (n, t)."""
        ids, mask = padded(batch)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: F32 = self._graph.run(
            [self._output],
            {name: array for name, array in feed.items() if name in self._graph.inputs},
        )[0]
        if hidden.shape != (*ids.shape, self._spec.dim):
            raise FailedPrecondition(
                f"model {self._spec.name}: {self._output} is {hidden.shape}, "
                f"expected {(*ids.shape, self._spec.dim)}"
            )
        return hidden, mask
