"""What a backup costs those who search meanwhile, and how fast it is.

    python benchmarks/backup.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

A server is searched, quiet and beside backups, in turn. Each backup is whole, into a new folder;
one follows the other for as long as the searches take. All share the machine's cores.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from live import Live, disk_bytes, serve
from load import Load, check_installed, record
from options import parser as options_parser
from points import Points, load
from report import Report, measured
from searched import BODIES, STREAMS, fill, request, tell
from timing import median
from vecdb_client.protocol import QUERY

EF = 64


@dataclass(slots=True)
class Made:
    """Backups that were made: how many, their bytes, and the seconds that they took."""

    count: int = 0
    bytes: int = 0
    seconds: float = 0.0


def main() -> int:
    """Run and return the exit status."""
    check_installed()
    options = _parse()
    with measured("backup", options) as (report, root):
        points = load(options.points, BODIES, smoke=options.smoke)
        tell(report, points, options.rounds)
        with serve(root / "server") as live:
            fill(live, points)
            _compare(report, root, live, points, options)
    return 0


def _compare(
    report: Report, root: Path, live: Live, points: Points, options: argparse.Namespace
) -> None:
    sender = Load(root, None)
    requests = 400 if options.smoke else 12_000
    bodies = [record(root, f"query{at}", request(points.queries[at], EF)) for at in range(BODIES)]
    url = f"http://{live.address}{QUERY.path}"
    ratios: list[float] = []
    all_made = Made()
    for at in range(options.rounds + 1):
        quiet = sender.burst(url, bodies, requests, streams=STREAMS)
        with _backups(live, root / "kept", all_made):
            busy = sender.burst(url, bodies, requests, streams=STREAMS)
        report.say(f"quiet {quiet.qps:,.0f}/s, beside backups {busy.qps:,.0f}/s")
        if at:  # the first round warms
            ratios.append(busy.qps / quiet.qps)
    rate = all_made.bytes / all_made.seconds / (1 << 20)
    report.figure(
        "search_during_backup", median(ratios), "", "searches beside it over quiet", at_least=0.8
    )
    report.figure("search_during_backup_min", min(ratios), "", "in the worst round")
    report.figure("search_during_backup_max", max(ratios), "", "in the best round")
    report.figure("backup_mib_per_s", rate, "MiB/s", "copied, sent, hashed and written meanwhile")
    report.figure("backups", all_made.count, "", "made meanwhile")


@contextmanager
def _backups(live: Live, folder: Path, made: Made) -> Iterator[None]:
    """Have backups made, one after the other, as long as the block lasts."""
    ended, began = threading.Event(), threading.Event()

    def run() -> None:
        number = 0
        while not ended.is_set():
            into = folder / str(number)
            command = [sys.executable, "-m", "vecdb", "backup", str(into), "-a", live.address]
            started = time.perf_counter()
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            began.set()
            if process.wait() != 0:
                raise RuntimeError("a backup failed")
            made.seconds += time.perf_counter() - started
            made.bytes += disk_bytes(into)
            made.count += 1
            number += 1
            shutil.rmtree(into)

    folder.mkdir(exist_ok=True)
    thread = threading.Thread(target=run)
    thread.start()
    began.wait()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        shutil.rmtree(folder)


def _parse() -> argparse.Namespace:
    options = options_parser(__doc__, "points that are searched", "quiet and busy").parse_args()
    options.points = options.points or (3_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    return options


if __name__ == "__main__":
    sys.exit(main())
