"""Clients in a process of their own: some threads, each with one call under way.

    python benchmarks/embed_load.py ADDRESS THREADS

A job is a line of JSON on standard input, its answer a line on standard output: see `Crew`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecdb_client import Client, Overloaded


@dataclass(frozen=True, slots=True)
class Served:
    """What clients got. latencies_s: of each call."""

    texts: int
    seconds: float
    latencies_s: list[float]

    @property
    def texts_per_s(self) -> float:
        """Texts a second, of all clients together."""
        return self.texts / self.seconds


class Crew:
    """Processes of clients; the texts of a job are shared out among all threads."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]], threads: int) -> None:
        self._processes = processes
        self._threads = threads

    def embed(self, texts: Sequence[str], *, clients: int, per_call: int, role: str) -> Served:
        """Embed texts, `per_call` of them in a call, by that many clients at once."""
        used = self._processes[: -(-clients // self._threads)]
        each = -(-clients // len(used))
        started = time.perf_counter()
        for at, process in enumerate(used):
            share = texts[at :: len(used)]
            job = {"texts": share, "clients": each, "per_call": per_call, "role": role}
            _tell(process, job)
        answers = [_answer(process) for process in used]
        took = time.perf_counter() - started
        latencies = [one for answer in answers for one in answer["latencies_s"]]
        return Served(len(texts), took, latencies)

    @contextmanager
    def ingest(self, texts: Sequence[str], per_call: int) -> Iterator[dict[str, float]]:
        """Store texts in a collection while the block runs; what is yielded tells how fast."""
        told: dict[str, float] = {}
        process = self._processes[-1]
        _tell(process, {"ingest": list(texts), "per_call": per_call})
        _answer(process)
        try:
            yield told
        finally:
            _tell(process, {})
            told.update(_answer(process))


@contextmanager
def crew(address: str, processes: int, threads: int) -> Iterator[Crew]:
    """Yield clients of a server, in that many processes of so many threads."""
    command = [sys.executable, str(Path(__file__).resolve()), address, str(threads)]
    with ExitStack() as stack:
        started = []
        for _ in range(processes):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(_end, process)
            started.append(process)
        for process in started:
            _answer(process)
        yield Crew(started, threads)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=60)  # closes its standard input, which is its sign to end
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tell(process: subprocess.Popen[str], job: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process of clients ended")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _embed(client: Client, pool: ThreadPoolExecutor, job: dict[str, Any]) -> dict[str, Any]:
    size, texts = job["per_call"], job["texts"]
    calls = iter([texts[at : at + size] for at in range(0, len(texts), size)])
    lock = threading.Lock()
    latencies: list[float] = []

    def run(_: int) -> None:
        while True:
            with lock:
                call = next(calls, None)
            if call is None:
                return
            started = time.perf_counter()
            client.embed(call, role=job["role"])
            latencies.append(time.perf_counter() - started)

    list(pool.map(run, range(job["clients"])))
    return {"latencies_s": latencies}


def _ingest(
    client: Client, texts: list[str], per_call: int, stop: threading.Event
) -> dict[str, float]:
    collection = client.collection("ingest")
    started = time.perf_counter()
    stored = 0
    while not stop.is_set():
        # A text that comes again has a number, or its vector would still be known.
        batch = [
            texts[at % len(texts)] + (f" {at // len(texts)}" if at >= len(texts) else "")
            for at in range(stored, stored + per_call)
        ]
        try:
            collection.upsert(ids=[f"{stored + row}" for row in range(len(batch))], texts=batch)
        except Overloaded:
            continue
        stored += len(batch)
    return {"texts": stored, "seconds": time.perf_counter() - started}


def main() -> int:
    """Do jobs until standard input ends."""
    address, threads = sys.argv[1], int(sys.argv[2])
    with Client(address, timeout_s=300) as client, ThreadPoolExecutor(threads) as pool:
        client.embed(["a text to begin with"])
        print(json.dumps({}), flush=True)
        for line in sys.stdin:
            job = json.loads(line)
            if "ingest" not in job:
                print(json.dumps(_embed(client, pool, job)), flush=True)
                continue
            stop = threading.Event()
            going = pool.submit(_ingest, client, job["ingest"], job["per_call"], stop)
            print(json.dumps({}), flush=True)
            sys.stdin.readline()
            stop.set()
            print(json.dumps(going.result()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
