"""Connections of HTTP clients: how slowly they may send, and whether they are still there."""

from __future__ import annotations

import io
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vecdb.errors import DeadlineExceeded

log = logging.getLogger(__name__)

HANGUP_POLL_S = 0.5


class TooMuch(ConnectionError):
    """More bytes than a client may send at that point."""


class Clocked(io.RawIOBase):
    """What a connection sends, until a deadline and a number of bytes, however slowly it comes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = 0.0
        self._left = 0

    def allow(self, seconds: float, count: int | None = None) -> None:
        """Set how long it may take from now on, and how many bytes may come."""
        self._deadline = time.monotonic() + seconds
        if count is not None:
            self._left = count

    def readable(self) -> bool:
        """Return True: it is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # what the buffered reader has
        """Return how many bytes were read, 0 at the end."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("too slow")
        self._connection.settimeout(left_s)
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise TooMuch
        return count


class Callers:
    """Notices who hangs up while the answer is made. Threads may share it."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._lock = threading.Lock()  # guards the one below
        self._waiting: dict[int, Caller] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vecdb-hangups", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._poll.close()

    @contextmanager
    def waiting(
        self, connection: socket.socket
    ) -> Iterator[Callable[[Callable[[], None]], bool | None]]:
        """Yield what registers whom to tell when the connection's other end has gone.

        One that only says that it sends no more counts as gone, too. Raises ConnectionError then.
        """
        caller, descriptor = Caller(), connection.fileno()
        with self._lock:
            self._waiting[descriptor] = caller
            self._poll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)
        try:
            yield caller.register
        except DeadlineExceeded:  # as which a cancelled call ends
            if not caller.gone:
                raise
        finally:
            with self._lock:
                del self._waiting[descriptor]
                self._poll.unregister(descriptor)
        if caller.gone:
            raise ConnectionError("the caller has gone")

    def _watch(self) -> None:
        while not self._ended.is_set():
            for descriptor, _ in self._poll.poll(HANGUP_POLL_S):
                with self._lock:
                    caller = self._waiting.get(descriptor)
                if caller is not None:
                    caller.hang_up()


class Caller:
    """Who waits for an answer."""

    def __init__(self) -> None:
        self.gone = False
        self._lock = threading.Lock()  # guards the one above and the one below
        self._told: list[Callable[[], None]] = []

    def register(self, cancel: Callable[[], None]) -> bool:
        """Name what to call when it hangs up; return False when it has."""
        with self._lock:
            if not self.gone:
                self._told.append(cancel)
            return not self.gone

    def hang_up(self) -> None:
        """Take note that it has gone."""
        with self._lock:
            self.gone = True
            told, self._told = self._told, []
        for cancel in told:
            cancel()


def shut(connection: socket.socket) -> None:
    """End a connection that another thread may be reading from."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended by itself
