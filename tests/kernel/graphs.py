"""Graphs for tests: near neighbours found by brute force, pruned, and a few links far away."""

from dataclasses import dataclass

import numpy as np

from vecdb.kernel import _native, reference, reference_graph

NO_LINK = reference_graph.NO_LINK
FLOORS = {reference.DOT: 0.95, reference.L2: 0.95, reference.L1: 0.93}
"""Recall@10 that walks reach under filters. For L1, links are by L2, as those of segments are."""


@dataclass(frozen=True)
class Graph:
    metric: int
    vectors: np.ndarray
    links0: np.ndarray
    upper_offsets: np.ndarray
    upper_rows: np.ndarray
    upper_links: np.ndarray
    entry: int

    def arguments(self) -> dict:
        codes, bounds = _native.quantize(self.vectors)
        return {
            "metric": self.metric,
            "links0": self.links0,
            "upper_offsets": self.upper_offsets,
            "upper_rows": self.upper_rows,
            "upper_links": self.upper_links,
            "entry": self.entry,
            "codes": codes,
            "bounds": bounds,
            "vectors": self.vectors,
        }


def flat(metric: int, vectors: np.ndarray, links0: np.ndarray, entry: int = 0) -> Graph:
    """Return a graph without upper levels."""
    none = np.zeros(0, np.uint32)
    return Graph(metric, vectors, links0, np.zeros(1, np.uint64), none, none.reshape(0, 4), entry)


def nearness(metric: int, vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    if metric == reference.L1:
        apart = [np.abs(vectors - query).sum(axis=1, dtype=np.float64) for query in queries]
        return -np.array(apart)
    dots = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    if metric == reference.DOT:
        return dots
    return 2 * dots - np.square(vectors.astype(np.float64)).sum(axis=1)


def linked(vectors: np.ndarray, rows: np.ndarray, width: int, by: int = reference.L2) -> np.ndarray:
    """Return links (len(rows), width) among some rows; following them leads to every row.

    A row links to the next in number, so that none is out of reach; to up to width // 2 - 1 near
    rows, of which none is nearer to another of them than to the row (Malkov & Yashunin, Algorithm
    4); and back to rows that link to it, while there is room.
    """
    points = vectors[rows]
    # Neighbours are by distance unless asked otherwise: the best by dot product are the same few
    # long rows for all.
    near = nearness(by, points, points)
    if by == reference.L2:
        near -= np.square(points).sum(axis=1)[:, None]
    np.fill_diagonal(near, -np.inf)  # no row links to itself
    most = min(64, len(rows) - 1)
    order = np.sort(np.argpartition(-near, most - 1, axis=1)[:, :most], axis=1) if most else []
    if most:
        by_nearness = np.argsort(-np.take_along_axis(near, order, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(order, by_nearness, axis=1)
    links = [[(i + 1) % len(rows)] for i in range(len(rows))]
    for i, candidates in enumerate(order):
        kept: list[int] = []
        for j in candidates:
            if len(kept) < width // 2 - 1 and all(near[j, other] < near[i, j] for other in kept):
                kept.append(int(j))
        links[i] += kept
    for i, forward in enumerate([list(one) for one in links]):
        for j in forward[1:]:
            if len(links[j]) < width and i not in links[j]:
                links[j].append(i)
    padded = np.full((len(rows), width), NO_LINK, np.uint32)
    for i, one in enumerate(links):
        padded[i, : len(one)] = rows[one]
    return padded


def build(metric: int, vectors: np.ndarray, width: int = 24, ratio: int = 12) -> Graph:
    """Return a graph that leads to every row; each level has one row in `ratio` of the one below.

    Rows were drawn at random, so every ratio-th row is as good as any choice.
    """
    n = len(vectors)
    links0 = linked(vectors, np.arange(n), width)
    offsets, rows, links = [0], [], []
    step = ratio
    while step < n:
        rows.append(np.arange(0, n, step))
        links.append(linked(vectors, rows[-1], width // 2))
        offsets.append(offsets[-1] + len(rows[-1]))
        step *= ratio
    return Graph(
        metric,
        vectors,
        links0,
        np.array(offsets, np.uint64),
        np.concatenate([np.zeros(0, np.int64), *rows]).astype(np.uint32),
        np.concatenate([np.zeros((0, width // 2), np.uint32), *links]),
        0,
    )


def joined(*links: np.ndarray) -> np.ndarray:
    """Return rows of links with those of every array, and no gaps; some links may stand twice."""
    wide = np.concatenate(links, axis=1)
    return np.take_along_axis(wide, np.argsort(wide == NO_LINK, axis=1, kind="stable"), axis=1)
