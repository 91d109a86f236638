"""What the processes of a node say to each other: messages of JSON, one a line, over a socket pair.

The supervisor holds one end for each child; a child's is its standard input. When either process
ends, however it ends, the other reads the end of the line.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]

_READ_BYTES = 1 << 16
_SEND_S = 1.0


class Line:
    """One end. Any thread may send; one receives."""

    def __init__(self, end: socket.socket) -> None:
        # A process that does not read must not keep the other waiting for ever.
        end.settimeout(_SEND_S)
        self._end = end
        self._sending = threading.Lock()

    def send(self, message: Message) -> bool:
        """Return whether a message was sent; one that the other does not take shuts the line."""
        try:
            with self._sending:
                self._end.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._shut()  # half a message may have gone out
            return False
        return True

    def receive(self) -> Iterator[Message]:
        """Yield the messages that come, until the other process ends."""
        rest = b""
        while True:
            try:
                read = self._end.recv(_READ_BYTES)
            except TimeoutError:
                continue
            except OSError:
                return
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def close(self) -> None:
        """Give the socket back; nobody may be receiving."""
        self._end.close()

    def _shut(self) -> None:
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end is gone already


def inherited() -> Line:
    """Return the child's end. Its own children get /dev/null, or they would keep the line up."""
    end = socket.socket(fileno=os.dup(0))  # not inherited by what this process starts
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return Line(end)
