"""Sparse models that are an ONNX graph and a tokenizer file: SPLADE.

A masked language model scores every word of its vocabulary at every token; what a text weighs a
word with is log(1 + relu(score)) where that is greatest. Formal, Lassance, Piwowarski & Clinchant
2021, arXiv:2109.10086.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import HERE, I64, Batching, Execution, Prepared, Role
from vecdb.embed.graph_files import open_files
from vecdb.embed.onnx_text import HiddenStates
from vecdb.embed.pooling import finished
from vecdb.embed.runtime import Graph
from vecdb.embed.sparse_values import VALUES_MAX, largest
from vecdb.embed.text_tokens import TextTokens
from vecdb.types import F32, SparseVector

OUTPUT = "logits"
RUN_TOKENS = 1024
"""Padded tokens of one run of the graph: each is a vocabulary of scores, 120 kB of BERT's."""

log = logging.getLogger(__name__)


class OnnxSparse:
    """An Encoder over an ONNX graph that yields a score per token and word of the vocabulary."""

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self._spec = spec
        self.tokens = TextTokens(spec, paths["tokenizer"])
        self._scores = HiddenStates(spec, self._opened(spec, paths, execution), OUTPUT)
        self._said = False

    def _opened(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> Graph:
        return open_files(spec, paths, execution)

    @property
    def batching(self) -> Batching:
        """It computes here."""
        return HERE

    def prepare(self, items: Sequence[str], role: Role) -> list[Prepared]:
        """Return the tokens of each text, the role's prompt in front, cut to max_tokens."""
        return self.tokens.prepare(items, role)

    def encode(self, batch: Sequence[I64], deadline: float | None = None) -> list[SparseVector]:
        """Return the sparse vectors of texts that prepare() made. Raises NotFinite."""
        found: list[SparseVector] = []
        for run in _runs(batch):
            scores, mask = self._scores.of_tokens(run)
            # The logarithm grows with its argument, so the greatest may be found before it. Text by
            # text without its padding: a vocabulary per token is too much to be copied.
            counts = mask.sum(axis=1)
            most = [one[:count].max(axis=0) for one, count in zip(scores, counts, strict=True)]
            greatest = finished(np.stack(most), self._spec.name, normalize=False)
            found += map(self._vector, np.log1p(np.maximum(greatest, 0)))
        return found

    def close(self) -> None:
        """Let go of the graph."""
        del self._scores

    def _vector(self, weights: F32) -> SparseVector:
        vector = largest(weights)
        if len(vector.indices) == VALUES_MAX and not self._said:
            self._said = True
            log.warning(
                "model %s: a vector had %d values or more, the largest were kept: it is not trained"
                " to be sparse",
                self._spec.name,
                VALUES_MAX,
            )
        return vector


def _runs(batch: Sequence[I64]) -> Iterator[Sequence[I64]]:
    """Yield parts of a batch that have RUN_TOKENS, padded, or are one text."""
    start = longest = 0
    for at, tokens in enumerate(batch):
        longest = max(longest, len(tokens))
        if at > start and longest * (at + 1 - start) > RUN_TOKENS:
            yield batch[start:at]
            start, longest = at, len(tokens)
    yield batch[start:]
