"""Graphs: recall on every metric, grown from a base as good as built at once, state put back."""

from __future__ import annotations

import numpy as np
import pytest

from vecdb import kernel
from vecdb.segment import graph as graphs
from vecdb.segment.bitmaps import pack
from vecdb.segment.graph import Graph, build_graph
from vecdb.segment.vectors import KERNEL_METRIC, comparable
from vecdb.types import F32, Hnsw, Metric

N, DIM, K = 4_000, 32, 10
METRICS = list(Metric)


def silent(phase: str, done: int, total: int) -> None:
    assert phase in ("insert", "refine")
    assert 0 <= done <= total


def clustered(rng: np.random.Generator, n: int, metric: Metric) -> F32:
    centres = rng.normal(size=(40, DIM))
    rows = centres[rng.integers(0, 40, n)] + 0.6 * rng.normal(size=(n, DIM))
    if metric is Metric.DOT:
        rows *= rng.lognormal(0, 0.6, size=(n, 1))
    return comparable(rows.astype(np.float32), metric)


def recall(vectors: F32, queries: F32, metric: Metric, graph: Graph, ef: int) -> float:
    codes, bounds = kernel.quantize(vectors)
    found = 0
    for query in queries:
        true = kernel.scan_f32(KERNEL_METRIC[metric], vectors, query, K, None)[1]
        scores = kernel.search_graph(
            KERNEL_METRIC[metric],
            *graph,
            codes,
            bounds,
            vectors,
            query,
            K,
            ef,
            None,
        )[1]
        found += int((scores >= true[-1]).sum())
    return found / (K * len(queries))


@pytest.mark.parametrize("metric", METRICS)
def test_recall(metric: Metric) -> None:
    rng = np.random.default_rng(1)
    vectors, queries = clustered(rng, N, metric), clustered(rng, 100, metric)
    graph = build_graph(vectors, metric, Hnsw(), 2, None, silent)
    assert recall(vectors, queries, metric, graph, 64) >= 0.95
    assert graph.links0.shape == (N, 48 if metric is Metric.DOT else 32)
    links = graph.links0[graph.links0 != kernel.NO_LINK]
    assert links.max() < N


@pytest.mark.parametrize("metric", METRICS)
def test_grown_graph_is_as_good(metric: Metric) -> None:
    rng = np.random.default_rng(2)
    vectors, queries = clustered(rng, N, metric), clustered(rng, 100, metric)
    whole = build_graph(vectors, metric, Hnsw(), 2, None, silent)
    base = build_graph(vectors[: N // 2], metric, Hnsw(), 2, None, silent)
    grown = build_graph(vectors, metric, Hnsw(), 2, base, silent)
    at_once = recall(vectors, queries, metric, whole, 48)
    assert recall(vectors, queries, metric, grown, 48) >= at_once - 0.03
    for part in (slice(0, N // 2), slice(N // 2, N)):  # both halves are found
        wanted = vectors[part][:50]
        assert recall(vectors, wanted, metric, grown, 64) >= 0.95


def test_state_is_put_back_as_it_was_taken_out() -> None:
    vectors = np.random.default_rng(3).normal(size=(1_000, DIM)).astype(np.float32)
    index = graphs._index(vectors, Metric.EUCLID, Hnsw(8, 50), None)
    index.add_items(vectors, np.arange(1_000))
    taken = graphs.take_out(index)
    assert len(taken.upper_offsets) >= 3
    again = graphs._index(vectors, Metric.EUCLID, Hnsw(8, 50), taken)
    assert again.get_current_count() == 1_000
    back = graphs.take_out(again)
    for name in ("links0", "upper_offsets", "upper_rows", "upper_links", "entry"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(back, name))
    np.testing.assert_array_equal(again.get_items(np.arange(1_000)), vectors)


def test_products_of_long_and_short_rows_under_filters_against_length() -> None:
    rng = np.random.default_rng(6)
    vectors, queries = clustered(rng, N, Metric.DOT), clustered(rng, 100, Metric.DOT)
    graph = build_graph(vectors, Metric.DOT, Hnsw(), 2, None, silent)
    lengths = np.linalg.norm(vectors, axis=1)
    codes, bounds = kernel.quantize(vectors)
    for share in (0.95, 0.9, 0.7, 0.3):
        allowed = pack(lengths <= np.quantile(lengths, share))
        found = 0
        for query in queries:
            true = kernel.scan_f32(kernel.DOT, vectors, query, K, allowed)[1]
            arrays = (*graph, codes, bounds, vectors)
            scores = kernel.search(kernel.DOT, *arrays, query, K, 32, allowed)[1]
            assert len(scores) == K
            found += int((scores >= true[-1]).sum())
        assert found / (K * len(queries)) >= 0.95, share


@pytest.mark.parametrize("n", [1, 2, 17])
def test_few_rows(n: int) -> None:
    vectors = np.random.default_rng(4).normal(size=(n, 3)).astype(np.float32)
    graph = build_graph(vectors, Metric.EUCLID, Hnsw(4, 8), 2, None, silent)
    assert recall_all(vectors, graph) == n


def recall_all(vectors: F32, graph: Graph) -> int:
    codes, bounds = kernel.quantize(vectors)
    rows = kernel.search_graph(
        kernel.L2,
        *graph,
        codes,
        bounds,
        vectors,
        vectors[0],
        len(vectors),
        len(vectors),
        None,
    )[0]
    return len(set(rows.tolist()))


def test_all_rows_alike() -> None:
    vectors = np.ones((600, 8), np.float32)
    graph = build_graph(vectors, Metric.DOT, Hnsw(), 2, None, silent)
    assert recall(vectors, vectors[:3], Metric.DOT, graph, 64) == 1.0
