"""The audit log: a JSON line for each call that changes something, or was refused.

    {"time": "2026-11-29T08:00:00.123Z", "method": "Points/Write", "key": "k7h2m4p9qa",
     "peer": "ipv4:10.0.0.7:41234", "collections": ["docs"], "request_id": "...", "result": "OK"}

Several processes write to one file: a line is one write to its end. It is opened anew when it was
moved away, so that logrotate needs no signal. Of vectors, texts, payloads and keys it says nothing.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from vecdb.errors import InvalidArgument

log = logging.getLogger(__name__)

LOOK_S = 1.0
REFUSALS_PER_S = 100
"""Lines of callers without a good key; who floods the server must not fill the disk as well."""
COLLECTIONS_SHOWN = 20
_CHARACTERS = 256


class AuditLog:
    """The file. Threads share it."""

    def __init__(self, path: Path) -> None:
        """Open a file, which is made when missing. Raises InvalidArgument."""
        self._path = path
        self._lock = threading.Lock()
        self._look_again_at = 0.0
        self._second, self._strangers, self._left_out = 0, 0, 0
        self._failing = False
        self._inode = 0
        try:
            self._file = self._opened()
        except OSError as error:
            raise InvalidArgument(f"audit.file {path}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            os.close(self._file)

    def write(
        self,
        *,
        method: str,
        key: str,
        peer: str,
        collections: Sequence[str],
        request_id: str,
        result: str,
        is_stranger: bool = False,
    ) -> None:
        """Add a line. A line that cannot be written is told in the log, and the call goes on.

        key: the id, "" for none. is_stranger: whether the caller gave no good key.
        """
        with self._lock:
            line: dict[str, object] = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "method": method,
                "key": key[:_CHARACTERS],
                "peer": peer[:_CHARACTERS],
                "collections": [name[:_CHARACTERS] for name in collections[:COLLECTIONS_SHOWN]],
                "request_id": request_id,
                "result": result,
            }
            if len(collections) > COLLECTIONS_SHOWN:
                line["more_collections"] = len(collections) - COLLECTIONS_SHOWN
            if is_stranger and self._is_one_too_many():
                return
            if self._left_out:
                line["left_out_before"], self._left_out = self._left_out, 0
            self._append(json.dumps(line).encode() + b"\n")

    def _is_one_too_many(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._strangers = second, 0
        self._strangers += 1
        if self._strangers <= REFUSALS_PER_S:
            return False
        self._left_out += 1
        return True

    def _append(self, line: bytes) -> None:
        try:
            now = time.monotonic()
            if now >= self._look_again_at:
                self._look_again_at = now + LOOK_S
                self._reopen_if_moved()
            os.write(self._file, line)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("audit.file %s cannot be written: %s", self._path, error.strerror)
            self._failing = True

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        self._inode = os.fstat(file).st_ino
        return file

    def _reopen_if_moved(self) -> None:
        if self._path.exists() and os.stat(self._path).st_ino == self._inode:
            return
        before, self._file = self._file, self._opened()
        os.close(before)
