"""One contract for the native kernel and its numpy reference."""

import itertools
import types
from pathlib import Path

import numpy as np
import pytest

from tests.kernel.bitmaps import bitmap
from vecdb.kernel import _native, reference

DIMS = (1, 2, 3, 63, 64, 65, 384, 1000)
DOT, L2, L1 = reference.DOT, reference.L2, reference.L1


@pytest.fixture(params=[_native, reference], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> types.ModuleType:
    return request.param


def both_scans(kernel, metric, vectors, query, k, allowed):
    """Return what scan_f32 returns, having checked that scan_i8 returns the same bits."""
    rows, scores = kernel.scan_f32(metric, vectors, query, k, allowed)
    assert (rows.dtype, scores.dtype) == (np.uint32, np.float32)
    codes, bounds = kernel.quantize(vectors)
    rows_i8, scores_i8 = kernel.scan_i8(metric, codes, bounds, vectors, query, k, allowed)
    np.testing.assert_array_equal(rows_i8, rows)
    np.testing.assert_array_equal(scores_i8.view(np.uint32), scores.view(np.uint32))
    return rows, scores


def test_names_and_constants(kernel):
    assert (kernel.DOT, kernel.L2, kernel.L1, kernel.DIM_MAX) == (0, 1, 2, 65536)
    assert isinstance(kernel.instruction_set(), str)


def test_dot_by_hand(kernel):
    vectors = np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], np.float32)
    rows, scores = both_scans(kernel, DOT, vectors, np.array([2, 1], np.float32), 3, None)
    assert rows.tolist() == [2, 0, 1]
    assert scores.tolist() == [3, 2, 1]


def test_l2_by_hand(kernel):
    vectors = np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], np.float32)
    rows, scores = both_scans(kernel, L2, vectors, np.array([1, 0], np.float32), 4, None)
    assert rows.tolist() == [0, 2, 1, 3]
    assert scores.tolist() == [0, -1, -2, -4]
    assert not np.signbit(scores[0])


def test_l1_by_hand(kernel):
    vectors = np.array([[1, 0], [0, 1], [3, 1], [-1, -2]], np.float32)
    rows, scores = both_scans(kernel, L1, vectors, np.array([1, 0], np.float32), 4, None)
    assert rows.tolist() == [0, 1, 2, 3]
    assert scores.tolist() == [0, -2, -3, -4]
    assert not np.signbit(scores[0])


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("dim", DIMS)
def test_scores_are_right_and_ordered(kernel, metric, dim):
    rng = np.random.default_rng(dim)
    vectors = rng.normal(size=(300, dim)).astype(np.float32)
    query = rng.normal(size=dim).astype(np.float32)
    rows, scores = both_scans(kernel, metric, vectors, query, 300, None)
    exact = vectors[rows].astype(np.float64)
    terms = {DOT: exact * query, L2: -np.square(exact - query), L1: -np.abs(exact - query)}
    wanted = terms[metric].sum(axis=1)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-4)
    assert (np.diff(scores) <= 0).all()
    assert sorted(rows.tolist()) == list(range(300))


@pytest.mark.parametrize("metric", [DOT, L2, L1])
@pytest.mark.parametrize("dim", DIMS)
def test_native_gives_the_bits_of_the_reference(metric, dim):
    """So every instruction set's copy of the loops gives the same, too."""
    rng = np.random.default_rng(dim)
    vectors = (rng.normal(size=(257, dim)) * 10.0 ** rng.integers(-3, 4, (257, 1))).astype("f4")
    query = rng.normal(size=dim).astype(np.float32)
    codes, bounds = _native.quantize(vectors)
    codes_wanted, bounds_wanted = reference.quantize(vectors)
    np.testing.assert_array_equal(codes, codes_wanted)
    np.testing.assert_array_equal(bounds[:, 0], bounds_wanted[:, 0])
    np.testing.assert_allclose(bounds, bounds_wanted, rtol=1e-6)
    for k in (1, 10, 300):
        rows, scores = both_scans(_native, metric, vectors, query, k, None)
        rows_wanted, scores_wanted = reference.scan_f32(metric, vectors, query, k, None)
        np.testing.assert_array_equal(rows, rows_wanted)
        np.testing.assert_array_equal(scores.view(np.uint32), scores_wanted.view(np.uint32))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 256, 257, 700])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_bitmap(kernel, n, share):
    rng = np.random.default_rng(n)
    vectors = rng.normal(size=(n, 5)).astype(np.float32)
    query = rng.normal(size=5).astype(np.float32)
    mask = rng.random(n) < share
    inside = np.flatnonzero(mask)
    words = bitmap(mask)
    garbage = words.copy()
    if n % 64:
        garbage[-1] |= ~np.uint64(0) << np.uint64(n % 64)
    longer = np.append(garbage, ~np.uint64(0))
    for metric, k in itertools.product((DOT, L2, L1), (1, 3, n)):
        rows, scores = kernel.scan_f32(metric, vectors[inside], query, k, None)
        for allowed in (words, garbage, longer):
            rows_seen, scores_seen = both_scans(kernel, metric, vectors, query, k, allowed)
            np.testing.assert_array_equal(rows_seen, inside[rows])
            np.testing.assert_array_equal(scores_seen, scores)


@pytest.mark.parametrize("metric", [DOT, L2, L1])
def test_ties_go_to_the_lower_row(kernel, metric):
    rng = np.random.default_rng(1)
    vectors = np.repeat(rng.normal(size=(4, 70)).astype(np.float32), 100, axis=0)
    for k in (1, 5, 99, 100, 101, 250, 399):
        rows, scores = both_scans(kernel, metric, vectors, vectors[250], k, None)
        order = np.lexsort((rows, -scores))
        np.testing.assert_array_equal(order, np.arange(k))
        assert rows[: min(k, 100)].tolist() == list(range(200, 200 + min(k, 100)))


@pytest.mark.parametrize("metric", [DOT, L2, L1])
def test_a_score_depends_on_row_and_query_alone(kernel, metric):
    rng = np.random.default_rng(2)
    for dim in (3, 65, 100, 384):
        row, query = rng.normal(size=(2, dim)).astype(np.float32)
        _, alone = kernel.scan_f32(metric, row[None], query, 1, None)
        buffer = np.zeros(600 * dim + 16, np.float32)
        for shift, at in itertools.product((0, 1, 7), (0, 255, 599)):
            vectors = buffer[shift : shift + 600 * dim].reshape(600, dim)
            vectors[:] = rng.normal(size=vectors.shape)
            vectors[at] = row
            only = bitmap(np.arange(600) == at)
            _, scores = both_scans(kernel, metric, vectors, query, 1, only)
            assert scores.view(np.uint32) == alone.view(np.uint32)
            rows, scores = kernel.scan_f32(metric, vectors, query, 600, None)
            assert scores[rows == at].view(np.uint32) == alone.view(np.uint32)


def test_k_beyond_the_rows_returns_all(kernel):
    vectors = np.ones((3, 2), np.float32)
    for k in (3, 4, 10**6, 2**62, 2**80):
        rows, _ = both_scans(kernel, DOT, vectors, vectors[0], k, None)
        assert rows.tolist() == [0, 1, 2]


def test_no_rows(kernel):
    vectors = np.empty((0, 7), np.float32)
    codes, bounds = kernel.quantize(vectors)
    assert (codes.shape, bounds.shape) == ((0, 7), (0, 3))
    for allowed in (None, np.empty(0, np.uint64), np.ones(1, np.uint64)):
        rows, scores = both_scans(kernel, L2, vectors, np.zeros(7, np.float32), 5, allowed)
        assert (rows.shape, scores.shape) == ((0,), (0,))


@pytest.mark.parametrize("metric", [DOT, L2, L1])
def test_nan_ranks_last_and_has_one_form(kernel, metric):
    vectors = np.array([[np.nan, 0], [1, 0], [-np.inf, 0], [np.inf, 0], [np.nan, 1]], np.float32)
    vectors[4, 0] = np.array(0xFFC12345, np.uint32).view(np.float32)
    rows, scores = both_scans(kernel, metric, vectors, np.array([1, 0], np.float32), 5, None)
    assert rows.tolist() == ([3, 1, 2, 0, 4] if metric == DOT else [1, 2, 3, 0, 4])
    assert scores[3:].view(np.uint32).tolist() == [0x7FC00000] * 2
    for k in (1, 2, 3, 4):
        rows_few, _ = both_scans(kernel, metric, vectors, np.array([1, 0], np.float32), k, None)
        np.testing.assert_array_equal(rows_few, rows[:k])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("metric", [DOT, L2, L1])
def test_odd_queries(kernel, metric, value):
    vectors = np.random.default_rng(3).normal(size=(100, 4)).astype(np.float32)
    query = np.full(4, value, np.float32)
    rows, _ = both_scans(kernel, metric, vectors, query, 7, None)
    assert len(set(rows.tolist())) == 7


def test_quantize_by_hand(kernel):
    vectors = np.array([[127, -127, 0.5, 1.5], [0, 0, 0, 0], [2.54, 0.02, 0, -1]], np.float32)
    codes, bounds = kernel.quantize(vectors)
    assert codes[0].tolist() == [255, 1, 128, 130]
    assert codes[1].tolist() == [128] * 4
    assert codes[2].tolist() == [255, 129, 128, 78]
    np.testing.assert_allclose(bounds[0], [1, np.sqrt(0.5), 127**2 * 2 + 4], rtol=1e-6)
    assert bounds[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("magnitude", [1e-45, 1e-43, 1e-39, 1e-20, 1e-3, 1.0, 1e6, 1e18, 3e38])
@pytest.mark.parametrize("dim", [1, 2, 64, 100])
def test_quantize_bounds_hold(kernel, magnitude, dim):
    rng = np.random.default_rng(dim)
    vectors = (rng.uniform(-1, 1, size=(50, dim)) * magnitude).astype(np.float32)
    codes, bounds = kernel.quantize(vectors)
    assert codes.min() >= 1
    scale, error, norm2 = bounds.astype(np.float64).T
    with np.errstate(over="ignore"):
        restored = scale[:, None] * (codes.astype(np.float64) - 128)
        assert (np.linalg.norm(vectors - restored, axis=1) <= error).all()
        assert (np.square(restored).sum(axis=1) <= norm2).all()
    if 1e-39 < magnitude < 1e18:
        assert (error <= scale * 0.5001 * np.sqrt(dim) + 1e-40).all()


def test_quantize_marks_what_is_not_finite(kernel):
    vectors = np.array([[1, np.nan], [np.inf, 1], [1, 1]], np.float32)
    codes, bounds = kernel.quantize(vectors)
    assert np.isinf(bounds[:, 1]).tolist() == [True, True, False]
    assert codes[:2].tolist() == [[128, 128]] * 2


def test_largest_dim(kernel):
    vectors = np.ones((3, kernel.DIM_MAX), np.float32)
    vectors[1] *= -1
    rows, scores = both_scans(kernel, DOT, vectors, vectors[0], 1, None)
    assert (rows.tolist(), scores.tolist()) == ([0], [kernel.DIM_MAX])


def test_memory_maps_are_read_in_place(kernel, tmp_path: Path):
    vectors = np.random.default_rng(4).normal(size=(90, 20)).astype(np.float32)
    codes, bounds = kernel.quantize(vectors)
    everything = bitmap(np.ones(90, np.bool_))
    arrays = {"vectors": vectors, "codes": codes, "bounds": bounds, "allowed": everything}
    maps = {}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        maps[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    query = vectors[7].copy()
    query.flags.writeable = False
    rows, scores = kernel.scan_f32(DOT, vectors, query, 9, None)
    rows_seen, scores_seen = kernel.scan_i8(
        DOT, maps["codes"], maps["bounds"], maps["vectors"], query, 9, maps["allowed"]
    )
    np.testing.assert_array_equal(rows_seen, rows)
    np.testing.assert_array_equal(scores_seen, scores)


VECTORS = np.zeros((70, 4), np.float32)
GOOD = {
    "metric": DOT,
    "codes": np.zeros((70, 4), np.uint8),
    "bounds": np.zeros((70, 3), np.float32),
    "vectors": VECTORS,
    "query": np.zeros(4, np.float32),
    "k": 3,
    "allowed": np.zeros(2, np.uint64),
}
UNALIGNED = np.frombuffer(bytes(70 * 16 + 1), np.uint8)[1:].view(np.float32).reshape(70, 4)
HUGE = np.empty((2**32, 0), np.float32)

WRONG = [
    ("metric", 3, ValueError, "expected DOT (0), L2 (1) or L1 (2), got 3"),
    ("metric", -1, ValueError, "got -1"),
    ("metric", "dot", TypeError, "expected an int, got str"),
    ("metric", 1.0, TypeError, "expected an int, got float"),
    ("k", 0, ValueError, "expected at least 1, got 0"),
    ("k", -5, ValueError, "got -5"),
    ("k", None, TypeError, "expected an int, got NoneType"),
    ("vectors", None, TypeError, "expected a float32 array, got NoneType"),
    ("vectors", [[0.0]], TypeError, "expected a float32 array, got list"),
    ("vectors", VECTORS.astype(np.float64), TypeError, "expected dtype float32, got"),
    ("vectors", VECTORS.astype(np.float16), TypeError, "expected dtype float32, got"),
    ("vectors", VECTORS.astype(">f4"), TypeError, "expected dtype float32, got"),
    ("vectors", VECTORS.astype(np.int32), TypeError, "expected dtype float32, got"),
    ("vectors", VECTORS.astype("M8[s]"), TypeError, "expected"),
    ("vectors", VECTORS.astype(object), TypeError, "expected dtype float32, got"),
    ("vectors", VECTORS[0], ValueError, "expected 2 dimension(s), got 1"),
    ("vectors", VECTORS[None], ValueError, "expected 2 dimension(s), got 3"),
    ("vectors", VECTORS[:, ::2], ValueError, "expected a C-contiguous array"),
    ("vectors", np.asfortranarray(VECTORS), ValueError, "expected a C-contiguous array"),
    ("vectors", UNALIGNED, ValueError, "expected an aligned array"),
    ("vectors", np.zeros((70, 0), np.float32), ValueError, "expected 1 to 65536 values a row"),
    ("vectors", np.zeros((1, 65537), np.float32), ValueError, "expected 1 to 65536 values a row"),
    ("vectors", HUGE, ValueError, "expected fewer than 2**32 rows, got 4294967296"),
    ("query", np.zeros(5, np.float32), ValueError, "expected shape (4,), got (5,)"),
    ("query", np.zeros((1, 4), np.float32), ValueError, "expected 1 dimension(s), got 2"),
    ("query", np.zeros(4), TypeError, "expected dtype float32, got"),
    ("query", np.zeros(8, np.float32)[::2], ValueError, "expected a C-contiguous array"),
    ("allowed", np.zeros(1, np.uint64), ValueError, "at least 2 words for 70 rows, got 1"),
    ("allowed", np.zeros(2, np.int64), TypeError, "expected dtype uint64, got"),
    ("allowed", np.zeros(70, np.bool_), TypeError, "expected dtype uint64, got"),
    ("allowed", b"12345678", TypeError, "expected"),
    ("codes", np.zeros((70, 4), np.int8), TypeError, "expected dtype uint8, got"),
    ("codes", np.zeros((69, 4), np.uint8), ValueError, "expected shape (70, 4), got (69, 4)"),
    ("codes", np.zeros((70, 5), np.uint8), ValueError, "expected shape (70, 4), got (70, 5)"),
    ("bounds", np.zeros((70, 2), np.float32), ValueError, "expected shape (70, 3), got (70, 2)"),
    ("bounds", np.zeros((70, 3)), TypeError, "expected dtype float32, got"),
]


@pytest.mark.parametrize(
    ("name", "value", "error", "text"), WRONG, ids=[f"{i}-{w[0]}" for i, w in enumerate(WRONG)]
)
def test_wrong_arguments_are_named(kernel, name, value, error, text):
    arguments = {**GOOD, name: value}
    f32 = {key: arguments[key] for key in ("metric", "vectors", "query", "k", "allowed")}
    calls = [(kernel.scan_i8, arguments)]
    if name not in ("codes", "bounds"):
        calls.append((kernel.scan_f32, f32))
    if name == "vectors":
        calls.append((kernel.quantize, {"vectors": value}))
    for function, keywords in calls:
        with pytest.raises(error) as caught:
            function(**keywords)
        assert str(caught.value).startswith(f"{name}: ")
        assert text in str(caught.value)
