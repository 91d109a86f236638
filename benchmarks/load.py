"""Load from a process that is not Python: nghttp2's h2load, sending recorded gRPC requests.

One process sends one request over and over, so a load is a few processes, one after the other.
Latencies are h2load's own, from its log: microseconds from sending a request to the reply's end.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INSTALL = "server.py needs h2load, a part of nghttp2 (Debian: apt-get install nghttp2-client)"
HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")


def check_installed() -> None:
    """End the process, in words that help, unless h2load is there."""
    if shutil.which("h2load") is None:
        sys.exit(INSTALL)


def record(folder: Path, name: str, message: bytes) -> Path:
    """Write a request as gRPC frames it, for h2load to send: not compressed, then its length."""
    path = folder / f"{name}.grpc"
    path.write_bytes(struct.pack(">BI", 0, len(message)) + message)
    return path


@contextmanager
def pinned(cores: set[int] | None) -> Iterator[None]:
    """Let processes that are started inside the block run on those cores alone."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Answers:
    """What a load got. latencies_s: of each request."""

    latencies_s: np.ndarray
    seconds: float

    @property
    def qps(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.seconds

    def percentile_s(self, percent: float) -> float:
        """Return a percentile of the latencies."""
        return float(np.percentile(self.latencies_s, percent))


class Load:
    """h2load on some cores. Its log goes to a folder."""

    def __init__(self, folder: Path, cores: set[int] | None) -> None:
        self._log = folder / "h2load.log"
        self._cores = cores

    def burst(
        self,
        url: str,
        bodies: Sequence[Path],
        requests: int,
        *,
        streams: int,
        rps: float = 0,
        key: str = "",
    ) -> Answers:
        """Send requests, as many of each body, `streams` at a time; at a rate where one is given.

        key: an API key that goes with each.
        Raises RuntimeError for any answer that is not HTTP's 200 with a message.
        """
        each = max(1, requests // len(bodies))
        latencies: list[np.ndarray] = []
        seconds = 0.0
        for body in bodies:
            self._log.unlink(missing_ok=True)
            clients, rate = (1, []) if not rps else (streams, ["--rps", f"{rps / streams:g}"])
            command = ["h2load", "-t1", f"-n{each}", f"-c{clients}", "-d", str(body), *HEADERS]
            command += ["-H", f"authorization: Bearer {key}"] * bool(key)
            command += [f"-m{1 if rps else streams}", "--log-file", str(self._log), *rate, url]
            with pinned(self._cores):
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=300, check=False
                )
            try:
                log = np.loadtxt(self._log, dtype=np.int64, ndmin=2)
            except (OSError, ValueError):
                log = np.empty((0, 3), np.int64)
            if done.returncode or len(log) != each or (log[:, 1] != 200).any():
                raise RuntimeError(f"h2load: {len(log)} of {each} answers\n{done.stdout[-2000:]}")
            latencies.append(log[:, 2] / 1e6)
            ends = log[:, 0] + log[:, 2]
            seconds += float(ends.max() - log[:, 0].min()) / 1e6
        return Answers(np.concatenate(latencies), seconds)
