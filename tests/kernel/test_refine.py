"""One contract of refining a graph's links, for the native kernel and its numpy reference."""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.kernel.graphs import NO_LINK, build
from vecdb.kernel import _native, reference, reference_refine

pytestmark = pytest.mark.takes_turns

DOT, L2 = reference.DOT, reference.L2


@pytest.fixture(params=[_native, reference_refine], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> types.ModuleType:
    return request.param


def coded(points: list[list[float]] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _native.quantize(np.array(points, np.float32))


def clusters(n: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(dim)
    centers = rng.normal(size=(20, dim))
    return (centers[rng.integers(0, 20, n)] + 0.6 * rng.normal(size=(n, dim))).astype(np.float32)


def ring(n: int) -> np.ndarray:
    return ((np.arange(n, dtype=np.uint32) + 1) % n)[:, None].astype(np.uint32)


def reached(links: np.ndarray) -> int:
    """Return how many rows links lead to from row 0."""
    seen, frontier = {0}, [0]
    while frontier:
        linked = {int(link) for link in links[frontier].ravel() if link != NO_LINK}
        frontier = sorted(linked - seen)
        seen |= linked
    return len(seen)


def test_by_hand(kernel):
    """Of three points in a line the nearer occludes the farther; a point on the other side not."""
    codes, bounds = coded([[0, 1], [1, 1], [2, 1], [-3, 1]])
    links = np.array([[1, 3], [2, NO_LINK], [0, NO_LINK], [0, NO_LINK]], np.uint32)
    refined = kernel.refine_links(links, 0, codes, bounds, 3, 1.0, 1)
    assert refined[0].tolist() == [1, 3, NO_LINK]


def test_a_larger_alpha_lets_more_in_after_the_others(kernel):
    codes, bounds = coded([[0, 0], [10, 0], [10, 9.5], [0, -10]])
    links = np.array([[1, 2, 3], [0, 0, 0], [0, 0, 0], [0, 0, 0]], np.uint32)
    # Squared: row 2 is at 190 from row 0 and at 90 from row 1, which occludes it until alpha > 2.1.
    assert kernel.refine_links(links, 0, codes, bounds, 3, 2.0, 1)[0].tolist() == [1, 3, NO_LINK]
    assert kernel.refine_links(links, 0, codes, bounds, 3, 2.3, 1)[0].tolist() == [1, 3, 2]
    assert kernel.refine_links(links, 0, codes, bounds, 2, 2.3, 1)[0].tolist() == [1, 3]


@pytest.mark.parametrize("alpha", [1.0, 1.2, 4, float("inf")])
@pytest.mark.parametrize("dim", [1, 3, 65])
def test_links_are_rows_and_distinct(kernel, dim, alpha):
    graph = build(L2, clusters(300, dim), width=12)
    codes, bounds = coded(graph.vectors)
    for width in (1, 7, 20):
        refined = kernel.refine_links(graph.links0, 0, codes, bounds, width, alpha, 2)
        assert (refined.shape, refined.dtype) == ((300, width), np.uint32)
        for row, links in enumerate(refined.tolist()):
            rows = [link for link in links if link != NO_LINK]
            assert links[len(rows) :] == [NO_LINK] * (width - len(rows))
            assert len(set(rows)) == len(rows)
            assert row not in rows
            assert all(0 <= link < 300 for link in rows)


def assert_same(links, codes, bounds, width, alpha, entry=0) -> None:
    wanted = reference_refine.refine_links(links, entry, codes, bounds, width, alpha, 1)
    for threads in (1, 2, 5):
        seen = _native.refine_links(links, entry, codes, bounds, width, alpha, threads)
        np.testing.assert_array_equal(seen, wanted)


@pytest.mark.parametrize("dim", [1, 2, 33, 64, 100])
def test_native_refines_as_the_reference_does(dim):
    graph = build(L2, clusters(600, dim), width=16)
    for alpha, width in ((1.0, 16), (1.2, 24), (1.2, 4)):
        assert_same(graph.links0, *coded(graph.vectors), width, alpha)


@settings(deadline=None, max_examples=examples(150))
@given(
    palette=st.lists(st.floats(width=32), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 50),
    dim=st.integers(1, 20),
    width=st.integers(1, 9),
    alpha=st.floats(1, 3),
)
def test_same_links_on_any_graph(palette, seed, n, dim, width, alpha):
    rng = np.random.default_rng(seed)
    codes, bounds = coded(rng.choice(np.array(palette, np.float32), size=(n, dim)))
    links = rng.integers(0, n + 1, size=(n, int(rng.integers(0, 8))), dtype=np.uint32)
    links[rng.random(links.shape) < 0.1] = NO_LINK
    assert_same(links, codes, bounds, width, alpha, entry=int(rng.integers(0, n)))


def test_many_links_are_cut_to_the_nearest():
    """More rows met than are looked at, and more looked at than are chosen from."""
    rng = np.random.default_rng(0)
    codes, bounds = coded(rng.normal(size=(5000, 2)))
    links = np.full((5000, 100), NO_LINK, np.uint32)
    links[:120] = rng.integers(0, 5000, size=(120, 100))
    links[0] = np.arange(1, 101)
    assert_same(links, codes, bounds, 10, 1.2)


@pytest.mark.parametrize("metric", [DOT, L2])
def test_recall_rises_and_no_row_is_lost(metric):
    points = clusters(3100, 24)
    if metric == DOT:
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    vectors, queries = points[:3000].copy(), points[3000:]
    graph = build(metric, vectors, width=12)
    arguments = graph.arguments()

    def recall(links: np.ndarray) -> float:
        found = 0
        for query in queries:
            query = query.copy()
            rows, _, _ = _native.search_graph(
                **{**arguments, "links0": links}, query=query, k=10, ef=16, allowed=None
            )
            exact, _ = _native.scan_f32(metric, vectors, query, 10, None)
            found += len(np.intersect1d(rows, exact))
        return found / (10 * len(queries))

    links = graph.links0
    before = recall(links)
    for _ in range(2):
        links = _native.refine_links(
            links, 0, arguments["codes"], arguments["bounds"], 24, 1.2, threads=2
        )
        assert reached(links) == 3000
    assert recall(links) > before
    assert recall(links) >= 0.9


def test_rows_that_are_all_alike_stay_linked(kernel):
    codes, bounds = coded(np.ones((60, 5)))
    refined = kernel.refine_links(ring(60), 7, codes, bounds, 4, 1.2, 1)
    assert reached(refined) == 60


@pytest.mark.parametrize("seed", range(5))
def test_what_the_entry_led_to_it_still_does(kernel, seed):
    """Groups of equal rows occlude each other, and few links are left to tell them apart."""
    rng = np.random.default_rng(seed)
    points = np.repeat(rng.normal(size=(20, 3)), 12, axis=0)
    codes, bounds = coded(points)
    links = rng.integers(0, 240, size=(240, 6), dtype=np.uint32)
    links[:, 0] = ring(240)[:, 0]
    for width in (3, 6):
        assert reached(kernel.refine_links(links, 0, codes, bounds, width, 1.2, 1)) == 240


def test_no_rows(kernel):
    codes, bounds = coded(np.zeros((0, 5)))
    assert kernel.refine_links(np.zeros((0, 4), np.uint32), 3, codes, bounds, 8, 1.2, 4).shape == (
        0,
        8,
    )


GOOD = {
    "links0": ring(9),
    "entry": 8,
    "codes": np.zeros((9, 4), np.uint8),
    "bounds": np.zeros((9, 3), np.float32),
    "width": 3,
    "alpha": 1.2,
    "threads": 2,
}
WRONG = [
    ("links0", ring(8), ValueError, "expected shape (9, 1), got (8, 1)"),
    ("links0", ring(9).astype(np.int64), TypeError, "expected dtype uint32, got"),
    ("entry", 9, ValueError, "expected 0 to 8, got 9"),
    ("codes", np.zeros((9, 4), np.int8), TypeError, "expected dtype uint8, got"),
    ("codes", np.zeros((9, 0), np.uint8), ValueError, "expected 1 to 65536 values a row, got 0"),
    ("bounds", np.zeros((9, 2), np.float32), ValueError, "expected shape (9, 3), got (9, 2)"),
    ("width", 0, ValueError, "expected 1 to 256, got 0"),
    ("width", 257, ValueError, "expected 1 to 256, got 257"),
    ("alpha", 0.99, ValueError, "expected at least 1, got 0.99"),
    ("alpha", float("nan"), ValueError, "expected at least 1, got nan"),
    ("alpha", "1.2", TypeError, "expected a float, got str"),
    ("alpha", None, TypeError, "expected a float, got NoneType"),
    ("threads", 0, ValueError, "expected 1 to 256, got 0"),
    ("threads", 1.0, TypeError, "expected an int, got float"),
]


@pytest.mark.parametrize(
    ("name", "value", "error", "text"), WRONG, ids=[f"{i}-{w[0]}" for i, w in enumerate(WRONG)]
)
def test_wrong_arguments_are_named(kernel, name, value, error, text):
    kernel.refine_links(**GOOD)
    with pytest.raises(error) as caught:
        kernel.refine_links(**{**GOOD, name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert text in str(caught.value)
