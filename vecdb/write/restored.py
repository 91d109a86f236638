"""How a collection goes on from a backup that takes its place.

For whoever follows it all its points go at one seq, and those of the backup come with the next: its
sequence and the hash over its log go on, so that nobody waits for a seq that never comes again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vecdb.storage import codec
from vecdb.storage.catalog_command import RestoreCollection
from vecdb.storage.codec import Change, State
from vecdb.storage.store import ReadTxn, Store, WriteTxn
from vecdb.write.truncate import keep_answers

_ADDED_MAX = (1 << 32) - 1
UNREADABLE_SEQS = 1 << 32
"""More writes than a collection whose store cannot be read had since its backup."""


def state_of(path: Path) -> State:
    """Return the counters of a store. Raises Corrupt."""
    store = Store(path, read_only=True, map_bytes=1 << 20)
    try:
        with store.read() as txn:
            return txn.state
    finally:
        store.close()


def go_on(path: Path, command: RestoreCollection, last: ReadTxn | None, *, map_bytes: int) -> None:
    """Have a restored store follow what it replaces. Durable when it returns.

    last: what the store before it ends with; None where that cannot be read.
    """
    store = Store(path, read_only=False, map_bytes=map_bytes)
    try:
        store.change(lambda txn: _go_on(command, last, txn))
    finally:
        store.close()


def _go_on(command: RestoreCollection, last: ReadTxn | None, txn: WriteTxn) -> None:
    digest = hashlib.sha256(command.encode()).digest()
    before = txn if last is None else last
    chain = codec.next_chain(before.state.chain, command.seq, digest)
    answered = list(before.answered())
    txn.forget_changes()
    txn.state.applied_seq = command.seq + 1
    txn.state.chain = codec.next_chain(chain, command.seq + 1, digest)
    keep_answers(answered, txn)
    if txn.state.next_slot <= _ADDED_MAX:  # otherwise followers must list the points
        txn.put_change(Change(command.seq + 1, 0, txn.state.next_slot))
