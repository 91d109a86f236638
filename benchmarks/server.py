"""Searches end to end: one server on one core, beside a bare grpcio echo on the same core.

    python benchmarks/server.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

The load comes from h2load on the other cores. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from echo import PATH, echo_process, request_of
from live import Live, serve
from load import Load, check_installed, pinned, record
from options import parser as options_parser
from points import Points, load, made_up, true_scores
from report import Report, measured
from searched import BODIES, STREAMS, K, fill, request, tell
from timing import median
from vecdb.config import ServerConfig
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb_client import Collection
from vecdb_client.protocol import QUERY
from writes_meanwhile import writes

RECALL = 0.95
SCORE_SLACK = 1e-6
EFS = (20, 24, 28, 32, 40, 48, 64, 96, 128)
THREADS: int = ServerConfig().threads
START_POINTS, START_DIM = 1_000_000, 128


@dataclass(frozen=True, slots=True)
class Setting:
    """What every part needs. cores: one for the servers, the others for the load."""

    report: Report
    root: Path
    points: Points
    scores: np.ndarray
    load: Load
    server_core: set[int]
    requests: int
    rounds: int


def main() -> int:
    """Run and return the exit status."""
    check_installed()
    options = _parse()
    with measured("server", options) as (report, root):
        points = load(options.points, 40 if options.smoke else 500, smoke=options.smoke)
        core, *others = sorted(os.sched_getaffinity(0))
        setting = Setting(
            report,
            root,
            points,
            true_scores(points, len(points.queries)),
            Load(root, set(others) or {core}),
            {core},
            400 if options.smoke else 8_000,
            options.rounds,
        )
        tell(report, points, options.rounds)
        _fill(setting)
        bodies, sizes, ef = _choose(setting)
        _beside_echo(setting, bodies, sizes, ef)
        _during_ingest(setting, bodies)
        _start(setting, options)
    return 0


def _fill(setting: Setting) -> None:
    """Store the points and wait until they are one segment with a graph."""
    points = setting.points
    setting.report.say(f"{len(points):,} points go in, and are merged into one segment")
    with serve(setting.root / "server") as live:
        fill(live, points)


@contextmanager
def _server(setting: Setting, cores: set[int] | None) -> Iterator[tuple[Live, str]]:
    """Run the server on the data that is there; yield it and the URL of its searches."""
    with pinned(cores), serve(setting.root / "server") as live:
        with pinned(set(range(os.cpu_count() or 1))):
            yield live, f"http://{live.address}{QUERY.path}"


def _choose(setting: Setting) -> tuple[list[Path], tuple[int, int], int]:
    """Return requests whose ef is the least that finds enough, their and their replies' bytes."""
    points = setting.points
    with _server(setting, None) as (live, _), grpc.insecure_channel(live.address) as channel:
        call = channel.unary_unary(QUERY.path)
        for ef in EFS:
            replies = [call(request(query, ef), timeout=30) for query in points.queries]
            recall = _recall(setting, [QueryResponse.FromString(reply) for reply in replies])
            if recall >= RECALL:
                break
    setting.report.figure(
        "grpc_recall", recall, "", "hits by score over all queries", at_least=RECALL
    )
    setting.report.figure("grpc_ef", ef, "", f"the least of {EFS} with that recall")
    setting.report.fact("reply_bytes", round(np.mean([len(reply) for reply in replies])))
    size = sorted((len(reply), at) for at, reply in enumerate(replies))
    # Requests whose replies are of middling length, so that one size of echo stands for all.
    middle = [at for _, at in size[len(size) // 2 :][:BODIES]]
    bodies = [record(setting.root, f"query{at}", request(points.queries[at], ef)) for at in middle]
    sizes = len(request(points.queries[0], ef)), size[len(size) // 2][0]
    return bodies, sizes, ef


def _recall(setting: Setting, replies: list[QueryResponse]) -> float:
    """Return the share of hits whose true score is at least the true tenth, less 1e-6."""
    row_of = {name: row for row, name in enumerate(setting.points.ids)}
    found = 0
    for reply, scores in zip(replies, setting.scores, strict=True):
        least = np.partition(scores, -K)[-K] - SCORE_SLACK
        rows = {row_of[hit.id] for hit in reply.hits}
        found += min(K, sum(scores[row] >= least for row in rows))
    return found / (K * len(replies))


def _beside_echo(setting: Setting, bodies: list[Path], sizes: tuple[int, int], ef: int) -> None:
    """Search and echo in turn, both on the one core; then search at half the rate."""
    report, requests = setting.report, setting.requests
    echo_body = record(setting.root, "echo", request_of(*sizes))
    report.say(f"searches with ef {ef} beside the echo of {sizes[0]} and {sizes[1]} bytes")
    with (
        _server(setting, setting.server_core) as (live, url),
        pinned(setting.server_core),
        echo_process(THREADS) as echo,
    ):
        with pinned(set(range(os.cpu_count() or 1))):
            ours: list[float] = []
            bare: list[float] = []
            spent = 0.0
            for at in range(setting.rounds + 1):
                before, answered = live.cpu_s(), _answered(live)
                one = setting.load.burst(url, bodies, requests, streams=STREAMS)
                spent = live.cpu_s() - before
                if _answered(live) - answered != len(one.latencies_s):
                    raise RuntimeError("the server counts other searches than h2load got answers")
                two = setting.load.burst(
                    f"http://{echo}{PATH}", [echo_body], requests, streams=STREAMS
                )
                if at:  # the first round warms both
                    ours.append(one.qps)
                    bare.append(two.qps)
            half = median(ours) / 2
            slow = setting.load.burst(url, bodies, requests, streams=STREAMS, rps=half)
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    report.figure(
        "grpc_vs_echo", median(ratios), "", "searches over bare calls, of the rounds", at_least=0.45
    )
    report.figure("grpc_vs_echo_min", min(ratios), "", "in the worst round")
    report.figure("grpc_vs_echo_max", max(ratios), "", "in the best round")
    report.figure("grpc_qps", median(ours), "/s", "searches on one core, median of the rounds")
    report.figure("echo_qps", median(bare), "/s", "bare calls of the same sizes on that core")
    report.figure("grpc_cpu_us", spent / requests * 1e6, "us", "processor time of a search")
    p50, p99 = slow.percentile_s(50), slow.percentile_s(99)
    report.figure("grpc_half_load_p50_ms", p50 * 1e3, "ms", f"a search at {half:,.0f} a second")
    report.figure("grpc_half_load_p99_ms", p99 * 1e3, "ms", "its 99th percentile")
    report.figure("grpc_p99_vs_p50", p99 / p50, "", "one over the other", at_most=6)


def _answered(live: Live) -> float:
    """Return how many searches the server has answered, by its own count."""
    labels = 'grpc_code="OK",grpc_method="Query",grpc_service="vecdb.v1.Search",grpc_type="unary"'
    try:
        return live.gauge(f"grpc_server_handled_total{{{labels}}}")
    except KeyError:
        return 0.0


def _during_ingest(setting: Setting, bodies: list[Path]) -> None:
    """Search alone and beside a full-speed ingest into another collection, in turn."""
    report = setting.report
    report.say("searches beside an ingest, on all cores")
    ratios: list[float] = []
    written = seconds = 0.0
    with _server(setting, None) as (live, url):
        for _ in range(setting.rounds):
            quiet = setting.load.burst(url, bodies, setting.requests, streams=STREAMS)
            with writes(live.address, "other") as beside:
                busy = setting.load.burst(url, bodies, setting.requests, streams=STREAMS)
            ratios.append(busy.qps / quiet.qps)
            written += beside.points
            seconds += beside.seconds
    report.figure(
        "search_during_ingest", median(ratios), "", "searches beside it over quiet", at_least=0.5
    )
    report.figure("search_during_ingest_min", min(ratios), "", "in the worst round")
    report.figure("ingest_meanwhile_per_s", written / seconds, "/s", "points stored meanwhile")


def _start(setting: Setting, options: argparse.Namespace) -> None:
    """Start on many points: their files are in the page cache, no process has them open."""
    report, count = setting.report, options.start_points
    report.say(f"{count:,} points of {START_DIM} go in, to start with")
    many = made_up(count, 20, START_DIM)
    folder = setting.root / "start"
    # Graphs would take minutes to build, and change nothing about what a start reads.
    settings = {"storage.graph_points": 1 << 24}
    with serve(folder, settings=settings) as live, live.client(600) as client:
        collection = client.create_collection("many", dim=START_DIM)
        collection.upsert(ids=many.ids, vectors=many.vectors, payloads=many.payloads)
        collection.compact(timeout_s=600)
    least = true_scores(many, 1)[0]
    answers: list[float] = []
    listening: list[float] = []
    found = 0.0
    for _ in range(1 if options.smoke else 3):
        started = time.perf_counter()
        with serve(folder, settings=settings) as live, live.client() as client:
            found = _found(client.collection("many"), many, least)
            answers.append(time.perf_counter() - started)
            listening.append(live.started_s)
    what = f"with {count:,} points on disk, files in the page cache"
    report.fact("start_n", count)
    report.fact("start_dim", START_DIM)
    report.figure(
        "start_to_first_answer_s",
        median(answers),
        "s",
        f"from the start of the process, {what}",
        at_most=1.0,
    )
    report.figure("start_to_listening_s", median(listening), "s", "of that, until it takes calls")
    report.figure("start_recall", found, "", "recall of that answer: exact", at_least=1.0)


def _found(collection: Collection, points: Points, scores: np.ndarray) -> float:
    row_of = {name: row for row, name in enumerate(points.ids)}
    least = np.partition(scores, -K)[-K] - SCORE_SLACK
    result = collection.search(points.queries[0], k=K)
    return sum(scores[row_of[hit.id]] >= least for hit in result) / K


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "points that are searched", "search and echo in turn")
    parser.add_argument("--start-points", type=int, help=f"points to start with ({START_POINTS:,})")
    options = parser.parse_args()
    options.points = options.points or (3_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    options.start_points = options.start_points or (3_000 if options.smoke else START_POINTS)
    return options


if __name__ == "__main__":
    sys.exit(main())
