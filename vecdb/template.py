"""Processes that begin half-way: forked from one that has imported what they are made of.

Imports are most of what a start of a node's process costs. One process, the template, pays for them
once; what it forks is there in milliseconds, after a crash as well, and shares its memory with it.
It does nothing else, has one thread and no open files, so that a fork of it is sound at any time.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

ANSWER_S = 60.0
"""How long it may take to import everything, from a slow disk."""
_MESSAGE_BYTES = 1 << 17


class Forked:
    """A process that was forked for us; waited for and ended as subprocess.Popen has it."""

    def __init__(self, pid: int, ended: int) -> None:
        """Take over a process. ended: a file descriptor that gives its exit status, as text."""
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended
        self._ending = select.poll()  # select.select would take no descriptor from 1,024 on
        self._ending.register(ended, select.POLLIN)

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, -N for signal N. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not self._ending.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            status = os.read(self._ended, 16)
            os.close(self._ended)
            if not status:  # its template is gone, and so is who could tell how it ends
                self._signal(signal.SIGKILL)
            self.returncode = int(status or -signal.SIGKILL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that is not known to have ended."""
        if self.poll() is None:
            self._signal(number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, number)


class Template:
    """The process that others are forked from, made when it is first needed, or needed again."""

    def __init__(self, *modules: str) -> None:
        """Start nothing yet. modules: what the template is to import."""
        self._command = [sys.executable, "-P", "-m", __name__, *modules]
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def start(
        self,
        module: str,
        files: tuple[int, int, int],
        words: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        *,
        session: bool = False,
    ) -> Forked:
        """Run the function main of a module in a process of its own, with what it imported.

        files: its standard input, output and errors. words: of its command line. environment: to
        have instead of the template's. session: whether to make it the head of a new one.
        Raises OSError when the machine has no room for one more now.
        """
        asked = {"module": module, "words": list(words), "session": session, "at": os.getcwd()}
        if environment is not None:
            asked["environment"] = dict(environment)
        ended, tell = os.pipe()
        try:
            pid = self._ask(json.dumps(asked).encode(), [*files, tell])
        except BaseException:
            os.close(ended)
            raise
        finally:
            os.close(tell)
        return Forked(pid, ended)

    def _ask(self, message: bytes, files: list[int]) -> int:
        if self._process is None or self._process.poll() is not None:
            self._begin()
        assert self._line is not None
        try:
            socket.send_fds(self._line, [message], files)
            said = self._line.recv(_MESSAGE_BYTES).decode()
        except OSError:
            self.close()
            raise
        if not said.isdecimal():
            raise OSError(said or "the template ended")
        return int(said)

    def _begin(self) -> None:
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(self._command, stdin=theirs.fileno())
            except OSError:
                ours.close()
                raise
        ours.settimeout(ANSWER_S)
        self._line = ours

    def close(self) -> None:
        """End it; what it forked goes on, but nobody will be told how that ends."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _fork_when_asked(line: socket.socket) -> str:
    """Return the module to run, in a forked process; in the template "", once nobody asks more."""
    # A terminal and some inits signal every process; this one ends with the one that asks.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminate = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    running: dict[int, int] = {}
    waited_for: list[Any] = [line, woken]
    while True:
        readable, _, _ = select.select(waited_for, [], [])
        if woken in readable:
            os.read(woken, 4096)
            _bury(running)
        if line not in readable:
            continue
        message, files, _, _ = socket.recv_fds(line, _MESSAGE_BYTES, 4)
        if not message:
            return ""
        try:
            pid = os.fork()
        except OSError as error:
            line.send(str(error).encode())
            for number in files:
                os.close(number)
            continue
        if pid:
            running[pid] = files.pop()
            for number in files:
                os.close(number)
            line.send(str(pid).encode())
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)
        for number in (line.detach(), woken, wake, *running.values()):
            os.close(number)
        return _become(json.loads(message), files)


def _become(asked: dict[str, Any], files: list[int]) -> str:
    if asked["session"]:
        os.setsid()
    for standard, number in zip((0, 1, 2), files[:3], strict=True):
        os.dup2(number, standard)
    for number in files:
        os.close(number)
    os.chdir(asked["at"])
    if "environment" in asked:
        os.environ.clear()
        os.environ.update(asked["environment"])
    module: str = asked["module"]
    sys.argv = [module, *asked["words"]]
    return module


def _bury(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            tell = running.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # who asked for it is gone
                os.write(tell, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(tell)


def _main() -> None:
    for name in sys.argv[1:]:
        import_module(name)
    line = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    gc.freeze()  # a collection in a fork need not look at, and so copy, what all share
    name = _fork_when_asked(line)
    if name:
        # Processes that it starts in turn import what is the main module here.
        module = sys.modules["__main__"] = import_module(name)
        sys.exit(module.main())


if __name__ == "__main__":
    _main()
