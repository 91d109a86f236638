"""Restoring: objects are received, verified, put together and read through, and only then restored.

All of that happens in the staging folder, which is swept when the server dies: nothing changes
before all is there, as the manifest says. A store is read by a native library, which trusts it: so
each is first opened, and read through, by a process of its own, which may die of it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from vecdb.backup.files import write_all
from vecdb.backup.manifest import (
    MANIFEST_BYTES_MAX,
    CollectionCopy,
    Manifest,
    Object,
    decode_manifest,
    digest_of,
    is_sha256,
    new_id,
)
from vecdb.backup.repository import ObjectCheck
from vecdb.check.walk import Report, check_store
from vecdb.collection.build import BuilderProcess
from vecdb.copies import Restored
from vecdb.database import Database
from vecdb.errors import (
    AlreadyExists,
    Corrupt,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    VecdbError,
)
from vecdb.segment.segment import sync_folder
from vecdb.storage.environment import disk_full, free_bytes, told_when_full
from vecdb.storage.numbered import NumberedSchema
from vecdb.write.schema import check_name

log = logging.getLogger(__name__)

ASK_S = 0.5
_RESERVE_BYTES = 64 << 20
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a backup is to be restored, and as what.

    collections: by their names in the backup, none for all. new_name: of the only one, or "".
    aliases: whether those of the backup are to stand for them, where they are not there.
    """

    collections: tuple[str, ...] = ()
    new_name: str = ""
    replace: bool = False
    aliases: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """A collection that can be restored. rebuilt: segments whose files are not of its store.

    findings: what was wrong with its records already when it was backed up.
    """

    name: str
    points: int
    rebuilt: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoredCollection:
    """A collection that is there. source: its name in the backup."""

    name: str
    source: str
    restored: Restored


class Restoring:
    """One restore: begin() and add() for each object, then verify(), then commit(); close()."""

    def __init__(self, database: Database, choice: Choice, is_wanted: Callable[[], bool]) -> None:
        """Raise InvalidArgument, AlreadyExists where a new name cannot be given."""
        self._database = database
        self._choice = choice
        if choice.new_name:
            check_name(choice.new_name, "a collection name", "new_name")
            self._check_free(choice.new_name)
        self._is_wanted = is_wanted
        self._folder = database.copies.staging / f"restore-{new_id()}"
        (self._folder / "objects").mkdir(parents=True)
        self._receiving: _Receiving | None = None
        self._sizes: dict[str, int] = {}
        self._encoded: bytearray | None = None
        self._manifest: Manifest | None = None
        self._fresh: list[tuple[CollectionCopy, Path]] = []
        self._process = BuilderProcess()
        self.received_bytes = 0

    def close(self) -> None:
        """Remove all that was received and not restored."""
        if self._receiving is not None:
            self._receiving.file.close()
        self._process.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- receiving

    def begin(self, one: Object, *, manifest: bool = False) -> None:
        """Take an object's name and size. Raises InvalidArgument, Corrupt, StorageFull."""
        self._finish()
        if self._encoded is not None:
            raise InvalidArgument("the manifest is the last object of a backup")
        if not is_sha256(one.sha256) or one.sha256 in self._sizes:
            raise InvalidArgument(f"object {one.sha256[:64]!r} is none, or was sent already")
        if manifest:
            if one.size > MANIFEST_BYTES_MAX:
                raise Corrupt("the backup's manifest.json is too large")
            self._encoded = bytearray()
        if free_bytes(self._folder) < one.size + _RESERVE_BYTES:
            raise disk_full()
        self._receiving = _Receiving(one, self._folder / "objects" / one.sha256)

    def add(self, piece: bytes) -> None:
        """Take what comes next of the object. Raises InvalidArgument, Corrupt, StorageFull."""
        if self._receiving is None:
            raise InvalidArgument("a piece of no object: send the object first")
        self._receiving.add(piece)
        self.received_bytes += len(piece)
        if self._encoded is not None:
            self._encoded += piece

    def _finish(self) -> None:
        if self._receiving is not None:
            receiving, self._receiving = self._receiving, None
            receiving.finish()
            self._sizes[receiving.one.sha256] = receiving.one.size

    # --- what was received

    def verify(self) -> Iterator[Verified]:
        """Yield each collection that can be restored. Nothing has changed by then.

        Raises Corrupt, FormatTooNew, NotFound, AlreadyExists, InvalidArgument.
        """
        self._finish()
        if self._encoded is None:
            raise Corrupt("the backup has no manifest.json: it is cut off")
        manifest = self._manifest = decode_manifest(bytes(self._encoded))
        chosen = self._chosen(manifest)
        self._check_names(chosen)
        uses = Counter(one.store.sha256 for one in chosen)
        for each in chosen:
            for one in each.objects():
                self._check_there(one, each)
                uses[one.sha256] += one is not each.store
        for number, each in enumerate(chosen):
            fresh = self._folder / f"collection-{number}"
            self._put_together(each, fresh, uses)
            yield self._inspected(each, fresh)
            self._fresh.append((each, fresh))

    def commit(self) -> Iterator[RestoredCollection]:
        """Yield each collection that is there now, for everybody. After verify()."""
        assert self._manifest is not None
        assert self._encoded is not None
        digest = digest_of(bytes(self._encoded))
        names: dict[str, str] = {}
        for each, fresh in self._fresh:
            entry = replace(each.entry(), name=self._choice.new_name or each.name)
            done = self._database.copies.restore(
                fresh, entry, digest, each.name, replace=self._choice.replace
            )
            names[each.name] = entry.name
            log.info(
                "%s was restored from backup %s, %d points",
                entry.name,
                self._manifest.id,
                done.points,
            )
            yield RestoredCollection(entry.name, each.name, done)
        if self._choice.aliases:
            self._name(self._manifest, names)

    def _name(self, manifest: Manifest, names: dict[str, str]) -> None:
        there = self._database.aliases()
        for alias, target in manifest.aliases.items():
            if target in names and alias not in there:
                try:
                    self._database.set_aliases([(alias, names[target])])
                except VecdbError as error:
                    log.warning("alias %s was not restored: %s", alias, error)

    def _chosen(self, manifest: Manifest) -> tuple[CollectionCopy, ...]:
        chosen = manifest.chosen(list(self._choice.collections))
        if self._choice.new_name and len(chosen) != 1:
            raise InvalidArgument(
                f"{len(chosen)} collections cannot all be called {self._choice.new_name!r}",
                field="new_name",
                hint="choose one of the backup's collections",
            )
        return chosen

    def _check_names(self, chosen: Sequence[CollectionCopy]) -> None:
        """Raise what restoring would raise in the end, before it costs anything."""
        for each in chosen:
            self._check_free(self._choice.new_name or each.name)

    def _check_free(self, name: str) -> None:
        try:
            there = self._database.info(name)
        except NotFound:
            return
        if there.name != name:
            raise AlreadyExists(
                f"{name!r} is an alias of {there.name!r}",
                hint="restore under another name",
                field="new_name",
            )
        if not self._choice.replace:
            raise AlreadyExists(
                f"collection {name!r} exists",
                hint="restore under a new name, or say that it is to be replaced",
                collection=name,
                field="new_name",
            )

    def _check_there(self, one: Object, of: CollectionCopy) -> None:
        if self._sizes.get(one.sha256) != one.size:
            what = next(
                (
                    f"segments/{segment.number}/{name}"
                    for segment in of.segments
                    for name, file in segment.files.items()
                    if file == one
                ),
                "store/data.mdb",
            )
            raise Corrupt(
                f"the backup of {of.name!r} lacks {what}, which is object {one.sha256}",
                hint="restore another backup",
            )

    def _put_together(self, copy: CollectionCopy, fresh: Path, uses: Counter[str]) -> None:
        """Have a collection's folder, of names that are ours, durable but for its own name."""
        (fresh / "store").mkdir(mode=0o700, parents=True)
        (fresh / "segments").mkdir()
        store = fresh / "store" / "data.mdb"
        received = self._folder / "objects"
        if uses[copy.store.sha256] == 1:
            (received / copy.store.sha256).rename(store)
        else:  # it is written to, and belongs to nobody else
            with told_when_full(fresh):
                shutil.copyfile(received / copy.store.sha256, store)
        store.chmod(0o600)
        for segment in copy.segments:
            folder = fresh / "segments" / str(segment.number)
            folder.mkdir()
            for name, one in segment.files.items():
                try:
                    os.link(received / one.sha256, folder / name)
                except PermissionError:  # a file system without links
                    shutil.copyfile(received / one.sha256, folder / name)
            sync_folder(folder)
        for each in (fresh / "segments", fresh / "store", fresh):
            sync_folder(each)

    def _inspected(self, copy: CollectionCopy, fresh: Path) -> Verified:
        """Return what was found in a folder; segments that are not of its store are removed."""
        try:
            looking = self._process.submit(_inspect, fresh, copy.name, copy.entry().schema)
            while True:
                try:
                    points, bad, findings = looking.result(ASK_S)
                    break
                except FutureTimeout:
                    if not self._is_wanted():
                        raise DeadlineExceeded("nobody waits for the restore any more") from None
                    self._process.end_if_hung()
        except BrokenProcessPool:
            raise Corrupt(
                f"the store of {copy.name!r} ends the process that reads it",
                hint="restore another backup",
            ) from None
        for number in bad:
            log.warning("%s: segment %d is not its store's: it is built again", copy.name, number)
            shutil.rmtree(fresh / "segments" / str(number), ignore_errors=True)
        return Verified(copy.name, points, len(bad), findings)


class _Receiving:
    """An object that is being received into a file."""

    def __init__(self, one: Object, path: Path) -> None:
        self.one = one
        self._check = ObjectCheck(one, f"object {one.sha256}")
        self.file = path.open("xb", buffering=0)

    def add(self, piece: bytes) -> None:
        self._check.add(piece)
        try:
            write_all(self.file, piece)
        except OSError:
            raise disk_full() from None

    def finish(self) -> None:
        self._check.finish()
        try:
            os.fsync(self.file.fileno())
        except OSError:
            raise disk_full() from None
        self.file.close()


def _inspect(
    folder: Path, name: str, schema: NumberedSchema
) -> tuple[int, list[int], tuple[str, ...]]:
    """Return the points of a folder, its segments that are not of its store, and findings."""
    report = Report(name)
    bad = check_store(folder, schema, report)
    return report.points, bad, tuple(report.findings[:_SHOWN])
