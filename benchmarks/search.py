"""Exact search, text queries and the start of a server, beside floors of the same run.

    python benchmarks/search.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import numpy as np

import search_text
from echo import Echo, echo_server, request_of
from live import Live, serve, settle
from options import parser as options_parser
from points import DIM, F64, Points, load, reference_neighbors, true_scores
from report import Report, measured
from timing import median, timed
from vecdb import kernel
from vecdb.config import ServerConfig, StorageConfig
from vecdb.rpc.pb.search_pb2 import QueryRequest
from vecdb_client import Collection, F, Filter, SearchResult
from vecdb_client.protocol import QUERY
from writes_meanwhile import writes

K = 10
QUERIES = 200
SMALL = 5_300
"""Points of a collection as people's first ones are: the documentation of Python, say."""
SCORE_SLACK = 1e-6
FILTERS = (50, 10, 1)
"""Percent of the points that a filter lets through."""
STAGES = ("snapshot", "filter", "search", "fetch", "total")
STARTS = 3
FLAT = {"storage.graph_points": 1 << 24}
"""Settings that keep all segments flat: peers.py and server.py are about graphs."""
TARGET_SMALL_MS = 5.0
TAIL_POINTS: int = StorageConfig().tail_points
THREADS: int = ServerConfig().threads


def main() -> int:
    """Run and return the exit status."""
    options = _parse()
    with measured("search", options) as (report, root):
        points = load(options.points, 30 if options.smoke else QUERIES, smoke=options.smoke)
        small = min(400 if options.smoke else SMALL, len(points))
        report.fact("data_set", points.name)
        report.fact("n", len(points))
        report.fact("n_small", small)
        report.fact("dim", DIM)
        report.fact("k", K)
        report.fact("queries", len(points.queries))
        report.fact("rounds", options.rounds)
        report.fact("clients", "1 client, 1 search at a time, k=10 with payload, parsed")
        report.fact("index", "exact: flat segments, no m, no ef")
        vectors = root / "vectors"
        with serve(vectors, settings=FLAT) as live, echo_server(THREADS) as echo:
            _vectors(report, live, echo, points, small, options.rounds)
        _starts(report, vectors, points, 1 if options.smoke else STARTS)
        texts = 64 if options.smoke else small
        search_text.measure(report, root / "texts", points.first(texts), options.rounds)
    return 0


# --- vectors


def _vectors(
    report: Report, live: Live, echo: Echo, points: Points, small: int, rounds: int
) -> None:
    with live.client() as client:
        for key, part in (("small", points.first(small)), ("large", points)):
            report.say(f"{key}: {len(part):,} points go in")
            collection = client.create_collection(key, dim=DIM)
            collection.upsert(ids=part.ids, vectors=part.vectors, payloads=part.payloads)
            settle(live, collection, TAIL_POINTS)
            report.say(f"{key}: searches beside the echo server, {rounds} rounds")
            scores = true_scores(part, len(part.queries))
            _plain(report, live, echo, collection, part, scores, rounds)
        # What follows is of the large one alone.
        report.fact("segments", len(collection.stats().segments))
        _check_reference(report, points, scores)
        report.say("large: filters")
        _filtered(report, collection, points, scores)
        report.say("large: searches while another collection is written to")
        _meanwhile(report, live, collection, points, scores, rounds)
        _memory(report, live)


def _plain(
    report: Report,
    live: Live,
    echo: Echo,
    collection: Collection,
    points: Points,
    scores: F64,
    rounds: int,
) -> None:
    """Search and echo in turn; the answers of the last round are judged."""
    key, n = collection.name, len(points.queries)
    results: list[SearchResult] = []
    request, reply_bytes = _sizes(live, collection, points)
    message = request_of(len(request), reply_bytes)

    def search(at: int) -> None:
        results.append(_search(collection, points, at))

    timed(search, 20)
    timed(lambda at: echo(message), 20)
    searches: list[float] = []
    echoes: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        results.clear()
        ours, bare = timed(search, n), timed(lambda at: echo(message), n)
        ratios.append(median(ours) / median(bare))
        searches += ours
        echoes += bare
    report.times(
        f"search_{key}",
        searches,
        f"a search of {len(points):,} points",
        p50_at_most=TARGET_SMALL_MS if key == "small" else None,
    )
    report.figure(
        f"search_{key}_qps", len(searches) / sum(searches), "/s", "searches, one after the other"
    )
    sizes = f"{len(message):,} B there, {reply_bytes:,} B back"
    report.times(f"echo_{key}", echoes, f"bare grpcio, {sizes}")
    report.figure(
        f"search_{key}_vs_echo", median(ratios), "", "median search over median bare call"
    )
    for stage in STAGES:
        spent = [getattr(result.timings, f"{stage}_us") for result in results]
        report.figure(
            f"server_{key}_{stage}_us", median(spent), "us", f"the server's own clock: {stage}"
        )
    report.times(f"kernel_{key}", _kernel_times(points), "the kernel alone, all rows in one array")
    recall_key = "recall_at_10" if key == "large" else f"recall_at_10_{key}"
    _say_recall(report, recall_key, _recall(results, points, scores, None))


def _say_recall(report: Report, key: str, value: float) -> None:
    meaning = "hits whose true score is at least the true tenth, less 1e-6"
    report.figure(key, value, "", meaning, at_least=1.0)


def _search(
    collection: Collection, points: Points, at: int, chosen: Filter | None = None
) -> SearchResult:
    result = collection.search(points.queries[at % len(points.queries)], k=K, filter=chosen)
    for hit in result:
        _ = hit.payload  # parsed at first use: a caller uses it
    return result


def _sizes(live: Live, collection: Collection, points: Points) -> tuple[bytes, int]:
    """Return a search as it is sent, and the bytes of its reply: median of a few."""
    requests = [QueryRequest(collection=collection.name, k=K) for _ in range(20)]
    for request, query in zip(requests, points.queries[:20], strict=True):
        request.legs.add().near.vector.f32 = query.tobytes()
    sent = [request.SerializeToString() for request in requests]
    with grpc.insecure_channel(live.address) as channel:
        call = channel.unary_unary(QUERY.path)
        sizes = [len(call(request, timeout=30)) for request in sent]
    return sent[0], int(median(sizes))


def _kernel_times(points: Points) -> list[float]:
    """Return the time of each query in this process, over all points in one array."""
    codes, bounds = kernel.quantize(points.vectors)

    def scan(at: int) -> None:
        query = points.queries[at % len(points.queries)]
        kernel.scan_i8(kernel.DOT, codes, bounds, points.vectors, query, K, None)

    timed(scan, 20)
    return timed(scan, len(points.queries))


def _recall(
    results: Sequence[SearchResult], points: Points, scores: F64, mask: np.ndarray | None
) -> float:
    """Return the share of the true neighbours found, by score; wrong or doubled ids are misses."""
    row_of = {name: row for row, name in enumerate(points.ids)}
    found = wanted = 0
    for result, row_scores in zip(results, scores, strict=True):
        allowed = row_scores if mask is None else row_scores[mask]
        k = min(K, len(allowed))
        least = np.partition(allowed, -k)[-k] - SCORE_SLACK if k else 0.0
        rows = {row_of.get(hit.id, -1) for hit in result} - {-1}
        if mask is not None:
            rows = {row for row in rows if mask[row]}
        found += min(k, sum(row_scores[row] >= least for row in rows))
        wanted += k
    return found / wanted if wanted else 1.0


def _check_reference(report: Report, points: Points, scores: F64) -> None:
    """Hold our true scores against the data set's own neighbours, where both are of all points."""
    neighbors = reference_neighbors(points)
    if neighbors is None:
        return
    ours = -np.sort(-scores, axis=1)[:, :K]
    theirs = np.take_along_axis(scores, neighbors[: len(scores), :K].astype(np.int64), axis=1)
    gap = float(np.abs(ours - -np.sort(-theirs, axis=1)).max())
    report.figure("neighbors_gap", gap, "", "largest gap of a true score to neighbors.npy's")


def _filtered(report: Report, collection: Collection, points: Points, scores: F64) -> None:
    percents = np.array([payload["percent"] for payload in points.payloads])
    recalls: list[float] = []
    counts_right = True
    for percent in FILTERS:
        chosen, mask = F("percent") < percent, percents < percent
        results: list[SearchResult] = []

        def search(at: int, chosen: Filter = chosen, results: list[SearchResult] = results) -> None:
            results.append(_search(collection, points, at, chosen))

        times = timed(search, len(points.queries))
        true_count = int(mask.sum())
        counts_right &= collection.count(chosen) == true_count
        counts_right &= all(result.matched == true_count for result in results)
        report.times(f"filter_{percent}_percent", times, f"a search that {percent} % pass")
        report.figure(
            f"server_filter_{percent}_percent_us",
            median([result.timings.filter_us for result in results]),
            "us",
            "of it, finding who passes",
        )
        recalls.append(_recall(results, points, scores, mask))
    report.figure(
        "filter_counts_right", counts_right, "", "1: every count is the true one", at_least=1
    )
    _say_recall(report, "filter_recall_at_10", min(recalls))


def _meanwhile(
    report: Report, live: Live, collection: Collection, points: Points, scores: F64, rounds: int
) -> None:
    """Search alone, then beside a process that writes to another collection, in turn."""
    n = len(points.queries)
    busy: list[float] = []
    ratios: list[float] = []
    written = seconds = 0.0
    results: list[SearchResult] = []

    def search(at: int) -> None:
        results.append(_search(collection, points, at))

    with live.client() as client:
        other = client.create_collection("other", dim=DIM)
        for _ in range(max(1, rounds // 2)):
            calm = timed(search, n)
            results.clear()
            with writes(live.address, other.name) as beside:
                times = timed(search, n)
            written += beside.points
            seconds += beside.seconds
            settle(live, other, TAIL_POINTS, quiet_s=0.5)
            ratios.append(median(times) / median(calm))
            busy += times
    report.times("search_while_writing", busy, "a search while another process writes")
    report.figure(
        "search_while_writing_ratio", median(ratios), "", "its median over that without writes"
    )
    report.figure(
        "written_meanwhile_per_s", written / seconds, "/s", "points stored by that process"
    )
    _say_recall(report, "recall_at_10_while_writing", _recall(results, points, scores, None))


def _memory(report: Report, live: Live) -> None:
    for field, key, what in (
        ("VmRSS", "rss", "resident, pages of mapped files included"),
        ("RssAnon", "anonymous", "its own memory"),
        ("VmHWM", "peak_rss", "the most that was resident"),
    ):
        report.figure(f"server_{key}_mib", live.memory_mib(field), "MiB", f"after all that: {what}")


# --- the start


def _starts(report: Report, folder: Path, points: Points, times: int) -> None:
    """Start on the data that is there; the operating system still has the files in memory."""
    report.say(f"{times} starts with the data on disk")
    listening: list[float] = []
    answers: list[float] = []
    first: list[float] = []
    memory: dict[str, float] = {}
    for _ in range(times):
        started = time.perf_counter()
        with serve(folder, settings=FLAT) as live, live.client() as client:
            asked = time.perf_counter()
            collection = client.collection("large")
            result = _search(collection, points, 0)
            answers.append(time.perf_counter() - started)
            first.append(time.perf_counter() - asked)
            listening.append(live.started_s)
            assert len(result) == K
            assert result.complete
            timed(lambda at, found=collection: _search(found, points, at), len(points.queries))
            memory = {field: live.memory_mib(field) for field in ("VmRSS", "RssAnon", "RssFile")}
    what = f"with {len(points):,} points on disk, files in the page cache"
    report.figure("start_listening_s", median(listening), "s", f"until it takes calls, {what}")
    report.figure("start_first_answer_s", median(answers), "s", "until a search is answered")
    report.figure("start_first_search_ms", median(first) * 1e3, "ms", "of that, the first search")
    report.figure("start_rss_mib", memory["VmRSS"], "MiB", "resident after the queries")
    report.figure("start_anonymous_mib", memory["RssAnon"], "MiB", "of that, its own memory")
    report.figure("start_mapped_mib", memory["RssFile"], "MiB", "of that, pages of mapped files")


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "points of the large collection", "search and floor in turn")
    options = parser.parse_args()
    options.points = options.points or (5_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (2 if options.smoke else 5)
    if options.points < 1_000:
        parser.error("--points is at least 1,000")
    return options


if __name__ == "__main__":
    sys.exit(main())
