"""The view that the readers of one collection share, kept up with its store.

`_lock` guards the view, which is replaced, never changed.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path

from vecdb.clock import Clock, wall_clock
from vecdb.collection.snapshot import Snapshot
from vecdb.collection.view import View, ViewKeeper
from vecdb.errors import Unavailable
from vecdb.storage.store import ReadTxn, Store


class Reader:
    """Takes snapshots, for any number of threads."""

    def __init__(self, segments: Path, uuid: str, store: Store, clock: Clock = wall_clock) -> None:
        self._uuid = uuid
        self._store = store
        self._clock = clock
        self._keeper = ViewKeeper(segments)
        self._lock = threading.Lock()
        self._view: View | None = None
        self._used = False

    @property
    def view(self) -> View | None:
        """The newest view, or None where nobody has read."""
        return self._view

    @property
    def broken(self) -> dict[int, str]:
        """Why the files of a segment are not used, by its number."""
        view = self._view  # another thread may drop it
        return view.broken if view else {}

    def snapshot(self, deadline: float = math.inf) -> Snapshot:
        """Return a consistent view that holds every write committed before, for one block.

        deadline: of time.monotonic; work on it that may take long then raises DeadlineExceeded.
        """
        self._used = True
        return self.look(deadline)

    def look(self, deadline: float = math.inf) -> Snapshot:
        """Return what snapshot() returns, to upkeep: it does not count as use."""
        while True:
            txn = self._store.begin_read()
            try:
                now_ms = self._clock()
                view = self._view_of(txn, now_ms)
            except BaseException:
                txn.close()
                raise
            if view is not None:
                # All of one read sees one time: the view's, where that is ahead of this clock.
                now_ms = max(now_ms, view.time_ms)
                return Snapshot(self._uuid, txn, view, view.schema, now_ms, deadline)
            txn.close()

    def _view_of(self, txn: ReadTxn, now_ms: int) -> View | None:
        """Return the view of a transaction, or None when another thread's is newer already."""
        view = self._view
        if view is not None and self._keeper.is_current(view, txn, self._store.schema, now_ms):
            return view
        with self._lock:
            view, schema = self._view, self._store.schema
            if view is None:
                view = self._keeper.load(txn, schema, now_ms)
            elif view.seq > txn.state.applied_seq or view.epoch > txn.state.epoch:
                return None
            else:
                view = self._keeper.advance(view, txn, schema, now_ms)
            self._view = view
            return view

    def condemn(self, number: int, reason: str) -> None:
        """Never use a segment's files again."""
        with self._lock:
            self._keeper.condemn(number, reason)

    def refresh(self) -> None:
        """Let go of replaced files: bring the view up to date, or drop it where nobody reads."""
        with self._lock:
            view = self._view
            if view is None or not (self._used or view.broken):
                self._view = None
                return
        self._used = False
        with self.look():
            pass

    def let_go(self) -> None:
        """Let go of files that were replaced since, where that is another process's doing."""
        view = self._view
        if view is None:
            return
        with self._store.read() as txn:
            replaced = txn.state.epoch != view.epoch
        if not replaced:
            return
        try:
            self.refresh()
        except Unavailable:  # the schema has changed since somebody read here: nobody has this view
            with self._lock:
                self._view = None
