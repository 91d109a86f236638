"""A process that reads documents, seen from the server: asked, waited for, and buried.

It is started by exec, never by fork alone: a fork would copy the server's locks in whatever state
they are. Nothing of the server's environment reaches it but where Python finds its modules.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from vecdb.errors import BadDocument, DeadlineExceeded, Unavailable, VecdbError, by_reason
from vecdb.rag.reader_main import (
    ANSWER_BYTES_MAX,
    ANSWERED,
    ASKED,
    OUT_OF_MEMORY,
    READY,
    Bounds,
)
from vecdb.rag.texts import Text

START_S = 30.0
BURIAL_S = 5.0
"""A process that hung up ends by itself in this time, and so tells what of."""

_ENVIRONMENT = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "HOME", "LD_LIBRARY_PATH")


class _Ended(Exception):
    """The process hung up."""


class Reader:
    """One process, used by one thread at a time; any thread may close() it.

    documents: how many it was given. fit: whether it may be given another.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._deadline = 0.0
        self._started = False
        self.documents = 0
        self.fit = True
        self._line, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-B", "-m", "vecdb.rag.reader_main", json.dumps(bounds)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                )
        except OSError as error:
            self._line.close()
            raise Unavailable(
                f"no process that reads documents could be started: {error}", retry_after_s=5.0
            ) from None

    def read(self, kind: int, content: bytes, deadline: float) -> Text:
        """Return the text of a document. deadline: the caller's, on the monotonic clock.

        Raises BadDocument for one that cannot be read or overdid it, DeadlineExceeded, Unavailable.
        """
        self.fit = False
        own = START_S
        try:
            if not self._started:
                self._deadline = min(deadline, time.monotonic() + own)
                self._receive(len(READY))
                self._started = True
            own = self._bounds.read_s
            self._deadline = min(deadline, time.monotonic() + own)
            self.documents += 1
            found = self._ask(kind, content)
        except TimeoutError:
            self.close()
            raise self._late(own, deadline) from None
        except (_Ended, OSError):
            raise self._obituary() from None
        self.fit = True
        if isinstance(found, VecdbError):
            raise found
        return found

    def close(self) -> None:
        """End the process at once, whatever it does."""
        self.process.kill()
        self.process.wait()
        self._line.close()

    def _ask(self, kind: int, content: bytes) -> Text | VecdbError:
        self._send(ASKED.pack(kind, len(content)))
        self._send(content)
        (size,) = ANSWERED.unpack(self._receive(ANSWERED.size))
        if size > ANSWER_BYTES_MAX:
            raise _Ended
        answer: dict[str, Any] = json.loads(self._receive(size))
        if "reason" in answer:
            return by_reason(answer["reason"])(answer["message"], hint=answer["hint"])
        if answer["bytes"] > self._bounds.text_bytes:
            raise _Ended
        text = self._receive(answer["bytes"]).decode()
        return Text(text, answer["markdown"], answer["title"], tuple(answer["warnings"]))

    def _send(self, content: bytes) -> None:
        self._line.settimeout(self._left())
        self._line.sendall(content)  # its timeout is for all of it

    def _receive(self, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            self._line.settimeout(self._left())
            more = self._line.recv(min(size - len(read), 1 << 20))
            if not more:
                raise _Ended
            read += more
        return bytes(read)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _late(self, own: float, deadline: float) -> VecdbError:
        if time.monotonic() >= deadline:
            return DeadlineExceeded("the document was not read before the deadline")
        if self._started:
            return _slow(own)
        return Unavailable(
            f"a process that reads documents did not start in {own:g} s", retry_after_s=5.0
        )

    def _obituary(self) -> VecdbError:
        """Return what the end of the process says of the document."""
        try:
            status = self.process.wait(BURIAL_S)
        except subprocess.TimeoutExpired:
            status = 0
        self.close()
        if not self._started:
            return Unavailable(
                "a process that reads documents died at its start", retry_after_s=5.0
            )
        if status == -signal.SIGXCPU:
            return _slow(self._bounds.read_s)
        if status in (OUT_OF_MEMORY, -signal.SIGKILL):
            return BadDocument(
                f"reading it needs more than {self._bounds.memory_bytes:,} bytes of memory",
                hint="put it as plain text or in parts, or raise documents.reader_memory_bytes",
            )
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return BadDocument(
            f"it broke the process that read it ({how})",
            hint="it is damaged, or needs more than documents.reader_memory_bytes: put it as text",
        )


def _slow(limit_s: float) -> BadDocument:
    return BadDocument(
        f"reading it takes more than {limit_s:g} s",
        hint="put it as plain text or in parts, or raise documents.reader_s",
    )
