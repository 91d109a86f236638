"""Queries of other shapes than one list of hits: grouped, and many in one call.

    python benchmarks/shapes.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from live import serve
from options import parser as options_parser
from points import DIM, F64, Points, load, true_scores
from report import Report, measured
from timing import median, timed
from vecdb_client import Collection, F, Filter, Search, SearchResult

K = 10
SIZE = 3
QUERIES = 200
BATCH = 100
GROUP = "month"
"""A payload field of some 200 values."""
FILTERS = (100, 50, 10, 1)
"""Percent of the points that a filter lets through; at 100 there is none."""
SCORE_SLACK = 1e-6
TARGET_MS = 10.0
BUILD_S = 1_800.0


def main() -> int:
    """Run and return the exit status."""
    options = _parse()
    with measured("shapes", options) as (report, root):
        points = load(options.points, 30 if options.smoke else QUERIES, smoke=options.smoke)
        report.fact("data_set", points.name)
        report.fact("n", len(points))
        report.fact("dim", DIM)
        report.fact("queries", len(points.queries))
        report.fact("rounds", options.rounds)
        report.fact("clients", "1 client, one call at a time, hits with payload, parsed")
        with serve(root / "shapes") as live, live.client() as client:
            report.say(f"{len(points):,} points go in, and become one segment")
            collection = client.create_collection("shapes", dim=DIM)
            collection.upsert(ids=points.ids, vectors=points.vectors, payloads=points.payloads)
            collection.compact(timeout_s=BUILD_S)
            (segment,) = collection.stats().segments
            report.fact("index", "one graph" if segment.graph else "one flat segment")
            _groups(report, collection, points, options.rounds)
            _batches(report, collection, points, options.rounds)
    return 0


# --- groups


def _groups(report: Report, collection: Collection, points: Points, rounds: int) -> None:
    """Ask for groups and for plain hits in turn, with the same filter."""
    report.fact("groups", f"k={K}, group={GROUP!r}, group_size={SIZE}")
    scores = true_scores(points, len(points.queries))
    percents = np.array([payload["percent"] for payload in points.payloads])
    values = np.unique([payload[GROUP] for payload in points.payloads], return_inverse=True)[1]
    shares: list[float] = []
    for percent in FILTERS:
        report.say(f"groups, a filter that {percent} % pass, {rounds} rounds")
        chosen = None if percent == 100 else F("percent") < percent
        results: list[SearchResult] = []

        def grouped(
            at: int, chosen: Filter | None = chosen, results: list[SearchResult] = results
        ) -> None:
            result = collection.search(
                points.queries[at], k=K, filter=chosen, group=GROUP, group_size=SIZE
            )
            results.append(_read(result))

        def plain(at: int, chosen: Filter | None = chosen) -> None:
            _read(collection.search(points.queries[at], k=K * SIZE, filter=chosen))

        for warm in (grouped, plain):
            timed(warm, 20)
        ours: list[float] = []
        bare: list[float] = []
        ratios: list[float] = []
        for _ in range(rounds):
            results.clear()
            mine, theirs = (timed(work, len(points.queries)) for work in (grouped, plain))
            ratios.append(median(mine) / median(theirs))
            ours += mine
            bare += theirs
        what = f"{percent} % pass" if chosen is not None else "no filter"
        key = f"grouped_{percent}_percent"
        report.times(key, ours, f"{K} groups of {SIZE}, {what}", p50_at_most=TARGET_MS)
        report.times(f"plain_{percent}_percent", bare, f"{K * SIZE} hits without groups, {what}")
        report.figure(f"{key}_vs_plain", median(ratios), "", "median grouped over median plain")
        shares.append(_found(results, scores[:, percents < percent], values[percents < percent]))
    report.figure(
        "groups_found", min(shares), "", "true best groups found, the filter with the fewest"
    )


# --- batches


def _batches(report: Report, collection: Collection, points: Points, rounds: int) -> None:
    """Ask the same queries in one call, and one by one, in turn."""
    size = min(BATCH, len(points.queries))
    report.fact("batches", f"{size} queries, k={K}")
    for key, chosen, what in (
        ("batch", None, "no filter"),
        ("batch_filtered", F("percent") < 10, "a filter that 10 % pass"),
    ):
        report.say(f"batches, {what}, {rounds} rounds")
        searches: list[Search] = [
            {"query": query, "k": K, "filter": chosen} for query in points.queries[:size]
        ]

        def together(at: int, searches: list[Search] = searches) -> None:
            for result in collection.search_batch(searches):
                _read(result)

        def apart(at: int, searches: list[Search] = searches) -> None:
            for one in searches:
                _read(collection.search(**one))

        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(rounds):
            ours += timed(together, 4)
            theirs += timed(apart, 4)
        report.figure(f"{key}_qps", size / median(ours), "/s", f"queries of a batch, {what}")
        report.figure(f"{key}_single_qps", size / median(theirs), "/s", "the same, one by one")
        report.figure(
            f"{key}_vs_single", median(theirs) / median(ours), "", "the one over the other"
        )


def _read(result: SearchResult) -> SearchResult:
    for hit in result:
        _ = hit.payload  # parsed at first use: a caller uses it
    return result


def _found(results: Sequence[SearchResult], scores: F64, values: np.ndarray) -> float:
    """Return the share of the true best groups found, by the scores of their best hits."""
    found = wanted = 0
    for result, row_scores in zip(results, scores, strict=True):
        best = np.full(values.max() + 1, -np.inf)
        np.maximum.at(best, values, row_scores)
        best = np.sort(best[np.isfinite(best)])[::-1][:K]
        assert len({group.value for group in result.groups}) == len(best)
        found += sum(group.hits[0].score >= best[-1] - SCORE_SLACK for group in result.groups)
        wanted += len(best)
    return found / wanted


def _parse() -> argparse.Namespace:
    options = options_parser(__doc__, "points", "each shape beside its floor, in turn").parse_args()
    options.points = options.points or (3_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (2 if options.smoke else 5)
    return options


if __name__ == "__main__":
    sys.exit(main())
