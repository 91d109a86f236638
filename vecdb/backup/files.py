"""Where a repository of backups keeps its files: in a folder here, or elsewhere (s3_files.py)."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from typing import Protocol

from vecdb.errors import Conflict, Corrupt, InvalidArgument, NotFound, StorageFull, Unavailable
from vecdb.segment.segment import sync_folder

PIECE_BYTES = 1 << 20
_TEMPORARY = ".new-"


class Files(Protocol):
    """Files by names such as ``objects/ab/cd``, which are never changed once they are there."""

    where: str
    """What a person calls the place."""

    def listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the names that begin with a folder's, and the sizes in bytes. In no order."""

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Have a file, whole and durable when this returns, and not at all when it raises."""

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file in pieces. Raises NotFound, Unavailable."""

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is as good."""

    def locked(self) -> AbstractContextManager[None]:
        """Return the block in which nobody else writes here, as far as that can be known."""


class FolderFiles:
    """Files of a folder. Others than ours may be in it, and are left alone."""

    def __init__(self, root: Path, *, create: bool = False) -> None:
        """Raise NotFound, or InvalidArgument for a folder that holds other things."""
        self.where = str(root)
        self._root = root
        if create:
            if root.is_dir() and any(root.iterdir()) and not (root / "objects").is_dir():
                raise InvalidArgument(
                    f"{root} is neither empty nor a folder of backups",
                    hint="name another folder, which is made where it is missing",
                )
            with told(self.where):
                (root / "objects").mkdir(mode=0o700, parents=True, exist_ok=True)
                (root / "backups").mkdir(mode=0o700, exist_ok=True)
        elif not (root / "backups").is_dir():
            raise NotFound(f"{root} is no folder of backups", hint="vecdb backup FOLDER makes one")

    def listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield names and sizes."""
        for folder, _, names in os.walk(self._root / prefix):
            for name in names:
                path = Path(folder, name)
                if not name.startswith(_TEMPORARY):
                    with suppress(FileNotFoundError):
                        yield path.relative_to(self._root).as_posix(), path.lstat().st_size

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file under another name, then give it its own."""
        path = self._root / name
        temporary = path.with_name(f"{_TEMPORARY}{path.name}")
        with told(self.where):
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700)
                sync_folder(path.parent.parent)
        try:
            with told(self.where):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                file = os.fdopen(os.open(temporary, flags, 0o600), "wb", buffering=0)
            with file:
                for piece in pieces:
                    with told(self.where):
                        write_all(file, piece)
                with told(self.where):
                    os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file in pieces; a link is not followed."""
        try:
            descriptor = os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"{self.where}: {name} is missing") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Corrupt(f"{self.where}: {name} is a link: it is not followed") from None
            raise Unavailable(f"{self.where}: {name} cannot be read: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as file, told(self.where):
            while piece := file.read(PIECE_BYTES):
                yield piece

    def delete(self, name: str) -> None:
        """Remove a file."""
        with told(self.where):
            (self._root / name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's LOCK, and sweep what a backup that died has left. Raises Conflict."""
        descriptor = os.open(self._root / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"another backup to {self.where} is under way", hint="wait until it is done"
                ) from None
            for left in self._root.glob(f"*/**/{_TEMPORARY}*"):
                left.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)


def write_all(file: RawIOBase | BufferedIOBase, piece: bytes) -> None:
    """Write a piece, however many calls it takes."""
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


@contextmanager
def told(where: str) -> Iterator[None]:
    """Raise what a person can use of an error of the file system."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"{where} is full: the backup was not finished, and is not listed",
                hint="free space there, or have fewer backups kept; then back up again",
            ) from None
        raise Unavailable(
            f"{where} cannot be used: {error.strerror or error}", hint="look at its permissions"
        ) from None
