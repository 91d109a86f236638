"""`vecdb embed-worker` as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

START_S = 60.0


class WorkerAlone:
    """A worker that runs alone. Start, stop and kill it as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "worker.json"
        self.log = folder / "worker.log"
        self.process = None
        self.address = self.metrics = ""

    def start(self, listen="127.0.0.1:0", *flags, wait=True):
        """Start it; with wait until it takes calls."""
        self.file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "vecdb", "embed-worker", "--listen", listen]
        command += ["--address-file", str(self.file), *flags]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.await_ready() if wait else self

    def await_ready(self):
        deadline = time.monotonic() + START_S
        while not self.file.exists():
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, self.said()
                continue
            raise AssertionError(f"the worker ended: {self.said()}")
        found = json.loads(self.file.read_text())
        assert found["pid"] == self.process.pid
        self.address, self.metrics = found["grpc"], found["metrics"]
        return self

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@contextmanager
def alone(folder: Path):
    """Yield a worker, not started, that does not outlive its test."""
    worker = WorkerAlone(folder)
    try:
        yield worker
    finally:
        if worker.process is not None and worker.process.poll() is None:
            worker.kill()
