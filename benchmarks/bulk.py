"""How long searches take while many clients write in bulk, beyond the share that writes have.

    python benchmarks/bulk.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

A server is searched, by few clients, quiet and beside more writers than it works for at once, in
turn. The writers' batches go to another collection, which is made into segments meanwhile. All
share the machine's cores, so that searches must take longer; none may wait for the writes to end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from live import Live, serve
from load import Load, check_installed, record
from options import parser as options_parser
from points import load
from report import Report, measured
from searched import BODIES, fill, request, tell
from timing import median
from vecdb_client import F
from vecdb_client.protocol import QUERY
from writes_meanwhile import BATCH, writes

EF = 64
SEARCHERS = 4
WORST_MS = 1_000.0


def main() -> int:
    """Run and return the exit status."""
    check_installed()
    options = _parse()
    with measured("bulk", options) as (report, root):
        points = load(options.points, BODIES, smoke=options.smoke)
        tell(report, points, options.rounds)
        report.fact("clients", f"{SEARCHERS} that search, {options.writers} that write")
        report.fact("write_calls", options.write_calls)
        report.fact("workers", options.workers)
        settings = {
            "limits.write_calls": options.write_calls,
            "server.workers": options.workers,
        }
        with serve(root / "server", settings=settings) as live:
            fill(live, points)
            for name, chosen in (("search", None), ("filtered", F("percent") < 50)):
                bodies = [
                    record(root, f"{name}{at}", request(points.queries[at], EF, chosen))
                    for at in range(BODIES)
                ]
                _compare(report, root, live, name, bodies, options)
    return 0


def _compare(
    report: Report,
    root: Path,
    live: Live,
    name: str,
    bodies: list[Path],
    options: argparse.Namespace,
) -> None:
    sender = Load(root, None)
    url = f"http://{live.address}{QUERY.path}"
    quiet: list[np.ndarray] = []
    busy: list[np.ndarray] = []
    ratios: list[float] = []
    written = seconds = 0.0
    for at in range(options.rounds + 1):
        calm = sender.burst(url, bodies, options.requests, streams=SEARCHERS)
        with writes(live.address, "other", options.writers) as beside:
            hard = sender.burst(url, bodies, options.requests, streams=SEARCHERS)
        report.say(f"{name}: quiet {calm.qps:,.0f}/s, beside bulk writes {hard.qps:,.0f}/s")
        if at:  # the first round warms
            quiet.append(calm.latencies_s)
            busy.append(hard.latencies_s)
            ratios.append(hard.percentile_s(99) / calm.percentile_s(99))
            written += beside.points
            seconds += beside.seconds
    report.times(f"{name}_quiet", np.concatenate(quiet).tolist(), "alone")
    every = np.concatenate(busy)
    report.times(f"{name}_beside", every.tolist(), "beside bulk writes")
    report.figure(f"{name}_p99_ratio", median(ratios), "", "p99 of one over the other, by round")
    worst = float(every.max()) * 1e3
    what = f"the longest of {len(every):,} searches beside bulk writes"
    report.figure(f"{name}_worst_ms", worst, "ms", what, at_most=WORST_MS)
    report.figure(
        f"{name}_written_per_s", written / seconds, "/s", f"points stored meanwhile, {BATCH} a call"
    )


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "points that are searched", "quiet and beside writes in turn")
    parser.add_argument("--writers", type=int, help="clients that write (32)")
    parser.add_argument("--requests", type=int, help="searches of a burst (2,000)")
    parser.add_argument("--write-calls", type=int, default=128, help="limits.write_calls (128)")
    parser.add_argument("--workers", type=int, default=1, help="server.workers (1)")
    options = parser.parse_args()
    options.points = options.points or (3_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    options.requests = options.requests or (200 if options.smoke else 2_000)
    options.writers = options.writers or (4 if options.smoke else 32)
    return options


if __name__ == "__main__":
    sys.exit(main())
