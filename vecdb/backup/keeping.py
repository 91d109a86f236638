"""From a stream of parts to a place, and from a place to a stream of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from vecdb.backup.location import Source
from vecdb.backup.making import CopiedCollection, ObjectBegin, Part
from vecdb.backup.manifest import CollectionCopy, Manifest, Object
from vecdb.backup.repository import checked
from vecdb.errors import Unavailable

Seen = Callable[[CopiedCollection | int], object]
"""Told of collections that come, and of bytes that were written."""


class Target(Protocol):
    """Where a backup is put: a Repository or an ArchiveWriter."""

    def put(self, one: Object, pieces: Iterator[bytes]) -> None:
        """Keep an object."""

    def publish(self, encoded: bytes) -> Manifest:
        """Have the backup be there."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup that is there now, and how many bytes and objects were written for it."""

    manifest: Manifest
    bytes: int
    objects: int


def keep(parts: Iterator[Part], target: Target, seen: Seen = lambda what: None) -> Kept:
    """Return the backup that was put into a target. Raises what either end raises, and Corrupt."""
    written = objects = 0

    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal written
        for piece in pieces:
            written += len(piece)
            seen(len(piece))
            yield piece

    for part in parts:
        if isinstance(part, CopiedCollection):
            seen(part)
        elif isinstance(part, ObjectBegin) and not part.manifest:
            target.put(part.object, counted(_pieces(parts, part.object.size)))
            objects += 1
        elif isinstance(part, ObjectBegin):
            pieces = checked(part.object, _pieces(parts, part.object.size), "manifest.json")
            return Kept(target.publish(b"".join(pieces)), written, objects)
    raise Unavailable("the backup ended before its manifest", hint="back up again")


def _pieces(parts: Iterator[Part], size: int) -> Iterator[bytes]:
    while size > 0:
        part = next(parts, None)
        if not isinstance(part, bytes):
            return  # whoever counts the bytes says what is wrong
        size -= len(part)
        yield part


def parts_of(
    source: Source, encoded: bytes, chosen: tuple[CollectionCopy, ...]
) -> Iterator[ObjectBegin | bytes]:
    """Yield what a restore of some collections needs. Raises Corrupt that names a damaged file.

    encoded: the manifest as it stands in the source.
    """
    objects = {one.sha256: one for each in chosen for one in each.objects()}
    for one in objects.values():
        yield ObjectBegin(one)
        yield from source.read(one)
    yield ObjectBegin(Object.of(encoded), manifest=True)
    yield encoded
