"""The keys that nodes and an embedding worker elsewhere share: a file, a key a line.

A node sends the first, a worker takes any: a new one is put first on the nodes once the worker has
both.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from vecdb.errors import InvalidArgument
from vecdb.kept_file import KeptFile, lines_of

HEADER, SCHEME = "authorization", "Bearer "


class SharedKeys:
    """The keys in a file, which is read again when it changes. Threads may share it."""

    def __init__(self, file: str) -> None:
        """Read them. Raises InvalidArgument for a file without one."""
        self._file = KeptFile("embed.worker_key_file", Path(file), _keys, check_s=0.0)

    def header(self) -> str:
        """Return what a node sends as HEADER."""
        return SCHEME + self._file.now()[0].decode()

    def accepts(self, header: str | bytes | None) -> bool:
        """Return whether what a node sent is one of them; in a time that says nothing of them."""
        sent = header.encode() if isinstance(header, str) else header or b""
        found = False
        for key in self._file.now():
            found |= hmac.compare_digest(SCHEME.encode() + key, sent)
        return found


def _keys(content: bytes) -> tuple[bytes, ...]:
    keys = tuple(lines_of(content))
    if not keys or not all(key.isascii() and key.decode().isprintable() for key in keys):
        raise InvalidArgument("has no key", hint="a key a line, of visible ASCII characters")
    return keys
