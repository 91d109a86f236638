"""What was encoded lately, kept: the same text is asked again more often than one would think.

A key is everything that an output depends on: the model's fingerprint, the role and the sha256 of
the item. Queries and documents have half of the room each, so that an ingest does not push out what
people ask.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from vecdb.embed.encoder import Item, Output, Pair, Role
from vecdb.errors import VecdbError
from vecdb.types import SparseVector

# What an entry takes beside its numbers: key, object and array headers, the slot in the dictionary.
ENTRY_BYTES = 400


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an item, how many tokens it had, and whether it was cut."""

    output: Output
    tokens: int
    truncated: bool


class VectorCache:
    """Outputs by key, those used longest ago leaving first. Threads may share it.

    bytes_max: of both roles together; 0 keeps nothing.
    """

    def __init__(self, bytes_max: int) -> None:
        self._most = bytes_max // len(Role)
        self._lock = threading.Lock()  # guards the two below
        self._kept: dict[Role, OrderedDict[bytes, Kept]] = {role: OrderedDict() for role in Role}
        self._bytes = dict.fromkeys(Role, 0)

    def key(self, fingerprint: str, role: Role, item: Item) -> bytes:
        """Return the key of an item, b"" where nothing is kept."""
        if not self._most:
            return b""
        digest = hashlib.sha256(f"{fingerprint}{role.name}".encode("ascii"))
        if isinstance(item, Pair):
            # Its length tells where the query ends.
            digest.update(f"pair{len(item.query)} ".encode("ascii"))
            item = item.query + item.text
        digest.update(b"text" + item.encode() if isinstance(item, str) else b"file" + item)
        return digest.digest()

    def get(self, role: Role, key: bytes) -> Kept | None:
        """Return what is kept under a key."""
        with self._lock:
            found = self._kept[role].get(key)
            if found is not None:
                self._kept[role].move_to_end(key)
            return found

    def put(self, role: Role, key: bytes, kept: Kept) -> None:
        """Keep an output, unless it is an error or larger than all the room there is."""
        if not key or isinstance(kept.output, VecdbError):
            return
        with self._lock:
            there = self._kept[role]
            if key in there or _bytes_of(kept) > self._most:
                return
            there[key] = kept
            self._bytes[role] += _bytes_of(kept)
            while self._bytes[role] > self._most:
                _, gone = there.popitem(last=False)
                self._bytes[role] -= _bytes_of(gone)

    def forget(self) -> int:
        """Keep nothing of what was put before; return how many outputs there were."""
        with self._lock:
            there = sum(len(kept) for kept in self._kept.values())
            for role, kept in self._kept.items():
                kept.clear()
                self._bytes[role] = 0
            return there

    @property
    def bytes(self) -> int:
        """How much is kept now."""
        with self._lock:
            return sum(self._bytes.values())


def _bytes_of(kept: Kept) -> int:
    output = kept.output
    assert not isinstance(output, VecdbError)
    arrays = output if isinstance(output, SparseVector) else (output,)
    return ENTRY_BYTES + sum(array.nbytes for array in arrays)
