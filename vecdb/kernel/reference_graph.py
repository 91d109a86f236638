"""What the native kernel does with graphs, in numpy: as `reference`, a specification."""

import bisect
import heapq
import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .reference import DOT, L1, allowed_rows, best, scan_f32, scan_i8, scores_of
from .reference_checks import (
    check_array,
    check_between,
    check_coded,
    check_entry,
    check_graph,
    check_metric,
    check_positive,
    check_query,
    check_shape,
)

NO_LINK = 2**32 - 1
"""Ends a row of links that has room for more."""


def search_graph(
    metric: int,
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    ef: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32], int]:
    """Return rows and scores of near neighbours, best first, and how many rows the walk visited.

    The graph is HNSW's (Malkov & Yashunin 2016, arXiv:1603.09320, Algorithms 2 and 5), frozen into
    arrays; every link is the number of a row, and NO_LINK ends a row of links that has room left.
    links0: (n, width) uint32, the links of every row on level 0. Of a level l >= 1,
    upper_rows[upper_offsets[l - 1] : upper_offsets[l]] (uint32) are the rows, ascending, and
    upper_links, (len(upper_rows), upper_width) uint32, holds the links of each. upper_offsets:
    (levels + 1,) uint64, ascending from 0 to len(upper_rows). entry: the row to start from, any
    int when n is 0.

    Level by level from the top, the walk goes to the best linked row for as long as it is better
    than where it stands. On level 0 it expands the best row it has met, until that is worse than
    the worst of a full pool: the best p allowed rows met. So it returns fewer than k rows only when
    links lead to no more allowed ones. "Better" is by an estimate from codes and bounds (what
    `quantize` made of vectors), ties by lower row. The answer is the best k of the pool by the
    score, and in the order, of scan_f32.

    p is max(ef, k) when all rows are allowed. When a share s of them is, and a share t of those
    expanded so far, it is u * max(ef, k) + 0.75 * k * (1 - u), where u = max(s, t), times
    2 - 2 * t / s where that is more than 1; rounded up, and at least k. So a search under a filter
    finds about as large a part of the true k as one without.

    A link that is no row is passed over; whatever links, codes and bounds say, the rows are
    distinct, allowed and have their true scores. A query that is not finite is answered by
    scan_f32. ef >= 1. Otherwise, and in what it raises, as scan_i8.
    """
    _check(metric, links0, upper_offsets, upper_rows, upper_links, entry, codes, bounds, vectors)
    check_query(query, vectors.shape[1])
    pool = _pool(k, ef, allowed, len(vectors))
    if len(vectors) == 0 or not np.isfinite(query).all():
        return *scan_f32(metric, vectors, query, k, allowed), len(vectors)
    estimates = _estimates(metric, codes, bounds, query)
    start = _descend(estimates, upper_offsets, upper_rows, upper_links, entry)
    rows, visited = _gather(estimates, links0, start, pool, len(vectors))
    found, scores = best(metric, vectors, np.array(rows, np.int64), query, pool.k)
    return found, scores, visited


def search(
    metric: int,
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    ef: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32], int, bool]:
    """Return min(k, allowed rows) near neighbours, how many the walk visited, and whether scanned.

    Walks as search_graph does, or scans the allowed rows as scan_i8 does. It scans

    - when that is expected to cost less: a * (dim + 64) for a allowed rows, against
      0.625 * width * p * n / a * (dim + 448) for a walk that gathers p rows;
    - when the query is not finite, or k rows or fewer are allowed;
    - when the walk has visited so many rows, before it ended, that it has cost a quarter of the
      scan and twice what was expected: the filter excludes what is near the query;
    - when the walk ends with fewer than k rows.

    Arguments and what it raises as search_graph. Rows are allowed and distinct, and have their true
    scores, whatever the arrays say; a scan finds the true best.
    """
    _check(metric, links0, upper_offsets, upper_rows, upper_links, entry, codes, bounds, vectors)
    check_query(query, vectors.shape[1])
    n, dim = vectors.shape
    pool = _pool(k, ef, allowed, n)
    count = len(pool.allowed)
    scan = *scan_i8(metric, codes, bounds, vectors, query, k, allowed), 0, True
    if int(k) >= count or not np.isfinite(query).all():
        return scan
    expanded = float(pool.size(0, 0)) * n / count
    walk_row = dim + 448.0
    walk_cost = min(float(n), expanded * 0.625 * links0.shape[1]) * walk_row
    scan_cost = count * (dim + 64.0)
    if walk_cost >= scan_cost:
        return scan
    most = n if allowed is None else min(n, int(max(scan_cost / 4, walk_cost * 2) / walk_row))
    estimates = _estimates(metric, codes, bounds, query)
    start = _descend(estimates, upper_offsets, upper_rows, upper_links, entry)
    rows, visited = _gather(estimates, links0, start, pool, most)
    if len(rows) < pool.k:
        return *scan[:2], visited, True
    found, scores = best(metric, vectors, np.array(rows, np.int64), query, pool.k)
    return found, scores, visited, False


def search_many(
    metric: int,
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    ef: int,
    allowed: NDArray[np.uint64] | None,
    threads: int,
) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32], NDArray[np.bool_]]:
    """Return what search returns for each of many queries, stacked, found by many threads.

    queries: (q, dim) float32. Rows and scores are (q, min(k, allowed rows)), visited and scanned
    (q,). 1 <= threads <= 256; their number changes nothing but time. Otherwise as search.
    """
    _check(metric, links0, upper_offsets, upper_rows, upper_links, entry, codes, bounds, vectors)
    check_array("queries", queries, np.float32, 2)
    check_shape("queries", queries, (len(queries), vectors.shape[1]))
    check_between("threads", threads, 256)
    width = min(_pool(k, ef, allowed, len(vectors)).k, len(allowed_rows(allowed, len(vectors))))
    answers = [
        search(
            metric,
            links0,
            upper_offsets,
            upper_rows,
            upper_links,
            entry,
            codes,
            bounds,
            vectors,
            query,
            k,
            ef,
            allowed,
        )
        for query in queries
    ]
    return (
        np.array([one[0] for one in answers], np.uint32).reshape(len(queries), width),
        np.array([one[1] for one in answers], np.float32).reshape(len(queries), width),
        np.array([one[2] for one in answers], np.uint32),
        np.array([one[3] for one in answers], np.bool_),
    )


@dataclass(frozen=True)
class _Pool:
    """How many allowed rows a walk gathers before it may end."""

    k: int
    ef: int
    share: float
    """Of all rows, how many are allowed."""
    allowed: frozenset[int]

    def size(self, expanded: int, expanded_allowed: int) -> int:
        """Return the size of the pool after so many rows were expanded."""
        met = expanded_allowed / expanded if expanded else self.share
        share = max(self.share, met)
        wanted = share * self.ef + 0.75 * self.k * (1 - share)
        if 2 * met < self.share:
            wanted *= 2 - 2 * met / self.share
        return max(self.k, math.ceil(wanted))


def _check(
    metric: int,
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
) -> None:
    check_metric(metric)
    check_coded(codes, bounds, vectors)
    check_graph(links0, upper_offsets, upper_rows, upper_links, len(vectors))
    check_entry(entry, len(vectors))


def _pool(k: int, ef: int, allowed: NDArray[np.uint64] | None, n: int) -> _Pool:
    limit, most = check_positive("k", k), check_positive("ef", ef)
    rows = allowed_rows(allowed, n)
    share = len(rows) / n if n else 0.0
    return _Pool(min(limit, n), min(max(limit, most), n), share, frozenset(rows.tolist()))


def _estimates(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    query: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the score of every row as its codes and the query's have it.

    The query is quantized as rows are, with a float64 scale; under L1 it is taken as it is, and the
    score is that of the row scale * (code - 128), in float32.
    """
    if metric == L1:
        with np.errstate(all="ignore"):
            rows = bounds[:, :1] * (codes.astype(np.float32) - np.float32(128))
        found = scores_of(L1, rows, query)
        return np.where(np.isnan(found), np.float32(-np.inf), found)
    scale = float(np.abs(query).max()) / 127.0
    units = np.rint(query.astype(np.float64) / scale) if scale > 0 else np.zeros(len(query))
    return judge(metric, codes, bounds, units, scale, scale * scale * np.square(units).sum())


def judge(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    units: NDArray[np.float64],
    scale: float,
    norm2: float,
) -> NDArray[np.float32]:
    """Return scores of rows for the query scale * units, -inf where that is no number.

    The integer dot products are exact, and the few float64 operations on them in this order, so
    that every machine walks the same way.
    """
    dots = codes.astype(np.int64) @ units.astype(np.int64)
    with np.errstate(all="ignore"):
        parts = bounds.astype(np.float64)
        dot = parts[:, 0] * (scale * (dots - 128.0 * units.sum()))
        scores = dot if metric == DOT else (2.0 * dot - parts[:, 2]) - norm2
        return np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)


def links_of(row: NDArray[np.uint32], n: int) -> list[int]:
    """Return the rows that a row of links names."""
    ends = np.flatnonzero(row == NO_LINK)
    return [link for link in row[: ends[0] if len(ends) else None].tolist() if link < n]


def _descend(
    estimates: NDArray[np.float32],
    offsets: NDArray[np.uint64],
    rows: NDArray[np.uint32],
    links: NDArray[np.uint32],
    entry: int,
) -> int:
    """Return the row of level 0 that going to the best linked row, level by level, leads to."""

    def rank(row: int) -> tuple[float, int]:
        return -float(estimates[row]), row

    now = rank(int(entry))
    for begin, end in reversed(list(itertools.pairwise(offsets.tolist()))):
        while True:
            at = begin + int(np.searchsorted(rows[begin:end], now[1]))
            if at == end or rows[at] != now[1]:
                break
            linked = min(map(rank, links_of(links[at], len(estimates))), default=now)
            if linked >= now:
                break
            now = linked
    return now[1]


def _gather(
    estimates: NDArray[np.float32],
    links0: NDArray[np.uint32],
    start: int,
    pool: _Pool,
    most: int,
) -> tuple[list[int], int]:
    """Return the pool that the walk on level 0 gathers, and how many rows it met.

    The pool is empty once the walk has met more than `most` rows before it ended.
    """
    gathered: list[tuple[float, int]] = []  # the best first
    frontier: list[tuple[float, int]] = []  # a heap, the best in front
    size = pool.size(0, 0)
    expanded = expanded_allowed = 0
    seen = {start}
    met = [start]
    while True:
        for row in met:
            rank = -float(estimates[row]), row
            if len(gathered) >= size and rank > gathered[size - 1]:
                continue
            heapq.heappush(frontier, rank)
            if row in pool.allowed:
                bisect.insort(gathered, rank)
        if not frontier or (len(gathered) >= size and frontier[0] > gathered[size - 1]):
            return [row for _, row in gathered[:size]], len(seen)
        if len(seen) > most:
            return [], len(seen)
        _, nearest = heapq.heappop(frontier)
        expanded += 1
        expanded_allowed += nearest in pool.allowed
        size = pool.size(expanded, expanded_allowed)
        met = []
        for row in links_of(links0[nearest], len(estimates)):
            if row not in seen:
                seen.add(row)
                met.append(row)
