"""The folders of a data directory's collections: named once the catalog has them, swept if not."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Container, Iterable
from pathlib import Path

from vecdb.segment.segment import sync_folder
from vecdb.storage.catalog import CatalogFolder

log = logging.getLogger(__name__)

NEW = ".new"
"""Ends the name of a collection's folder until the catalog names it."""


def sync(folder: Path) -> None:
    """Make a new collection's folder durable."""
    for each in (folder / "store", folder, folder.parent):
        sync_folder(each)


def settle(fresh: Path) -> None:
    """Give a new collection's folder its name, once the catalog has it."""
    fresh.rename(fresh.with_name(fresh.name.removesuffix(NEW)))
    sync_folder(fresh.parent)


def strays(parent: Path, there: Iterable[CatalogFolder], dropped: Container[str]) -> list[str]:
    """Return the folders that belong to no collection, and are not swept at a start either."""
    known = {folder.uuid: folder for folder in there}
    folders = {folder.name for folder in known.values()}
    found = []
    for path in sorted(parent.iterdir()):
        uuid, _, seq = path.name.partition("-")
        coming = uuid in known and seq.isdecimal() and int(seq) > known[uuid].truncated_seq
        kept = path.name in folders or path.name in dropped or path.name.endswith(NEW)
        if not (kept or coming):
            found.append(path.name)
    return found


def finish(parent: Path, there: Iterable[CatalogFolder], dropped: Container[str]) -> None:
    """Complete what was being changed when the process before this one ended.

    there: as the catalog says. dropped: folders that are being deleted.
    """
    known = {folder.uuid: folder for folder in there}
    folders = {folder.name for folder in known.values()}
    for path in parent.iterdir():
        name = path.name.removesuffix(NEW)
        uuid, _, seq = path.name.partition("-")
        if path.name.endswith(NEW) and name in known and not path.with_name(name).exists():
            path.rename(path.with_name(name))
        elif path.name.endswith(NEW):
            shutil.rmtree(path, ignore_errors=True)
        elif uuid in known and seq.isdecimal() and int(seq) > known[uuid].truncated_seq:
            shutil.rmtree(path, ignore_errors=True)  # of a truncation that was not done
        elif path.name not in folders and path.name not in dropped:
            log.warning("%s belongs to no collection of the catalog: left alone", path)
