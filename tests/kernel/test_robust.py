"""Arrays that nobody verified, and many threads at once."""

import sys
import threading
import time

import numpy as np
import pytest

from vecdb import kernel

METRICS = (kernel.DOT, kernel.L2, kernel.L1)


def garbage(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(rng.bytes(size), dtype).reshape(shape)


def assert_sane(rows: np.ndarray, scores: np.ndarray, inside: np.ndarray, k: int) -> None:
    """Check what holds whatever the arrays say: enough distinct allowed rows, in order."""
    assert len(rows) == len(scores) == min(k, len(inside))
    assert len(set(rows.tolist())) == len(rows)
    assert np.isin(rows, inside).all()
    numbers = scores[~np.isnan(scores)]
    assert np.isnan(scores[len(numbers) :]).all()
    assert (numbers[:-1] >= numbers[1:]).all()


@pytest.mark.parametrize("seed", range(20))
def test_garbage_gives_wrong_answers_at_worst(seed):
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(1, 900)), int(rng.integers(1, 140))
    allowed = garbage(rng, (-(-n // 64),), np.uint64)
    inside = np.flatnonzero(np.unpackbits(allowed.view(np.uint8), bitorder="little")[:n])
    odd = np.array([np.nan, np.inf, -np.inf, -1, -1e30, 0, 1e-45, 1, 3e38], np.float32)
    codes = garbage(rng, (n, dim), np.uint8)
    for bounds in (garbage(rng, (n, 3), np.float32), rng.choice(odd, size=(n, 3))):
        for vectors in (garbage(rng, (n, dim), np.float32), np.ones((n, dim), np.float32)):
            kernel.quantize(vectors)
            for query in (garbage(rng, (dim,), np.float32), np.ones(dim, np.float32)):
                for metric in METRICS:
                    for k in (1, 10, n):
                        found = kernel.scan_i8(metric, codes, bounds, vectors, query, k, allowed)
                        assert_sane(*found, inside, k)
                        found = kernel.scan_f32(metric, vectors, query, k, allowed)
                        assert_sane(*found, inside, k)


@pytest.mark.parametrize("metric", METRICS)
def test_senseless_bounds_never_cost_answers(metric):
    """Lower bounds above the upper ones would otherwise rule every row out."""
    vectors = np.random.default_rng(2).normal(size=(500, 16)).astype(np.float32)
    codes, _ = kernel.quantize(vectors)
    for row in ((0.1, -1, 1), (0.1, -1e6, 1), (-1, 0, 1), (1, 1, -1), (np.inf, 0, np.inf)):
        bounds = np.tile(np.array(row, np.float32), (500, 1))
        found = kernel.scan_i8(metric, codes, bounds, vectors, vectors[0].copy(), 10, None)
        assert_sane(*found, np.arange(500), 10)


def test_reads_nothing_beyond_the_arrays():
    """The last row of a buffer, for every remainder of a block: for the sanitizers to judge."""
    rng = np.random.default_rng(0)
    for dim in range(1, 130):
        vectors = rng.normal(size=(3, dim)).astype(np.float32)
        codes, bounds = kernel.quantize(vectors)
        for metric in METRICS:
            kernel.scan_f32(metric, vectors, vectors[2].copy(), 1, None)
            kernel.scan_i8(metric, codes, bounds, vectors, vectors[2].copy(), 1, None)


def test_many_threads_share_the_arrays():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(3000, 96)).astype(np.float32)
    queries = rng.normal(size=(16, 96)).astype(np.float32)
    codes, bounds = kernel.quantize(vectors)
    wanted = [kernel.scan_f32(kernel.L2, vectors, query, 10, None) for query in queries]
    wrong: list[int] = []

    def search(first: int) -> None:
        for turn in range(40):
            at = (first + turn) % len(queries)
            query, (rows, scores) = queries[at], wanted[at]
            found = kernel.scan_i8(kernel.L2, codes, bounds, vectors, query, 10, None)
            if not (np.array_equal(found[0], rows) and np.array_equal(found[1], scores)):
                wrong.append(at)

    threads = [threading.Thread(target=search, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_gil_is_released():
    """Another thread moves on during a scan, though this one never gives way by itself."""
    vectors = np.zeros((200_000, 64), np.float32)
    query = np.zeros(64, np.float32)
    started, stop = threading.Event(), threading.Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        started.set()
        while not stop.is_set():
            turns += 1
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    started.wait()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        before = turns
        for _ in range(100):  # a loaded machine may not run the other thread during the first
            kernel.scan_f32(kernel.DOT, vectors, query, 10, None)
            if turns > before:
                break
        after = turns
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        other.join()
    assert after > before


def garbage_graph(rng: np.random.Generator, n: int) -> dict:
    """Return the arrays of a graph in which nothing but shapes and offsets makes sense."""
    kind = rng.integers(0, 3)
    rows, width = int(rng.integers(0, 50)), int(rng.integers(0, 40))

    def links(shape: tuple[int, ...]) -> np.ndarray:
        if kind == 0:
            return garbage(rng, shape, np.uint32)
        if kind == 1:  # rows and their neighbours in number: many circles
            return rng.integers(0, n + 1, size=shape, dtype=np.uint32)
        return np.broadcast_to(np.arange(shape[0], dtype=np.uint32)[:, None], shape).copy()

    middle = np.sort(rng.integers(0, rows + 1, size=3)).tolist()
    return {
        "links0": links((n, width)),
        "upper_offsets": np.array([0, *middle, rows], np.uint64),
        "upper_rows": rng.integers(0, n + 2, size=rows, dtype=np.uint32),
        "upper_links": links((rows, 3)),
        "entry": int(rng.integers(0, n)),
    }


@pytest.mark.parametrize("seed", range(40))
def test_a_garbage_graph_gives_wrong_answers_at_worst(seed):
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(1, 900)), int(rng.integers(1, 140))
    allowed = garbage(rng, (-(-n // 64),), np.uint64)
    inside = np.flatnonzero(np.unpackbits(allowed.view(np.uint8), bitorder="little")[:n])
    sane = rng.normal(size=(n, dim)).astype(np.float32)
    for vectors in (sane, garbage(rng, (n, dim), np.float32)):
        for codes, bounds in (
            kernel.quantize(vectors),
            (garbage(rng, (n, dim), np.uint8), garbage(rng, (n, 3), np.float32)),
        ):
            arrays = {**garbage_graph(rng, n), "codes": codes, "bounds": bounds}
            for metric, k, ef in ((0, 1, 1), (1, 10, 30), (0, n, 1), (1, 5, 2**62)):
                for words, rows in ((None, np.arange(n)), (allowed, inside)):
                    found, scores, visited = kernel.search_graph(
                        metric, **arrays, vectors=vectors, query=sane[0], k=k, ef=ef, allowed=words
                    )
                    assert_sane(found, scores, rows, min(k, len(found)))
                    assert len(found) <= k
                    assert 1 <= visited <= n
                    found, scores, visited, scanned = kernel.search(
                        metric, **arrays, vectors=vectors, query=sane[0], k=k, ef=ef, allowed=words
                    )
                    assert_sane(found, scores, rows, min(k, len(rows)))
                    assert scanned or visited > 0


def chain(n: int, dim: int) -> dict:
    """Return the arguments of a search over rows of which each links to the next one."""
    vectors = np.random.default_rng(n).normal(size=(n, dim)).astype(np.float32)
    codes, bounds = kernel.quantize(vectors)
    return {
        "metric": kernel.L2,
        "links0": ((np.arange(n, dtype=np.uint32) + 1) % n)[:, None].astype(np.uint32),
        "upper_offsets": np.zeros(1, np.uint64),
        "upper_rows": np.zeros(0, np.uint32),
        "upper_links": np.zeros((0, 4), np.uint32),
        "entry": 0,
        "codes": codes,
        "bounds": bounds,
        "vectors": vectors,
        "query": vectors[0].copy(),
        "k": n,
        "ef": n,
        "allowed": None,
    }


def test_marks_of_earlier_walks_are_forgotten():
    """The tag of a walk has 16 bits: after 65,535 walks the marks are cleared, and used again."""
    small, large = chain(3, 2), chain(50, 2)
    for walk in range(70_000):
        assert kernel.search_graph(**small)[2] == 3
        if walk % 1000 == 0 or 65_400 < walk < 65_600:
            assert kernel.search_graph(**large)[2] == 50


def test_many_threads_walk_graphs_of_many_sizes():
    graphs = [chain(n, 16) for n in (1, 70, 3000, 500, 9)]
    wanted = [kernel.search_graph(**graph) for graph in graphs]
    wrong = []

    def walk(first: int) -> None:
        for at in range(first, first + 60):
            rows, scores, visited = kernel.search_graph(**graphs[at % len(graphs)])
            right = wanted[at % len(graphs)]
            if not (
                np.array_equal(rows, right[0])
                and np.array_equal(scores, right[1])
                and visited == right[2]
            ):
                wrong.append(at)

    threads = [threading.Thread(target=walk, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("seed", range(20))
def test_garbage_links_are_refined_to_rows(seed):
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(1, 700)), int(rng.integers(1, 140))
    links = garbage_graph(rng, n)["links0"]
    odd = np.array([np.nan, np.inf, -np.inf, -1, -1e30, 0, 1e-45, 1, 3e38], np.float32)
    for bounds in (garbage(rng, (n, 3), np.float32), rng.choice(odd, size=(n, 3))):
        codes = garbage(rng, (n, dim), np.uint8)
        width = int(rng.integers(1, 40))
        refined = kernel.refine_links(links, n - 1, codes, bounds, width, 1.2, 3)
        assert refined.shape == (n, width)
        assert ((refined < n) | (refined == kernel.NO_LINK)).all()
