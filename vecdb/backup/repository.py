"""Many backups in one place, which share what they have in common: files by their sha256.

A backup is there once its manifest is, which is written last; so what was cut off half-way is never
taken for one. See FORMAT.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from vecdb.backup.files import Files
from vecdb.backup.manifest import (
    MANIFEST_BYTES_MAX,
    Manifest,
    Object,
    decode_manifest,
    is_id,
    is_sha256,
)
from vecdb.errors import Corrupt, NotFound, VecdbError

_BACKUPS, _OBJECTS = "backups", "objects"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed: backups by id, and objects that none of the others need."""

    backups: tuple[str, ...]
    objects: int
    bytes: int


class Repository:
    """Backups in one place, by id; ids sort by time."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.where = files.where

    # --- writing

    def held(self) -> dict[str, int]:
        """Return the objects that are there, by sha256, with their sizes in bytes."""
        found = {}
        for name, size in self.files.listed(_OBJECTS):
            sha256 = name.rpartition("/")[2]
            if is_sha256(sha256) and name == _path(sha256):
                found[sha256] = size
        return found

    def sound(self) -> set[str]:
        """Return the objects that a new backup may share: but those of another size than known."""
        known = {
            one.sha256: one.size
            for manifest in self.manifests()
            if isinstance(manifest, Manifest)
            for one in manifest.objects().values()
        }
        return {sha for sha, size in self.held().items() if known.get(sha, size) == size}

    def put(self, one: Object, pieces: Iterable[bytes]) -> None:
        """Keep an object. Raises Corrupt where its bytes are not what it promises."""
        self.files.put(_path(one.sha256), checked(one, pieces, "what the server sent"))

    def publish(self, encoded: bytes) -> Manifest:
        """Return the backup that is there from now on, by its manifest.

        Raises Corrupt where an object of it is missing, and then it is not there.
        """
        manifest = decode_manifest(encoded)
        self.check(manifest)
        self.files.put(f"{_BACKUPS}/{manifest.id}.json", [encoded])
        return manifest

    def prune(self, keep: int, made: str = "") -> Pruned:
        """Return what was removed: all but the newest backups, and what only those had.

        keep: so many, 0 for all. made: one that stays whatever a clock that was set back makes of
        its age. Only where nobody else writes here: see Files.locked.
        """
        ids = self.ids()
        ranked = sorted(ids, key=lambda one: (one == made, one))
        gone = ranked[:-keep] if keep else []
        # Read first: nothing goes while it is not sure what the others need.
        needed = {sha for one in ids if one not in gone for sha in self.manifest(one).objects()}
        for one in gone:
            self.files.delete(f"{_BACKUPS}/{one}.json")
        surplus = {sha: size for sha, size in self.held().items() if sha not in needed}
        for sha in surplus:
            self.files.delete(_path(sha))
        return Pruned(tuple(gone), len(surplus), sum(surplus.values()))

    # --- reading

    def ids(self) -> list[str]:
        """Return the backups that there are, the oldest first."""
        names = (name.rpartition("/")[2] for name, _ in self.files.listed(_BACKUPS))
        found = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return sorted(name for name in found if is_id(name))

    def encoded(self, identity: str = "") -> bytes:
        """Return a backup's manifest as it stands, the newest one's for "". Raises NotFound."""
        ids = self.ids()
        if not ids:
            raise NotFound(f"there is no backup in {self.where}", hint="vecdb backup makes one")
        chosen = identity or ids[-1]
        if chosen not in ids:
            raise NotFound(
                f"there is no backup {chosen} in {self.where}", hint="vecdb backups lists them"
            )
        encoded = bytearray()
        for piece in self.files.read(f"{_BACKUPS}/{chosen}.json"):
            encoded += piece
            if len(encoded) > MANIFEST_BYTES_MAX:
                raise Corrupt(f"{self.where}: {_BACKUPS}/{chosen}.json is too large for a manifest")
        return bytes(encoded)

    def manifest(self, identity: str = "") -> Manifest:
        """Return a backup, the newest one for "". Raises NotFound, Corrupt, FormatTooNew."""
        encoded = self.encoded(identity)
        try:
            return decode_manifest(encoded)
        except Corrupt as error:
            name = f"{_BACKUPS}/{identity or self.ids()[-1]}.json"
            raise Corrupt(f"{self.where}: {name}: {error.message}", hint=error.hint) from None

    def manifests(self) -> Iterator[Manifest | VecdbError]:
        """Yield all backups, the oldest first; for one that cannot be read, why."""
        for identity in self.ids():
            try:
                yield self.manifest(identity)
            except VecdbError as error:
                yield error

    def check(self, manifest: Manifest) -> None:
        """Raise Corrupt that names the first object of a backup that is missing, or too short."""
        held = self.held()
        for one in manifest.objects().values():
            if one.sha256 not in held:
                raise self._damaged(one, "is missing")
            if held[one.sha256] != one.size:
                raise self._damaged(one, f"has {held[one.sha256]} bytes, not {one.size}")

    def read(self, one: Object) -> Iterator[bytes]:
        """Yield an object in pieces. Raises Corrupt, at its end, where it is not what it was."""
        with suppress(NotFound):
            yield from checked(
                one, self.files.read(_path(one.sha256)), f"{self.where}: {_path(one.sha256)}"
            )
            return
        raise self._damaged(one, "is missing")

    def _damaged(self, one: Object, what: str) -> Corrupt:
        return Corrupt(f"{self.where}: {_path(one.sha256)} {what}", hint="restore another backup")


class ObjectCheck:
    """Whether pieces are an object. what: as a person calls it."""

    def __init__(self, one: Object, what: str) -> None:
        self._one = one
        self._what = what
        self._digest = hashlib.sha256()
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece. Raises Corrupt when they are too many."""
        self._size += len(piece)
        if self._size > self._one.size:
            raise self._bad(f"has more than {self._one.size} bytes")
        self._digest.update(piece)

    def finish(self) -> None:
        """Raise Corrupt unless that was all of it, and as it was."""
        if self._size < self._one.size:
            raise self._bad(f"was cut off: {self._size} bytes, not {self._one.size}")
        if self._digest.hexdigest() != self._one.sha256:
            raise self._bad("fails its checksum")

    def _bad(self, how: str) -> Corrupt:
        return Corrupt(f"{self._what} {how}", hint="take another backup")


def checked(one: Object, pieces: Iterable[bytes], what: str) -> Iterator[bytes]:
    """Yield pieces that are to be an object. Raises Corrupt, at the latest at their end."""
    check = ObjectCheck(one, what)
    for piece in pieces:
        check.add(piece)
        yield piece
    check.finish()


def _path(sha256: str) -> str:
    return f"{_OBJECTS}/{sha256[:2]}/{sha256}"
