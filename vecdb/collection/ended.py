"""How many rows of each segment have ended since it was made: counted once, then kept up.

A segment of a million rows may have 200,000 of them, and upkeep asks after every write.
"""

from __future__ import annotations

import threading

import numpy as np

from vecdb.storage.store import ReadTxn


class EndedRows:
    """Of one collection, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the rest
        self._seq = self._epoch = -1
        self._counts: dict[int, int] = {}

    def count(self, txn: ReadTxn) -> dict[int, int]:
        """Return the tombstones inside each segment, by its number."""
        state, entries = txn.state, txn.segments()
        with self._lock:
            changes = None
            if self._epoch == state.epoch and self._seq <= state.applied_seq:
                changes = txn.changes(self._seq)
            if changes is None:
                counts = {e.number: txn.count_tombstones(e.first, e.end) for e in entries}
            else:
                counts = dict(self._counts)
                firsts = np.array([e.first for e in entries], np.uint64)
                end = entries[-1].end if entries else 0  # what ended past it was in the tail
                ended = [slot for change in changes for slot in change.ended if slot < end]
                for at in np.searchsorted(firsts, np.array(ended, np.uint64), "right").tolist():
                    counts[entries[at - 1].number] += 1
            self._seq, self._epoch, self._counts = state.applied_seq, state.epoch, counts
            return dict(counts)
