"""A data directory: from a collection's name to the collection, opened when it is first asked for.

One process writes (it holds the LOCK file), any number read. `_lock` guards the table of open
collections; making and dropping collections happens under `_names_lock`, one at a time.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vecdb.collection.build import Builders
from vecdb.collection.collection import Collection
from vecdb.collection.judge import Judged, RecallJudge
from vecdb.collection.upkeep import BuildTotals
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.errors import (
    AlreadyExists,
    Corrupt,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    ReadOnly,
    StorageFull,
    Unavailable,
    VecdbError,
)
from vecdb.segment.segment import sync_folder
from vecdb.storage import codec
from vecdb.storage.catalog import Catalog, CatalogEntry
from vecdb.storage.codec import NumberedSchema
from vecdb.storage.command import CreateCollection, DropCollection
from vecdb.storage.lock import acquire
from vecdb.storage.store import Store
from vecdb.storage.writer import Writer
from vecdb.types import Schema
from vecdb.write.schema import check_same, check_schema

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NEW = ".new"
MAINTAIN_INTERVAL_S = 0.2
READERS_INTERVAL_S = 30.0


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection by name. quarantined: why it cannot be used, or ""."""

    name: str
    schema: Schema
    created_at_ms: int
    quarantined: str = ""


class _Open:
    """A place in the table of open collections. users: guarded by the database's lock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.users = 0
        self.opening = threading.Lock()  # guards collection, while it is None
        self.collection: Collection | None = None


class _Use:
    """A block in which a collection is kept open. No generator: every call passes it."""

    def __init__(self, database: Database, entry: CatalogEntry) -> None:
        self._database = database
        self._entry = entry

    def __enter__(self) -> Collection:
        self._opened, collection = self._database._enter(self._entry)
        return collection

    def __exit__(self, *raised: object) -> None:
        self._database._leave(self._entry.uuid, self._opened)


class Database:
    """The collections of a data directory."""

    def __init__(
        self,
        path: Path,
        storage: StorageConfig,
        limits: LimitsConfig,
        *,
        read_only: bool = False,
        builders: Builders | None = None,
        judged: Judged = lambda recall: None,
    ) -> None:
        """Open a data directory, making it unless read_only.

        builders: the processes that build segments, ended with this; None builds in the
        maintenance thread. judged: told the recall of each live query that was judged.
        Raises FailedPrecondition when another process writes to it.
        """
        self.path = path
        self._storage = storage
        self._limits = limits
        self._read_only = read_only
        self._builders = builders
        self._lock = threading.Lock()
        self._names_lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._broken: dict[str, str] = {}
        self._verified: set[tuple[str, int]] = set()
        self._built = BuildTotals()
        self._lock_file = None if read_only else acquire(path)
        self._catalog = Catalog(path / "catalog", read_only=read_only)
        if not read_only:
            (path / "collections").mkdir(exist_ok=True)
            for folder in (path / "catalog", path, path.parent):
                sync_folder(folder)
        self._writer = None if read_only else Writer(queue_jobs_max=limits.queued_writes)
        self._closing = threading.Event()
        self._maintenance: threading.Thread | None = None
        self._judge = RecallJudge(self._each_open, judged)
        if not read_only:
            self._finish_names()
            self._maintenance = threading.Thread(
                target=self._maintain, name="vecdb-maintenance", daemon=True
            )
            self._maintenance.start()

    def close(self) -> None:
        """Finish the writes under way and close everything."""
        self._closing.set()
        self._judge.close()
        if self._builders is not None:
            self._builders.close()
        if self._writer is not None:
            self._writer.close()
        if self._maintenance is not None:
            self._maintenance.join()
        with self._lock:
            for opened in self._open.values():
                self._close_place(opened)
            self._open.clear()
        self._catalog.close()
        if self._lock_file is not None:
            os.close(self._lock_file)

    # --- names

    def create(
        self, name: str, schema: Schema, *, if_not_exists: bool = False
    ) -> tuple[CollectionInfo, bool]:
        """Return the collection of that name, and whether it was made now."""
        if self._read_only:
            raise ReadOnly("this process opened the data directory to read")
        self._check(name, schema)
        with self._names_lock:
            there = self._catalog.get(name)
            if there is not None:
                if not if_not_exists:
                    raise AlreadyExists(f"collection {name!r} exists", collection=name)
                check_same(name, there.schema.schema, schema)
                return self._info(there), False
            if self._catalog.count() >= self._limits.collections:
                raise LimitExceeded(
                    f"there are {self._limits.collections} collections already",
                    hint="delete some, or raise limits.collections",
                )
            entry = CatalogEntry(
                name, uuid.uuid4().hex, time.time_ns() // 1_000_000, NumberedSchema.of(schema)
            )
            fresh = self._folder(entry.uuid + _NEW)
            Store.create(fresh / "store", entry.schema, map_bytes=self._storage.map_bytes)
            for folder in (fresh / "store", fresh, fresh.parent):
                sync_folder(folder)
            self._catalog.apply(
                CreateCollection(
                    name, entry.uuid, entry.created_at_ms, codec.to_json(entry.schema.to_plain())
                )
            )
            fresh.rename(self._folder(entry.uuid))
            sync_folder(fresh.parent)
            return self._info(entry), True

    def info(self, name: str) -> CollectionInfo:
        """Return a collection's schema and state. Raises NotFound."""
        return self._info(self._entry(name))

    def infos(self) -> list[CollectionInfo]:
        """Return all collections by name."""
        return [self._info(entry) for entry in self._catalog.entries()]

    def count(self) -> int:
        """Return the number of collections."""
        return self._catalog.count()

    def drop(self, name: str) -> None:
        """Delete a collection; readers under way finish. Raises NotFound."""
        if self._read_only:
            raise ReadOnly("this process opened the data directory to read")
        with self._names_lock:
            entry = self._entry(name)
            self._catalog.apply(DropCollection(name, entry.uuid))
        self._remove_dropped()

    def _entry(self, name: str) -> CatalogEntry:
        entry = self._catalog.get(name) if _NAME.fullmatch(name) else None
        if entry is None:
            raise NotFound(
                f"no collection {name!r}",
                hint="list them with Collections.List, make it with Collections.Create",
                collection=name,
            )
        return entry

    def _info(self, entry: CatalogEntry) -> CollectionInfo:
        return CollectionInfo(
            entry.name,
            entry.schema.schema,
            entry.created_at_ms,
            self._broken.get(entry.uuid, ""),
        )

    def _check(self, name: str, schema: Schema) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                "a collection name has 1 to 128 letters, digits, '_', '-' or '.', the first of "
                f"them a letter or digit; got {name!r}",
                field="collection.name",
            )
        check_schema(schema, self._limits)

    # --- use

    def collection(self, name: str) -> _Use:
        """Return a block's collection of that name, open for as long as the block lasts.

        Raises NotFound, and Corrupt when its store cannot be opened; others are not affected.
        """
        return _Use(self, self._entry(name))

    def _enter(self, entry: CatalogEntry) -> tuple[_Open, Collection]:
        with self._lock:
            opened = self._open.get(entry.uuid)
            if opened is None:
                opened = self._open[entry.uuid] = _Open(entry.name)
            self._open.move_to_end(entry.uuid)
            opened.users += 1
        try:
            with opened.opening:  # of this one alone: the others go on
                if opened.collection is None:
                    opened.collection = self._open_collection(entry)
                return opened, opened.collection
        except BaseException:
            self._leave(entry.uuid, opened)
            raise

    def _leave(self, key: str, opened: _Open) -> None:
        with self._lock:
            opened.users -= 1
            if opened.collection is None and not opened.users:
                self._open.pop(key, None)
            surplus = len(self._open) - self._storage.open_collections
            if surplus <= 0:
                return
            idle = [
                key
                for key, one in self._open.items()
                if not one.users and not (one.collection and one.collection.building)
            ][:surplus]
            for each in idle:
                self._close_place(self._open.pop(each))

    def _close_place(self, opened: _Open) -> None:
        if opened.collection is not None:
            opened.collection.close()

    def _each_open(self) -> Iterator[Collection]:
        """Yield the collections that are open now, each kept open only while it is looked at."""
        with self._lock:
            keys = list(self._open)
        for key in keys:
            with self._lock:
                opened = self._open.get(key)
                if opened is None or opened.collection is None:
                    continue
                opened.users += 1
            try:
                yield opened.collection
            finally:
                self._leave(key, opened)

    def _open_collection(self, entry: CatalogEntry) -> Collection:
        try:
            collection = Collection(
                self._folder(entry.uuid), self._storage, self._writer, self._verified, self._built
            )
        except (Corrupt, NotFound) as error:
            coming = self._folder(entry.uuid + _NEW).exists()  # and not acknowledged yet
            if self._is_gone(entry) or coming:
                raise NotFound(f"no collection {entry.name!r}", collection=entry.name) from None
            reason = str(error)
            if self._broken.get(entry.uuid) != reason:
                log.error("collection %s is quarantined: %s", entry.name, reason)
                self._broken[entry.uuid] = reason
            raise Corrupt(
                f"collection {entry.name!r} is quarantined: {error.message}",
                hint=error.hint or "run vecdb check, or restore it from a backup",
                collection=entry.name,
            ) from error
        self._broken.pop(entry.uuid, None)
        return collection

    def _is_gone(self, entry: CatalogEntry) -> bool:
        now = self._catalog.get(entry.name)
        return now is None or now.uuid != entry.uuid

    # --- state

    def ailment(self) -> str:
        """Return why this database cannot serve as it should, or ""."""
        if self._writer is not None and not self._writer.alive:
            return "the writer thread has ended"
        return ""

    def gauges(self) -> dict[str, float]:
        """Return sizes and counts over the open collections, by metric name."""
        stats = []
        for collection in self._each_open():
            try:
                stats.append(collection.stats())
            except VecdbError as error:  # of that one alone: the others are counted
                log.error("sizes of %s: %s", collection.uuid, error)
        segments = [segment for stat in stats for segment in stat.segments]
        return {
            "vecdb_collections": self._catalog.count(),
            "vecdb_collections_open": len(stats),
            "vecdb_collections_quarantined": len(self._broken),
            "vecdb_points": sum(stat.points for stat in stats),
            "vecdb_tail_points": sum(stat.tail_points for stat in stats),
            "vecdb_segments": len(segments),
            "vecdb_segments_quarantined": sum(bool(s.quarantined) for s in segments),
            "vecdb_builds": sum(len(stat.builds) for stat in stats),
            "vecdb_built_segments": self._built.segments,
            "vecdb_built_rows": self._built.rows,
            "vecdb_build_seconds": self._built.seconds,
            "vecdb_build_failures": self._built.failures,
            "vecdb_store_bytes": sum(stat.store_bytes for stat in stats),
            "vecdb_store_map_bytes": sum(stat.map_bytes for stat in stats),
            "vecdb_writes_waiting": self._writer.waiting if self._writer else 0,
            "vecdb_commits": self._writer.commits if self._writer else 0,
        }

    # --- upkeep

    def in_use(self) -> dict[str, list[int]]:
        """Return the names of the open collections, with the segments whose files are not used."""
        with self._lock:
            places = list(self._open.values())
        return {one.name: one.collection.broken_segments() for one in places if one.collection}

    def let_go(self) -> None:
        """Close what was deleted, and replaced segments: a reader must not keep their space."""
        with self._lock:
            for key in [key for key in self._open if not self._folder(key).exists()]:
                if not self._open[key].users:
                    self._close_place(self._open.pop(key))
        for collection in self._each_open():
            collection.let_go()

    def _folder(self, name: str) -> Path:
        return self.path / "collections" / name

    def _finish_names(self) -> None:
        """Complete what was being created or deleted when the process before this one ended."""
        parent = self.path / "collections"
        known = {entry.uuid for entry in self._catalog.entries()}
        dropped = set(self._catalog.dropped())
        for path in parent.iterdir():
            name = path.name.removesuffix(_NEW)
            if path.name.endswith(_NEW) and name in known and not self._folder(name).exists():
                path.rename(self._folder(name))
            elif path.name.endswith(_NEW):
                shutil.rmtree(path, ignore_errors=True)
            elif name not in known and name not in dropped:
                log.warning("%s belongs to no collection of the catalog: left alone", path)
        self._remove_dropped()

    def _remove_dropped(self) -> None:
        for name in self._catalog.dropped():
            with self._lock:
                opened = self._open.get(name)
                if opened is not None:
                    if opened.users:
                        continue  # the maintenance thread comes back to it
                    self._close_place(self._open.pop(name))
            shutil.rmtree(self._folder(name), ignore_errors=True)
            if not self._folder(name).exists():
                self._catalog.removed(name)
                self._broken.pop(name, None)

    def _maintain(self) -> None:
        checked = time.monotonic()
        while not self._closing.wait(MAINTAIN_INTERVAL_S):
            try:
                self.maintain()
                if time.monotonic() - checked > READERS_INTERVAL_S:
                    checked = time.monotonic()
                    for collection in self._each_open():
                        collection.forget_dead_readers()
            except Exception:
                log.exception("maintenance failed; it goes on")

    def maintain(self) -> None:
        """Build and verify what is due in every open collection, and remove those dropped."""
        more = True
        while more and not self._closing.is_set():
            # A piece of each in turn, so that one that is never done does not keep others waiting.
            dropped = set(self._catalog.dropped())
            more = False
            for collection in self._each_open():
                if collection.uuid not in dropped and not self._closing.is_set():
                    more |= self._maintain_one(collection)
            self._remove_dropped()

    def _maintain_one(self, collection: Collection) -> bool:
        try:
            return collection.maintain(self._builders)
        except (StorageFull, Unavailable) as error:
            if not self._closing.is_set():
                log.error("upkeep of %s: %s", collection.uuid, error)
        except Exception:
            if not self._closing.is_set():
                log.exception("upkeep of %s failed, it is tried again", collection.uuid)
        return False
