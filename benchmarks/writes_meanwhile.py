"""Writes to a collection until told to stop: what searches are measured beside.

    python benchmarks/writes_meanwhile.py ADDRESS COLLECTION CLIENTS

A process of its own, so that it shares no interpreter with who measures. Each client replaces the
same made-up points over and over, 1,000 a request, and asks again when it is refused, until
standard input ends; then it prints how many were written.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from points import DIM, Points, load
from vecdb_client import Client, Collection, Overloaded

POINTS = 20_000
BATCH = 1_000


@dataclass(slots=True)
class Written:
    """Points written and the seconds that took; known when the block has ended."""

    points: int = 0
    seconds: float = 0.0


@contextmanager
def writes(address: str, collection: str, clients: int = 1) -> Iterator[Written]:
    """Write to a collection as long as the block lasts; the first batch is in when it begins."""
    written = Written()
    command = [sys.executable, str(Path(__file__).resolve()), address, collection, str(clients)]
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
    _, address, name, clients = sys.argv
    points = load(POINTS, 1, smoke=True)
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    with Client(address, timeout_s=60) as client:
        collection = client.create_collection(name, dim=DIM, if_not_exists=True)
        _write(collection, points, 0)  # before the block
        print("writing", flush=True)
        with ThreadPoolExecutor(int(clients)) as pool:
            work = partial(_write_on, address, name, points, ended)
            written = sum(pool.map(work, range(int(clients))))
    print(written, flush=True)
    return 0


def _write_on(address: str, name: str, points: Points, ended: threading.Event, first: int) -> int:
    """Write batches, from one on, until it has ended; return how many points those were."""
    written = 0
    with Client(address, timeout_s=60) as client:
        collection = client.collection(name)
        while not ended.is_set():
            start = (first * BATCH + written) % POINTS
            with suppress(Overloaded):
                written += _write(collection, points, start)
    return written


def _write(collection: Collection, points: Points, start: int) -> int:
    at = slice(start, start + BATCH)
    collection.upsert(ids=points.ids[at], vectors=points.vectors[at], payloads=points.payloads[at])
    return BATCH


def _await_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
