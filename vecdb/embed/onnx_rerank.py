"""Re-rankers that are an ONNX graph and a tokenizer file: cross-encoders.

Query and text are read together, as one, and what comes out is how well they go together. That
cannot be computed before the query is known, so it is for the best of what a search has found.
Nogueira & Cho 2019, arXiv:1901.04085.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import HERE, I64, Batching, Execution, Pair, Prepared, Role
from vecdb.embed.graph_files import open_files
from vecdb.embed.pooling import finished, padded
from vecdb.embed.runtime import Graph
from vecdb.embed.text_tokens import PairTokens
from vecdb.errors import FailedPrecondition
from vecdb.types import F32

OUTPUT = "logits"
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class OnnxRerank:
    """An Encoder over an ONNX graph that yields a score per pair.

    Raises FailedPrecondition where graph, tokenizer and entry do not go together.
    """

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self._spec = spec
        self.pairs = PairTokens(spec, paths["tokenizer"])
        self._graph = self._opened(spec, paths, execution)
        self._output = str(spec.options.get("output", OUTPUT))
        unknown = self._graph.inputs - _INPUTS
        if unknown or self._output not in self._graph.outputs or spec.dim != 1:
            raise FailedPrecondition(
                f"model {spec.name}: the graph takes {', '.join(sorted(self._graph.inputs))} and "
                f"gives {', '.join(sorted(self._graph.outputs))}; expected input_ids, "
                f"attention_mask, token_type_ids and {self._output}, and dim = 1, got {spec.dim}"
            )

    def _opened(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> Graph:
        return open_files(spec, paths, execution)

    @property
    def batching(self) -> Batching:
        """It computes here."""
        return HERE

    def prepare(self, items: Sequence[Pair], role: Role) -> list[Prepared]:
        """Return the tokens of each pair, cut to max_tokens."""
        return self.pairs.prepare(items)

    def encode(self, batch: Sequence[I64], deadline: float | None = None) -> F32:
        """Return the scores of pairs that prepare() made, (n, 1) float32. Raises NotFinite."""
        ids, mask = padded([tokens[:, 0] for tokens in batch])
        types, _ = padded([tokens[:, 1] for tokens in batch])
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        scores: F32 = self._graph.run(
            [self._output],
            {name: array for name, array in feed.items() if name in self._graph.inputs},
        )[0]
        if scores.shape != (len(batch), 1):
            raise FailedPrecondition(
                f"model {self._spec.name}: {self._output} is {scores.shape}, "
                f"expected {(len(batch), 1)}: one score a pair"
            )
        scores = finished(scores, self._spec.name, normalize=False)
        return _sigmoid(scores) if self._spec.options.get("sigmoid") else scores

    def close(self) -> None:
        """Let go of the graph."""
        del self._graph


def _sigmoid(scores: F32) -> F32:
    """Return scores (n, 1) from 0 to 1. exp(-|x|) cannot overflow."""
    small = np.exp(-np.abs(scores))
    between: F32 = np.where(scores < 0, small, np.float32(1)) / (1 + small)
    return between.astype(np.float32)
