"""What makes a delete final: no file of the collection holds a byte of what was deleted before.

Four places do after a delete: segments, made before it; the log of changes, which names ids; the
free space of the store; files of segments that were replaced. Each step leaves less behind than
there was, and none relies on another having been done, so that one that was cut short is done
again from the start. What the disk below the files keeps, such as blocks of files that are gone or
older states of a file system that copies on write, is not seen from here.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from vecdb.collection.upkeep import Upkeep
from vecdb.errors import Unavailable
from vecdb.outcomes import WriteOutcome
from vecdb.storage.requests import decode_request, encode_request
from vecdb.storage.store import Store, WriteTxn
from vecdb.storage.writer import Writer

T = TypeVar("T")

PATIENCE_S = 0.2
"""Seconds that writes wait at a time for reads of older states to end, and then go on between."""
RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Erased:
    """What was on the disk still. pages: overwritten in the store; segments: folders removed."""

    pages: int
    segments: int


def erase(store: Store, writer: Writer, upkeep: Upkeep, deadline: float) -> Erased:
    """Return what was erased, once no file holds anything that was deleted before the call.

    deadline: of time.monotonic. Raises Unavailable where that passes first: segments are made anew
    by then, or somebody reads an older state still; another call goes on from there. The caller has
    no snapshot open. Raises Corrupt where the store's file is not as LMDB leaves it.
    """
    wait = partial(_result, deadline=deadline)
    wait(writer.submit(store, forget_names), "the writes before it are not done")
    wait(upkeep.erase(), "segments are being made anew, without what was deleted")
    # With it two transactions have committed since the deletes: see Environment.scrub.
    wait(writer.submit(store, lambda txn: None), "the writes before it are not done")
    scrub, pause = partial(store.environment.scrub, PATIENCE_S), threading.Event()
    why = "the store is being overwritten"
    while (scrubbed := wait(writer.between(scrub), why)) is None:
        why = "somebody reads an older state of the collection still"
        pause.wait(PATIENCE_S)
    # Nobody reads as of before those that took their places, and so nobody opens them any more.
    return Erased(scrubbed.pages, upkeep.remove_replaced())


def forget_names(txn: WriteTxn) -> None:
    """Remove ids that are gone from the changes, and what was said of refused operations.

    In their place stands an empty id, at which a Watcher knows that it cannot follow.
    """
    for change in txn.kept_changes():
        live = txn.slots_of([name for name in change.removed if name])
        removed = tuple(name if name in live else b"" for name in change.removed)
        if removed != change.removed:
            txn.put_change(replace(change, removed=removed))
    for _, key, answer in list(txn.answered()):
        outcome, digest = decode_request(answer)
        if any(result.message for result in outcome.results):
            results = tuple(replace(result, message="") for result in outcome.results)
            told = WriteOutcome(outcome.commit_seq, results)
            txn.put_request(key, encode_request(told, digest))
    txn.renew_keys()


def _result(future: Future[T], waits_for: str, deadline: float) -> T:
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        if future.done():  # it was the work that raised this
            raise
        raise _not_yet(waits_for) from None


def _not_yet(why: str) -> Unavailable:
    return Unavailable(
        f"deleted, but not all erased in time: {why}",
        hint="erase again; what is done by then is not done twice",
        retry_after_s=RETRY_AFTER_S,
    )
