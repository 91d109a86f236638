"""`python -m tests.fuzz`: every call with random and mutated messages, for as long as one likes."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.fuzzer import ALL, Findings, Fuzzer, running
from tests.fuzz.node import complaints, fuzzed, kept, processes_of, resident_mib
from tests.live import LiveServer

GROWTH_MAX = 0.05


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--threads", type=int, default=4)
    options.add_argument("--embed", action="store_true", help="with the embedding worker")
    options.add_argument(
        "--memory", type=int, default=0, metavar="CALLS", help="measure growth over so many calls"
    )
    asked = options.parse_args()
    print(f"seed {asked.seed}: python -m tests.fuzz --seed {asked.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="vecdb-fuzz-") as folder,
        fuzzed(Path(folder), asked.workers, embed=asked.embed) as server,
    ):
        violations = run(server, asked)
    for violation in violations:
        print(violation[:3_000])
    print(f"{len(violations)} violations")
    return bool(violations)


def run(server: LiveServer, asked: argparse.Namespace) -> list[str]:
    findings = Findings()
    processes = processes_of(server)
    with server.client() as client:
        before = kept(client)
    fuzzers = [Fuzzer(server, f"{asked.seed}-{n}", findings) for n in range(asked.threads)]
    if asked.memory:
        measure(server, fuzzers, findings, asked.memory)
    else:
        watch(server, fuzzers, findings, time.monotonic() + asked.minutes * 60, float("inf"))
    for fuzzer in fuzzers:
        fuzzer.close()
    if gone := processes - processes_of(server):
        findings.blame(f"{len(gone)} processes have ended")
    with server.client() as client:
        if client.health() != "SERVING":
            findings.blame("the server does not say that it serves")
        if kept(client) != before:
            findings.blame("a collection that nobody named has changed")
    findings.violations += complaints(server)
    if missing := ALL.keys() - findings.calls.keys():
        print(f"never called: {sorted(missing)}")
    if findings.violations:
        print(server.log.read_text(errors="replace")[-20_000:], file=sys.stderr)
    print(f"{findings.calls.total():,} calls of {len(findings.calls)} methods")
    print("  ".join(f"{code} {count:,}" for code, count in findings.codes.most_common()))
    print(f"slowest {findings.slowest[0]:.1f} s ({findings.slowest[1]})")
    return findings.violations


def watch(
    server: LiveServer, fuzzers: list[Fuzzer], findings: Findings, until: float, calls: float
) -> None:
    """Run for a time or a number of calls, or until there is enough to look at."""
    said = time.monotonic()
    for _ in running(fuzzers, until, calls):
        if time.monotonic() - said > 30:
            said = time.monotonic()
            print(
                f"{findings.calls.total():,} calls, {resident_mib(server):.0f} MiB, "
                f"{len(findings.violations)} violations",
                flush=True,
            )
        if len(findings.violations) >= 20:
            return


def measure(server: LiveServer, fuzzers: list[Fuzzer], findings: Findings, calls: int) -> None:
    """Compare memory after as many calls to warm up with that after so many calls more."""
    watch(server, fuzzers, findings, float("inf"), calls)
    first = settled_mib(server)
    watch(server, fuzzers, findings, float("inf"), 2 * calls)
    last = settled_mib(server)
    growth = last / first - 1
    print(f"memory {first:.1f} MiB, after {calls:,} calls {last:.1f} MiB: {growth:+.1%}")
    if growth > GROWTH_MAX:
        findings.blame(f"memory grew by {growth:.1%}")


def settled_mib(server: LiveServer) -> float:
    """Return the memory while nobody asks for anything."""
    samples = []
    for _ in range(9):
        time.sleep(0.5)
        samples.append(resident_mib(server))
    return statistics.median(samples)


if __name__ == "__main__":
    sys.exit(main())
