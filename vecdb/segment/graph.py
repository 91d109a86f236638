"""Graphs over a segment's vectors: made by hnswlib, bettered and walked by the kernel.

The one file that knows hnswlib, which is used as an offline builder alone: nothing searches its
index. Its links are taken out of the arrays of its pickled state, and put back where a graph is to
grow, so that a row is inserted again only when the graph that holds it is absorbed by a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.segment.vectors import KERNEL_METRIC, comparable, mixed
from vecdb.types import F32, U32, U64, Hnsw, Metric

if TYPE_CHECKING:
    import hnswlib

ROWS_MIN = 256
"""Vectors below which a graph is not worth its files: a scan of them takes microseconds."""
ALPHA = 1.2
"""How much farther a refined link's row must be than the row that occludes it."""
BY_L2 = (Metric.EUCLID, Metric.MANHATTAN)
"""Metrics whose links are by euclidean distance. hnswlib has no other; by it, walks under L1 find
what those under L2 do (benchmarks/README.md), and the recall is measured under L1."""
ALIKE = 1.05
"""How much longer the longest row may be for inner products to be searched like cosines."""
CHUNK = 2_000
"""Rows inserted between two words of progress."""
SEED = 1
K = 10
EFS = (10, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)
SAMPLES = 1_000
RECALL_ENOUGH = 0.9995

Progress = Callable[[str, int, int], None]
"""Told the phase of a build, and how many of how many rows of it are done."""


class Graph(NamedTuple):
    """A graph as kernel.search takes it; `entry` is a row."""

    links0: U32
    upper_offsets: U64
    upper_rows: U32
    upper_links: U32
    entry: int


def build_graph(
    vectors: F32, metric: Metric, hnsw: Hnsw, threads: int, base: Graph | None, progress: Progress
) -> Graph:
    """Return the graph over the rows of (n, dim) vectors in comparable form, n >= 1.

    base: a graph over the first rows, made with the same parameters, that is to grow; or None.
    """
    index = _index(vectors, metric, hnsw, base)
    index.set_num_threads(threads)
    done = index.get_current_count()
    while done < len(vectors):
        progress("insert", done, len(vectors))
        end = min(done + CHUNK, len(vectors))
        index.add_items(vectors[done:end], np.arange(done, end))
        done = end
    graph = take_out(index)
    del index  # as large as the vectors, and not needed for what follows
    progress("refine", 0, len(vectors))
    return _refined(graph, vectors, metric, hnsw, threads)


def _index(vectors: F32, metric: Metric, hnsw: Hnsw, base: Graph | None) -> hnswlib.Index:
    import hnswlib  # by the builder alone: the server has no use for it

    index = hnswlib.Index("l2" if metric in BY_L2 else "ip", vectors.shape[1])
    index.init_index(len(vectors), M=hnsw.m, ef_construction=hnsw.ef_construction, random_seed=SEED)
    if base is not None:
        state = index.__getstate__()[0]
        _put_in(base, vectors, state)
        index = hnswlib.Index.__new__(hnswlib.Index)
        index.__setstate__((state,))
    return index


def measure_recall(
    graph: Graph, codes: NDArray[np.uint8], bounds: F32, vectors: F32, metric: Metric, threads: int
) -> list[tuple[int, float]]:
    """Return, for ascending ef, the recall@10 of walks over a graph: up to all but certain.

    Queries are stored vectors, each mixed with another: see `mixed`.
    """
    random = np.random.default_rng(SEED)
    pairs = random.integers(0, len(vectors), (2, SAMPLES))
    queries = mixed(vectors[pairs[0]], vectors[pairs[1]], metric)
    kernel_metric = KERNEL_METRIC[metric]
    arrays = (codes, bounds, vectors)
    least = kernel.scan_many(kernel_metric, *arrays, queries, K, None, threads)[1][:, -1]
    measured: list[tuple[int, float]] = []
    for ef in EFS:
        scores = kernel.search_many(kernel_metric, *graph, *arrays, queries, K, ef, None, threads)[
            1
        ]
        measured.append((ef, round(float((scores >= least[:, None]).mean()), 4)))
        if measured[-1][1] >= RECALL_ENOUGH:
            break
    return measured


def ef_for(target: float, measured: Sequence[tuple[int, float]]) -> int:
    """Return the least ef whose measured recall reaches a target; the largest where none does."""
    return next((ef for ef, recall in measured if recall >= target), measured[-1][0])


def _refined(graph: Graph, vectors: F32, metric: Metric, hnsw: Hnsw, threads: int) -> Graph:
    """Return a graph with better links on level 0.

    Where inner products of rows of different length are searched, links by product lead to the long
    rows, where the answers are. They are kept, and m more are added by angle, without which a
    filter that excludes the long rows leaves no way (20,000 rows of log-normal length, ef 64:
    recall@10 0.99 without a filter and 0.98 without the longest tenth; by product alone 0.97 and
    0.30, by distance in the space that makes lengths equal 0.26).
    """
    if metric is not Metric.DOT or _alike(vectors):
        codes, bounds = kernel.quantize(vectors)
        links = kernel.refine_links(
            graph.links0, graph.entry, codes, bounds, 2 * hnsw.m, ALPHA, threads
        )
        return graph._replace(links0=links)
    codes, bounds = kernel.quantize(comparable(vectors, Metric.COSINE))
    added = kernel.refine_links(graph.links0, graph.entry, codes, bounds, hnsw.m, ALPHA, threads)
    wide = np.concatenate([graph.links0, added], axis=1)
    links = np.take_along_axis(wide, np.argsort(wide == kernel.NO_LINK, 1, kind="stable"), 1)
    return graph._replace(links0=links)


def _alike(vectors: F32) -> bool:
    """Return whether all rows have about the same length."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return bool(lengths.max() <= ALIKE * lengths.min())


# --- hnswlib's state. level0 is an array of cells, one a row in the order of insertion: the links
# of level 0 (a count in 16 bits, 16 unused, then ids), the vector, the label. link_lists holds the
# cells of upper levels, those of a row together. Ids count insertions; our rows are its labels.


def take_out(index: hnswlib.Index) -> Graph:
    """Return the links of an index, by label."""
    state = index.__getstate__()[0]
    n, width0, width = state["cur_element_count"], state["max_M0"], state["M"]
    level0 = state["data_level0"].view(np.uint8).reshape(-1, state["size_data_per_element"])[:n]
    label_at, links_at = state["label_offset"], state["offset_level0"]
    labels = level0[:, label_at : label_at + 8].copy().view(np.uint64)[:, 0].astype(np.uint32)
    links0 = np.empty((n, width0), np.uint32)
    links0[labels] = _to_links(level0[:, links_at : links_at + 4 + 4 * width0], labels)
    levels = state["element_levels"].astype(np.int64)[:n]
    each = state["size_links_per_element"]
    lists = state["link_lists"].view(np.uint8)
    starts = np.concatenate([[0], np.cumsum(levels * each)])
    rows: list[U32] = []
    links: list[U32] = []
    for level in range(1, int(levels.max(initial=0)) + 1):
        members = np.flatnonzero(levels >= level)
        members = members[np.argsort(labels[members])]
        cells = lists[(starts[members] + (level - 1) * each)[:, None] + np.arange(each)]
        rows.append(labels[members])
        links.append(_to_links(cells, labels))
    return Graph(
        links0,
        np.cumsum([0, *map(len, rows)]).astype(np.uint64),
        np.concatenate([np.empty(0, np.uint32), *rows]),
        np.concatenate([np.empty((0, width), np.uint32), *links]),
        int(labels[state["enterpoint_node"]]),
    )


def _put_in(graph: Graph, vectors: F32, state: dict[str, Any]) -> None:
    """Change the state of an empty index into that of one which holds the graph's rows."""
    n, width0, width = len(graph.links0), state["max_M0"], state["M"]
    cells = np.zeros((n, state["size_data_per_element"]), np.uint8)
    label_at, links_at, data_at = (
        state["label_offset"],
        state["offset_level0"],
        state["offset_data"],
    )
    # Links by angle, where there are any, stand behind those that hnswlib made.
    cells[:, links_at : links_at + 4 + 4 * width0] = _to_cells(graph.links0[:, :width0])
    cells[:, data_at : data_at + 4 * vectors.shape[1]] = vectors[:n].view(np.uint8)
    labels = np.arange(n, dtype=np.uint64)
    cells[:, label_at : label_at + 8] = labels[:, None].view(np.uint8)
    levels = np.bincount(graph.upper_rows, minlength=n)
    each = state["size_links_per_element"]
    starts = np.concatenate([[0], np.cumsum(levels * each)])
    lists = np.zeros(int(starts[-1]), np.uint8)
    upper = _to_cells(graph.upper_links)
    for level in range(len(graph.upper_offsets) - 1):
        at = slice(int(graph.upper_offsets[level]), int(graph.upper_offsets[level + 1]))
        places = (starts[graph.upper_rows[at]] + level * each)[:, None] + np.arange(each)
        lists[places] = upper[at]
    assert upper.shape[1] == each == 4 + 4 * width
    state.update(
        ep_added=True,
        cur_element_count=n,
        max_level=len(graph.upper_offsets) - 2,
        enterpoint_node=graph.entry,
        label_lookup_external=labels,
        label_lookup_internal=labels.astype(np.uint32),
        element_levels=levels.astype(np.int32),
        data_level0=cells.reshape(-1).view(np.int8),
        link_lists=lists.view(np.int8),
    )


def _to_links(cells: NDArray[np.uint8], labels: U32) -> U32:
    """Return the links of cells by label."""
    counts = cells[:, :2].copy().view(np.uint16)
    ids = cells[:, 4:].copy().view(np.uint32)
    there = np.arange(ids.shape[1])[None] < counts
    links = np.full(ids.shape, kernel.NO_LINK, np.uint32)
    links[there] = labels[ids[there]]
    return links


def _to_cells(links: U32) -> NDArray[np.uint8]:
    """Return the cells of links whose rows are ids."""
    cells = np.zeros((len(links), 1 + links.shape[1]), np.uint32)
    there = links != kernel.NO_LINK
    cells[:, 0] = there.sum(1)
    cells[:, 1:] = np.where(there, links, 0)
    return cells.view(np.uint8)
