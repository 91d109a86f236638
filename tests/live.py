"""A real server in a process of its own, and looking at processes: what the tests share."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecdb.template import Forked, Template
from vecdb_client import Client

IMPORTED = (
    *("vecdb.cli", "vecdb.server", "vecdb.supervisor"),
    *(f"vecdb.cli.{name}" for name in ("check", "client_commands", "keys", "serve", "status")),
)
REPOSITORY = Path(__file__).resolve().parent.parent
START_S = COMMAND_S = 60.0


@functools.cache
def template() -> Template:
    """Return what servers are forked from, as imports are most of what a start costs."""
    made = Template(*IMPORTED)
    atexit.register(made.close)
    return made


def run_vecdb(
    *words: object, given: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `vecdb` with some words to its end, forked from the template: as by itself, but sooner.

    given: its standard input. environment: the whole of it; by default this process's.
    """
    told = [str(word) for word in words]
    with (
        tempfile.TemporaryFile() as in_,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as errors,
    ):
        in_.write(given.encode())
        in_.seek(0)
        files = (in_.fileno(), out.fileno(), errors.fileno())
        chosen = os.environ if environment is None else environment
        ended = template().start("vecdb.__main__", files, told, chosen)
        try:
            status = ended.wait(COMMAND_S)
        except subprocess.TimeoutExpired:
            ended.kill()
            raise
        said = []
        for file in (out, errors):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(told, status, *said)


def begin(words: Sequence[str], log: Path) -> Forked:
    """Run `vecdb` with some words, forked from the template as the head of a session.

    log: what it says is added to that file.
    """
    with log.open("ab") as said, open(os.devnull) as nothing:
        files = (nothing.fileno(), said.fileno(), said.fileno())
        return template().start("vecdb.__main__", files, words, os.environ, session=True)


def addresses_of(
    process: subprocess.Popen[bytes] | Forked, file: Path, log: Path, start_s: float = START_S
) -> dict[str, Any]:
    """Return what a server's address file says, once it is there."""
    deadline = time.monotonic() + start_s
    while not file.exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, tail_of(log)
            continue
        raise AssertionError(f"the server ended: {tail_of(log)}")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def tail_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


@dataclass
class LiveServer:
    """`vecdb serve` on free ports. Start, stop and kill it as often as a test likes."""

    data: Path
    settings: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    reach: dict[str, object] = field(default_factory=dict)
    """What its clients are given beside the address: tls, api_key."""
    process: subprocess.Popen[bytes] | Forked | None = None
    address: str = ""
    metrics: str = ""
    embeddings: str = ""
    log: Path = Path()
    listen: str = "127.0.0.1:0"
    start_s: float = START_S

    def start(self, *, ready: bool = True) -> LiveServer:
        """Return once it answers, or without `ready` once it says where it listens."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        addresses = self.data.with_name(self.data.name + "-addresses.json")
        addresses.unlink(missing_ok=True)
        self.log = self.data.with_name(self.data.name + "-server.log")
        words = ["serve", "--data", str(self.data), "--listen", self.listen]
        words += ["--metrics", "127.0.0.1:0", "--address-file", str(addresses)]
        for name, value in self.settings.items():
            words += ["--set", f"{name}={value}"]
        if self.environment:  # some of which is read before the first import
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "vecdb", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.environment},
                    start_new_session=True,
                )
        else:
            self.process = begin(words, self.log)
        found = addresses_of(self.process, addresses, self.log, self.start_s)
        self.address, self.metrics = found["grpc"], found["metrics"]
        self.embeddings = found["embeddings"]
        if ready:
            with self.client() as client:
                client.wait_ready(self.start_s)
        return self

    def tail(self) -> str:
        return tail_of(self.log)

    def client(self, **options: object) -> Client:
        return Client(self.address, **{**self.reach, **options})  # type: ignore[arg-type]

    def kill(self) -> None:
        """kill -9 of the server alone: its children must notice by themselves."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"the server does not stop: {self.tail()}") from None


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Return once the condition holds."""
    waited = threading.Event()
    for _ in range(int(timeout_s / 0.05)):
        if condition():
            return
        waited.wait(0.05)
    raise AssertionError("what was waited for did not come")


def descendants(pid: int) -> list[int]:
    """Return what a process has started, directly or not; of the head of a session, all of it."""
    there = _processes()
    found = {each for each, (_, session) in there.items() if session == pid}
    new = {pid}
    while new:
        new = {each for each, (parent, _) in there.items() if parent in new} - found
        found |= new
    return sorted(found - {pid})


def nodes_of(server: LiveServer) -> list[int]:
    """Return the writer and the query workers; not what they are forked from."""
    assert server.process is not None
    direct = children(server.process.pid)
    return [
        pid
        for pid in descendants(server.process.pid)
        if b"vecdb.template" in command_of(pid) and pid not in direct
    ]


def lasting(server: LiveServer) -> set[int]:
    """Return the processes that must live on, but for embedding workers; builders come and go."""
    assert server.process is not None
    started = descendants(server.process.pid)
    return {server.process.pid, *(pid for pid in started if b"vecdb.template" in command_of(pid))}


def embedding_workers(server: LiveServer) -> list[int]:
    """Return the embedding workers of a server, by process id."""
    assert server.process is not None
    return [
        pid for pid in descendants(server.process.pid) if b"vecdb.embed.worker" in command_of(pid)
    ]


def command_of(pid: int) -> bytes:
    """Return the command line of a process, empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    return [each for each, (parent, _) in _processes().items() if parent == pid]


def _processes() -> dict[int, tuple[int, int]]:
    """Return each process's parent and session."""
    found: dict[int, tuple[int, int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        found[int(entry)] = int(fields[1]), int(fields[3])
    return found


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
