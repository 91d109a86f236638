"""One contract of searching by walk or by scan, for the native kernel and its numpy reference."""

import dataclasses
import functools
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.kernel.bitmaps import bitmap
from tests.kernel.graphs import FLOORS, NO_LINK, Graph, build, flat, nearness
from tests.kernel.test_graph import (
    SMALL,
    WRONG,
    assert_true_and_ordered,
    clusters,
    random_graph,
    recall,
)
from vecdb.kernel import _native, reference, reference_graph

pytestmark = pytest.mark.takes_turns

DOT, L2, L1 = reference.DOT, reference.L2, reference.L1
N, DIM = 6000, 20
K, EF = 10, 64


@pytest.fixture(params=[_native, reference_graph], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> types.ModuleType:
    return request.param


@functools.cache
def sample(metric: int) -> tuple[Graph, np.ndarray]:
    """Return a refined graph, and queries like its rows."""
    if metric == L1:  # whose links are by L2
        graph, queries = sample(L2)
        return dataclasses.replace(graph, metric=L1), queries
    points, _ = clusters(N + 60, DIM, 11)
    if metric == DOT:
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    graph = build(metric, np.ascontiguousarray(points[:N]), width=16)
    return graph, np.ascontiguousarray(points[N:])


def search(kernel, graph: Graph, query, k=K, ef=EF, allowed=None):
    rows, scores, visited, scanned = kernel.search(
        **graph.arguments(), query=query, k=k, ef=ef, allowed=allowed
    )
    kinds = (rows.dtype, scores.dtype, type(visited), type(scanned))
    assert kinds == (np.uint32, np.float32, int, bool)
    return rows, scores, visited, scanned


def masks(kind: str, share: float, near: np.ndarray, rng) -> np.ndarray:
    """Return which rows pass, of rows that are `near` (n,) to a query."""
    order = np.argsort(-near)
    count = int(share * len(near))
    mask = np.zeros(len(near), np.bool_)
    match kind:
        case "random":
            mask = rng.random(len(near)) < share
        case "nearest":
            mask[order[:count]] = True
        case "farthest":
            mask[order[len(near) - count :]] = True
        case "outside":  # at random, but for the query's neighbourhood
            mask = rng.random(len(near)) < share
            mask[order[:200]] = False
        case "elsewhere":  # the neighbourhood of another row
            other = rng.integers(0, len(near))
            mask[np.argsort(np.abs(near - near[other]))[:count]] = True
    return mask


SHARES = [0.9, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001]


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ["random", "nearest", "farthest", "outside", "elsewhere"])
def test_recall_holds_whatever_passes(metric, share, kind):
    graph, queries = sample(metric)
    rng = np.random.default_rng(int(share * 1000))
    found = []
    for query in queries:
        near = nearness(metric, graph.vectors, query[None])[0]
        mask = masks(kind, share, near, rng)
        rows, scores, visited, scanned = search(_native, graph, query, allowed=bitmap(mask))
        assert len(rows) == min(K, mask.sum())
        assert mask[rows].all()
        assert scanned or visited > 0
        if not scanned:
            assert_true_and_ordered(graph, query, rows, scores)
        found.append(recall(graph, query, rows, K, mask) if mask.any() else 1.0)
    assert np.mean(found) >= FLOORS[metric]


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ["random", "nearest"])
def test_recall_of_the_walk_alone_holds(metric, share, kind):
    """Where a filter does not keep away from the query, whatever a scan would cost."""
    graph, queries = sample(metric)
    rng = np.random.default_rng(int(share * 1000))
    found = []
    for query in queries:
        near = nearness(metric, graph.vectors, query[None])[0]
        mask = masks(kind, share, near, rng)
        rows, _, _ = _native.search_graph(
            **graph.arguments(), query=query, k=K, ef=EF, allowed=bitmap(mask)
        )
        assert len(rows) == min(K, mask.sum())
        found.append(recall(graph, query, rows, K, mask) if mask.any() else 1.0)
    assert np.mean(found) >= FLOORS[metric]


def test_few_rows_are_scanned_and_many_are_not():
    graph, queries = sample(DOT)
    rng = np.random.default_rng(0)
    most, few = (bitmap(rng.random(N) < share) for share in (0.9, 0.02))
    for query in queries[:10]:
        for allowed in (None, most):
            assert search(_native, graph, query, ef=20, allowed=allowed)[3] is False
        assert search(_native, graph, query, ef=20, allowed=few)[2:] == (0, True)
        assert search(_native, graph, query, ef=N)[2:] == (0, True)
        assert search(_native, graph, query, k=N - 1)[2:] == (0, True)


def assert_same(graph: Graph, query, k, ef, allowed) -> None:
    seen = search(_native, graph, query, k, ef, allowed)
    wanted = search(reference_graph, graph, query, k, ef, allowed)
    np.testing.assert_array_equal(seen[0], wanted[0])
    np.testing.assert_array_equal(seen[1].view(np.uint32), wanted[1].view(np.uint32))
    assert seen[2:] == wanted[2:]


@pytest.mark.parametrize("metric", [DOT, L2, L1])
def test_native_decides_as_the_reference_does(metric):
    graph, queries = sample(metric)
    rng = np.random.default_rng(1)
    outcomes = set()
    for query in queries[:6]:
        near = nearness(metric, graph.vectors, query[None])[0]
        for kind in ("random", "nearest", "farthest", "outside"):
            for share in (0.9, 0.5, 0.1):
                allowed = bitmap(masks(kind, share, near, rng))
                for k, ef in ((1, 1), (10, 12), (10, 40)):
                    assert_same(graph, query, k, ef, allowed)
                    outcome = search(_native, graph, query, k, ef, allowed)[2:]
                    outcomes.add((outcome[0] > 0, outcome[1]))
        assert_same(graph, query, 10, 20, None)
    assert outcomes == {(True, False), (False, True), (True, True)}


@settings(deadline=None, max_examples=examples(300))
@given(
    palette=st.lists(st.floats(width=32), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 900),
    dim=st.integers(1, 30),
    k=st.integers(1, 5),
    ef=st.integers(1, 8),
)
def test_same_answer_on_any_graph(palette, seed, n, dim, k, ef):
    rng = np.random.default_rng(seed)
    values = np.array(palette, np.float32)
    graph = random_graph(rng, int(rng.integers(0, 2)), n, dim, values)
    query = rng.choice(values, size=dim)
    mask = rng.random(n) < rng.choice([0.05, 0.5, 0.95])
    assert_same(graph, query, k, ef, None)
    assert_same(graph, query, k, ef, bitmap(mask))
    assert len(search(_native, graph, query, k, ef, bitmap(mask))[0]) == min(k, mask.sum())


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_graph_that_leads_nowhere_is_made_up_for(kernel, share):
    """Links that end at the entry would find one row; the answer is the scan's."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(N, 4)).astype(np.float32)
    graph = flat(L2, vectors, np.full((N, 16), NO_LINK, np.uint32), entry=7)
    mask = rng.random(N) < share
    query = vectors[3].copy()
    rows, scores, visited, scanned = search(kernel, graph, query, ef=20, allowed=bitmap(mask))
    assert (len(rows), visited, scanned) == (K, 1, True)
    wanted = reference.scan_f32(L2, vectors, query, K, bitmap(mask))
    np.testing.assert_array_equal(rows, wanted[0])
    np.testing.assert_array_equal(scores.view(np.uint32), wanted[1].view(np.uint32))


def test_a_query_that_is_not_finite_is_scanned(kernel):
    graph, queries = sample(DOT)
    query = queries[0].copy()
    query[0] = np.nan
    rows, _, visited, scanned = search(kernel, graph, query)
    assert (rows.tolist(), visited, scanned) == (list(range(K)), 0, True)


def test_no_rows(kernel):
    graph = flat(DOT, np.zeros((0, 5), np.float32), np.zeros((0, 8), np.uint32), entry=12)
    for allowed in (None, np.zeros(0, np.uint64)):
        assert len(search(kernel, graph, np.ones(5, np.float32), allowed=allowed)[0]) == 0
    some = flat(DOT, np.ones((9, 5), np.float32), np.zeros((9, 8), np.uint32))
    assert len(search(kernel, some, np.ones(5, np.float32), allowed=np.zeros(1, np.uint64))[0]) == 0


@pytest.mark.parametrize(
    ("name", "value", "error", "text"), WRONG, ids=[f"{i}-{w[0]}" for i, w in enumerate(WRONG)]
)
def test_wrong_arguments_are_named(kernel, name, value, error, text):
    kernel.search(**SMALL)
    with pytest.raises(error) as caught:
        kernel.search(**{**SMALL, name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert text in str(caught.value)


# --- many queries at once


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("share", [None, 0.5, 0.001, 0.0])
def test_many_answers_are_the_single_ones(metric, share):
    graph, queries = sample(metric)
    mask = np.ones(N, np.bool_) if share is None else np.random.default_rng(4).random(N) < share
    allowed = None if share is None else bitmap(mask)
    arguments = graph.arguments()
    coded = {name: arguments[name] for name in ("metric", "codes", "bounds", "vectors")}
    for threads in (1, 2, 7):
        rows, scores, visited, scanned = _native.search_many(
            **arguments, queries=queries, k=K, ef=EF, allowed=allowed, threads=threads
        )
        exact_rows, exact_scores = _native.scan_many(
            **coded, queries=queries, k=K, allowed=allowed, threads=threads
        )
        shape = (len(queries), min(K, mask.sum()))
        assert rows.shape == scores.shape == exact_rows.shape == exact_scores.shape == shape
        for at, query in enumerate(queries):
            one = search(_native, graph, query, allowed=allowed)
            np.testing.assert_array_equal(rows[at], one[0])
            np.testing.assert_array_equal(scores[at], one[1])
            assert (visited[at], scanned[at]) == one[2:]
            exact = _native.scan_i8(**coded, query=query, k=K, allowed=allowed)
            np.testing.assert_array_equal(exact_rows[at], exact[0])
            np.testing.assert_array_equal(exact_scores[at], exact[1])


def test_many_of_native_and_reference_are_the_same():
    graph, queries = sample(L2)
    arguments = graph.arguments()
    some = {"queries": queries[:4], "k": 3, "allowed": None, "threads": 2}
    seen = _native.search_many(**arguments, ef=5, **some)
    wanted = reference_graph.search_many(**arguments, ef=5, **some)
    coded = {name: arguments[name] for name in ("metric", "codes", "bounds", "vectors")}
    for one, other in zip(
        (*seen, *_native.scan_many(**coded, **some)),
        (*wanted, *reference.scan_many(**coded, **some)),
        strict=True,
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


MANY = {**SMALL, "queries": np.zeros((2, 4), np.float32), "threads": 2}
del MANY["query"]
WRONG_OF_MANY = [
    ("queries", np.zeros(4, np.float32), ValueError, "expected 2 dimension(s), got 1"),
    ("queries", np.zeros((2, 5), np.float32), ValueError, "expected shape (2, 4), got (2, 5)"),
    ("queries", np.zeros((2, 4)), TypeError, "expected dtype float32, got"),
    ("k", 0, ValueError, "expected at least 1, got 0"),
    ("threads", 0, ValueError, "expected 1 to 256, got 0"),
    ("threads", 257, ValueError, "expected 1 to 256, got 257"),
    ("allowed", np.zeros(1, np.uint64), ValueError, "at least 2 words for 70 rows, got 1"),
]


@pytest.mark.parametrize(("name", "value", "error", "text"), WRONG_OF_MANY)
def test_wrong_arguments_of_many_are_named(kernel, name, value, error, text):
    scan_names = ("metric", "codes", "bounds", "vectors", "queries", "k", "allowed", "threads")
    scan = {name: MANY[name] for name in scan_names}
    scan_many = (_native if kernel is _native else reference).scan_many
    assert kernel.search_many(**MANY)[0].shape == scan_many(**scan)[0].shape == (2, 3)
    for call, arguments in ((kernel.search_many, MANY), (scan_many, scan)):
        with pytest.raises(error) as caught:
            call(**{**arguments, name: value})
        assert str(caught.value).startswith(f"{name}: ")
        assert text in str(caught.value)


def test_no_queries(kernel):
    none = {**MANY, "queries": np.zeros((0, 4), np.float32)}
    assert [len(one) for one in kernel.search_many(**none)] == [0, 0, 0, 0]
