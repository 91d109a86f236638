"""Whole collections, taken out as they are at one moment and put in: clones, backups, restores.

Files come into the data directory under a name that is swept at the next start, until the catalog's
commit makes them a collection's.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from vecdb import folders
from vecdb.collection.clone import Copied
from vecdb.config import StorageConfig
from vecdb.errors import AlreadyExists, Corrupt, FailedPrecondition
from vecdb.opened import OpenCollections
from vecdb.storage import codec
from vecdb.storage.catalog import Catalog, CatalogEntry
from vecdb.storage.catalog_command import CloneCollection, RestoreCollection
from vecdb.storage.store import ReadTxn
from vecdb.write.restored import UNREADABLE_SEQS, go_on, state_of
from vecdb.write.schema import check_name

STAGING = "staging"
"""The folder in which files stand that belong to no collection yet, or are on their way out."""

SMALL_BYTES = 16 << 20
"""Of a store that is copied for a backup in less time than a process takes to start."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in: the seq that the collection is at, its points, whether another one went."""

    seq: int
    points: int
    replaced: bool


class Copies:
    """The part of a database that copies. Made by it, and shares its lock of names."""

    def __init__(
        self,
        path: Path,
        storage: StorageConfig,
        catalog: Catalog,
        opened: OpenCollections,
        names_lock: Lock,
        *,
        entry_of: Callable[[str], CatalogEntry],
        check_room: Callable[[], None],
        remove_dropped: Callable[[], None],
        beside: bool,
    ) -> None:
        """Sweep what was staged by a process before this one.

        entry_of: raises NotFound. check_room: raises where there may be no more collections.
        remove_dropped: what the catalog says is dropped. beside: copy in processes of their own.
        """
        self._path = path
        self._storage = storage
        self._catalog = catalog
        self._open = opened
        self._names_lock = names_lock
        self._entry_of = entry_of
        self._check_room = check_room
        self._remove_dropped = remove_dropped
        self._beside = beside
        self.staging = path / STAGING
        shutil.rmtree(self.staging, ignore_errors=True)

    def clone(self, name: str, new_name: str, is_wanted: Callable[[], bool]) -> Copied:
        """Return what a new collection got of another one. See Database.clone."""
        check_name(new_name, "a collection name", "new_name")
        source = self._entry_of(name)
        if self._catalog.get(new_name) is not None:  # told again once the copy is to get the name
            raise AlreadyExists(f"{new_name!r} is taken", collection=new_name, field="new_name")
        self._check_room()
        key = uuid.uuid4().hex
        fresh = self._folder(key + folders.NEW)
        with self._open.use(source) as collection:
            try:
                copied = collection.copy(fresh, is_wanted if self._beside else None)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
        made_at = time.time_ns() // 1_000_000, source.name, source.uuid, copied.seq
        self._settle(fresh, CloneCollection(new_name, key, *made_at))
        return copied

    def copy(
        self, name: str, into: Path, is_wanted: Callable[[], bool]
    ) -> tuple[CatalogEntry, Copied]:
        """Return a collection as the catalog has it, and what was copied of it into a new folder.

        The folder is there only then. Raises NotFound, Corrupt, StorageFull, DeadlineExceeded once
        it is not wanted any more.
        """
        while True:
            try:
                with self._open.use(self._entry_of(name)) as collection:
                    is_large = _store_bytes(collection.folder) > SMALL_BYTES
                    copied = collection.copy(into, is_wanted if self._beside and is_large else None)
                    folder = collection.folder.name
                entry = self._entry_of(name)  # whose schema holds all that the copy's points have
            except BaseException:  # NotFound: it was dropped meanwhile
                shutil.rmtree(into, ignore_errors=True)
                raise
            if entry.folder == folder:
                return entry, copied
            shutil.rmtree(into)  # it was truncated, or replaced, meanwhile

    def located(self, name: str) -> tuple[Path, CatalogEntry]:
        """Return a collection's folder, and what the catalog says of it. Raises NotFound."""
        entry = self._entry_of(name)
        return self._folder(entry.folder), entry

    def copy_catalog(self, into: Path) -> dict[str, str]:
        """Return the aliases there are, once the catalog was copied into a new folder."""
        self._catalog.copy(into)
        return self._catalog.aliases()

    def restore(
        self, fresh: Path, entry: CatalogEntry, backup: bytes, source: str, *, replace: bool
    ) -> Restored:
        """Return what was put in: a folder of this file system becomes a collection.

        fresh: with a store and segments, sound and durable; taken. entry: what the catalog is to
        say, but for its uuid. backup, source: see RestoreCollection. replace: one of that name,
        at once for all who read and write.
        Raises AlreadyExists, FailedPrecondition for the name of an alias, LimitExceeded.
        """
        check_name(entry.name, "a collection name", "new_name")
        plain = codec.to_json(entry.schema.to_plain())
        key = uuid.uuid4().hex
        there = self._catalog.get(entry.name)
        made = RestoreCollection(
            entry.name,
            key,
            entry.created_at_ms,
            plain,
            entry.metadata,
            entry.ttl_ms,
            0,
            backup,
            source,
        )
        if there is not None and (not replace or there.name != entry.name):
            raise _taken(entry.name, there)
        if there is not None:
            return self._restore_over(fresh, made)
        state = state_of(fresh / "store")
        self._check_room()
        target = self._folder(key + folders.NEW)
        fresh.rename(target)
        self._settle(target, made)
        return Restored(state.applied_seq, state.points, replaced=False)

    def _settle(self, fresh: Path, command: CloneCollection | RestoreCollection) -> None:
        """Have the catalog name a folder; it is removed where that fails."""
        try:
            folders.sync(fresh)
            with self._names_lock:
                self._check_room()
                self._catalog.apply(command)
                folders.settle(fresh)
        except BaseException:
            entry = self._catalog.get(command.name)
            if entry is None or entry.uuid != command.uuid:  # or the next start gives it its name
                shutil.rmtree(fresh, ignore_errors=True)
            raise

    def _restore_over(self, fresh: Path, made: RestoreCollection) -> Restored:
        with self._names_lock, ExitStack() as stack:
            there = self._entry_of(made.name)
            last: ReadTxn | None = None
            try:
                collection = stack.enter_context(self._open.use(there))
                last = stack.enter_context(collection.last())
            except Corrupt:
                pass  # which is why it is restored
            state = state_of(fresh / "store")
            if last is None:
                seq = max(state.applied_seq, there.truncated_seq) + UNREADABLE_SEQS
            else:
                seq = max(state.applied_seq, last.state.applied_seq) + 1
            command = replace(made, uuid=there.uuid, seq=seq)
            go_on(fresh / "store", command, last, map_bytes=self._storage.map_bytes)
            target = self._folder(replace(there, truncated_seq=seq).folder)
            shutil.rmtree(target, ignore_errors=True)  # of an attempt that failed
            fresh.rename(target)
            folders.sync(target)
            self._catalog.apply(command)
        self._remove_dropped()
        return Restored(seq + 1, state.points, replaced=True)

    def _folder(self, name: str) -> Path:
        return self._path / "collections" / name


def _store_bytes(folder: Path) -> int:
    return (folder / "store" / "data.mdb").stat().st_size


def _taken(name: str, there: CatalogEntry) -> AlreadyExists | FailedPrecondition:
    if there.name != name:
        return FailedPrecondition(
            f"{name!r} is an alias of collection {there.name!r}: nothing was restored",
            hint="choose a new name, or restore in place of the collection itself",
            collection=there.name,
        )
    return AlreadyExists(
        f"collection {name!r} exists",
        hint="restore under a new name, or say that it is to be replaced",
        collection=name,
        field="new_name",
    )
