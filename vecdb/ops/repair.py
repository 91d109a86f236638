"""Repairs a data directory that nobody has open: what a check finds there.

Stores first, by what their records say. Then the node itself is opened for a while, without its
ports: it deletes the points that are lost, and builds the segments whose files are not of their
store.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from vecdb.check.repair import batches, repair_store
from vecdb.check.walk import Report, Seen, bad_segments, check_collection
from vecdb.collection.build import Builders
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import VecdbError
from vecdb.storage.catalog import Catalog, CatalogEntry
from vecdb.storage.lock import acquire
from vecdb.storage.store import Store
from vecdb.types import Delete
from vecdb.write.prepare import prepare

SHELF = "quarantine"
WAIT_S = 0.1


@dataclass(slots=True)
class Repair:
    """What was done for one collection, and what is wrong with it still.

    lost: ids of points that could not be saved. left: findings of a check afterwards.
    """

    name: str
    done: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    segments: int = 0


def repair_database(
    data: Path, names: list[str], storage: StorageConfig, seen: Seen
) -> list[Repair]:
    """Return what was done for collections that a check found something wrong with.

    seen: told of the check afterwards. Raises FailedPrecondition while a server has the directory.
    """
    lock = acquire(data)
    try:
        entries = [entry for entry in _entries(data) if entry.name in names]
        repairs = [_repair_store(data, entry, storage) for entry in entries]
    finally:
        os.close(lock)
    _serve(data, repairs, storage)
    for entry in _entries(data):
        for repair in repairs:
            if repair.name == entry.name:
                repair.left = _findings(data, entry, seen)
    return repairs


def _entries(data: Path) -> list[CatalogEntry]:
    catalog = Catalog(data / "catalog", read_only=True)
    try:
        return catalog.entries()
    finally:
        catalog.close()


def _findings(data: Path, entry: CatalogEntry, seen: Seen) -> list[str]:
    report = Report(entry.name)
    try:
        check_collection(data / "collections" / entry.folder, entry.schema, report, seen)
    except VecdbError as error:
        report.add(str(error))
    return report.findings


def _repair_store(data: Path, entry: CatalogEntry, storage: StorageConfig) -> Repair:
    """Return what was put right in a store, its segments that are not of it set aside."""
    repair = Repair(entry.name)
    folder = data / "collections" / entry.folder
    try:
        store = Store(folder / "store", read_only=False, map_bytes=storage.map_bytes)
    except VecdbError:
        return repair  # what is wrong is found again in the end
    try:
        store.schema = entry.schema
        repaired = repair_store(store)
        repair.done, repair.lost = repaired.done, repaired.lost
        for number in bad_segments(folder, store):
            _set_aside(folder, number)
            repair.segments += 1
    except VecdbError as error:
        repair.done.append(f"not repaired: {error}")
    finally:
        store.close()
    return repair


def _set_aside(folder: Path, number: int) -> None:
    """Have a segment's files where they are kept for a look, and never read."""
    segment = folder / "segments" / str(number)
    if segment.exists():
        (folder / SHELF).mkdir(exist_ok=True)
        kept = folder / SHELF / f"{number}-{uuid.uuid4().hex[:8]}"
        shutil.move(segment, kept)


def _serve(data: Path, repairs: list[Repair], storage: StorageConfig) -> None:
    """Delete what is lost, and have segments built again."""
    if not any(repair.lost or repair.segments for repair in repairs):
        return
    limits = LimitsConfig()
    database = Database(data, storage, limits, builders=Builders())
    try:
        for repair in repairs:
            if not (repair.lost or repair.segments):
                continue
            with database.collection(repair.name) as collection:
                for ids in batches(repair.lost):
                    ops = [Delete(name) for name in ids]
                    collection.write(prepare(ops, collection.schema, limits)).result()
                with collection.look():
                    pass  # which segments are broken is found by looking
                waited = threading.Event()
                while collection.broken_segments() or collection.building:
                    if collection.ailment:
                        repair.done.append(f"segments are not built again: {collection.ailment}")
                        break
                    waited.wait(WAIT_S)
            if repair.segments:
                repair.done.append(f"{repair.segments} segments were built again")
    finally:
        database.close()
