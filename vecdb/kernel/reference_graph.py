"""What the native kernel does with graphs, in numpy: as `reference`, a specification."""

import bisect
import heapq
import itertools

import numpy as np
from numpy.typing import NDArray

from .reference import DOT, L2, allowed_rows, best, scan_f32
from .reference_checks import (
    check_alpha,
    check_array,
    check_between,
    check_coded,
    check_entry,
    check_graph,
    check_metric,
    check_positive,
    check_query,
    check_rows,
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
    the worst of a full pool: the best max(ef, k) allowed rows met. So it returns fewer than k rows
    only when links lead to no more allowed ones. "Better" is by an estimate from codes and bounds
    (what `quantize` made of vectors), ties by lower row. The answer is the best k of the pool by
    the score, and in the order, of scan_f32.

    A link that is no row is passed over; whatever links, codes and bounds say, the rows are
    distinct, allowed and have their true scores. A query that is not finite is answered by
    scan_f32. ef >= 1. Otherwise, and in what it raises, as scan_i8.
    """
    check_metric(metric)
    check_coded(codes, bounds, vectors)
    n = len(vectors)
    check_graph(links0, upper_offsets, upper_rows, upper_links, n)
    start = check_entry(entry, n)
    check_query(query, vectors.shape[1])
    limit = check_positive("k", k)
    size = max(limit, check_positive("ef", ef))
    rows = allowed_rows(allowed, n)
    if n == 0 or not np.isfinite(query).all():
        return *scan_f32(metric, vectors, query, limit, allowed), n
    estimates = _estimates(metric, codes, bounds, query)
    for begin, end in reversed(list(itertools.pairwise(upper_offsets.tolist()))):
        start = _descend(estimates, upper_rows[begin:end], upper_links[begin:end], start)
    pool, visited = _gather(estimates, links0, start, size, set(rows.tolist()))
    found, scores = best(metric, vectors, np.array(pool, np.int64), query, limit)
    return found, scores, visited


def refine_links(
    links0: NDArray[np.uint32],
    entry: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    width: int,
    alpha: float,
    threads: int,
) -> NDArray[np.uint32]:
    """Return links (n, width) uint32 chosen anew among every row's neighbours and theirs.

    links0: (n, any) uint32, as search_graph reads it. RobustPrune of Vamana (Subramanya et al.,
    DiskANN, NeurIPS 2019, Algorithm 2) over the nearest 256 of the first 4,096 rows that one or two
    links lead to: from the nearest, link to each that is not occluded by one linked to before. Row
    s occludes t when alpha * distance(s, t) <= distance(row, t); the first round has alpha = 1, so
    that what a larger alpha >= 1 lets in comes after. Distances are squared euclidean, from codes
    and bounds, which suits L2, and DOT over rows of unit length. Then every row that only the old
    links lead to from `entry` gets a link back: from the nearest row that had one, that is itself
    led to, and that has a place to spare, one that no other row depends on.

    1 <= width <= 256. The result is the same for any number of threads, 1 to 256. Raises as
    search_graph does.
    """
    check_array("codes", codes, np.uint8, 2)
    check_rows("codes", codes)
    n = len(codes)
    check_array("bounds", bounds, np.float32, 2)
    check_shape("bounds", bounds, (n, 3))
    check_array("links0", links0, np.uint32, 2)
    check_shape("links0", links0, (n, links0.shape[1]))
    start = check_entry(entry, n)
    room = check_between("width", width, 256)
    slack = check_alpha(alpha)
    check_between("threads", threads, 256)
    old = [_links(row, n) for row in links0]
    new = []
    for row in range(n):
        met = list(dict.fromkeys(itertools.chain(old[row], *(old[near] for near in old[row]))))
        met = [other for other in met if other != row][:4096]
        new.append(_prune(codes, bounds, row, met, room, slack))
    if n > 0:
        _reconnect(codes, bounds, old, new, start, room)
    refined = np.full((n, room), NO_LINK, np.uint32)
    for row, links in enumerate(new):
        refined[row, : len(links)] = links
    return refined


def _prune(
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    row: int,
    met: list[int],
    width: int,
    alpha: float,
) -> list[int]:
    """Return the rows that a row is to link to, of those it met."""
    others = np.array(met, np.int64)
    distances = _distances(codes, bounds, row, others)
    order = np.lexsort((others, distances))[:256]
    others, distances = others[order], distances[order]
    occlusion = np.zeros(len(others))
    chosen: list[int] = []
    for limit in (1.0, alpha):
        for at, other in enumerate(others.tolist()):
            if len(chosen) == width or occlusion[at] >= limit or other in chosen:
                continue
            chosen.append(other)
            with np.errstate(all="ignore"):
                apart = _distances(codes, bounds, other, others)
                ratio = np.where(apart > 0, distances / apart, np.inf)
            occlusion[at + 1 :] = np.fmax(occlusion, ratio)[at + 1 :]
    return chosen


def _reconnect(
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    old: list[list[int]],
    new: list[list[int]],
    entry: int,
    width: int,
) -> None:
    """Restore the way from the entry to every row that has lost it, changing `new`."""
    parents = {entry: entry}
    _spread(new, entry, parents)
    for row in _spread(old, entry, {entry: entry}):
        if row in parents:
            continue
        linking = [source for source, links in enumerate(old) if row in links and source in parents]
        sources = np.array(linking, np.int64)
        distances = _distances(codes, bounds, row, sources)
        for source in sources[np.lexsort((sources, distances))].tolist():
            links = new[source]
            spare = [at for at, other in enumerate(links) if parents.get(other) != source]
            if len(links) < width:
                links.append(row)
            elif spare:
                links[spare[-1]] = row
            else:
                continue
            parents[row] = source
            _spread(new, row, parents)
            break


def _spread(links: list[list[int]], start: int, parents: dict[int, int]) -> list[int]:
    """Return the rows that links lead to, breadth first, and note which row each was met from.

    Rows that have a parent already are not entered.
    """
    order = [start]
    for row in order:
        for linked in links[row]:
            if linked not in parents:
                parents[linked] = row
                order.append(linked)
    return order


def _distances(
    codes: NDArray[np.uint8], bounds: NDArray[np.float32], row: int, others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return squared euclidean distances by codes, less what may be rounding, at least 0."""
    units = codes[row].astype(np.float64) - 128
    scale, _, norm2 = bounds[row].astype(np.float64)
    estimates = _judge(L2, codes[others], bounds[others], units, scale, norm2)
    with np.errstate(all="ignore"):
        rounding = 2.0**-20 * (norm2 + bounds[others, 2].astype(np.float64))
        distances = -estimates.astype(np.float64) - rounding
    return np.where(np.isnan(distances), np.inf, np.maximum(distances, 0))


def _estimates(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    query: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the score of every row as its codes and the query's have it.

    The query is quantized as rows are, with a float64 scale.
    """
    scale = float(np.abs(query).max()) / 127.0
    units = np.rint(query.astype(np.float64) / scale) if scale > 0 else np.zeros(len(query))
    return _judge(metric, codes, bounds, units, scale, scale * scale * np.square(units).sum())


def _judge(
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


def _links(row: NDArray[np.uint32], n: int) -> list[int]:
    """Return the rows that a row of links names."""
    ends = np.flatnonzero(row == NO_LINK)
    return [link for link in row[: ends[0] if len(ends) else None].tolist() if link < n]


def _descend(
    estimates: NDArray[np.float32], rows: NDArray[np.uint32], links: NDArray[np.uint32], start: int
) -> int:
    """Return where going to the best linked row, while that is better, ends on a level."""

    def rank(row: int) -> tuple[float, int]:
        return -float(estimates[row]), row

    best = rank(start)
    while True:
        at = int(np.searchsorted(rows, best[1]))
        if at == len(rows) or rows[at] != best[1]:
            return best[1]
        linked = min(map(rank, _links(links[at], len(estimates))), default=best)
        if linked >= best:
            return best[1]
        best = linked


def _gather(
    estimates: NDArray[np.float32],
    links0: NDArray[np.uint32],
    start: int,
    size: int,
    allowed: set[int],
) -> tuple[list[int], int]:
    """Return the best `size` allowed rows that the walk on level 0 met, and how many it met."""
    pool: list[tuple[float, int]] = []  # the best first
    frontier: list[tuple[float, int]] = []  # a heap, the best in front
    seen = {start}
    met = [start]
    while True:
        for row in met:
            rank = -float(estimates[row]), row
            if len(pool) == size and rank > pool[-1]:
                continue
            heapq.heappush(frontier, rank)
            if row in allowed:
                bisect.insort(pool, rank)
                del pool[size:]
        if not frontier or (len(pool) == size and frontier[0] > pool[-1]):
            return [row for _, row in pool], len(seen)
        _, best = heapq.heappop(frontier)
        met = []
        for row in _links(links0[best], len(estimates)):
            if row not in seen:
                seen.add(row)
                met.append(row)
