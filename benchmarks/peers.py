"""Search over one index beside in-process peers, each at its own speed for the same recall.

    python benchmarks/peers.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

One thread, one query at a time, rounds in turn. Needs the `bench` extra; a peer that is not
installed is reported as absent. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines import ENGINES, K, Rows, Search, is_installed, open_ours, query_ours
from options import parser as options_parser
from points import F32, F64, Points, load, true_scores
from report import Report, measured
from timing import median
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.types import Range

RECALL = 0.95
SCORE_SLACK = 1e-6
EFS = (10, 14, 18, 20, 22, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 192, 256)
TARGETS = {"hnswlib": 2.5, "qdrant_edge_int8": 2.5, "svs_lvq8": 0.7}
PERMILLES = {"50": 500, "10": 100, "1": 10, "0_1": 1}
"""Filters: key of the figure to how many of a thousand points pass."""


def main() -> int:
    """Run and return the exit status."""
    options = _parse()
    if options.memory_of:
        return _tell_memory(options)
    with measured("peers", options) as (report, root):
        points = _load(options)
        queries = points.queries
        scores = true_scores(points, len(queries))
        report.fact("data_set", points.name)
        report.fact("n", len(points))
        report.fact("dim", points.vectors.shape[1])
        report.fact("k", K)
        report.fact("queries", len(queries))
        report.fact("rounds", options.rounds)
        report.fact("index", "m 16, ef_construction 200, or what comes nearest")
        report.fact("clients", "none: one thread in this process")
        built = _build(report, root, points, options.engines)
        opened = {name: ENGINES[name].open(root / name) for name in built}
        efs = _sweep(report, opened, queries, scores)
        _race(report, {name: opened[name] for name in efs}, queries, efs, options.rounds)
        del opened
        _filters(report, root / "vecdb", points, scores, efs.get("vecdb", 64), options.rounds)
        _memory(report, root, efs, options)
    return 0


def _load(options: argparse.Namespace) -> Points:
    points = load(options.points, 40 if options.smoke else 500, smoke=options.smoke)
    permilles = np.random.default_rng(1_000).integers(0, 1_000, len(points)).tolist()
    payloads = [
        {**payload, "permille": permille}
        for payload, permille in zip(points.payloads, permilles, strict=True)
    ]
    return replace(points, payloads=payloads)


def _build(report: Report, root: Path, points: Points, chosen: set[str]) -> list[str]:
    """Build every index that can be, or those chosen, in turn; return the engines' names."""
    seconds: dict[str, float] = {}
    for name, engine in ENGINES.items():
        if chosen and name not in chosen:
            continue
        if not is_installed(engine):
            report.fact(f"{name}_absent", f"{engine.module} is not installed")
            continue
        report.say(f"building {name}")
        (root / name).mkdir()
        started = time.perf_counter()
        engine.build(root / name, points)
        seconds[name] = time.perf_counter() - started
        what = "first write to indexed, refined and durable" if name == "vecdb" else "build alone"
        report.figure(f"{name}_build_s", seconds[name], "s", f"{what}, 2 threads")
    if "hnswlib" in seconds:
        report.figure(
            "build_vs_hnswlib",
            seconds["vecdb"] / seconds["hnswlib"],
            "",
            "our whole way over hnswlib's build alone",
            at_most=2.5,
        )
    return list(seconds)


def _sweep(report: Report, opened: dict[str, Search], queries: F32, scores: F64) -> dict[str, int]:
    """Return the least effort with which each engine finds enough; say what it finds."""
    least = np.partition(scores, -K, axis=1)[:, -K] - SCORE_SLACK
    efs: dict[str, int] = {}
    for name, search in opened.items():
        recall = 0.0
        for ef in EFS:
            recall = _recall([search(query, ef) for query in queries], scores, least)
            if recall >= RECALL:
                efs[name] = ef
                break
        report.figure(f"{name}_recall", recall, "", f"recall at 10, ef {efs.get(name, EFS[-1])}")
        if name not in efs:
            report.say(f"{name} never reaches recall {RECALL}: no speed of it counts")
    return efs


def _recall(found: list[Rows], scores: F64, least: F64) -> float:
    """Return the share of hits whose true score is at least the true tenth, less 1e-6."""
    hits = 0
    for rows, of_query, floor in zip(found, scores, least, strict=True):
        chosen = np.unique(np.asarray(rows, np.int64))
        hits += min(K, int((of_query[chosen] >= floor).sum()))
    return hits / (K * len(found))


def _race(
    report: Report, opened: dict[str, Search], queries: F32, efs: dict[str, int], rounds: int
) -> None:
    """Time all engines in turn, each with its own effort."""
    speeds: dict[str, list[float]] = {name: [] for name in opened}
    for _ in range(rounds):
        for name, search in opened.items():
            ef = efs[name]
            speeds[name].append(_speed(lambda query: search(query, ef), queries))  # noqa: B023
    for name, values in speeds.items():
        report.figure(f"{name}_ef", efs[name], "", f"the least of the sweep with recall {RECALL}")
        report.figure(f"{name}_qps", median(values), "/s", "queries a second, median of the rounds")
        if name == "vecdb" or "vecdb" not in speeds:
            continue
        ratios = [ours / theirs for ours, theirs in zip(speeds["vecdb"], values, strict=True)]
        report.figure(
            f"kernel_vs_{name}",
            median(ratios),
            "",
            "our speed over theirs, median of the rounds",
            at_least=TARGETS.get(name),
        )


def _speed(search: Callable[[F32], object], queries: F32) -> float:
    started = time.perf_counter()
    for query in queries:
        search(query)
    return len(queries) / (time.perf_counter() - started)


def _filters(
    report: Report, folder: Path, points: Points, scores: F64, ef: int, rounds: int
) -> None:
    """Whole queries with filters beside whole queries without, in turn."""
    collection = open_ours(folder)
    permilles = np.array([payload["permille"] for payload in points.payloads])
    row_of = {name: row for row, name in enumerate(points.ids)}
    filters = {key: Range("permille", lt=most) for key, most in PERMILLES.items()}
    speeds: dict[str, list[float]] = {key: [] for key in ("all", *filters)}
    for _ in range(rounds):
        for key, values in speeds.items():
            chosen = filters.get(key)
            values.append(
                _speed(
                    lambda query: query_ours(collection, query, ef, chosen),  # noqa: B023
                    points.queries,
                )
            )
    report.figure("unfiltered_qps", median(speeds["all"]), "/s", "whole queries, no filter")
    for key, chosen in filters.items():
        mask = permilles < PERMILLES[key]
        k = min(K, int(mask.sum()))
        hits = 0
        for query, of_query in zip(points.queries, scores, strict=True):
            least = np.partition(of_query[mask], -k)[-k] - SCORE_SLACK if k else 0.0
            found = QueryResponse.FromString(query_ours(collection, query, ef, chosen)).hits
            rows = {row_of[hit.id] for hit in found}
            hits += min(k, sum(bool(mask[row]) and of_query[row] >= least for row in rows))
        ratios = [a / b for a, b in zip(speeds[key], speeds["all"], strict=True)]
        percent = key.replace("_", ".")
        report.figure(
            f"filtered_{key}",
            median(ratios),
            "",
            f"speed when {percent} % pass, over no filter",
            at_least=0.5,
        )
        report.figure(
            f"filtered_{key}_recall",
            hits / max(1, k * len(points.queries)),
            "",
            "recall of these",
            at_least=RECALL,
        )


# --- memory: an engine alone in a process


def _memory(report: Report, root: Path, efs: dict[str, int], options: argparse.Namespace) -> None:
    """Have each engine answer all queries in a process of its own, and ask what is resident."""
    queries = root / "queries.npy"
    np.save(queries, _load(options).queries)
    spent: dict[str, float] = {}
    for name, ef in efs.items():
        command = [sys.executable, str(Path(__file__).resolve()), "--memory-of", name]
        command += ["--folder", str(root), "--points", str(ef)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
        spent[name] = json.loads(done.stdout)
        report.figure(
            f"{name}_memory_mib", spent[name], "MiB", "resident more than before it was opened"
        )
    if {"vecdb", "qdrant_edge_int8"} <= spent.keys():
        report.figure(
            "memory_vs_qdrant_edge_int8",
            spent["vecdb"] / spent["qdrant_edge_int8"],
            "",
            "one over the other",
            at_most=0.8,
        )


def _tell_memory(options: argparse.Namespace) -> int:
    """Print what a process has resident, in MiB, after an engine has answered all queries twice."""
    queries: F32 = np.load(options.folder / "queries.npy")
    is_installed(ENGINES[options.memory_of])  # imported before: code is not what is compared
    before = _resident_mib()
    search = ENGINES[options.memory_of].open(options.folder / options.memory_of)
    for query in (*queries, *queries):
        search(query, options.points)
    print(_resident_mib() - before)
    return 0


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "points of every index", "all engines in turn")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--engines", default="", help="some alone, with commas; vecdb always is")
    options = parser.parse_args()
    options.engines = {"vecdb", *options.engines.split(",")} if options.engines else set()
    options.points = options.points or (6_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    return options


if __name__ == "__main__":
    sys.exit(main())
