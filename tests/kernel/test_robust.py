"""Arrays that nobody verified, and many threads at once."""

import sys
import threading
import time

import numpy as np
import pytest

from vecdb import kernel

METRICS = (kernel.DOT, kernel.L2)


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
