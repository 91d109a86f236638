"""Restoring without a server: a backup into a data directory that is not there yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from vecdb.backup.keeping import parts_of
from vecdb.backup.location import Source
from vecdb.backup.making import ObjectBegin
from vecdb.backup.manifest import Manifest, decode_manifest
from vecdb.backup.restoring import Choice, RestoredCollection, Restoring, Verified
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import FailedPrecondition
from vecdb.segment.segment import sync_folder
from vecdb.storage.catalog import Catalog
from vecdb.storage.catalog_command import DropCollection, SetAliases

_MARK = "RESTORING"


def restore_offline(
    source: Source, encoded: bytes, data: Path, choice: Choice, seen: Callable[[int], object]
) -> Iterator[Verified | RestoredCollection]:
    """Yield what was verified, then what is there; the data directory appears when all is.

    encoded: the manifest as it stands in the source. With all collections its catalog comes along,
    and what else that holds. seen: told of bytes that were read.
    Raises FailedPrecondition where there is one already, and what Restoring raises.
    """
    if data.exists() and any(data.iterdir()):
        raise FailedPrecondition(
            f"{data} is not empty: nothing was restored",
            hint="name a data directory that is not there yet, or restore through its server",
        )
    work = data.with_name(data.name + ".restoring")
    _begin(work)
    try:
        manifest = decode_manifest(encoded)
        aliases = dict(manifest.aliases)
        if not choice.collections and not choice.new_name:
            aliases = _take_catalog(source, manifest, work)
        database = Database(work, StorageConfig(), LimitsConfig())
        try:
            yield from _restored(database, source, encoded, choice, seen)
            names = {info.name for info in database.infos()}
            left = {a: t for a, t in aliases.items() if t in names and a not in database.aliases()}
            if left and not choice.new_name:
                database.set_aliases(list(left.items()))
        finally:
            database.close()
        (work / _MARK).unlink()
        if data.exists():
            data.rmdir()
        work.rename(data)
        sync_folder(data.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _begin(work: Path) -> None:
    if work.exists() and not (work / _MARK).exists():
        raise FailedPrecondition(
            f"{work} is in the way: it is no restore that was cut off", hint="move it elsewhere"
        )
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700, parents=True)
    (work / _MARK).touch()


def _restored(
    database: Database,
    source: Source,
    encoded: bytes,
    choice: Choice,
    seen: Callable[[int], object],
) -> Iterator[Verified | RestoredCollection]:
    restoring = Restoring(database, choice, lambda: True)
    try:
        chosen = decode_manifest(encoded).chosen(list(choice.collections))
        for part in parts_of(source, encoded, chosen):
            if isinstance(part, ObjectBegin):
                restoring.begin(part.object, manifest=part.manifest)
            else:
                restoring.add(part)
                seen(len(part))
        yield from restoring.verify()
        yield from restoring.commit()
    finally:
        restoring.close()


def _take_catalog(source: Source, manifest: Manifest, work: Path) -> dict[str, str]:
    """Return the aliases of a backup's catalog, which is there afterwards, without collections.

    They come back one by one, by commands of its log; what else it holds stays as it was.
    """
    if manifest.catalog is None:
        return dict(manifest.aliases)
    folder = work / "catalog"
    folder.mkdir(mode=0o700)
    with (folder / "data.mdb").open("xb") as file:
        for piece in source.read(manifest.catalog):
            file.write(piece)
    (folder / "data.mdb").chmod(0o600)
    catalog = Catalog(folder, read_only=False)
    try:
        aliases = catalog.aliases()
        if aliases:
            catalog.apply(SetAliases(tuple((alias, None) for alias in aliases)))
        for entry in catalog.entries():
            catalog.apply(DropCollection(entry.name, entry.uuid))
        for dropped in catalog.dropped():
            catalog.removed(dropped)
        return aliases
    finally:
        catalog.close()
