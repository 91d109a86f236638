"""Which slots expire when: the index of a store that spares everybody a look at all its points.

An entry is a key, time before slot, so that what is due stands in front, however many points there
are. Derived from the records, in the transaction that writes them. Times are milliseconds since the
Unix epoch.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from vecdb.errors import Corrupt
from vecdb.storage import codec
from vecdb.types import U64

log = logging.getLogger(__name__)

DATABASE = b"expiries"
NEVER = 1 << 63
"""Past every time that a point may expire at."""

_KEY = struct.Struct(">QQ")


class Expiries:
    """Of one transaction."""

    def __init__(self, txn: Any, database: Any) -> None:  # noqa: ANN401 - py-lmdb has no types
        self._txn = txn
        self._db = database

    def __bool__(self) -> bool:
        """Whether any point expires, ever."""
        return bool(self._txn.stat(self._db)["entries"])

    def next_after(self, time_ms: int) -> int:
        """Return the first time past one at which a point expires, or NEVER."""
        return next((at for at, _, _ in self._entries(time_ms)), NEVER)

    def between(self, after_ms: int, through_ms: int) -> U64:
        """Return the slots that expire past a time, up to and with another, ascending."""
        found: list[int] = []
        for at, slot, sealed in self._entries(after_ms):
            if at > through_ms:
                break
            try:
                codec.unseal(DATABASE, _KEY.pack(at, slot), sealed)
                found.append(slot)
            except Corrupt as error:  # which slot it was of, nobody knows
                log.error("%s", error)
        return np.sort(np.array(found, np.uint64))

    def due(self, through_ms: int) -> Iterator[tuple[int, int]]:
        """Yield time and slot of what expires up to and with a time; a damaged entry as it is."""
        for at, slot, _ in self._entries(-1):
            if at > through_ms:
                return
            yield at, slot

    def _entries(self, after_ms: int) -> Iterator[tuple[int, int, bytes | memoryview]]:
        with self._txn.cursor(db=self._db) as cursor:
            if not cursor.set_range(_KEY.pack(after_ms + 1, 0)):
                return
            for key, sealed in cursor.iternext():
                at, slot = _KEY.unpack(key)
                yield at, slot, sealed

    def add(self, entries: Iterable[tuple[int, int]]) -> None:
        """Note times and slots. In a write transaction, as what follows."""
        keys = [_KEY.pack(at, slot) for at, slot in entries]
        with self._txn.cursor(db=self._db) as cursor:
            cursor.putmulti([(key, codec.seal(DATABASE, key, b"")) for key in keys])

    def forget_record(self, slot: int, sealed: bytes | memoryview | None) -> None:
        """Remove the entry of a record, if it has one.

        Of a damaged record it stays, and is found to be nobody's when its time comes.
        """
        try:
            at = 0 if sealed is None else codec.decode_point(slot, sealed).expires_at_ms
        except Corrupt:
            return
        if at:
            self.forget([(at, slot)])

    def forget(self, entries: Iterable[tuple[int, int]]) -> None:
        """Remove entries; one that is not there is no error."""
        for at, slot in entries:
            self._txn.delete(_KEY.pack(at, slot), db=self._db)
