"""One contract of the walk over a graph, for the native kernel and its numpy reference."""

import functools
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.kernel.bitmaps import bitmap
from tests.kernel.graphs import FLOORS, NO_LINK, Graph, build, flat, nearness
from vecdb.kernel import _native, reference, reference_graph

pytestmark = pytest.mark.takes_turns

DOT, L2, L1 = reference.DOT, reference.L2, reference.L1
N, DIM = 3000, 33


@pytest.fixture(params=[_native, reference_graph], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> types.ModuleType:
    return request.param


def clusters(n: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows around 30 centres, and the centre of each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 30, n)
    spread = rng.normal(size=(n, dim)) * 0.6
    return (rng.normal(size=(30, dim))[labels] + spread).astype(np.float32), labels


@functools.cache
def sample(metric: int) -> tuple[Graph, np.ndarray, np.ndarray]:
    """Return a graph, queries like its rows, and the cluster of each row."""
    points, labels = clusters(N + 100, DIM, 5)
    if metric == DOT:
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    rows, queries = np.ascontiguousarray(points[:N]), np.ascontiguousarray(points[N:])
    return build(metric, rows), queries, labels[:N]


def search(kernel, graph: Graph, query, k, ef, allowed=None, **changed):
    arguments = {**graph.arguments(), **changed}
    rows, scores, visited = kernel.search_graph(
        **arguments, query=query, k=k, ef=ef, allowed=allowed
    )
    assert (rows.dtype, scores.dtype, type(visited)) == (np.uint32, np.float32, int)
    return rows, scores, visited


def assert_true_and_ordered(graph: Graph, query, rows, scores) -> None:
    """Check that scores are those of scan_f32, bit for bit, and in its order."""
    assert len(set(rows.tolist())) == len(rows)
    only = np.zeros(len(graph.vectors), np.bool_)
    only[rows] = True
    wanted = reference.scan_f32(graph.metric, graph.vectors, query, max(1, len(rows)), bitmap(only))
    np.testing.assert_array_equal(rows, wanted[0])
    np.testing.assert_array_equal(scores.view(np.uint32), wanted[1].view(np.uint32))


def recall(graph: Graph, query, rows, k: int, mask: np.ndarray | None = None) -> float:
    """Return the share of k rows that score as well as the true k-th best of those allowed."""
    near = nearness(graph.metric, graph.vectors, query[None])[0]
    inside = near if mask is None else near[mask]
    k = min(k, len(inside))
    return float((near[rows] >= np.sort(inside)[-k] - 1e-6).sum()) / k


def queries_for(kernel, queries: np.ndarray) -> np.ndarray:
    return queries if kernel is _native else queries[:15]


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize(("ef", "floor"), [(16, 0.75), (64, 0.95), (200, 0.99)])
def test_recall(kernel, metric, ef, floor):
    graph, queries, _ = sample(metric)
    found = []
    for query in queries_for(kernel, queries):
        rows, scores, visited = search(kernel, graph, query, 10, ef)
        assert len(rows) == 10
        assert 10 <= visited < N // 2
        assert_true_and_ordered(graph, query, rows, scores)
        found.append(recall(graph, query, rows, 10))
    assert np.mean(found) >= floor


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_recall_of_allowed_rows(kernel, metric, share):
    graph, queries, _ = sample(metric)
    rng = np.random.default_rng(3)
    found = []
    for query in queries_for(kernel, queries):
        mask = rng.random(N) < share
        rows, scores, _ = search(kernel, graph, query, 10, 64, bitmap(mask))
        assert len(rows) == min(10, mask.sum())
        assert mask[rows].all()
        assert_true_and_ordered(graph, query, rows, scores)
        found.append(recall(graph, query, rows, 10, mask) if mask.any() else 1.0)
    assert np.mean(found) >= FLOORS[metric]


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("rank", [0, 1, -1], ids=["own", "next", "farthest"])
def test_recall_within_a_cluster(kernel, metric, rank):
    """The filter admits the query's own cluster, the next one, or the one farthest away."""
    graph, queries, labels = sample(metric)
    centers = np.array([graph.vectors[labels == label].mean(axis=0) for label in range(30)])
    found = []
    for query in queries_for(kernel, queries):
        order = np.argsort(-nearness(metric, centers, query[None])[0])
        mask = labels == order[rank]
        rows, scores, _ = search(kernel, graph, query, 10, 64, bitmap(mask))
        assert len(rows) == min(10, mask.sum())
        assert mask[rows].all()
        assert_true_and_ordered(graph, query, rows, scores)
        found.append(recall(graph, query, rows, 10, mask))
    assert np.mean(found) >= FLOORS[metric]


@pytest.mark.parametrize("metric", [DOT, L2, L1])
def test_a_pool_of_all_rows_is_exact(kernel, metric):
    graph, queries, _ = sample(metric)
    mask = np.random.default_rng(1).random(N) < 0.3
    for allowed, count in ((None, N), (bitmap(mask), int(mask.sum()))):
        for k in (1, 10, N, 10 * N):
            wanted = reference.scan_f32(metric, graph.vectors, queries[0], k, allowed)
            rows, scores, visited = search(kernel, graph, queries[0], k, 2**62, allowed)
            assert (len(rows), visited) == (min(k, count), N)
            np.testing.assert_array_equal(rows, wanted[0])
            np.testing.assert_array_equal(scores.view(np.uint32), wanted[1].view(np.uint32))


def test_a_small_ef_is_raised_to_k(kernel):
    graph, queries, _ = sample(L2)
    for k in (1, 40):
        small = search(kernel, graph, queries[0], k, 1)
        same = search(kernel, graph, queries[0], k, k)
        assert len(small[0]) == k
        for one, other in zip(small, same, strict=True):
            np.testing.assert_array_equal(one, other)


def assert_same(graph: Graph, query, k, ef, allowed=None, **changed) -> None:
    seen = search(_native, graph, query, k, ef, allowed, **changed)
    wanted = search(reference_graph, graph, query, k, ef, allowed, **changed)
    np.testing.assert_array_equal(seen[0], wanted[0])
    np.testing.assert_array_equal(seen[1].view(np.uint32), wanted[1].view(np.uint32))
    assert seen[2] == wanted[2]


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("dim", [1, 3, 63, 64, 65, 384])
def test_native_walks_as_the_reference_does(metric, dim):
    points, _ = clusters(520, dim, dim)
    graph = build(metric, points[:500].copy(), width=10, ratio=5)
    rng = np.random.default_rng(dim)
    for query in points[500:504]:
        for share in (None, 0.5, 0.05, 0.0):
            allowed = None if share is None else bitmap(rng.random(500) < share)
            for k, ef in ((1, 1), (10, 3), (10, 40), (3, 499)):
                assert_same(graph, query, k, ef, allowed)


@pytest.mark.parametrize("metric", [DOT, L2, L1])
def test_both_kinds_of_pool_walk_the_same_way(metric):
    """Small pools are sorted arrays, large ones and filtered ones are heaps."""
    graph, queries, _ = sample(metric)
    everything = bitmap(np.ones(N, np.bool_))
    for ef in (10, 1023, 1024, 1025, 2000):
        one = search(_native, graph, queries[0], 10, ef)
        other = search(_native, graph, queries[0], 10, ef, everything)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
        assert_same(graph, queries[1], 10, ef)


def test_equal_estimates_go_to_the_lower_row():
    rng = np.random.default_rng(8)
    for metric in (DOT, L2, L1):
        vectors = rng.integers(-1, 2, size=(400, 3)).astype(np.float32)
        graph = build(metric, vectors, width=8, ratio=6)
        for query in (vectors[7].copy(), np.zeros(3, np.float32), -vectors[9]):
            for ef in (1, 5, 30):
                assert_same(graph, query, 5, ef)
                assert_same(graph, query, 5, ef, bitmap(np.arange(400) % 2 == 0))


def random_graph(rng, metric: int, n: int, dim: int, palette: np.ndarray) -> Graph:
    """Return a graph of arbitrary links: to itself, twice, to no row, with gaps, in circles."""
    width, upper_width, levels = rng.integers(0, 6), rng.integers(0, 4), rng.integers(0, 4)
    strange = np.array([NO_LINK, n, n + 1, NO_LINK - 1], np.uint32)

    def links(count: int, wide: int) -> np.ndarray:
        some = rng.integers(0, n, size=(count, wide), dtype=np.uint32)
        return np.where(rng.random((count, wide)) < 0.1, rng.choice(strange, (count, wide)), some)

    rows = [np.flatnonzero(rng.random(n) < 0.5) for _ in range(levels)]
    return Graph(
        metric,
        rng.choice(palette, size=(n, dim)),
        links(n, width),
        np.cumsum([0, *map(len, rows)]).astype(np.uint64),
        np.concatenate([np.zeros(0, np.int64), *rows]).astype(np.uint32),
        links(sum(map(len, rows)), upper_width),
        int(rng.integers(0, n)),
    )


@settings(deadline=None, max_examples=examples(400))
@given(
    palette=st.lists(st.floats(width=32), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    dim=st.integers(1, 70),
    k=st.integers(1, 12),
    ef=st.integers(1, 30),
)
def test_same_answer_on_any_graph(palette, seed, n, dim, k, ef):
    rng = np.random.default_rng(seed)
    values = np.array(palette, np.float32)
    graph = random_graph(rng, int(rng.integers(0, 2)), n, dim, values)
    query = rng.choice(values, size=dim)
    assert_same(graph, query, k, ef)
    assert_same(graph, query, k, ef, bitmap(rng.random(n) < 0.4))


def test_no_rows(kernel):
    graph = flat(DOT, np.zeros((0, 5), np.float32), np.zeros((0, 8), np.uint32), entry=12)
    for allowed in (None, np.zeros(0, np.uint64)):
        rows, scores, visited = search(kernel, graph, np.ones(5, np.float32), 3, 10, allowed)
        assert (len(rows), len(scores), visited) == (0, 0, 0)


@pytest.mark.parametrize("width", [0, 1, 300, 1000])
def test_one_row(kernel, width):
    links = np.zeros((1, width), np.uint32)
    graph = flat(DOT, np.ones((1, 5), np.float32), links)
    rows, scores, visited = search(kernel, graph, np.ones(5, np.float32), 3, 10)
    assert (rows.tolist(), scores.tolist(), visited) == ([0], [5.0], 1)
    nothing = np.zeros(1, np.uint64)
    assert len(search(kernel, graph, np.ones(5, np.float32), 3, 10, nothing)[0]) == 0


def test_rows_of_links_wider_than_a_block(kernel):
    vectors = np.random.default_rng(0).normal(size=(700, 6)).astype(np.float32)
    links = np.full((700, 900), NO_LINK, np.uint32)
    links[0, :699] = np.arange(1, 700)
    graph = flat(L2, vectors, links)
    rows, scores, visited = search(kernel, graph, vectors[9].copy(), 5, 20)
    wanted = reference.scan_f32(L2, vectors, vectors[9].copy(), 5, None)
    np.testing.assert_array_equal(rows, wanted[0])
    np.testing.assert_array_equal(scores, wanted[1])
    assert visited == 700


def test_nothing_follows_the_first_padding(kernel):
    links = np.array([[1, NO_LINK, 2], [NO_LINK] * 3, [0, 1, 2]], np.uint32)
    graph = flat(DOT, np.ones((3, 2), np.float32), links)
    assert search(kernel, graph, np.ones(2, np.float32), 3, 3)[0].tolist() == [0, 1]


def test_all_padding_leaves_the_entry(kernel):
    links = np.full((9, 4), NO_LINK, np.uint32)
    graph = flat(DOT, np.ones((9, 2), np.float32), links, entry=4)
    rows, _, visited = search(kernel, graph, np.ones(2, np.float32), 3, 3)
    assert (rows.tolist(), visited) == ([4], 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_query_that_is_not_finite_is_scanned(kernel, value):
    graph, queries, _ = sample(DOT)
    query = queries[0].copy()
    query[3] = value
    rows, scores, visited = search(kernel, graph, query, 7, 10)
    wanted = reference.scan_f32(DOT, graph.vectors, query, 7, None)
    np.testing.assert_array_equal(rows, wanted[0])
    np.testing.assert_array_equal(scores.view(np.uint32), wanted[1].view(np.uint32))
    assert visited == N


def test_memory_maps_are_read_in_place(kernel, tmp_path: Path):
    graph, queries, _ = sample(L2)
    arguments = graph.arguments()
    for name, array in arguments.items():
        if isinstance(array, np.ndarray):
            np.save(tmp_path / f"{name}.npy", array)
            arguments[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    wanted = search(kernel, graph, queries[0], 10, 40)
    seen = search(kernel, graph, queries[0], 10, 40, **arguments)
    for one, other in zip(seen, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


SMALL = {
    **flat(DOT, np.zeros((70, 4), np.float32), np.zeros((70, 3), np.uint32)).arguments(),
    "upper_offsets": np.array([0, 2, 3], np.uint64),
    "upper_rows": np.array([0, 5, 5], np.uint32),
    "upper_links": np.zeros((3, 2), np.uint32),
    "query": np.zeros(4, np.float32),
    "k": 3,
    "ef": 5,
    "allowed": None,
}
OFFSETS = "expected ascending values from 0 to 3"
WRONG = [
    ("metric", 3, ValueError, "expected DOT (0), L2 (1) or L1 (2), got 3"),
    ("links0", SMALL["links0"].astype(np.int32), TypeError, "expected dtype uint32, got"),
    ("links0", SMALL["links0"].astype(np.uint64), TypeError, "expected dtype uint32, got"),
    ("links0", SMALL["links0"][1:], ValueError, "expected shape (70, 3), got (69, 3)"),
    ("links0", SMALL["links0"][0], ValueError, "expected 2 dimension(s), got 1"),
    ("links0", SMALL["links0"][:, ::2], ValueError, "expected a C-contiguous array"),
    ("upper_offsets", np.array([0, 2, 3], np.uint32), TypeError, "expected dtype uint64, got"),
    ("upper_offsets", np.array([], np.uint64), ValueError, OFFSETS),
    ("upper_offsets", np.array([0], np.uint64), ValueError, OFFSETS),
    ("upper_offsets", np.array([1, 3], np.uint64), ValueError, OFFSETS),
    ("upper_offsets", np.array([0, 4], np.uint64), ValueError, OFFSETS),
    ("upper_offsets", np.array([0, 2**64 - 1, 3], np.uint64), ValueError, OFFSETS),
    ("upper_rows", np.zeros(3), TypeError, "expected dtype uint32, got"),
    ("upper_links", np.zeros((2, 2), np.uint32), ValueError, "expected shape (3, 2), got (2, 2)"),
    ("entry", 70, ValueError, "expected 0 to 69, got 70"),
    ("entry", -1, ValueError, "expected 0 to 69, got -1"),
    ("entry", 2**32, ValueError, "expected 0 to 69, got 4294967296"),
    ("entry", None, TypeError, "expected an int, got NoneType"),
    ("codes", np.zeros((69, 4), np.uint8), ValueError, "expected shape (70, 4), got (69, 4)"),
    ("bounds", np.zeros((70, 2), np.float32), ValueError, "expected shape (70, 3), got (70, 2)"),
    ("vectors", np.zeros((70, 4)), TypeError, "expected dtype float32, got"),
    ("query", np.zeros(5, np.float32), ValueError, "expected shape (4,), got (5,)"),
    ("k", 0, ValueError, "expected at least 1, got 0"),
    ("ef", 0, ValueError, "expected at least 1, got 0"),
    ("ef", 1.5, TypeError, "expected an int, got float"),
    ("allowed", np.zeros(1, np.uint64), ValueError, "at least 2 words for 70 rows, got 1"),
]


@pytest.mark.parametrize(
    ("name", "value", "error", "text"), WRONG, ids=[f"{i}-{w[0]}" for i, w in enumerate(WRONG)]
)
def test_wrong_arguments_are_named(kernel, name, value, error, text):
    kernel.search_graph(**SMALL)
    with pytest.raises(error) as caught:
        kernel.search_graph(**{**SMALL, name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert text in str(caught.value)
