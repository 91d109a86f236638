"""Which connection a call takes: one for a server of one process, one to each of its workers else.

Workers of a server share its port, and the kernel gives each connection to one of them, by chance.
A worker's answer to a health check says which it is and how many there are; so connections are
opened until each worker has one. That is looked after again from time to time, since a worker that
was started again has lost its connections to the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from vecdb_client import health
from vecdb_client.target import Target
from vecdb_client.wire import Channel

WORKER: Final = "vecdb-worker"
WORKERS: Final = "vecdb-workers"
"""Trailers of a health check: a name that no other worker has, and how many there are."""

WORKERS_MAX: Final = 64
CALLS_BEFORE_LOOK: Final = 16
"""A client of a few calls needs no second connection."""
LOOK_EVERY_S: Final = 10.0
TRIES: Final = 8
"""Connections that are opened for each worker, at most: which of them they meet is chance."""
LOOK_S: Final = 1.0
LOOK_SHARE: Final = 0.25
"""Most seconds of looking, and most of the time that the call has which finds that it is due."""


class Connection:
    """A channel that is a connection of its own. calls, retired: guarded by Connections."""

    def __init__(self, target: Target) -> None:
        self.channel: Final = Channel(target)
        self.calls = 0
        self.retired = False

    def worker(self, within_s: float = LOOK_S) -> tuple[str, int] | None:
        """Return which worker answers here, of how many: "" and 1 for the only one.

        None when nobody does in time.
        """
        if within_s <= 0:
            return None
        try:
            trailers = self.channel.trailers(health.CHECK, b"", timeout_s=within_s)
        except grpc.RpcError as error:
            unheard = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            return None if error.code() in (*unheard, grpc.StatusCode.CANCELLED) else ("", 1)
        except ValueError:  # closed meanwhile
            return None
        said = dict(trailers)
        name, count = said.get(WORKER, ""), said.get(WORKERS, "1")
        if not isinstance(name, str) or not str(count).isdecimal() or not name:
            return "", 1
        return name, min(int(count), WORKERS_MAX)


class Connections:
    """The connections of one client. Threads may share it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = threading.Lock()  # guards the list, the four below, and what is in the list
        self._open = [Connection(target)]
        self._turn = 0
        self._made = 0
        self._closed = False
        self._look_at = 0.0
        self._looking = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def one(self, within_s: float, avoid: Connection | None = None) -> Iterator[Connection]:
        """Yield the connection with the fewest calls under way, another than `avoid` if it can.

        within_s: the time that the call has, of which looking for workers may take a part.
        """
        self._look_if_due(min(LOOK_S, LOOK_SHARE * within_s))
        with self._lock:
            choice = [one for one in self._open if one is not avoid] or self._open
            self._turn += 1
            first = self._turn % len(choice)
            chosen = min(choice[first:] + choice[:first], key=_under_way)
            chosen.calls += 1
        try:
            yield chosen
        finally:
            with self._lock:
                chosen.calls -= 1
                self._made += 1
                over = chosen.retired and not chosen.calls
            if over:
                chosen.channel.close()

    def look_soon(self) -> None:
        """Have the next call see which workers there are: one may have ended."""
        self._look_at = 0.0

    def close(self) -> None:
        """Close all; calls under way are cancelled."""
        with self._lock:
            self._closed = True
            opened = list(self._open)
        for connection in opened:
            connection.channel.close()

    def _look_if_due(self, within_s: float) -> None:
        if self._made < CALLS_BEFORE_LOOK or time.monotonic() < self._look_at:
            return
        if not self._looking.acquire(blocking=False):
            return  # another thread looks
        try:
            self._look_at = time.monotonic() + LOOK_EVERY_S
            self._look(within_s)
        finally:
            self._looking.release()

    def _look(self, within_s: float = LOOK_S) -> None:
        """Keep one connection to each worker, and open those that are missing."""
        until = time.monotonic() + within_s
        before = list(self._open)
        kept: dict[object, Connection] = {}
        wanted = 0
        for connection in before:
            found = connection.worker(until - time.monotonic())
            # One that is out of reach now may come back.
            name, count = found if found else (connection, 0)
            kept.setdefault(name, connection)
            wanted = max(wanted, count)
        if wanted == 1:
            self._look_at = float("inf")  # until a call fails
        for _ in range(TRIES * wanted if wanted > 1 else 0):
            if len(kept) >= wanted or time.monotonic() >= until:
                break
            connection = Connection(self._target)
            found = connection.worker(until - time.monotonic())
            if found and found[0] and found[0] not in kept:
                kept[found[0]] = connection
            else:
                connection.channel.close()
        self._replace(before, list(kept.values()))

    def _replace(self, before: list[Connection], after: list[Connection]) -> None:
        with self._lock:
            idle = [one for one in before if one not in after and not one.calls]
            for one in before:
                one.retired = one not in after
            if self._closed:
                idle += after
            else:
                self._open = after
        for connection in idle:
            connection.channel.close()


def _under_way(one: Connection) -> int:
    return one.calls
