"""The transaction that puts a segment in the place of others: from its commit on it is searched."""

from __future__ import annotations

from vecdb.collection.build import Built
from vecdb.errors import Corrupt
from vecdb.storage.store import UNKNOWN_SEQ, WriteTxn


def swap_in(built: Built, txn: WriteTxn) -> list[int]:
    """Put a segment in the place of those inside its range; return the numbers it replaces."""
    entry = built.entry
    entries = txn.segments()
    inside = [e for e in entries if entry.first <= e.first and e.end <= entry.end]
    before = [e for e in entries if e.end <= entry.first]
    after = [e for e in entries if e.first >= entry.end]
    if len(inside) + len(before) + len(after) != len(entries):
        raise Corrupt(f"segment {entry.number} would cut another in two")
    txn.put_segments([*before, entry, *after])
    # Slots that had ended when the segment was made are in no segment any more, or dead in it.
    ended = txn.tombstones(entry.first, entry.end)
    txn.forget_tombstones(slot for slot, seq in ended if seq <= built.as_of)
    # A damaged one would be kept, and counted, for ever.
    txn.renew_tombstones(slot for slot, seq in ended if seq == UNKNOWN_SEQ)
    txn.state.next_segment = max(txn.state.next_segment, entry.number + 1)
    return [e.number for e in inside]
