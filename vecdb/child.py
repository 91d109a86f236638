"""A process that the supervisor keeps running: its life now, and when the next one begins."""

from __future__ import annotations

import queue
import signal
import socket
import threading
import time
from typing import Any

from vecdb.conditions import Condition
from vecdb.errors import VecdbError
from vecdb.line import Line, Message
from vecdb.node_status import ProcessStatus
from vecdb.template import Forked, Template

BACKOFF_S, BACKOFF_MAX_S = 0.2, 30.0
SOUND_S = 5.0
"""A process that served for so long was sound: what ended it starts the back-off anew."""


class Child:
    """One process that is kept running: its life now, and when the next one begins."""

    def __init__(self, name: str, begin: Message, template: Template) -> None:
        self.name = name
        self._begin = begin
        self._template = template
        self.process: Forked | None = None
        self.line: Line | None = None
        self.lives = 0
        self.ready = False
        self.began = 0.0
        self.ailment = ""
        self.conditions: list[Condition] = []
        self.failure: VecdbError | None = None
        self.asked = self.answered = self.unanswered = 0
        self._backoff_s = BACKOFF_S
        self._sound = False
        self.again_at = 0.0

    def status(self) -> ProcessStatus:
        """Return how it is now; the pid is 0 while there is none."""
        pid = self.process.pid if self.process else 0
        return ProcessStatus(self.name, pid, self.ready, restarts=max(0, self.lives - 1))

    def start(self, events: queue.SimpleQueue[Any]) -> None:
        """Start the process; what it says, and its end, become events of this life.

        Raises OSError when the machine has no room for one more now.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self.process = self._template.start("vecdb.node", (theirs.fileno(), 1, 2))
            except OSError:
                ours.close()
                raise
        self.line = Line(ours)
        self.lives += 1
        self.ready, self.began, self.ailment = False, time.monotonic(), ""
        self.conditions = []
        self.failure = None
        self.asked = self.answered = self.unanswered = 0
        line, life = self.line, self.lives

        def listen() -> None:
            for message in line.receive():
                events.put((self, life, message))
            events.put((self, life, None))

        threading.Thread(target=listen, name=f"vecdb-{self.name}", daemon=True).start()
        self.say(self._begin)

    def say(self, message: Message) -> None:
        """Send a message, where there is a process."""
        if self.line is not None:
            self.line.send(message)

    def ask(self, *, gauges: bool = False) -> None:
        """Ask for what it counts."""
        self.asked += 1
        self.say({"ask": self.asked, "gauges": gauges})

    def kill(self) -> None:
        """End the process at once, where there is one."""
        if self.process is not None:
            self.process.kill()

    def back_off(self) -> float:
        """Return the seconds until the next life: ever more, for one that does not last."""
        pause_s = BACKOFF_S if self._sound else self._backoff_s
        self._backoff_s = min(2 * pause_s, BACKOFF_MAX_S)
        self.again_at = time.monotonic() + pause_s
        return pause_s

    def bury(self) -> str:
        """Take note of the end of a process; return how it ended."""
        assert self.process is not None
        assert self.line is not None
        self.process.kill()  # it hung up, and so is all but gone
        status = self.process.wait()
        self.line.close()
        self.process = self.line = None
        self._sound = self.ready and time.monotonic() - self.began >= SOUND_S
        self.ready = False
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return f"{how}: {self.failure}" if self.failure else how
