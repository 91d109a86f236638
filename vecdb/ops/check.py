"""Walks a data directory, in use or not, one collection after the other. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vecdb.check.walk import Report, Seen, check_collection
from vecdb.errors import NotFound, VecdbError
from vecdb.folders import strays as stray_names
from vecdb.storage.catalog import Catalog


def check_database(data: Path, seen: Seen) -> Iterator[Report]:
    """Yield a report per collection, in the order of their names."""
    if not (data / "catalog").exists():
        raise NotFound(f"{data} is no data directory: it has no catalog")
    catalog = Catalog(data / "catalog", read_only=True)
    try:
        for entry in catalog.entries():
            report = Report(entry.name)
            try:
                check_collection(data / "collections" / entry.folder, entry.schema, report, seen)
            except VecdbError as error:
                report.add(str(error))
            yield report
        strays = stray_folders(data / "collections", catalog)
        if strays:
            yield Report("", findings=strays)
    finally:
        catalog.close()


def stray_folders(parent: Path, catalog: Catalog) -> list[str]:
    """Return a finding for each folder that no collection, and no start of the server, needs."""
    names = stray_names(parent, catalog.folders(), catalog.dropped())
    return [f"{parent / name} belongs to no collection of the catalog" for name in names]
