"""A server of the benchmark's own: `vecdb serve` on free loopback ports, watched from outside.

Starts and ends only processes that it made. Memory and processor time are read from /proc.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vecdb_client import Client, Collection

START_S = 60.0
STOP_S = 60.0
SETTLE_S = 400.0
_TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """The server ended or took too long; the message holds the end of its log."""


@dataclass(slots=True)
class Live:
    """A running server."""

    address: str
    metrics: str
    process: subprocess.Popen[bytes]
    started_s: float
    """Seconds from the start of the process until it told its address."""

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self.process.pid

    def client(self, timeout_s: float = 60.0) -> Client:
        """Return a new client, which is a new connection."""
        return Client(self.address, timeout_s=timeout_s)

    def gauge(self, name: str) -> float:
        """Return a metric without labels, as /metrics has it now."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as reply:
            for line in reply.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise KeyError(name)

    def memory_mib(self, field: str) -> float:
        """Return a field of the serving process: VmHWM, VmRSS, RssAnon, RssFile."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return float(line.split()[1]) / 1024
        return 0.0

    def cpu_s(self) -> float:
        """Return the processor seconds of the serving process, its children not counted."""
        return _cpu_s(self.pid)

    def children_cpu_s(self) -> float:
        """Return the processor seconds of its living children: the builder, the encoder."""
        return sum(_cpu_s(pid) for pid in _children(self.pid))


@contextmanager
def serve(
    folder: Path, *, embed: bool = False, settings: Mapping[str, object] | None = None
) -> Iterator[Live]:
    """Run a server whose data lies in a folder; stop it in order at the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    address_file = folder / "addresses.json"
    address_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "vecdb", "serve", "--data", str(folder / "data")]
    command += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    command += ["--address-file", str(address_file), "--set", f"embed.enabled={str(embed).lower()}"]
    for name, value in (settings or {}).items():
        command += ["--set", f"{name}={value}"]
    # Only what was chosen here counts, not what the caller's shell says.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VECDB_")}
    log_path = folder / "server.log"
    started = time.perf_counter()
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        while not address_file.exists():
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.005)
                raise DidNotStart(_tail(log_path))
            if time.perf_counter() - started > START_S:
                raise DidNotStart(f"nothing within {START_S:g} s: {_tail(log_path)}")
        took = time.perf_counter() - started
        addresses = json.loads(address_file.read_text())
        yield Live(addresses["grpc"], addresses["metrics"], process, took)
    finally:
        _stop(process)


def settle(live: Live, collection: Collection, tail_points: int, quiet_s: float = 1.0) -> float:
    """Wait until no segment is being built; return the seconds until the tail was small enough.

    tail_points: the server's setting, below which points stay in memory by design. Quiet means:
    the segments have not changed for quiet_s, and the builder used no processor time meanwhile.
    """
    started = time.perf_counter()
    in_segments = 0.0
    before: object = None
    since = started
    while time.perf_counter() - started < SETTLE_S:
        stats = collection.stats()
        now = time.perf_counter()
        if not in_segments and stats.tail_points < tail_points:
            in_segments = now - started
        state = [segment.number for segment in stats.segments], live.children_cpu_s()
        if state != before:
            before, since = state, now
        elif in_segments and now - since >= quiet_s:
            return in_segments
        time.sleep(0.02)
    raise TimeoutError(f"segments are still being built after {SETTLE_S:g} s")


def disk_bytes(folder: Path) -> int:
    """Return the bytes that a folder's files really take; holes in them take none."""
    found = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            found += path.lstat().st_blocks * 512
    return found


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        # The group is ours: the server was started as a session of its own.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log_path: Path) -> str:
    return log_path.read_text(errors="replace")[-2000:]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found.extend(int(child) for child in path.read_text().split())
    return found


def _cpu_s(pid: int) -> float:
    try:
        # The name, in brackets, may hold anything: count from behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
