"""What keys and metrics cost: searches of a guarded server beside those of an open one.

    python benchmarks/guarded.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

Both run on one core, on copies of the same data, and are asked in turn, for a second each: what
else the machine does changes more slowly than that. The guarded one has 100 keys, of which each
search brings one, an audit log is kept, and /metrics is scraped every 15 s.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from live import Live, serve
from load import Load, check_installed, pinned, record
from options import parser as options_parser
from points import Points, load
from report import Report, measured
from searched import BODIES, STREAMS, fill, request, tell
from timing import median, timed
from vecdb.metrics import Metrics
from vecdb_client import Client
from vecdb_client.protocol import QUERY

EF, KEYS = 64, 100
SCRAPE_S = 15.0
"""As deploy/prometheus has it."""
CALLS_PER_S = 1_000_000
"""A limit that counts each call and stops none."""


def main() -> int:
    """Run and return the exit status."""
    check_installed()
    options = _parse()
    with measured("guarded", options) as (report, root):
        points = load(options.points, BODIES, smoke=options.smoke)
        tell(report, points, options.rounds)
        _fill(root, points)
        keys = _make_keys(root / "guarded", 5 if options.smoke else KEYS)
        _compare(report, root, points, keys, options)
    return 0


def _fill(root: Path, points: Points) -> None:
    with serve(root / "filled") as live:
        fill(live, points)
    # Both are copies: how files were written shows in how fast they are read when they are mapped.
    for name in ("open", "guarded"):
        shutil.copytree(root / "filled", root / name)
    shutil.rmtree(root / "filled")


def _make_keys(folder: Path, count: int) -> tuple[str, str]:
    """Return two of the keys that are made: without, and with a limit of calls."""
    made = _keys("create", "root", "--allow", "all", "--data", folder / "data")
    with serve(folder) as live, Client(live.address, api_key=made) as client:
        for number in range(count):
            client.create_key(f"holder {number}", ["read"], collections=["c"])
        free = client.create_key("reader", ["read", "metrics"], collections=["c", "other-*"])
        limited = client.create_key("slow", ["read"], collections=["c"], calls_per_s=CALLS_PER_S)
    return free.secret, limited.secret


def _keys(*arguments: object) -> str:
    command = [sys.executable, "-m", "vecdb", "keys", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def _scraped(live: Live, key: str) -> Iterator[None]:
    """Have /metrics asked for once a second."""
    ended = threading.Event()
    request = urllib.request.Request(
        f"http://{live.metrics}/metrics", headers={"Authorization": f"Bearer {key}"}
    )

    def scrape() -> None:
        while not ended.wait(SCRAPE_S):
            with urllib.request.urlopen(request, timeout=10) as reply:
                reply.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _compare(
    report: Report,
    root: Path,
    points: Points,
    keys: tuple[str, str],
    options: argparse.Namespace,
) -> None:
    core, *others = sorted(os.sched_getaffinity(0))
    sender = Load(root, set(others) or {core})
    requests = 400 if options.smoke else 1_000
    bodies = [record(root, f"query{at}", request(points.queries[at], EF)) for at in range(BODIES)]
    audit = {"audit.file": root / "audit.jsonl"}
    rates: list[tuple[float, float]] = []
    spent: list[tuple[float, float]] = []
    with (
        pinned({core}),
        serve(root / "open") as open_,
        serve(root / "guarded", settings=audit) as guarded,
        pinned(set(range(os.cpu_count() or 1))),
        _scraped(guarded, keys[0]),
    ):
        for at in range(options.rounds + 1):
            asked = [(open_, ""), (guarded, keys[0]), (guarded, keys[1])]
            order = [(at + turn) % 3 for turn in range(3)]  # nobody is always the first
            bursts = {
                one: _burst(sender, asked[one][0], bodies, requests, asked[one][1]) for one in order
            }
            bare, free, limited = (bursts[one] for one in range(3))
            report.say(f"open {bare[0]:,.0f}/s, guarded {free[0]:,.0f}/s, {limited[0]:,.0f}/s")
            if at:  # the first round warms both
                rates.append((free[0] / bare[0], limited[0] / bare[0]))
                spent.append((free[1] / bare[1], limited[1] / bare[1]))
    ours, counted = zip(*rates, strict=True)
    report.figure("guarded_vs_open", median(ours), "", "searches a second", at_least=0.95)
    report.figure("guarded_vs_open_min", min(ours), "", "in the worst round")
    report.figure("guarded_vs_open_max", max(ours), "", "in the best round")
    report.figure("limited_vs_open", median(counted), "", "by a key whose calls are counted")
    ours, counted = zip(*spent, strict=True)
    report.figure("guarded_cpu", median(ours), "", "processor time of a search", at_most=1.05)
    report.figure("limited_cpu", median(counted), "", "by a key whose calls are counted")
    metrics = Metrics()
    labels = ("unary", "vecdb.v1.Search", "Query")
    started, handling = metrics.started.labels(*labels), metrics.handling.labels(*labels)
    handled = metrics.handled.labels(*labels, "OK")

    def count(at: int) -> None:
        started.inc()
        handled.inc()
        handling.observe(0.001)

    each = float(np.mean(timed(count, 1_000 if options.smoke else 100_000)))
    report.figure("metrics_us", each * 1e6, "us", "to count a call, of any kind")


def _burst(
    sender: Load, live: Live, bodies: list[Path], requests: int, key: str
) -> tuple[float, float]:
    """Return searches a second, and the processor seconds that they took."""
    before = live.cpu_s()
    url = f"http://{live.address}{QUERY.path}"
    qps = sender.burst(url, bodies, requests, streams=STREAMS, key=key).qps
    return qps, live.cpu_s() - before


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "points that are searched", "both in turn")
    options = parser.parse_args()
    options.points = options.points or (3_000 if options.smoke else 50_000)
    options.rounds = options.rounds or (1 if options.smoke else 50)
    return options


if __name__ == "__main__":
    sys.exit(main())
