"""Recall by dot product over rows of very different length.

A graph of near rows alone does not do: the best by dot product are near to nothing. Links by dot
product lead to the long rows, links between rows of like direction to the short ones, which matter
under a filter that excludes the long. A graph with both serves.
"""

import functools

import numpy as np
import pytest

from tests.kernel.bitmaps import bitmap
from tests.kernel.graphs import Graph, flat, joined, linked
from vecdb.kernel import _native, reference

N, DIM, K = 3000, 32, 10


@functools.cache
def sample(spread: float) -> tuple[Graph, np.ndarray]:
    """Return a graph over rows whose length is log-normal, and queries of unit length."""
    rng = np.random.default_rng(9)
    centers = rng.normal(size=(40, DIM))
    units = centers[rng.integers(0, 40, N + 60)] + 0.7 * rng.normal(size=(N + 60, DIM))
    units = (units / np.linalg.norm(units, axis=1, keepdims=True)).astype(np.float32)
    lengths = rng.lognormal(0, spread, size=(N, 1)).astype(np.float32)
    vectors = units[:N] * lengths
    rows = np.arange(N)
    links = joined(linked(vectors, rows, 32, by=reference.DOT), linked(units[:N], rows, 16))
    longest = int(np.argmax(lengths))
    return flat(reference.DOT, vectors, links, entry=longest), np.ascontiguousarray(units[N:])


@pytest.mark.parametrize("spread", [0.3, 1.0])
@pytest.mark.parametrize("passing", ["all", "half", "few", "short", "not the longest"])
def test_recall_holds_over_rows_of_any_length(spread, passing):
    graph, queries = sample(spread)
    lengths = np.linalg.norm(graph.vectors, axis=1)
    rng = np.random.default_rng(1)
    mask = {
        "all": np.ones(N, np.bool_),
        "half": rng.random(N) < 0.5,
        "few": rng.random(N) < 0.05,
        "short": lengths <= np.median(lengths),
        "not the longest": lengths <= np.quantile(lengths, 0.9),
    }[passing]
    allowed = None if passing == "all" else bitmap(mask)
    walks = passing in ("all", "half")  # alone; the others may turn to a scan
    found = 0
    for query in queries:
        arguments = {**graph.arguments(), "query": query, "k": K, "allowed": allowed}
        if walks:
            rows, scores, _ = _native.search_graph(**arguments, ef=32)
        else:
            rows, scores, _, _ = _native.search(**arguments, ef=16)
        wanted = _native.scan_f32(reference.DOT, graph.vectors, query, K, allowed)[1]
        assert len(rows) == K
        assert mask[rows].all()
        found += int((scores >= wanted[-1]).sum())
    assert found / (K * len(queries)) >= 0.95
