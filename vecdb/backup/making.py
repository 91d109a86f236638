"""Making a backup: collections as they are, one after the other, as a stream of objects.

A collection is copied into the staging folder: its store by LMDB, without free pages, in a process
of its own; its segments, which never change, as links, so that they stay while they are sent. So a
backup takes no more space on the server than the store of one collection at a time.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vecdb.backup.manifest import (
    CollectionCopy,
    Manifest,
    Object,
    SegmentCopy,
    is_segment_file,
    new_id,
)
from vecdb.collection.clone import Copied
from vecdb.database import Database
from vecdb.errors import Corrupt, DeadlineExceeded, NotFound, Overloaded
from vecdb.storage.catalog import CatalogEntry

CHUNK_BYTES = 1 << 20
REST_MAX_S = 0.25
"""For so long it rests at most, however slowly its chunks are taken."""
_HASHED_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class CopiedCollection:
    """A collection whose objects come next, or that is left out, and why.

    number: from 1 on. bytes: of all its files, sent_bytes: of those that are sent.
    """

    name: str
    number: int
    count: int
    bytes: int = 0
    sent_bytes: int = 0
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class ObjectBegin:
    """An object whose bytes come next. manifest: whether it is the last, that says what all is."""

    object: Object
    manifest: bool = False


Part: TypeAlias = CopiedCollection | ObjectBegin | bytes


class Backups:
    """Makes backups of a database, one at a time."""

    def __init__(
        self,
        database: Database,
        chunk_bytes: int = CHUNK_BYTES,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make none yet. chunk_bytes: of what is sent in one piece.

        is_busy: whether others wait for answers. Meanwhile a backup rests as long as it works.
        """
        self._database = database
        self._chunk_bytes = chunk_bytes
        self._is_busy = is_busy
        self._busy = threading.Lock()
        self._resting = threading.Event()  # never set: nothing ends a rest but its time
        self._known: dict[_SegmentKey, dict[str, Object]] = {}

    def take(
        self,
        names: Sequence[str],
        held: Collection[str],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Iterator[Part]:
        """Yield a backup. Closing the iterator gives it up, and leaves nothing behind.

        names: of collections or aliases, none for all. held: objects by sha256, not to be sent.
        is_wanted: asked now and then. Raises NotFound, Corrupt, StorageFull, Overloaded.
        """
        if not self._busy.acquire(blocking=False):
            raise Overloaded(
                "another backup is under way", hint="wait until it is done", retry_after_s=5.0
            )
        folder = self._database.copies.staging / f"backup-{new_id()}"
        try:
            folder.mkdir(parents=True)
            yield from _Backup(self, folder, names, held, is_wanted).parts()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._busy.release()

    @property
    def database(self) -> Database:
        """What is backed up."""
        return self._database

    def sent(self, one: Object, path: Path, is_wanted: Callable[[], bool]) -> Iterator[bytes]:
        """Yield a file in pieces. Raises Corrupt where it is not what it was a moment ago."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            begun = time.monotonic()
            while chunk := file.read(self._chunk_bytes):
                if not is_wanted():
                    raise DeadlineExceeded("nobody waits for the backup any more")
                digest.update(chunk)
                yield chunk
                if self._is_busy():
                    self._resting.wait(min(time.monotonic() - begun, REST_MAX_S))
                begun = time.monotonic()
        if digest.hexdigest() != one.sha256:
            raise Corrupt(
                f"{path.name} of a segment has changed since it was first read",
                hint="run vecdb check; the next backup has it as it is by then",
            )

    def segment_files(self, folder: Path, origin: str) -> dict[str, Object]:
        """Return a segment's files by name; hashed once, since they never change."""
        manifest = (folder / "manifest.json").stat()
        key = (origin, folder.name, manifest.st_ino, manifest.st_mtime_ns)
        if key not in self._known:
            files = sorted(path for path in folder.iterdir() if is_segment_file(path.name))
            self._known[key] = {path.name: hashed(path) for path in files}
        return self._known[key]

    def forget(self, origins: set[str]) -> None:
        """Keep no hashes of segments of other folders than these."""
        self._known = {key: one for key, one in self._known.items() if key[0] in origins}


_SegmentKey: TypeAlias = tuple[str, str, int, int]
"""Folder of the collection, number, and which file of that name its manifest is."""


def hashed(path: Path) -> Object:
    """Return a file as an object."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_HASHED_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return Object(digest.hexdigest(), size)


class _Backup:
    """One backup under way. folder: of its own, in the staging folder."""

    def __init__(
        self,
        backups: Backups,
        folder: Path,
        names: Sequence[str],
        held: Collection[str],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._backups = backups
        self._database = backups.database
        self._folder = folder
        self._names = names
        self._sent = set(held)
        self._is_wanted = is_wanted
        self._made: list[CollectionCopy] = []
        self._left_out: dict[str, str] = {}
        self._origins: set[str] = set()

    def parts(self) -> Iterator[Part]:
        identity, made_at_ms = new_id(), time.time_ns() // 1_000_000
        infos = [self._database.info(name) for name in self._names] or self._database.infos()
        names = list(dict.fromkeys(info.name for info in infos))
        for number, name in enumerate(names, 1):
            yield from self._collection(name, number, len(names))
        catalog: Object | None = None
        aliases = self._database.copies.copy_catalog(self._folder / "catalog")
        if not self._names:
            self._backups.forget(self._origins)
            catalog = hashed(self._folder / "catalog" / "data.mdb")
            yield from self._object(catalog, self._folder / "catalog" / "data.mdb")
        within = {one.name for one in self._made}
        manifest = Manifest(
            identity,
            made_at_ms,
            tuple(self._made),
            {alias: target for alias, target in aliases.items() if target in within},
            self._left_out,
            catalog,
        )
        path = self._folder / "manifest.json"
        path.write_bytes(manifest.encode())
        last = hashed(path)
        yield ObjectBegin(last, manifest=True)
        yield from self._backups.sent(last, path, self._is_wanted)

    def _collection(self, name: str, number: int, count: int) -> Iterator[Part]:
        into = self._folder / "collection"
        try:
            entry, copied = self._database.copies.copy(name, into, self._is_wanted)
        except NotFound:
            if self._names:
                raise
            return  # dropped since the backup began
        except Corrupt as error:
            if self._names:
                raise
            self._left_out[name] = error.message
            yield CopiedCollection(name, number, count, left_out=error.message)
            return
        described, files = self._described(entry, copied, into)
        self._origins.add(entry.folder)
        size = sum(one.size for one in files)
        sent = sum(one.size for one in files if one.sha256 not in self._sent)
        yield CopiedCollection(name, number, count, size, sent)
        for one, path in files.items():
            yield from self._object(one, path)
        shutil.rmtree(into)
        self._made.append(described)

    def _object(self, one: Object, path: Path) -> Iterator[Part]:
        if one.sha256 in self._sent:
            return
        self._sent.add(one.sha256)
        yield ObjectBegin(one)
        yield from self._backups.sent(one, path, self._is_wanted)

    def _described(
        self, entry: CatalogEntry, copied: Copied, into: Path
    ) -> tuple[CollectionCopy, dict[Object, Path]]:
        """Return what the manifest says of a copy, and where its files are."""
        store = hashed(into / "store" / "data.mdb")
        files = {store: into / "store" / "data.mdb"}
        segments: list[SegmentCopy] = []
        for folder in sorted((into / "segments").iterdir(), key=lambda path: int(path.name)):
            named = self._backups.segment_files(folder, entry.folder)
            segments.append(SegmentCopy(int(folder.name), named))
            files.update({one: folder / name for name, one in named.items()})
        return (
            CollectionCopy(
                entry.name,
                entry.uuid,
                entry.created_at_ms,
                entry.schema.to_plain(),
                entry.metadata.decode(),
                entry.ttl_ms,
                copied.seq,
                copied.chain,
                copied.points,
                store,
                tuple(segments),
            ),
            files,
        )
