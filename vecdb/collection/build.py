"""Making a segment from the store, in this process or another. Reads the store, writes files.

Nothing here publishes: a folder that gets its final name is not searched before the store lists it.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from vecdb.collection.view import rows_of
from vecdb.segment.segment import sync_folder, write_segment
from vecdb.storage.codec import SegmentEntry
from vecdb.storage.store import ReadTxn, Store

TEMPORARY = "tmp-"
NICE = 10
"""Lowering of the builder's priority: searches and writes come first."""

P = ParamSpec("P")
T = TypeVar("T")


class BuilderProcess:
    """One process of low priority that builds, started at first use and again when it dies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _pool
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Return the future of a piece of work; BrokenProcessPool when the process died of it."""
        with self._lock:
            for _ in range(2):
                if self._pool is None:
                    self._pool = ProcessPoolExecutor(
                        1, multiprocessing.get_context("spawn"), initializer=_become_builder
                    )
                try:
                    return self._pool.submit(work, *args, **kwargs)
                except BrokenProcessPool:
                    self._pool.shutdown(wait=False)
                    self._pool = None
            raise BrokenProcessPool("the builder process dies as soon as it starts")

    def close(self) -> None:
        """Wait for the work under way, and end the process."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                self._pool = None


def _become_builder() -> None:
    os.nice(NICE)
    # Ctrl-C in a terminal reaches every process of it; when to end is the server's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)  # the server was killed: nobody waits for this work

    threading.Thread(target=follow, daemon=True).start()


@dataclass(frozen=True, slots=True)
class BuildJob:
    """A segment to make: which slots, under which number, where."""

    collection: Path
    number: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Built:
    """A segment that can be published. as_of: the applied_seq that it was made from."""

    entry: SegmentEntry
    as_of: int


def build_elsewhere(job: BuildJob) -> Built:
    """Return a finished segment; for a process that does not have the store open."""
    store = Store(job.collection / "store", read_only=True, map_bytes=1 << 20)
    try:
        with store.read() as txn:
            return build(job, store, txn)
    finally:
        store.close()


def build(job: BuildJob, store: Store, txn: ReadTxn) -> Built:
    """Return a finished segment, durable under its name; without rows it has no folder."""
    parent = job.collection / "segments"
    parent.mkdir(exist_ok=True)
    temporary = parent / f"{TEMPORARY}{job.number}-{os.getpid()}"
    try:
        rows, seal = write_segment(
            temporary,
            rows_of(txn.records(job.first, job.end), store.schema.names),
            store.schema.schema,
            store.schema.numbers,
            {
                "collection": job.collection.name,
                "number": job.number,
                "first": job.first,
                "end": job.end,
                "as_of": txn.state.applied_seq,
                "schema": store.schema.to_plain(),
            },
        )
        if rows:
            temporary.rename(parent / str(job.number))
            sync_folder(parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    entry = SegmentEntry(job.number, job.first, job.end, rows, seal if rows else 0)
    return Built(entry, txn.state.applied_seq)
