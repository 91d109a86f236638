"""What a collection begins again with when all its points go at once: an empty store, further on.

To delete a million records one by one takes long, and leaves a file as large as it was. So the
points stay where they are, until their folder is removed, and the collection goes on elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from vecdb.storage import codec
from vecdb.storage.catalog_command import Truncate
from vecdb.storage.codec import Change
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import ReadTxn, Store, WriteTxn


def begin_again(
    last: ReadTxn, command: Truncate, path: Path, schema: NumberedSchema, *, map_bytes: int
) -> None:
    """Make the store that comes after a truncation. Durable when it returns.

    last: what the store before it ends with. Its sequence goes on, and so does the hash over its
    log; the answers of its idempotency keys are kept for as long as they would have been. Slots
    and segments begin anew.
    """
    Store.create(path, schema, map_bytes=map_bytes)
    store = Store(path, read_only=False, map_bytes=map_bytes)
    try:
        store.change(lambda txn: _carry_over(last, command, txn))
    finally:
        store.close()


def _carry_over(last: ReadTxn, command: Truncate, txn: WriteTxn) -> None:
    digest = hashlib.sha256(command.encode()).digest()
    txn.state.applied_seq = command.seq
    txn.state.chain = codec.next_chain(last.state.chain, command.seq, digest)
    keep_answers(last.answered(), txn)


def keep_answers(answered: Iterable[tuple[int, bytes, bytes]], txn: WriteTxn) -> None:
    """Have the answers of idempotency keys, of a store that ends, in the one that follows it."""
    for seq, key, answer in answered:
        # Of the change nothing is left but when its answer is to be forgotten.
        txn.put_change(Change(seq, 0, 0, request=key))
        txn.put_request(key, answer)
