"""A data directory: from a collection's name to the collection, opened when it is first asked for.

One process writes (it holds the LOCK file), any number read. What the catalog says changes under
`_names_lock`, one change at a time; opened.py keeps collections open.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from vecdb import folders
from vecdb.auth.keys import Keys
from vecdb.clock import Clock, wall_clock
from vecdb.collection.build import Builders
from vecdb.collection.clone import Copied
from vecdb.collection.judge import Judged, RecallJudge
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.copies import Copies
from vecdb.errors import AlreadyExists, FailedPrecondition, LimitExceeded, NotFound, ReadOnly
from vecdb.opened import CollectionInfo, OpenCollections, Sizes, Use
from vecdb.outcomes import Truncated
from vecdb.room import Room
from vecdb.segment.segment import sync_folder
from vecdb.storage import codec
from vecdb.storage.catalog import Catalog, CatalogEntry
from vecdb.storage.catalog_command import (
    CreateCollection,
    DropCollection,
    SetAliases,
    Truncate,
    UpdateCollection,
)
from vecdb.storage.lock import acquire
from vecdb.storage.numbered import NO_CHANGE, NumberedSchema, SchemaChange
from vecdb.storage.store import Store
from vecdb.storage.writer import NO_WRITER, Writer
from vecdb.types import Schema
from vecdb.write.expiry import check_ttl
from vecdb.write.schema import (
    check_change,
    check_metadata,
    check_name,
    check_same,
    check_schema,
    is_name,
)
from vecdb.write.truncate import begin_again

log = logging.getLogger(__name__)

MAINTAIN_INTERVAL_S = 0.2
READERS_INTERVAL_S = 30.0


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
        clock: Clock = wall_clock,
        room: Room | None = None,
    ) -> None:
        """Open a data directory, making it unless read_only.

        builders: the processes that build segments, ended with this; None builds in the
        maintenance thread. judged: told the recall of each live query that was judged. clock: by
        which points expire. room: what puts must leave of the machine; None looks at the disk only.
        Raises FailedPrecondition when another process writes to it.
        """
        self.path = path
        self._storage = storage
        self._limits = limits
        self._clock = clock
        self._read_only = read_only
        self._builders = builders
        self._names_lock = threading.Lock()
        self.room = room or Room(path, storage.disk_reserve_bytes)
        self._lock_file = None if read_only else acquire(path)
        self._catalog = Catalog(path / "catalog", read_only=read_only)
        if not read_only:
            (path / "collections").mkdir(exist_ok=True)
            for folder in (path / "catalog", path, path.parent):
                sync_folder(folder)
        self.keys = Keys(self._catalog, self._names_lock, limits.keys, read_only)
        self._writer = None if read_only else Writer(queue_jobs_max=limits.queued_writes)
        self._open = OpenCollections(
            path / "collections", storage, self._writer, self._catalog, clock, self.room
        )
        self._copies: Copies | None = None
        self._closing = threading.Event()
        self._judge = RecallJudge(self._open.each, judged)
        self._maintenance: threading.Thread | None = None
        if not read_only:
            there, dropped = self._catalog.folders(), self._catalog.dropped()
            folders.finish(path / "collections", there, dropped)
            self._copies = Copies(
                path,
                storage,
                self._catalog,
                self._open,
                self._names_lock,
                entry_of=self._entry,
                check_room=self._check_room,
                remove_dropped=self._remove_dropped,
                beside=builders is not None,
            )
            self._remove_dropped()
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
        self._open.close()
        self._catalog.close()
        if self._lock_file is not None:
            os.close(self._lock_file)

    # --- names

    def create(
        self,
        name: str,
        schema: Schema,
        *,
        metadata: bytes = b"",
        ttl_ms: int = 0,
        points_max: int = 0,
        if_not_exists: bool = False,
    ) -> tuple[CollectionInfo, bool]:
        """Return the collection of that name or alias, and whether it was made now.

        metadata: a JSON object of the caller's, or b"". ttl_ms, points_max: see CollectionInfo.
        """
        self._check_writes()
        check_name(name, "a collection name", "collection.name")
        check_schema(schema, self._limits)
        check_metadata(metadata, self._limits, "collection.metadata")
        check_ttl(ttl_ms, "collection.ttl_ms")
        with self._names_lock:
            there = self._catalog.get(name)
            if there is not None:
                if not if_not_exists:
                    what = "exists" if there.name == name else f"is an alias of {there.name!r}"
                    raise AlreadyExists(f"collection {name!r} {what}", collection=name)
                check_same(name, there.schema.schema, schema)
                return self._open.info(there, self._catalog.aliases()), False
            self._check_room()
            self.room.check()
            entry = CatalogEntry(
                name,
                uuid.uuid4().hex,
                time.time_ns() // 1_000_000,
                replace(NumberedSchema.of(schema), points_max=points_max),
                metadata,
                ttl_ms=ttl_ms,
            )
            fresh = self._folder(entry.folder + folders.NEW)
            Store.create(fresh / "store", entry.schema, map_bytes=self._storage.map_bytes)
            folders.sync(fresh)
            plain = codec.to_json(entry.schema.to_plain())
            self._catalog.apply(
                CreateCollection(name, entry.uuid, entry.created_at_ms, plain, metadata, ttl_ms)
            )
            folders.settle(fresh)
            return self._open.info(entry, {}), True

    def clone(
        self, name: str, new_name: str, is_wanted: Callable[[], bool] = lambda: True
    ) -> tuple[CollectionInfo, Copied]:
        """Return a new collection with all that another holds at one moment, and what was copied.

        Reads and writes go on meanwhile. is_wanted: asked now and then; once it says no, the copy
        is given up. Raises NotFound, AlreadyExists, StorageFull, DeadlineExceeded, LimitExceeded.
        """
        copies = self.copies
        self.room.check()
        copied = copies.clone(name, new_name, is_wanted)
        return self.info(new_name), copied

    @property
    def copies(self) -> Copies:
        """What copies collections as a whole. Raises ReadOnly."""
        self._check_writes()
        assert self._copies is not None
        return self._copies

    def _check_room(self) -> None:
        if self._catalog.count() >= self._limits.collections:
            raise LimitExceeded(
                f"there are {self._limits.collections} collections already",
                hint="delete some, or raise limits.collections",
            )

    def info(self, name: str) -> CollectionInfo:
        """Return a collection's schema and state. Raises NotFound."""
        return self._open.info(self._entry(name), self._catalog.aliases())

    def infos(self) -> list[CollectionInfo]:
        """Return all collections by name."""
        names: dict[str, dict[str, str]] = {}
        for alias, target in self._catalog.aliases().items():
            names.setdefault(target, {})[alias] = target
        return [
            self._open.info(entry, names.get(entry.name, {})) for entry in self._catalog.entries()
        ]

    def count(self) -> int:
        """Return the number of collections."""
        return self._catalog.count()

    def names_state(self) -> bytes:
        """Return what is another whenever infos() may be: it costs little to ask."""
        return self._catalog.state()

    def update(
        self,
        name: str,
        *,
        metadata: bytes | None = None,
        ttl_ms: int | None = None,
        points_max: int | None = None,
        change: Callable[[Schema], Schema] = lambda schema: schema,
        alter: SchemaChange = NO_CHANGE,
    ) -> CollectionInfo:
        """Return a collection as it is once it was changed; all processes see it at once.

        metadata, ttl_ms, points_max: in place of what there is; None leaves it. change: returns
        another schema, which may differ in `target_recall` and `idf`, or raises. alter: made
        afterwards; what a new text field finds in points that are there comes in the background.
        Raises NotFound.
        """
        self._check_writes()
        if metadata is not None:
            check_metadata(metadata, self._limits, "metadata")
        if ttl_ms is not None:
            check_ttl(ttl_ms, "ttl_ms")
        with self._names_lock:
            entry = self._entry(name)
            schema = replace(entry.schema, schema=change(entry.schema.schema))
            if alter != NO_CHANGE:
                check_change(schema.schema, alter)
                schema = schema.changed(alter)
                check_schema(schema.schema, self._limits, "add_spaces", "add_text_fields")
            if points_max is not None:
                schema = replace(schema, points_max=points_max)
            if schema != entry.schema:
                schema = replace(schema, epoch=schema.epoch + 1)
            after = replace(
                entry,
                schema=schema,
                metadata=entry.metadata if metadata is None else metadata,
                ttl_ms=entry.ttl_ms if ttl_ms is None else ttl_ms,
            )
            if after != entry:
                plain = codec.to_json(after.schema.to_plain())
                self._catalog.apply(
                    UpdateCollection(entry.name, entry.uuid, plain, after.metadata, after.ttl_ms)
                )
                if alter != NO_CHANGE:
                    self._open.tell(after)
            return self._open.info(after, self._catalog.aliases())

    def truncate(self, name: str) -> Truncated:
        """Remove all points of a collection at once; readers under way finish.

        It goes on in a folder of its own, which is its only one from the catalog's commit on; what
        does not come as far is swept. Raises NotFound, Corrupt, StorageFull.
        """
        self._check_writes()
        with self._names_lock:
            entry = self._entry(name)
            with self._open.use(entry) as collection, collection.last() as last:
                command = Truncate(entry.name, entry.uuid, last.state.applied_seq + 1)
                fresh = self._folder(replace(entry, truncated_seq=command.seq).folder)
                shutil.rmtree(fresh, ignore_errors=True)  # of an attempt that failed
                begin_again(
                    last,
                    command,
                    fresh / "store",
                    entry.schema,
                    map_bytes=self._storage.map_bytes,
                )
                folders.sync(fresh)
                self._catalog.apply(command)
                there = last.state.points - len(last.expiries.between(0, self._clock()))
                truncated = Truncated(there, command.seq)
        self._remove_dropped()
        return truncated

    def drop(self, name: str) -> None:
        """Delete a collection; readers under way finish.

        Raises NotFound, and FailedPrecondition for an alias and for what has aliases.
        """
        self._check_writes()
        with self._names_lock:
            entry = self._entry(name)
            if entry.name != name:
                raise FailedPrecondition(
                    f"{name!r} is an alias of collection {entry.name!r}: nothing was deleted",
                    hint="delete an alias with Collections.SetAliases, a collection by its name",
                    alias=name,
                    collection=entry.name,
                )
            self._catalog.apply(DropCollection(name, entry.uuid))
        self._remove_dropped()

    def set_aliases(self, aliases: Sequence[tuple[str, str | None]]) -> None:
        """Have aliases stand for collections, in order; None deletes one. All, or none at all.

        Raises NotFound, AlreadyExists for the name of a collection, LimitExceeded.
        """
        self._check_writes()
        for at, (alias, collection) in enumerate(aliases):
            field = f"actions[{at}].{'set' if collection is not None else 'delete'}"
            check_name(alias, "an alias", f"{field}.alias")
            if collection is not None and not is_name(collection):
                raise NotFound(f"alias {alias!r}: no collection {collection!r}", field=field)
        with self._names_lock:
            after = self._catalog.aliases()
            for alias, collection in aliases:
                after[alias] = ""
                if collection is None:
                    del after[alias]
            if len(after) > self._limits.aliases:
                raise LimitExceeded(
                    f"these would be {len(after)} aliases, the limit is {self._limits.aliases}",
                    hint="delete some, or raise limits.aliases",
                )
            self._catalog.apply(SetAliases(tuple(aliases)))

    def aliases(self, name: str = "") -> dict[str, str]:
        """Return the aliases, by name, of a collection or of all. Raises NotFound."""
        wanted = self._entry(name).name if name else None
        found = self._catalog.aliases().items()
        return {alias: target for alias, target in found if wanted in (None, target)}

    def _check_writes(self) -> None:
        if self._read_only:
            raise ReadOnly("this process opened the data directory to read")

    def _entry(self, name: str) -> CatalogEntry:
        entry = self._catalog.get(name) if is_name(name) else None
        if entry is None:
            raise NotFound(
                f"no collection {name!r}",
                hint="list them with Collections.List, make it with Collections.Create",
                collection=name,
            )
        return entry

    # --- use

    def collection(self, name: str) -> Use:
        """Return a block's collection of that name, open for as long as the block lasts.

        Raises NotFound, and Corrupt when its store cannot be opened; others are not affected.
        """
        return self._open.use(self._entry(name))

    # --- state

    def ailment(self) -> str:
        """Return why this database cannot serve as it should, or ""."""
        if self._writer is not None and not self._writer.alive:
            return "the writer thread has ended"
        return ""

    @property
    def opened(self) -> OpenCollections:
        """The collections that are open, to be looked at."""
        return self._open

    def write_load(self) -> float:
        """Return how full the queue of writes is, from 0 to 1."""
        return self._writer.load if self._writer is not None else 0.0

    def gauges(self, sizes: Sizes | None = None) -> dict[str, float]:
        """Return counts, and sums over the open collections, by metric name."""
        return {
            "vecdb_collections": self._catalog.count(),
            **self._open.gauges(sizes),
            **(self._writer.counts() if self._writer else NO_WRITER),
        }

    def in_use(self) -> dict[str, list[int]]:
        """Return the collections that are open, or cannot be, with the segments not used."""
        return self._open.in_use()

    def let_go(self) -> None:
        """Close what was deleted, and replaced segments: a reader must not keep their space."""
        self._open.let_go()

    def _folder(self, name: str) -> Path:
        return self.path / "collections" / name

    def _remove_dropped(self) -> None:
        for name in self._catalog.dropped():
            if not self._open.end(name):
                continue  # the maintenance thread comes back to it
            shutil.rmtree(self._folder(name), ignore_errors=True)
            if not self._folder(name).exists():
                self._catalog.removed(name)

    def _maintain(self) -> None:
        checked = time.monotonic()
        while not self._closing.wait(MAINTAIN_INTERVAL_S):
            try:
                self.maintain()
                if time.monotonic() - checked > READERS_INTERVAL_S:
                    checked = time.monotonic()
                    for collection in self._open.each():
                        collection.forget_dead_readers()
            except Exception:
                log.exception("maintenance failed; it goes on")

    def maintain(self) -> None:
        """Build and verify what is due in every open collection, and remove those dropped."""
        more = True
        while more and not self._closing.is_set():
            dropped = set(self._catalog.dropped())
            more = self._open.maintain(self._builders, dropped, self._closing)
            self._remove_dropped()
