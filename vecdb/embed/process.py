"""The parent's side of the embedding worker: starts the child, watches it, starts it again.

One thread lives the child's life: start, wait for "ready", probe, notice the end, wait a little
longer than last time, start again. The child is started by exec, never by fork alone: a fork would
copy the server's locks and threads' memory in whatever state they are.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.channel import RESTART_S, RESTARTING, WorkerChannel, WorkerState
from vecdb.embed.watched import OnChange, Watched
from vecdb.embed.wire import READY, message_bytes
from vecdb.errors import VecdbError
from vecdb.sockets import private_folder

log = logging.getLogger(__name__)

BACKOFF_S = 0.2
BACKOFF_MAX_S = 30.0
# A worker that answered for this long was sound: what ended it starts the back-off anew.
SOUND_S = 30.0
PROBE_INTERVAL_S = 5.0
PROBE_TIMEOUT_S = 5.0
PROBE_FAILURES = 3
STOP_S = 10.0


class WorkerProcess(Watched):
    """An embedding worker that is kept running between start() and stop().

    on_change: called with every new state, from the watching thread; must not block.
    probe_interval_s, probe_timeout_s: how soon a worker that hangs is noticed.
    """

    def __init__(
        self,
        config: EmbedConfig,
        *,
        text_bytes: int,
        on_change: OnChange = lambda state: None,
        log_level: str = "info",
        log_format: str = "text",
        probe_interval_s: float = PROBE_INTERVAL_S,
        probe_timeout_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        super().__init__(on_change)
        self._config = config
        self._text_bytes = text_bytes
        self._log_level, self._log_format = log_level, log_format
        self._probe_interval_s = probe_interval_s
        self._probe_timeout_s = probe_timeout_s
        known = catalog.load_catalog(config.catalog)
        self._specs = catalog.select(known, config.models, config.model)
        self._folder: Path | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Guarded by _changed, too:
        self._child: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def address(self) -> str:
        """Return the gRPC target of every worker that this one starts. Raises before start()."""
        if self._folder is None:
            raise VecdbError("the embedding worker has not been started")
        return f"unix:{self._folder / 'encoder.sock'}"

    @property
    def pid(self) -> int | None:
        """Return the child's process id, None while there is no child."""
        with self._changed:
            return None if self._child is None else self._child.pid

    @property
    def restarts(self) -> int:
        """Return how many times the child was started again."""
        with self._changed:
            return max(0, self._starts - 1)

    def start(self) -> None:
        """Start the worker and return at once; wait_ready() or on_change say when it answers.

        Where it is switched off, or nothing of it is installed, the state says so and no process
        is started.
        """
        if not self._config.enabled:
            self._become(WorkerState(reason="embedding is switched off: embed.enabled is false"))
            return
        absent = {spec.name: catalog.missing(spec) for spec in self._specs}
        if all(absent.values()):
            self._become(WorkerState(reason=absent[self._specs[0].name]))
            return
        self._folder = private_folder("embed", "encoder.sock")
        self._become(WorkerState(reason="the embedding worker is starting", retry_after_s=2.0))
        self._thread = threading.Thread(target=self._keep_running, name="embed-worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the worker, letting calls under way finish for a few seconds."""
        with self._changed:
            self._stopping.set()
            if self._child is not None:
                self._child.terminate()
        if self._thread is not None:
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                log.warning("the embedding worker does not stop; killing it")
                self._kill()
                self._thread.join()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._become(
            WorkerState(reason="the embedding worker was stopped", retry_after_s=RESTART_S)
        )

    def _keep_running(self) -> None:
        backoff_s = BACKOFF_S
        while True:
            born = time.monotonic()
            answered_s = self._live()
            if self._stopping.is_set():
                return
            if answered_s >= SOUND_S:
                backoff_s = BACKOFF_S
            # A start takes about as long as the last one did.
            again_s = backoff_s + min(5.0, max(1.0, time.monotonic() - born - answered_s))
            self._become(WorkerState(reason=RESTARTING, retry_after_s=again_s))
            if self._stopping.wait(backoff_s):
                return
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    def _live(self) -> float:
        """Run one child from start to end; return for how many seconds it answered."""
        child = self._spawn()
        if child is None:
            return 0.0
        answered_since = None
        try:
            if self._await_ready(child):
                channel = WorkerChannel(self.address, self._text_bytes)
                try:
                    if self._introduce(channel):
                        answered_since = time.monotonic()
                        self._watch(child, channel)
                finally:
                    channel.close()
        except Exception:
            log.exception("watching the embedding worker failed; it is restarted")
        finally:
            self._bury(child)
        return 0.0 if answered_since is None else time.monotonic() - answered_since

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        assert self._folder is not None
        command = [sys.executable, "-P", "-m", "vecdb.embed.worker"]
        options = {
            "socket": self._folder / "encoder.sock",
            "config": json.dumps(asdict(self._config)),
            "message-bytes": message_bytes(self._text_bytes),
            "log-level": self._log_level,
            "log-format": self._log_format,
        }
        command += [f"--{name}={value}" for name, value in options.items()]
        # Calls tokenize in threads of their own; the tokenizer's pool would only compete with them.
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        with self._changed:
            if self._stopping.is_set():
                return None
            try:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
                )
            except OSError as error:
                log.error("cannot start the embedding worker: %s", error)
                return None
            self._starts += 1
            return self._child

    def _await_ready(self, child: subprocess.Popen[bytes]) -> bool:
        """Return whether the child said that it is ready, before its end and the time-out."""
        give_up = time.monotonic() + self._config.start_s
        said = b""
        while READY not in said:
            if not _readable(child, give_up - time.monotonic()):
                log.error("the embedding worker is not ready after %.0f s", self._config.start_s)
                return False
            more = _read(child)
            if not more:
                return False
            said += more
        return True

    def _introduce(self, channel: WorkerChannel) -> bool:
        """Return whether the worker could be asked for its models; then the state is ready."""
        try:
            models = channel.describe(self._probe_timeout_s).reasons
        except VecdbError as error:
            log.error("the embedding worker does not answer: %s", error)
            return False
        with self._changed:
            generation = self._starts
        self._become(WorkerState(ready=True, reason="", generation=generation, models=models))
        return True

    def _watch(self, child: subprocess.Popen[bytes], channel: WorkerChannel) -> None:
        """Return when the child has ended or hangs."""
        failures = 0
        while True:
            # Only the end of the child makes the pipe readable.
            if _readable(child, self._probe_interval_s) and not _read(child):
                return
            try:
                said = channel.describe(self._probe_timeout_s)
            except VecdbError as error:
                failures += 1
                log.warning("the embedding worker missed probe %d: %s", failures, error)
                if failures >= PROBE_FAILURES:
                    return
                continue
            failures = 0
            if said.counters.running_s > self._config.stalled_s:
                log.error("its batch has run for %.0f s", said.counters.running_s)
                return
            self._become(replace(self.state, models=said.reasons))

    def _bury(self, child: subprocess.Popen[bytes]) -> None:
        """Make sure that the child has ended, and say how."""
        with self._changed:
            ready = self._state.ready
        if ready and not self._stopping.is_set():
            # First, so that no new call goes to it.
            self._become(WorkerState(reason=RESTARTING, retry_after_s=2.0))
        if not self._stopping.is_set():
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()
        with self._changed:
            self._child = None
        if not self._stopping.is_set():
            log.warning("the embedding worker (pid %d) ended: %s", child.pid, _end(child))

    def _kill(self) -> None:
        with self._changed:
            if self._child is not None:
                self._child.kill()


def _readable(child: subprocess.Popen[bytes], timeout_s: float) -> bool:
    assert child.stdout is not None
    poll = select.poll()  # select() itself refuses descriptors beyond 1,023
    poll.register(child.stdout, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1e3))


def _read(child: subprocess.Popen[bytes]) -> bytes:
    """Return what the child wrote, b"" when it has ended."""
    assert child.stdout is not None
    return os.read(child.stdout.fileno(), 4096)


def _end(child: subprocess.Popen[bytes]) -> str:
    if child.returncode < 0:
        return f"signal {signal.Signals(-child.returncode).name}"
    return f"exit status {child.returncode}"
