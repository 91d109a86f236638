"""The kernel's graph walk beside hnswlib's own, over the same graph, on one thread.

hnswlib builds the graph; its links are taken out of its state and walked by the kernel, as they
are and refined, from arrays mapped from files, as a segment's are. Then searches under random
filters beside those without, each with the smallest ef that reaches a recall of 0.95. Rounds take
turns, so that a noisy machine is noisy to both. Recall is counted by score: a hit is any row whose
true score is at least the true tenth, less 1e-6.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from options import parser as options_parser
from points import F32, Points, load, true_scores
from report import Report, measured
from vecdb import kernel
from vecdb.segment.graph import Graph, take_out

try:
    import hnswlib
except ImportError:
    sys.exit("graph.py needs hnswlib: pip install 'vecdb[bench]'")

K = 10
RECALL = 0.95
EFS = (24, 32, 36, 40, 44, 48, 56, 64, 80, 96, 128, 256)
SHARES = {"50": 0.5, "10": 0.1, "1": 0.01, "0_1": 0.001}
M = 16
EF_CONSTRUCTION = 200
SCORE_SLACK = 1e-6
U32 = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Coded:
    """Vectors with what kernel.quantize makes of them."""

    codes: NDArray[np.uint8]
    bounds: F32
    vectors: F32


Search = Callable[[F32], U32]


def main() -> int:
    """Measure; return the exit status."""
    options = _parse()
    points = load(options.points, options.queries, smoke=options.smoke)
    queries = points.queries[: options.queries]
    with measured("graph", options) as (report, folder):
        _measure(report, points, queries, options.rounds, folder)
    return 0


def _measure(report: Report, points: Points, queries: F32, rounds: int, folder: Path) -> None:
    report.fact("data_set", points.name)
    report.fact("n", len(points))
    report.fact("dim", points.vectors.shape[1])
    report.fact("index", f"HNSW, m {M}, ef_construction {EF_CONSTRUCTION}; codes of 8 bits")
    report.fact("clients", "none: one thread in this process")
    report.fact("queries", len(queries))
    report.fact("rounds", rounds)
    report.say("building the graph with hnswlib")
    started = time.perf_counter()
    index = _build(points.vectors)
    report.figure(
        "hnswlib_build_s", time.perf_counter() - started, "s", "hnswlib's build, 2 threads"
    )
    graph = take_out(index)
    codes, bounds = (_mapped(one, folder) for one in kernel.quantize(points.vectors))
    vectors = _mapped(points.vectors, folder)
    graph = graph._replace(links0=_mapped(graph.links0, folder))
    started = time.perf_counter()
    links = kernel.refine_links(graph.links0, graph.entry, codes, bounds, 2 * M, 1.2, 2)
    report.figure("refine_s", time.perf_counter() - started, "s", "one refinement, 2 threads")
    refined = graph._replace(links0=_mapped(links, folder))
    for name, one in (("hnswlib", graph), ("refined", refined)):
        degree = float((one.links0 != kernel.NO_LINK).sum(1).mean())
        report.figure(f"{name}_links", degree, "", f"links of a row on level 0, {name}, mean")
    least = np.partition(true_scores(points, len(queries)), -K, axis=1)[:, -K] - SCORE_SLACK
    coded = Coded(codes, bounds, vectors)
    _walks(report, coded, queries, index, (graph, refined), least, rounds)
    _filters(report, coded, queries, refined, rounds)


def _walks(
    report: Report,
    coded: Coded,
    queries: F32,
    index: Any,  # noqa: ANN401 - hnswlib has no types
    graphs: tuple[Graph, Graph],
    least: NDArray[np.float64],
    rounds: int,
) -> None:
    def by_hnswlib(query: F32) -> U32:
        rows: U32 = index.knn_query(query, K, num_threads=1)[0][0]
        return rows

    for ef in (32, 64, 128):
        index.set_ef(ef)
        searches: dict[str, Search] = {
            "hnswlib": by_hnswlib,
            "kernel": _by_kernel(kernel.search_graph, graphs[0], coded, ef, None),
            "refined": _by_kernel(kernel.search_graph, graphs[1], coded, ef, None),
        }
        speeds: dict[str, list[float]] = {name: [] for name in searches}
        recalls: dict[str, float] = {}
        for _ in range(rounds):
            for name, search in searches.items():
                speed, found = _run(search, queries)
                speeds[name].append(speed)
                recalls[name] = _recall(found, coded.vectors, queries, least)
        for name in searches:
            speed = statistics.median(speeds[name])
            report.figure(f"{name}_{ef}_qps", speed, "/s", f"{name}, ef {ef}, queries a second")
            report.figure(
                f"{name}_{ef}_recall", recalls[name], "", f"{name}, ef {ef}, recall at 10"
            )
        for name in ("kernel", "refined"):
            pairs = zip(speeds[name], speeds["hnswlib"], strict=True)
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            report.figure(f"{name}_{ef}_vs_hnswlib", ratio, "", f"{name} over hnswlib at ef {ef}")


def _filters(report: Report, coded: Coded, queries: F32, graph: Graph, rounds: int) -> None:
    """Compare searches under filters with those without, all at a recall of 0.95 or more."""
    random = np.random.default_rng(3)
    free = _fast_enough(coded, queries, graph, None)
    report.figure("unfiltered_ef", free.ef, "", "smallest ef of a recall of 0.95, no filter")
    report.figure("unfiltered_recall", free.recall, "", "its recall at 10")
    for name, share in SHARES.items():
        mask = random.random(len(coded.vectors)) < share
        words = np.zeros(-(-len(mask) // 64), np.uint64)
        packed = np.packbits(mask, bitorder="little")
        words.view(np.uint8)[: len(packed)] = packed
        bound = _fast_enough(coded, queries, graph, words)
        speeds: dict[str, list[float]] = {"free": [], "bound": []}
        for _ in range(rounds):
            speeds["free"].append(_run(free.search, queries)[0])
            speeds["bound"].append(_run(bound.search, queries)[0])
        ratio = statistics.median(
            ours / theirs for ours, theirs in zip(speeds["bound"], speeds["free"], strict=True)
        )
        what = f"{share * 100:g} % of rows pass at random"
        report.figure(f"filtered_{name}", ratio, "", f"{what}: speed over no filter", at_least=0.5)
        speed = statistics.median(speeds["bound"])
        report.figure(f"filtered_{name}_qps", speed, "/s", f"{what}: queries a second")
        report.figure(f"filtered_{name}_recall", bound.recall, "", f"{what}: recall at 10")
        report.figure(f"filtered_{name}_ef", bound.ef, "", f"{what}: ef")
    report.figure("unfiltered_qps", statistics.median(speeds["free"]), "/s", "without a filter")


@dataclass(frozen=True, slots=True)
class Tuned:
    """A search with the smallest ef that reaches the recall."""

    search: Search
    ef: int
    recall: float


def _fast_enough(
    coded: Coded, queries: F32, graph: Graph, allowed: NDArray[np.uint64] | None
) -> Tuned:
    exact, _ = kernel.scan_many(
        kernel.DOT, coded.codes, coded.bounds, coded.vectors, queries, K, allowed, 2
    )
    true = [
        coded.vectors[rows].astype(np.float64) @ query.astype(np.float64)
        for rows, query in zip(exact, queries, strict=True)
    ]
    least = np.array([scores.min() for scores in true]) - SCORE_SLACK
    for ef in EFS:
        search = _by_kernel(kernel.search, graph, coded, ef, allowed)
        found = [search(query) for query in queries]
        recall = _recall(found, coded.vectors, queries, least, exact.shape[1])
        if recall >= RECALL:
            break
    return Tuned(search, ef, recall)


def _by_kernel(
    function: Callable[..., tuple[U32, F32, Any]],
    graph: Graph,
    coded: Coded,
    ef: int,
    allowed: NDArray[np.uint64] | None,
) -> Search:
    """Return a search by one of the kernel's functions."""

    def search(query: F32) -> U32:
        return function(
            kernel.DOT,
            *graph,
            coded.codes,
            coded.bounds,
            coded.vectors,
            query,
            K,
            ef,
            allowed,
        )[0]

    return search


def _mapped(array: NDArray[Any], folder: Path) -> NDArray[Any]:
    """Return the array read through a map of a file."""
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, array)
    mapped: NDArray[Any] = np.load(path, mmap_mode="r")
    return mapped


def _run(search: Search, queries: F32) -> tuple[float, list[U32]]:
    # Processor time: other programs on the machine take turns with this one, not part in it.
    started = time.thread_time()
    found = [search(query) for query in queries]
    return len(queries) / (time.thread_time() - started), found


def _recall(
    found: list[U32], vectors: F32, queries: F32, least: NDArray[np.float64], k: int = K
) -> float:
    hits = 0
    for rows, query, floor in zip(found, queries, least, strict=True):
        scores = vectors[np.unique(rows)].astype(np.float64) @ query.astype(np.float64)
        hits += min(k, int((scores >= floor).sum()))
    return hits / (k * len(found))


def _build(vectors: F32) -> Any:  # noqa: ANN401 - hnswlib has no types
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
    index.set_num_threads(2)
    index.add_items(vectors, np.arange(len(vectors)))
    return index


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "rows of the graph", "hnswlib and the kernel in turn")
    options = parser.parse_args()
    options.points = options.points or (3_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    options.queries = 50 if options.smoke else 1_000
    return options


if __name__ == "__main__":
    sys.exit(main())
