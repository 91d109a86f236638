"""How much keys have used: calls in this second, bytes today. One file for all processes of a node.

A row of 32 bytes a key, at its number. It is lost with nothing but a count: a power cut may give a
key the bytes of its last minutes back.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vecdb.auth.scopes import Principal
from vecdb.errors import Overloaded, QuotaExceeded

log = logging.getLogger(__name__)

FILE = "usage"
_ROW = struct.Struct("<ddQQ")
"""Calls that may be made at once now, and the monotonic second at which that was so; the day since
1970 (UTC), and the bytes used on it."""
_DAY_S = 86_400


class Usage:
    """Counts what limited keys use. Threads and processes share it."""

    def __init__(
        self,
        folder: Path,
        *,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count in a file of a folder, which is made with the first that is counted."""
        self._path = folder / FILE
        self._wall_s = wall_s
        self._steady_s = steady_s
        self._lock = threading.Lock()  # of threads; processes lock the row
        self._file: int | None = None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def take(self, principal: Principal, size: int) -> None:
        """Count a call of so many bytes. Raises Overloaded, QuotaExceeded; then it is not counted.

        Where the file cannot be written, on a full disk say, calls go on uncounted.
        """
        with self._lock:
            try:
                self._take(principal, size)
            except OSError as error:
                log.warning("what keys use is not counted: %s: %s", self._path, error.strerror)

    def bytes_today(self, number: int) -> int:
        """Return the bytes that a key used today."""
        with self._lock:
            try:
                _, _, day, used = self._row(self._opened(), number)
            except OSError:
                return 0
        return used if day == self._today() else 0

    def _take(self, principal: Principal, size: int) -> None:
        file, at = self._opened(), principal.number * _ROW.size
        fcntl.lockf(file, fcntl.LOCK_EX, _ROW.size, at)
        try:
            calls, then, day, used = self._row(file, principal.number)
            now, today = self._steady_s(), self._today()
            if principal.calls_per_s:
                most = float(principal.calls_per_s)
                # The machine may have been started again since, and its clock with it.
                passed = now - then if then and now >= then else 1.0
                calls = min(most, calls + passed * most)
                if calls < 1.0:
                    raise Overloaded(
                        f"key {principal.id} may make {principal.calls_per_s} calls a second",
                        hint="slow down, or have its limit raised",
                        retry_after_s=(1.0 - calls) / most,
                    )
                calls -= 1.0
            if day != today:
                day, used = today, 0
            if principal.bytes_per_day and used + size > principal.bytes_per_day:
                raise QuotaExceeded(
                    f"key {principal.id} may send {principal.bytes_per_day} bytes a day, and sent "
                    f"{used} today",
                    hint="go on after midnight UTC, or have its limit raised",
                    bytes_today=used,
                    bytes_per_day=principal.bytes_per_day,
                )
            os.pwrite(file, _ROW.pack(calls, now, day, used + size), at)
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, _ROW.size, at)

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file

    def _row(self, file: int, number: int) -> tuple[float, float, int, int]:
        found = os.pread(file, _ROW.size, number * _ROW.size)
        row: tuple[float, float, int, int] = _ROW.unpack(found.ljust(_ROW.size, b"\0"))
        return row

    def _today(self) -> int:
        return int(self._wall_s()) // _DAY_S
