"""The bytes of every record, as FORMAT.md lays them out. Pure functions; knows no database.

Decoders raise Corrupt for anything that does not hold together, never another error.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import google_crc32c
import numpy as np

from vecdb.errors import Corrupt

FORMAT_VERSION = 1

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SLOT = struct.Struct(">Q")
_POINT = struct.Struct("<BBHIQ")
_VECTOR = struct.Struct("<HHII")
_CHANGE = struct.Struct("<QIIII")
_STATE = struct.Struct("<QQQQQ32s")

slot_key = _SLOT.pack
"""Return the key of a slot, or of a seq: big-endian, so that keys sort as numbers."""

crc32c = google_crc32c.value


def slot_of_key(key: bytes | memoryview) -> int:
    """Return the number that a key stands for."""
    number: int = _SLOT.unpack(key)[0]
    return number


def seal(database: bytes, key: bytes, value: bytes) -> bytes:
    """Return the value with its checksum behind it."""
    return value + _U32.pack(crc32c(database + key + value))


def unseal(database: bytes, key: bytes, sealed: bytes | memoryview) -> bytes:
    """Return the value of a sealed record. Raises Corrupt when the checksum disagrees."""
    value = bytes(sealed[:-4])
    if len(sealed) < 4 or _U32.unpack(sealed[-4:])[0] != crc32c(database + key + value):
        raise Corrupt(
            f"record {_shown(database, key)} fails its checksum",
            hint="run vecdb check on the data directory; restore the record from a backup",
            database=database.decode(),
            key=_shown(database, key),
        )
    return value


def _shown(database: bytes, key: bytes) -> str:
    if database in (b"points", b"tombstones", b"changes") and len(key) == 8:
        return f"{database.decode()}/{slot_of_key(key)}"
    # Keys are callers' words: quoted, so that none can make a line of its own in a log.
    return f"{database.decode()}/{key.decode('utf-8', 'backslashreplace')!r}"


# --- point records

Cell: TypeAlias = tuple[int, bytes | memoryview, bytes]
"""Space number, vector bytes and text."""


def encode_point(
    slot: int,
    name: bytes,
    payload: bytes,
    version: int,
    cells: list[Cell],
    expires_at_ms: int = 0,
) -> tuple[bytes, bytes]:
    """Return key and sealed record of a point."""
    key = slot_key(slot)
    head = _POINT.pack(2 if expires_at_ms else 1, len(cells), len(name), len(payload), version)
    if expires_at_ms:
        head += _U64.pack(expires_at_ms)
    if len(cells) == 1:  # by far the most common, and on the way of every ingest
        number, vector, text = cells[0]
        value = b"".join(
            (
                head,
                _VECTOR.pack(number, 0, len(vector) // 4, len(text)),
                name,
                payload,
                vector,
                text,
            )
        )
    else:
        directory = [_VECTOR.pack(n, 0, len(vector) // 4, len(text)) for n, vector, text in cells]
        vectors = [vector for _, vector, _ in cells]
        texts = [text for _, _, text in cells]
        value = b"".join([head, *directory, name, payload, *vectors, *texts])
    return key, seal(b"points", key, value)


@dataclass(slots=True)
class RecordView:
    """A point record, its checksum verified, whose parts are cut out when asked for."""

    value: bytes
    id_bytes: int
    payload_bytes: int
    version: int
    directory: tuple[tuple[int, int, int], ...]
    """(space number, numbers of four bytes, text bytes) of each vector."""
    expires_at_ms: int = 0
    """0 for never."""

    @property
    def _body(self) -> int:
        head = _POINT.size + _U64.size if self.expires_at_ms else _POINT.size
        return head + len(self.directory) * _VECTOR.size

    def has_expired(self, now_ms: int) -> bool:
        """Return whether the point's time has come."""
        return 0 < self.expires_at_ms <= now_ms

    @property
    def length(self) -> int:
        """What its lengths add up to."""
        cells = sum(4 * dim + text for _, dim, text in self.directory)
        return self._body + self.id_bytes + self.payload_bytes + cells

    @property
    def id(self) -> str:
        """The point's id."""
        return self.value[self._body : self._body + self.id_bytes].decode()

    @property
    def payload(self) -> bytes:
        """The payload as it was written."""
        start = self._body + self.id_bytes
        return self.value[start : start + self.payload_bytes]

    def vector_bytes(self) -> dict[int, bytes]:
        """Return space number to the cell of its vector."""
        at = self._body + self.id_bytes + self.payload_bytes
        found: dict[int, bytes] = {}
        for number, dim, _ in self.directory:
            found[number] = self.value[at : at + 4 * dim]
            at += 4 * dim
        return found

    def texts(self) -> dict[int, str]:
        """Return space number to the text that its vector was made from, where there was one."""
        at = self._body + self.id_bytes + self.payload_bytes
        at += 4 * sum(dim for _, dim, _ in self.directory)
        found: dict[int, str] = {}
        for number, _, length in self.directory:
            if length:
                found[number] = self.value[at : at + length].decode()
            at += length
        return found


def decode_point(slot: int, sealed: bytes | memoryview) -> RecordView:
    """Return the record of a slot. Raises Corrupt."""
    value = unseal(b"points", slot_key(slot), sealed)
    try:
        layout, vectors, id_bytes, payload_bytes, version = _POINT.unpack_from(value)
        at, expires_at_ms = _POINT.size, 0
        if layout == 2:
            (expires_at_ms,) = _U64.unpack_from(value, at)
            at += _U64.size
            layout = 2 if expires_at_ms else -1
        directory = tuple(
            (number, dim, text)
            for number, _, dim, text in _VECTOR.iter_unpack(value[at : at + vectors * _VECTOR.size])
        )
    except struct.error:
        layout = -1
    if layout not in (1, 2):
        raise Corrupt(f"record points/{slot} has an unknown layout", hint="run vecdb check")
    record = RecordView(value, id_bytes, payload_bytes, version, directory, expires_at_ms)
    if len(value) != record.length:
        raise Corrupt(
            f"record points/{slot} has lengths that do not add up", hint="run vecdb check"
        )
    return record


# --- the state of a store


@dataclass(slots=True)
class State:
    """The counters of a store; see FORMAT.md."""

    applied_seq: int = 0
    next_slot: int = 0
    points: int = 0
    epoch: int = 0
    next_segment: int = 1
    chain: bytes = bytes(32)

    def encode(self) -> bytes:
        """Return the value of meta/state, not yet sealed."""
        return _STATE.pack(
            self.applied_seq,
            self.next_slot,
            self.points,
            self.epoch,
            self.next_segment,
            self.chain,
        )

    @classmethod
    def decode(cls, value: bytes) -> State:
        """Return the state of a value of meta/state."""
        if len(value) != _STATE.size:
            raise Corrupt(f"meta/state is {len(value)} bytes, expected {_STATE.size}")
        return cls(*_STATE.unpack(value))


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment as the store lists it.

    rows: all that it holds, of which `dead` had ended when it was made. seal: crc32c of its
    manifest.json. graph: whether it was made with graphs. texts: numbers of the text fields that it
    was made with.
    """

    number: int
    first: int
    end: int
    rows: int
    seal: int
    dead: int = 0
    graph: bool = False
    texts: tuple[int, ...] = ()


def encode_segments(entries: Sequence[SegmentEntry]) -> bytes:
    """Return the value of meta/segments."""
    return to_json([asdict(entry) for entry in entries])


def decode_segments(value: bytes) -> tuple[SegmentEntry, ...]:
    """Return the entries of a value of meta/segments."""
    try:
        return tuple(
            SegmentEntry(**{**entry, "texts": tuple(entry["texts"])}) for entry in json.loads(value)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"meta/segments cannot be read: {error}") from None


# --- changes


@dataclass(frozen=True, slots=True)
class Change:
    """What one write did. ended: slots whose point is gone or replaced; removed: ids deleted."""

    seq: int
    first_slot: int
    added: int
    ended: tuple[int, ...] = ()
    removed: tuple[bytes, ...] = ()
    request: bytes = b""

    def encode(self) -> bytes:
        """Return the value of changes/<seq>, not yet sealed."""
        return b"".join(
            [
                _CHANGE.pack(
                    self.first_slot,
                    self.added,
                    len(self.ended),
                    len(self.removed),
                    len(self.request),
                ),
                np.asarray(self.ended, "<u8").tobytes(),
                *(part for name in self.removed for part in (struct.pack("<H", len(name)), name)),
                self.request,
            ]
        )

    @classmethod
    def decode(cls, seq: int, value: bytes) -> Change:
        """Return the change of a value of changes/<seq>."""
        try:
            first, added, ended, removed, key_bytes = _CHANGE.unpack_from(value)
            at = _CHANGE.size + 8 * ended
            slots = tuple(np.frombuffer(value, "<u8", ended, _CHANGE.size).tolist())
            names: list[bytes] = []
            for _ in range(removed):
                (length,) = struct.unpack_from("<H", value, at)
                names.append(value[at + 2 : at + 2 + length])
                at += 2 + length
            return cls(seq, first, added, slots, tuple(names), value[at : at + key_bytes])
        except (struct.error, ValueError) as error:
            raise Corrupt(f"record changes/{seq} cannot be read: {error}") from None


# --- numbers, hashes, JSON


def next_chain(chain: bytes, seq: int, digest: bytes) -> bytes:
    """Return the hash over a log that one more command was applied of. digest: its sha256."""
    return hashlib.sha256(chain + u64(seq) + digest).digest()


def to_json(value: object) -> bytes:
    """Return JSON in the one form that the same value always has."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def u32(value: int) -> bytes:
    """Return four little-endian bytes."""
    return _U32.pack(value)


def u64(value: int) -> bytes:
    """Return eight little-endian bytes."""
    return _U64.pack(value)


def from_u32(value: bytes) -> int:
    """Return the number of four little-endian bytes."""
    number: int = _U32.unpack(value)[0]
    return number


def from_u64(value: bytes) -> int:
    """Return the number of eight little-endian bytes."""
    number: int = _U64.unpack(value)[0]
    return number
