"""Durable writes through the client to a live server, beside bare LMDB puts in the same run.

    python benchmarks/ingest.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]

benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from live import Live, disk_bytes, serve, settle
from lmdb_floor import Floor, record_bytes, stored_bytes
from options import parser as options_parser
from points import DIM, Points, load
from report import Report, measured
from timing import median, timed
from vecdb.config import StorageConfig
from vecdb_client import Collection
from vecdb_client.payloads import payload_bytes

BATCH = 1_000
SEQUENTIAL_SHARE = 0.3
"""Of the points, those that go in batch by batch, to time each."""
THREADS = 16
TARGET_RATIO = 0.06
TAIL_POINTS: int = StorageConfig().tail_points


@dataclass(slots=True)
class Rounds:
    """What the alternating rounds measured, a value a round."""

    server: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    server_cpu_us: list[float] = field(default_factory=list)
    client_cpu_us: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Points a second through the server over those of bare LMDB, round by round."""
        return [ours / bare for ours, bare in zip(self.server, self.floor, strict=True)]


def main() -> int:
    """Run and return the exit status."""
    options = _parse()
    with measured("ingest", options) as (report, root):
        points = load(options.points, 1, smoke=options.smoke)
        report.fact("data_set", points.name)
        report.fact("n", len(points))
        report.fact("dim", DIM)
        report.fact("batch", BATCH)
        report.fact("rounds", options.rounds)
        payloads = sum(len(payload_bytes(payload)) for payload in points.payloads)
        report.fact("payload_bytes_mean", round(payloads / len(points)))
        report.fact("clients", "1 client, 2 batches in flight (its default)")
        report.fact("index", "exact: flat segments, no m, no ef")
        with serve(root / "server") as live, Floor(root / "lmdb") as floor:
            _measure(report, live, floor, points, options, root)
    return 0


def _measure(
    report: Report,
    live: Live,
    floor: Floor,
    points: Points,
    options: argparse.Namespace,
    root: Path,
) -> None:
    with live.client() as client:
        # Imports, first pages and the first build of each process are not what is measured.
        warm = client.create_collection("warm", dim=DIM)
        _upsert(warm, points.first(3 * BATCH))
        settle(live, warm, TAIL_POINTS)
        collection = client.create_collection("ingest", dim=DIM)
        one_by_one = max(1, int(len(points) * SEQUENTIAL_SHARE) // BATCH) * BATCH
        size = (len(points) - one_by_one) // options.rounds
        report.say(f"{options.rounds} rounds of {size:,} points: server, then bare LMDB")
        rounds = Rounds()
        stored = 0
        for at in range(options.rounds):
            part = points.cut(at * size, (at + 1) * size)
            stored += _round(rounds, live, floor, collection, part)
        report.say(f"{one_by_one:,} points batch by batch")
        rest = points.cut(options.rounds * size, options.rounds * size + one_by_one)
        times = _batch_times(collection, rest)
        in_segments_s = settle(live, collection, TAIL_POINTS)
        stored += record_bytes(floor.batches(rest, BATCH))
        _say_rounds(report, rounds)
        report.times("batch", times, f"a batch of {BATCH:,} points, one at a time")
        _say_sizes(report, live, collection, rest, root / "server" / "data")
        report.figure(
            "in_segments_s",
            in_segments_s,
            "s",
            f"from the last answer until fewer than {TAIL_POINTS:,} points are in no segment",
        )
        _same_records(report, root, collection, stored)
        report.say("single points")
        _singles(report, live, floor, client.create_collection("singles", dim=DIM), points, options)


def _round(rounds: Rounds, live: Live, floor: Floor, collection: Collection, part: Points) -> int:
    """Write the part through the server, then bare; return the bytes of its records."""
    batches = floor.batches(part, BATCH)
    server_cpu, client_cpu = live.cpu_s(), time.process_time()
    started = time.perf_counter()
    _upsert(collection, part)
    took = time.perf_counter() - started
    rounds.client_cpu_us.append((time.process_time() - client_cpu) / len(part) * 1e6)
    rounds.server_cpu_us.append((live.cpu_s() - server_cpu) / len(part) * 1e6)
    rounds.server.append(len(part) / took)
    # Bare LMDB has the machine to itself: the server builds no segment meanwhile.
    settle(live, collection, TAIL_POINTS, quiet_s=0.5)
    rounds.floor.append(len(part) / sum(floor.put(batch) for batch in batches))
    return record_bytes(batches)


def _upsert(collection: Collection, part: Points) -> None:
    report = collection.upsert(ids=part.ids, vectors=part.vectors, payloads=part.payloads)
    assert report.written == len(part), report


def _batch_times(collection: Collection, part: Points) -> list[float]:
    times: list[float] = []
    for start in range(0, len(part), BATCH):
        batch = part.cut(start, start + BATCH)
        started = time.perf_counter()
        _upsert(collection, batch)
        times.append(time.perf_counter() - started)
    return times


def _say_rounds(report: Report, rounds: Rounds) -> None:
    report.figure(
        "ingest_vs_lmdb",
        median(rounds.ratios),
        "",
        "points/s through client and server over bare LMDB, median of the rounds",
        at_least=TARGET_RATIO,
    )
    report.figure("ingest_vs_lmdb_min", min(rounds.ratios), "", "the lowest round")
    report.figure("ingest_vs_lmdb_max", max(rounds.ratios), "", "the highest round")
    report.figure(
        "ingest_vs_lmdb_strict",
        median(rounds.server) / max(rounds.floor),
        "",
        "the median of ours over the fastest round of bare LMDB: the strictest reading",
    )
    for key, rates, what in (
        ("ingest", rounds.server, "through client and server, durable"),
        ("lmdb", rounds.floor, "bare LMDB, one process, the same records, synced each batch"),
    ):
        report.figure(f"{key}_points_per_s", median(rates), "/s", f"points {what}, median")
        report.figure(f"{key}_points_per_s_min", min(rates), "/s", "the slowest round")
        report.figure(f"{key}_points_per_s_max", max(rates), "/s", "the fastest round")
    report.figure(
        "server_cpu_us_per_point",
        median(rounds.server_cpu_us),
        "us",
        "processor time of the serving process (not of its builder) per point",
    )
    report.figure(
        "client_cpu_us_per_point",
        median(rounds.client_cpu_us),
        "us",
        "processor time of the client's process per point",
    )


def _say_sizes(
    report: Report, live: Live, collection: Collection, sample: Points, data: Path
) -> None:
    stats = collection.stats()
    segments = sum(segment.bytes for segment in stats.segments)
    raw = DIM * 4 + sum(map(len, sample.ids)) / len(sample)
    report.figure("raw_bytes_per_point", raw, "B", "float32 vector and id, without the payload")
    report.figure(
        "store_bytes_per_point", stats.store_bytes / stats.points, "B", "LMDB pages in use"
    )
    report.figure(
        "segment_bytes_per_point",
        segments / stats.points,
        "B",
        "segments (derived: float32 vectors, 8-bit codes, field indexes)",
    )
    report.figure(
        "disk_bytes_per_point",
        (stats.store_bytes + segments) / stats.points,
        "B",
        "both; replaced segments stay for 30 s on top",
    )
    report.figure(
        "data_directory_mib", disk_bytes(data) / (1 << 20), "MiB", "blocks of all files just now"
    )
    report.figure(
        "server_peak_rss_mib",
        live.memory_mib("VmHWM"),
        "MiB",
        "most that was resident of the serving process, pages of mapped files included",
    )
    report.figure(
        "server_anonymous_mib",
        live.memory_mib("RssAnon"),
        "MiB",
        "its own memory after the ingest, mapped files not counted",
    )


def _same_records(report: Report, root: Path, collection: Collection, expected: int) -> None:
    """Compare what bare LMDB was given with what the server stored."""
    stores = (root / "server" / "data" / "collections").glob("*/store")
    found = dict(stored_bytes(store) for store in stores)
    report.fact("record_bytes", expected)
    report.fact("record_bytes_of_server", found.get(collection.count(), 0))


def _singles(
    report: Report,
    live: Live,
    floor: Floor,
    collection: Collection,
    points: Points,
    options: argparse.Namespace,
) -> None:
    """Points one by one, each durable: by one client, by many threads, and bare."""
    one = 30 if options.smoke else 1_000
    each = 5 if options.smoke else 250
    batches = floor.batches(replace(points.first(one), ids=[f"one-{at}" for at in range(one)]), 1)
    # Halves before and after, so that a disk that slows down meets both.
    bare = [floor.put(batch) for batch in batches[: one // 2]]
    cpu = live.cpu_s()
    times = timed(lambda at: _put_one(collection, points, at, f"one-{at}"), one)
    one_cpu = live.cpu_s() - cpu
    bare += [floor.put(batch) for batch in batches[one // 2 :]]
    commits, cpu = live.gauge("vecdb_commits_total"), live.cpu_s()
    started = time.perf_counter()
    threads = [
        threading.Thread(target=_put_many, args=(collection, points, thread, each))
        for thread in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    many_cpu = live.cpu_s() - cpu
    commits = live.gauge("vecdb_commits_total") - commits
    total = THREADS * each
    assert collection.count() == one + total
    report.figure("singles_per_s", one / sum(times), "/s", "single durable writes, one client")
    report.times("single", times, "a single durable write")
    report.figure(
        "single_server_cpu_us", one_cpu / one * 1e6, "us", "processor time of the server for each"
    )
    report.figure(
        "lmdb_singles_per_s", one / sum(bare), "/s", "bare LMDB commits of one point each"
    )
    report.figure(
        "singles_vs_lmdb", sum(bare) / sum(times), "", "one client over bare LMDB, single points"
    )
    report.figure("singles_16_per_s", total / took, "/s", f"the same, {THREADS} threads at once")
    report.figure("singles_16_commits", commits, "", f"commits for those {total:,} writes")
    report.figure(
        "singles_16_writes_per_commit", total / commits, "", "writes that shared a commit"
    )
    report.figure(
        "single_16_server_cpu_us",
        many_cpu / total * 1e6,
        "us",
        "processor time of the server for each of them",
    )


def _put_one(collection: Collection, points: Points, row: int, name: str) -> None:
    point = {"id": name, "vector": points.vectors[row], "payload": points.payloads[row]}
    collection.upsert([point])


def _put_many(collection: Collection, points: Points, thread: int, each: int) -> None:
    for at in range(each):
        _put_one(collection, points, thread * each + at, f"many-{thread}-{at}")


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "points to write", "server and bare LMDB in turn")
    options = parser.parse_args()
    options.points = options.points or (6_000 if options.smoke else 100_000)
    options.rounds = options.rounds or (2 if options.smoke else 5)
    if options.points < 3 * BATCH:
        parser.error(f"--points is at least {3 * BATCH:,}")
    return options


if __name__ == "__main__":
    sys.exit(main())
