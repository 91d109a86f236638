"""Removing points whose time has come: by writes like any other, so that all who follow are told.

Nobody waits for it: whoever reads leaves such points out by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import NamedTuple

from vecdb.clock import Clock
from vecdb.errors import Corrupt, Overloaded
from vecdb.outcomes import WriteOutcome
from vecdb.storage.command import Deletes, WriteCommand
from vecdb.storage.store import ReadTxn, Store, WriteTxn
from vecdb.storage.writer import Writer

log = logging.getLogger(__name__)

POINTS_MAX = 1_000
"""Points of one write: other writes come in between."""
INTERVAL_S = 1.0
"""Seconds between two looks: every write that removes some is one of `storage.changes_retained`."""

_Write = Callable[[WriteCommand], Future[WriteOutcome]]


class _Due(NamedTuple):
    """A point whose time has come, as it was looked at. entry: its time and slot."""

    entry: tuple[int, int]
    id: str
    version: int


class Expiry:
    """Of one collection that is open to write."""

    def __init__(self, store: Store, writer: Writer, clock: Clock) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._look_at = 0.0

    def remove(self, write: _Write) -> bool:
        """Remove some of the points that have expired; return whether more may have.

        One that was written again since it was looked at stays: it has another version. write: the
        collection's; kept here, it would keep a closed collection in memory.
        """
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + INTERVAL_S
        with self._store.read() as txn:
            due = list(islice(txn.expiries.due(self._clock()), POINTS_MAX))
            points, stray = _points(txn, due)
        try:
            stray += self._removed(points, write)
            if stray:
                log.error("%s: %d expiries are of no sound point", self._store.path, len(stray))
                forget = partial(WriteTxn.forget_expiries, entries=stray)
                self._writer.submit(self._store, forget).result()
        except Overloaded:
            return False  # whoever writes comes first
        if len(due) < POINTS_MAX:
            return False
        self._look_at = 0.0
        return True

    def _removed(self, points: list[_Due], write: _Write) -> list[tuple[int, int]]:
        """Remove points; return the entries of those that damage keeps from being removed."""
        if not points:
            return []
        numbers = tuple(range(len(points)))
        expected = tuple((row, point.version) for row, point in enumerate(points))
        deletes = Deletes(numbers, tuple(point.id for point in points), expected)
        try:
            # Without a time: at any, these points would count as gone, and not be of their version.
            write(WriteCommand((deletes,))).result()
        except Corrupt:  # one spoils the whole: it must not keep the others
            if len(points) == 1:
                return [points[0].entry]
            middle = len(points) // 2
            return self._removed(points[:middle], write) + self._removed(points[middle:], write)
        return []


def _points(txn: ReadTxn, due: list[tuple[int, int]]) -> tuple[list[_Due], list[tuple[int, int]]]:
    """Return the points that are due, and the entries that no sound record stands behind."""
    found: list[_Due] = []
    stray: list[tuple[int, int]] = []
    for at, slot in due:
        try:
            record = txn.record(slot)
        except Corrupt:
            record = None
        if record is None or record.expires_at_ms != at:
            stray.append((at, slot))
        else:
            found.append(_Due((at, slot), record.id, record.version))
    return found, stray
