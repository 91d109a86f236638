"""What the native kernel computes, in numpy: the executable specification, never used to serve.

Same functions, signatures, errors and, for scores and codes, the same bits. `scan_i8` is defined
to return what `scan_f32` returns, so here it scans the float32 rows; how the codes are used to get
there faster is the native kernel's business. `reference_graph` and `reference_refine` do the same
for graphs.
"""

import numpy as np
from numpy.typing import NDArray

from .reference_checks import (
    DIM_MAX,
    DOT,
    L1,
    L2,
    check_array,
    check_between,
    check_coded,
    check_metric,
    check_positive,
    check_query,
    check_shape,
    check_vectors,
)

__all__ = [
    "DIM_MAX",
    "DOT",
    "L1",
    "L2",
    "instruction_set",
    "max_sim",
    "products",
    "quantize",
    "scan_f32",
    "scan_i8",
    "scan_many",
]

_LANES = 64


def instruction_set() -> str:
    """Return the name of the instruction set that the loops run with."""
    return "numpy"


def quantize(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return codes (n, dim) uint8 and bounds (n, 3) float32 of vectors (n, dim) float32.

    With scale = max|x| / 127, codes[i, j] = round(x / scale) + 128. bounds[i] is (scale, error,
    norm2): error is the euclidean norm of x - scale * (code - 128), norm2 the squared norm of
    scale * (code - 128), both rounded up. A row with a value that is not finite has error = inf.
    """
    check_vectors(vectors)
    n = len(vectors)
    with np.errstate(all="ignore"):
        most = np.abs(vectors).max(axis=1, initial=np.float32(0))
        finite = np.isfinite(vectors).all(axis=1)
        scale = np.where(finite, most / np.float32(127), np.float32(0)).astype(np.float32)
        units = np.rint(vectors / scale[:, None])  # ties to even
        units = np.where(scale[:, None] > 0, np.clip(units, -127, 127), 0).astype(np.float64)
        error2 = np.square(vectors - scale[:, None].astype(np.float64) * units).sum(axis=1)
        norm2 = np.square(scale.astype(np.float64)) * np.square(units).sum(axis=1)
        bounds = np.empty((n, 3), np.float32)
        bounds[:, 0] = scale
        bounds[:, 1] = np.where(finite, _round_up(np.sqrt(error2) * (1 + 1e-9)), np.inf)
        bounds[:, 2] = _round_up(norm2 * (1 + 1e-12))
    return (units + 128).astype(np.uint8), bounds


def scan_f32(
    metric: int,
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the rows and scores of the best min(k, allowed rows), best first, ties by lower row.

    vectors: (n, dim), n < 2**32, 1 <= dim <= DIM_MAX. query: (dim,). metric: DOT, L2 or L1.
    k >= 1. allowed: bit i & 63 of word i >> 6 admits row i, bits beyond n are ignored; None admits
    all.
    A score that is not a number ranks last. The bits of a score depend on the row and the query
    only, not on the machine. Raises TypeError for a wrong type or dtype, ValueError for a wrong
    value, shape or layout.
    """
    check_metric(metric)
    check_vectors(vectors)
    check_query(query, vectors.shape[1])
    limit = check_positive("k", k)
    return best(metric, vectors, allowed_rows(allowed, len(vectors)), query, limit)


def scan_i8(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return what scan_f32 returns, bit for bit, reading one byte per value of most rows.

    codes (n, dim) and bounds (n, 3) are what `quantize` made of vectors; if they are not, the rows
    returned may not be the best, but they are allowed rows with their true scores. Otherwise as
    scan_f32.
    """
    check_metric(metric)
    check_coded(codes, bounds, vectors)
    return scan_f32(metric, vectors, query, k, allowed)


def scan_many(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
    threads: int,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return what scan_i8 returns for each of many queries, stacked, found by many threads.

    queries: (q, dim) float32. Rows and scores are (q, min(k, allowed rows)). 1 <= threads <= 256;
    their number changes nothing but time. Otherwise as scan_i8.
    """
    check_metric(metric)
    check_coded(codes, bounds, vectors)
    check_array("queries", queries, np.float32, 2)
    check_shape("queries", queries, (len(queries), vectors.shape[1]))
    width = min(check_positive("k", k), len(allowed_rows(allowed, len(vectors))))
    check_between("threads", threads, 256)
    answers = [scan_f32(metric, vectors, query, k, allowed) for query in queries]
    return (
        np.array([rows for rows, _ in answers], np.uint32).reshape(len(queries), width),
        np.array([scores for _, scores in answers], np.float32).reshape(len(queries), width),
    )


def products(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the dot product of every vector (n, dim) with every other (m, dim), (n, m) float32.

    The bits of each are those of scan_f32's score. Raises TypeError and ValueError as scan_f32.
    """
    check_vectors(vectors)
    check_array("others", others, np.float32, 2)
    check_shape("others", others, (len(others), vectors.shape[1]))
    found = [scores_of(DOT, others, vector) for vector in vectors]
    return np.array(found, np.float32).reshape(len(vectors), len(others))


def max_sim(query: NDArray[np.float32], vectors: NDArray[np.float32], unit: bool) -> float:
    """Return the sum, over a query's vectors, of the greatest dot product with one of a point's.

    query: (q, dim) float32, q >= 1. vectors: (n, dim) float32, n >= 1. unit: each product is
    divided by the length of the point's vector; NaN where one squared is below 1e-30 or above 1e30.
    The bits depend on the numbers alone, not on the machine. Raises TypeError and ValueError as
    scan_f32.
    """
    check_vectors(query)
    check_array("vectors", vectors, np.float32, 2)
    check_shape("vectors", vectors, (len(vectors), query.shape[1]))
    if not len(query) or not len(vectors):
        raise ValueError("max_sim: expected at least one vector on each side")
    found = products(vectors, query)
    if unit:
        squares = np.array([scores_of(DOT, vector[None], vector)[0] for vector in vectors])
        if not ((squares >= np.float32(1e-30)) & (squares <= np.float32(1e30))).all():
            return float("nan")
        found /= np.sqrt(squares)[:, None]
    return float(sum(found.max(0).tolist()))


def best(
    metric: int,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    query: NDArray[np.float32],
    limit: int,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the best of some rows and their scores, as scan_f32 orders them."""
    scores = scores_of(metric, vectors[rows], query)
    # lexsort's last key counts most: numbers before NaN, then higher score, then lower row.
    missing = np.isnan(scores)
    order = np.lexsort((rows, np.where(missing, np.float32(0), -scores), missing))[:limit]
    return rows[order].astype(np.uint32), scores[order]


def scores_of(
    metric: int, vectors: NDArray[np.float32], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the scores (n,) with every float32 addition in the order that the native loops use.

    Term j goes to lane j % 64; lanes meet as (0..15 + 16..31) + (32..47 + 48..63), then in halves.
    """
    n, dim = vectors.shape
    padding = -dim % _LANES
    x = np.pad(vectors, ((0, 0), (0, padding))).reshape(n, (dim + padding) // _LANES, _LANES)
    q = np.pad(query, (0, padding)).reshape(-1, _LANES)
    lanes = np.zeros((n, _LANES), np.float32)
    with np.errstate(all="ignore"):
        for part in range(q.shape[0]):
            lanes += _terms(metric, x[:, part], q[part])
        quarters = lanes.reshape(n, 4, 16)
        total = (quarters[:, 0] + quarters[:, 1]) + (quarters[:, 2] + quarters[:, 3])
        for width in (8, 4, 2, 1):
            total = total[:, :width] + total[:, width:]
        scores = total[:, 0] if metric == DOT else np.float32(0) - total[:, 0]
    return np.where(np.isnan(scores), np.float32(np.nan), scores)


def _terms(metric: int, x: NDArray[np.float32], q: NDArray[np.float32]) -> NDArray[np.float32]:
    terms: NDArray[np.float32] = x * q if metric == DOT else x - q
    if metric == DOT:
        return terms
    return np.square(terms) if metric == L2 else np.abs(terms)


def _round_up(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the smallest float32 values that are not below the given ones."""
    nearest = values.astype(np.float32)
    return np.where(nearest < values, np.nextafter(nearest, np.float32(np.inf)), nearest)


def allowed_rows(allowed: NDArray[np.uint64] | None, n: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that the bitmap admits, ascending."""
    if allowed is None:
        return np.arange(n)
    check_array("allowed", allowed, np.uint64, 1)
    words = -(-n // 64)
    if len(allowed) < words:
        raise ValueError(
            f"allowed: expected at least {words} words for {n} rows, got {len(allowed)}"
        )
    return np.flatnonzero(np.unpackbits(allowed.view(np.uint8), bitorder="little")[:n])
