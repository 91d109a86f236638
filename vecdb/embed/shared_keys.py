"""The keys that nodes and an embedding worker elsewhere share: a file, a key a line.

A node sends the first, a worker takes any: a new one is put first on the nodes once the worker has
both. The file is read again when it has changed.
"""

from __future__ import annotations

import hmac
import logging
import os
from pathlib import Path

from vecdb.errors import InvalidArgument

log = logging.getLogger(__name__)

HEADER, SCHEME = "authorization", "Bearer "


class SharedKeys:
    """The keys in a file. Threads may share it."""

    def __init__(self, file: str) -> None:
        """Read them. Raises InvalidArgument for a file without one."""
        self._file = Path(file)
        self._seen: tuple[int, ...] = ()
        self._keys: tuple[bytes, ...] = ()
        self._read()

    def header(self) -> str:
        """Return what a node sends as HEADER."""
        return SCHEME + self._now()[0].decode()

    def accepts(self, header: str | bytes | None) -> bool:
        """Return whether what a node sent is one of them; in a time that says nothing of them."""
        sent = header.encode() if isinstance(header, str) else header or b""
        found = False
        for key in self._now():
            found |= hmac.compare_digest(SCHEME.encode() + key, sent)
        return found

    def _now(self) -> tuple[bytes, ...]:
        try:
            self._read()
        except InvalidArgument as error:
            log.error("the keys before are used: %s", error)
        return self._keys

    def _read(self) -> None:
        try:
            status = os.stat(self._file)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen == self._seen:
                return
            lines = self._file.read_bytes().split(b"\n")
        except OSError as error:
            raise InvalidArgument(f"cannot read {self._file}: {error.strerror}") from None
        keys = tuple(line.strip() for line in lines if line.strip())
        if not keys or not all(key.isascii() and key.decode().isprintable() for key in keys):
            raise InvalidArgument(
                f"{self._file} has no key", hint="a key a line, of visible ASCII characters"
            )
        self._seen, self._keys = seen, keys
