"""A file that holds something small, such as keys, and is read again when it changes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from vecdb.errors import InvalidArgument

log = logging.getLogger(__name__)

CHECK_S = 1.0

T = TypeVar("T")
Signature = tuple[int, int, int]


def signature(file: str | Path) -> Signature:
    """Return what changes when a file does. Raises OSError."""
    status = os.stat(file)
    return status.st_mtime_ns, status.st_ino, status.st_size


def lines_of(content: bytes) -> list[bytes]:
    """Return the lines that hold something, without the space around it."""
    return [line for line in map(bytes.strip, content.split(b"\n")) if line]


class KeptFile(Generic[T]):
    """What a file holds. Threads may share it.

    What cannot be read, or is not sound, when it has changed is logged; what was there before goes
    on, so that a mistake locks nobody out.
    """

    def __init__(
        self,
        what: str,
        path: Path,
        read: Callable[[bytes], T],
        *,
        check_s: float | None = None,
    ) -> None:
        """Read the file. what: as an operator calls it, such as its setting.

        read: returns what the content is, or raises InvalidArgument. So does this, with its name.
        check_s: seconds for which a look at the file is good; None for CHECK_S.
        """
        self._check_s = CHECK_S if check_s is None else check_s
        self.what = what
        self.path = path
        self.generation = 0
        """How often it has changed."""
        self._read = read
        self._lock = threading.Lock()
        self._signature, self._content = self._look(None)
        self._look_again_at = time.monotonic() + self._check_s

    def now(self) -> T:
        """Return what it holds, by a look at the file that is not too old."""
        if time.monotonic() >= self._look_again_at and self._lock.acquire(blocking=False):
            try:
                self._look_again_at = time.monotonic() + self._check_s
                seen, content = self._look(self._signature)
                if seen != self._signature:
                    self._signature, self._content = seen, content
                    self.generation += 1
                    log.info("%s was read again", self.what)
            except InvalidArgument as error:
                log.error("%s; its contents of before stay good", error)
            finally:
                self._lock.release()
        return self._content

    def _look(self, before: Signature | None) -> tuple[Signature, T]:
        """Return the file's signature, and what it holds unless that is the one before."""
        try:
            seen = signature(self.path)
            if seen == before:
                return seen, self._content
            content = self.path.read_bytes()
        except OSError as error:
            raise InvalidArgument(f"{self.what} {self.path}: {error.strerror}") from None
        try:
            return seen, self._read(content)
        except InvalidArgument as error:
            raise InvalidArgument(
                f"{self.what} {self.path} {error.message}", hint=error.hint
            ) from None
