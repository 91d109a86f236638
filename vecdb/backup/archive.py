"""One backup in one file: a tar archive of its objects, and its manifest at the end.

Read by these few lines and not by tarfile, which follows what an archive says: here a header is 512
bytes that must be a plain file's, of a name that there can be, or the archive is refused.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from vecdb.backup.files import PIECE_BYTES, told
from vecdb.backup.manifest import (
    MANIFEST_BYTES_MAX,
    Manifest,
    Object,
    decode_manifest,
    is_sha256,
)
from vecdb.backup.repository import checked
from vecdb.errors import AlreadyExists, Corrupt, NotFound
from vecdb.segment.segment import sync_folder

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_PADDING_BYTES = 1 << 20
"""Of zeros that other programs put at the end of an archive: fewer."""
_OBJECTS, _MANIFEST = "objects/", "manifest.json"


class ArchiveWriter:
    """An archive that is being written: under another name, until it is complete."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        """Raise AlreadyExists, unless what is there is to be replaced."""
        self.where = str(path)
        self._path = path
        self._temporary = path.with_name(path.name + ".new")
        if path.exists() and not replace:
            raise AlreadyExists(f"{path} exists", hint="name another file, or use --force")
        with told(self.where):
            self._file = self._temporary.open("wb")
            os.fchmod(self._file.fileno(), 0o600)

    def put(self, one: Object, pieces: Iterable[bytes]) -> None:
        """Add an object. Raises Corrupt where its bytes are not what it promises."""
        self._add(_OBJECTS + one.sha256, one.size, checked(one, pieces, "what the server sent"))

    def publish(self, encoded: bytes) -> Manifest:
        """Return the backup whose archive is there from now on."""
        manifest = decode_manifest(encoded)
        self._add(_MANIFEST, len(encoded), [encoded])
        with told(self.where):
            self._file.write(_END)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.rename(self._path)
        sync_folder(self._path.parent)
        return manifest

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _add(self, name: str, size: int, pieces: Iterable[bytes]) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o600
        with told(self.where):
            self._file.write(header.tobuf(tarfile.GNU_FORMAT))
        for piece in pieces:
            with told(self.where):
                self._file.write(piece)
        with told(self.where):
            self._file.write(bytes(-size % _BLOCK))


class Archive:
    """An archive that is there."""

    def __init__(self, path: Path) -> None:
        """Find what is in it. Raises NotFound, Corrupt."""
        self.where = str(path)
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise NotFound(f"{path} cannot be read: {error.strerror}") from None
        try:
            self._members = dict(self._headers(os.fstat(self._file.fileno()).st_size))
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def encoded(self, identity: str = "") -> bytes:
        """Return the manifest as it stands. Raises NotFound for another backup's id."""
        at, size = self._members[_MANIFEST]
        if size > MANIFEST_BYTES_MAX:
            raise self._damaged("manifest.json is too large")
        self._file.seek(at)
        encoded = self._file.read(size)
        if identity and decode_manifest(encoded).id != identity:
            raise NotFound(f"{self.where} is not backup {identity}")
        return encoded

    def check(self, manifest: Manifest) -> None:
        """Raise Corrupt where the archive does not hold just what its manifest says."""
        objects = manifest.objects()
        for sha256, one in objects.items():
            found = self._members.get(_OBJECTS + sha256)
            if found is None:
                raise self._damaged(f"{_OBJECTS}{sha256} is missing")
            if found[1] != one.size:
                raise self._damaged(f"{_OBJECTS}{sha256} has {found[1]} bytes, not {one.size}")
        for name in self._members:
            if name != _MANIFEST and name.removeprefix(_OBJECTS) not in objects:
                raise self._damaged(f"{name} is not of the backup")

    def read(self, one: Object) -> Iterator[bytes]:
        """Yield an object in pieces. Raises Corrupt, at its end, where it is not what it was."""
        name = _OBJECTS + one.sha256
        yield from checked(one, self._pieces(*self._members[name]), f"{self.where}: {name}")

    def _pieces(self, at: int, size: int) -> Iterator[bytes]:
        while size:
            self._file.seek(at)
            piece = self._file.read(min(size, PIECE_BYTES))
            if not piece:
                return
            at, size = at + len(piece), size - len(piece)
            yield piece

    def _headers(self, size: int) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield each file's name, and where in the archive it is."""
        seen: set[str] = set()
        at = 0
        while True:
            self._file.seek(at)
            block = self._file.read(_BLOCK)
            if block == bytes(_BLOCK):
                break
            try:
                header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            except (tarfile.HeaderError, UnicodeDecodeError):
                raise self._damaged(f"it is cut off, or no archive, from byte {at} on") from None
            name = header.name
            if header.type != tarfile.REGTYPE:
                raise self._damaged(f"{name!r} is a link, or of another kind than a file")
            if name != _MANIFEST and not is_sha256(name.removeprefix(_OBJECTS)):
                raise self._damaged(f"{name!r} is no file of a backup")
            if name in seen:
                raise self._damaged(f"{name} is there twice")
            if header.size < 0 or at + _BLOCK + header.size > size:
                raise self._damaged(f"{name} is cut off")
            seen.add(name)
            yield name, (at + _BLOCK, header.size)
            at += _BLOCK + header.size + -header.size % _BLOCK
        if _MANIFEST not in seen:
            raise self._damaged("manifest.json is missing")
        rest = self._file.read(_PADDING_BYTES + 1)
        if not _BLOCK <= len(rest) <= _PADDING_BYTES or rest.strip(b"\0"):
            raise self._damaged(f"its end is cut off, or has something behind it, at byte {at}")

    def _damaged(self, what: str) -> Corrupt:
        return Corrupt(f"{self.where} is damaged: {what}", hint="restore another backup")
