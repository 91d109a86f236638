"""The server that is fuzzed: what it holds before, and must be and hold afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.fuzz.fuzzer import KEPT
from tests.live import LiveServer, embedding_workers, lasting, wait_until
from vecdb_client import Client

SETTINGS = {
    # What is made up by chance must not pile up: memory is to be compared.
    "limits.collections": 50,
    "limits.aliases": 50,
    "storage.tail_points": 64,
    "documents.reader_s": 5,
    "documents.readers": 1,
}
BAD_WORDS = ("Traceback", "internal error", "Exception", "Segmentation", "terminated", "hangs")


@contextmanager
def fuzzed(folder: Path, workers: int, *, embed: bool) -> Iterator[LiveServer]:
    settings = {**SETTINGS, "server.workers": workers, "embed.enabled": str(embed).lower()}
    server = LiveServer(folder / "data", settings).start()
    try:
        with server.client() as client:
            if embed:
                client.wait_ready(120, service="vecdb.v1.Models")
            points = client.create_collection(KEPT, dim=4)
            vectors = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
            points.upsert(ids=[str(n) for n in range(200)], vectors=vectors)
            wait_until(lambda: points.stats().segments)
        yield server
    finally:
        server.stop()


def kept(client: Client) -> list[tuple[str, int, list[float]]]:
    found = client.collection(KEPT).list(with_vectors=True)
    return sorted((point.id, point.version, list(point.vectors[""])) for point in found)


def processes_of(server: LiveServer) -> set[int]:
    """Return the processes that must not have ended; readers of documents come and go."""
    return lasting(server) | set(embedding_workers(server))


def resident_mib(server: LiveServer) -> float:
    """Return the memory of the processes that answer calls, without what files they map."""
    total = 0
    for pid in lasting(server):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
    return total / 1024


def complaints(server: LiveServer, words: Sequence[str] = BAD_WORDS) -> list[str]:
    """Return the lines of the log that speak of a bug."""
    lines = server.log.read_text(errors="replace").splitlines()
    return [line for line in lines if any(word in line for word in words)]
