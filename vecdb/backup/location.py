"""What a person names as a place of backups: an archive, a folder, or a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias

from vecdb.backup.archive import Archive
from vecdb.backup.files import FolderFiles
from vecdb.backup.repository import Repository
from vecdb.backup.s3_files import SCHEME, S3Files
from vecdb.errors import InvalidArgument

ARCHIVE = ".tar"

Source: TypeAlias = Repository | Archive


def is_archive(place: str) -> bool:
    """Return whether a place is one file for one backup."""
    return not place.startswith(SCHEME) and (place.endswith(ARCHIVE) or Path(place).is_file())


def repository_at(place: str, *, create: bool = False) -> Repository:
    """Return the backups of a folder or of s3://bucket/prefix. Raises NotFound, InvalidArgument."""
    if place.startswith(SCHEME):
        return Repository(S3Files(place))
    if "://" in place:
        raise InvalidArgument(f"{place.partition('://')[0]}:// is not known", hint="use s3://")
    return Repository(FolderFiles(Path(place), create=create))


@contextmanager
def source_at(place: str) -> Iterator[Source]:
    """Yield what is read from a place. Raises NotFound, Corrupt."""
    if not is_archive(place):
        yield repository_at(place)
        return
    with closing(Archive(Path(place))) as archive:
        yield archive
