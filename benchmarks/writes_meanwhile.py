"""Writes to a collection until told to stop: what searches are measured beside.

    python benchmarks/writes_meanwhile.py ADDRESS COLLECTION

A process of its own, so that it shares no interpreter with who measures. Replaces the same made-up
points over and over, 1,000 a request, until its standard input ends; then prints how many it wrote.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from points import DIM, load
from vecdb_client import Client

POINTS = 20_000
BATCH = 1_000


@dataclass(slots=True)
class Written:
    """Points written and the seconds that took; known when the block has ended."""

    points: int = 0
    seconds: float = 0.0


@contextmanager
def writes(address: str, collection: str) -> Iterator[Written]:
    """Write to a collection as long as the block lasts; the first batch is in when it begins."""
    written = Written()
    command = [sys.executable, str(Path(__file__).resolve()), address, collection]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.perf_counter()
        yield written
        written.seconds = time.perf_counter() - started
        said, _ = process.communicate(timeout=60)
        written.points = int(said)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main() -> int:
    """Write until standard input ends."""
    _, address, name = sys.argv
    points = load(POINTS, 1, smoke=True)
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    written = -BATCH  # the first batch is before the block
    with Client(address, timeout_s=60) as client:
        collection = client.create_collection(name, dim=DIM, if_not_exists=True)
        while not ended.is_set():
            for start in range(0, POINTS, BATCH):
                at = slice(start, start + BATCH)
                collection.upsert(
                    ids=points.ids[at], vectors=points.vectors[at], payloads=points.payloads[at]
                )
                if written < 0:
                    print("writing", flush=True)
                written += BATCH
                if ended.is_set():
                    break
    print(written, flush=True)
    return 0


def _await_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
