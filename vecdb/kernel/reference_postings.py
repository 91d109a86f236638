"""What the native kernel does with postings, in numpy: as `reference`, a specification."""

import operator

import numpy as np
from numpy.typing import NDArray

from .reference import allowed_rows
from .reference_checks import check_array, check_positive, check_shape

_ROWS_MAX = 2**32 - 1


def search_text(
    rows: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    lengths: NDArray[np.uint32],
    starts: NDArray[np.uint64],
    stops: NDArray[np.uint64],
    fields: NDArray[np.uint32],
    weights: NDArray[np.float32],
    norms: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the rows and scores of the best k rows that are in a list, best first, by BM25.

    A list holds the rows in which one word occurs: list i is rows[starts[i] : stops[i]], ascending,
    and counts (as many as rows) says how often. lengths: (fields, n) words of each row. A row's
    score is the sum over lists, in their order, of weight * (count / (count + (norm0 + norm1 *
    length))), in float32, where fields[i] chooses length and norms (fields, 2) of list i. With
    weight = (k1 + 1) * idf, norm0 = k1 * (1 - b) and norm1 = k1 * b / average length that is Okapi
    BM25 (Robertson & Zaragoza 2009). Weights, counts and norms are not negative. The fewer lists
    of high weight stand first, the more of the others can be passed over; the answer is the same.

    rows, counts: (p,). starts, stops, fields, weights: (q,). Ties, k and allowed as in scan_f32. A
    row that is not below n, or not above the one before it, is passed over or read, but at worst
    gives a wrong answer: rows are distinct and allowed. Raises as scan_f32.
    """
    _check_lists(rows, starts, stops, weights)
    check_array("counts", counts, np.uint32, 1)
    check_shape("counts", counts, rows.shape)
    check_array("lengths", lengths, np.uint32, 2)
    count, n = lengths.shape
    _check_rows("lengths", n)
    check_array("fields", fields, np.uint32, 1)
    check_shape("fields", fields, starts.shape)
    for field in fields.tolist():
        if field >= count:
            raise ValueError(f"fields: expected 0 to {count} exclusive, got {field}")
    check_array("norms", norms, np.float32, 2)
    check_shape("norms", norms, (count, 2))
    limit = check_positive("k", k)
    admitted = allowed_rows(allowed, n)
    scores, met = np.zeros(n, np.float32), np.zeros(n, np.bool_)
    for at, field in enumerate(fields.tolist()):
        of = slice(int(starts[at]), int(stops[at]))
        often = counts[of].astype(np.float32)
        norm = norms[field, 0] + norms[field, 1] * lengths[field, rows[of]].astype(np.float32)
        with np.errstate(all="ignore"):
            scores[rows[of]] += weights[at] * (often / (often + norm))
        met[rows[of]] = True
    return _best(scores, admitted[met[admitted]], limit)


def search_sparse(
    n: int,
    rows: NDArray[np.uint32],
    values: NDArray[np.float32],
    starts: NDArray[np.uint64],
    stops: NDArray[np.uint64],
    weights: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the rows and scores of the best k rows that are in a list, best first, by dot product.

    A list holds the rows with a value at one index: list i is rows[starts[i] : stops[i]],
    ascending, and values stands beside rows. A row's score is the sum over lists, in their order,
    of weight * value, in float32; both may be negative. Rows without a value at any index are not
    found.
    n: rows in all. Otherwise as search_text.
    """
    size = _integer("n", n)
    if size < 0:
        raise ValueError(f"n: expected at least 0, got {size}")
    _check_rows("n", size)
    _check_lists(rows, starts, stops, weights)
    check_array("values", values, np.float32, 1)
    check_shape("values", values, rows.shape)
    limit = check_positive("k", k)
    admitted = allowed_rows(allowed, size)
    scores, met = np.zeros(size, np.float32), np.zeros(size, np.bool_)
    for at in range(len(starts)):
        of = slice(int(starts[at]), int(stops[at]))
        with np.errstate(all="ignore"):
            scores[rows[of]] += weights[at] * values[of]
        met[rows[of]] = True
    return _best(scores, admitted[met[admitted]], limit)


def _best(
    scores: NDArray[np.float32], rows: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    found = np.where(np.isnan(scores[rows]), np.float32(np.nan), scores[rows])
    missing = np.isnan(found)
    order = np.lexsort((rows, np.where(missing, np.float32(0), -found), missing))[:limit]
    return rows[order].astype(np.uint32), found[order]


def _integer(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}") from None


def _check_rows(name: str, n: int) -> None:
    if n > _ROWS_MAX:
        raise ValueError(f"{name}: expected fewer than 2**32 rows, got {n}")


def _check_lists(
    rows: NDArray[np.uint32],
    starts: NDArray[np.uint64],
    stops: NDArray[np.uint64],
    weights: NDArray[np.float32],
) -> None:
    check_array("rows", rows, np.uint32, 1)
    check_array("starts", starts, np.uint64, 1)
    check_array("stops", stops, np.uint64, 1)
    check_array("weights", weights, np.float32, 1)
    check_shape("stops", stops, starts.shape)
    check_shape("weights", weights, starts.shape)
    for at, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        if start > stop or stop > len(rows):
            raise ValueError(f"starts, stops: list {at} is no part of {len(rows)} postings")
