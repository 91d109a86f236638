"""A copy of a collection's files, as they are at one moment, made while it is read and written.

The store is copied page by page by LMDB, without those that are free; segments, which never change,
are linked. That takes as long as the disk does, and is done in a process of its own: a transaction
that stays open for minutes would keep the store's map from growing here, and writers waiting.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from vecdb.collection.build import BuilderProcess
from vecdb.errors import DeadlineExceeded, Unavailable
from vecdb.segment.segment import sync_folder
from vecdb.storage.store import ReadTxn, Store

log = logging.getLogger(__name__)

ASK_S = 0.5
"""Seconds between two looks at whether anybody still waits for a copy."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds: so many points, and all writes up to a seq. chain: the hash over them."""

    points: int
    seq: int
    chain: str = ""


def copied_elsewhere(source: Path, into: Path, is_wanted: Callable[[], bool]) -> Copied:
    """Return what copied() does, by a process that is killed once nobody waits for it.

    Raises DeadlineExceeded then, and Unavailable when the process dies by itself.
    """
    process = BuilderProcess()
    try:
        copying = process.submit(_open_and_copy, source, into)
        while True:
            try:
                return copying.result(ASK_S)
            except FutureTimeout:
                if not is_wanted():
                    raise DeadlineExceeded("nobody waits for the copy any more") from None
    except BrokenProcessPool:
        raise Unavailable("the process that copied died", retry_after_s=1.0) from None
    finally:
        process.close()


def _open_and_copy(source: Path, into: Path) -> Copied:
    store = Store(source / "store", read_only=True, map_bytes=1 << 20)
    try:
        return copied(store, source, into)
    finally:
        store.close()


def copied(store: Store, source: Path, into: Path) -> Copied:
    """Return what was copied from a collection's folder into a new one. Durable but for its name.

    Raises StorageFull.
    """
    segments = into / "segments"
    segments.mkdir(parents=True)
    with store.environment.begin() as view:
        txn = ReadTxn(store, view)
        for entry in txn.segments():
            if entry.rows:
                _link(source / "segments" / str(entry.number), segments / str(entry.number))
        store.environment.copy(view, into / "store")
        sync_folder(segments)
        return Copied(txn.state.points, txn.state.applied_seq, txn.state.chain.hex())


def _link(segment: Path, into: Path) -> None:
    """Have a segment's files in a second folder; copies where the file system has no links."""
    into.mkdir()
    try:
        for file in segment.iterdir():
            try:
                os.link(file, into / file.name)
            except PermissionError:
                shutil.copyfile(file, into / file.name)
    except FileNotFoundError:  # damaged, or replaced long ago: the copy builds it again
        log.warning("%s was not copied: it is built again", segment)
        shutil.rmtree(into)
        return
    sync_folder(into)
