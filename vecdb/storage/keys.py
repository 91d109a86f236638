"""API keys as the catalog holds them, and the commands that make and end them. See FORMAT.md.

A key's row has a hash of its secret, never the secret.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from vecdb.errors import AlreadyExists, Corrupt, NotFound
from vecdb.storage import codec
from vecdb.storage.pb import command_pb2 as pb

_ROW = b"key/"
KEYS_STATE = b"keys"
"""Where the seq of the last change of a key stands: absent where there never was one."""
_META = b"meta"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key.

    digest: sha256 of its secret. number: its row in the counts of what is used. collections:
    names, or beginnings of names with "*" behind. Times are milliseconds since 1970, 0 for never;
    calls_per_s and bytes_per_day are 0 for any number.
    """

    id: str
    number: int
    name: str
    digest: bytes
    actions: tuple[str, ...]
    collections: tuple[str, ...]
    created_at_ms: int
    expires_at_ms: int = 0
    revoked_at_ms: int = 0
    calls_per_s: int = 0
    bytes_per_day: int = 0

    def is_live(self, now_ms: int) -> bool:
        """Return whether it opens anything at a time."""
        return not self.revoked_at_ms and not 0 < self.expires_at_ms <= now_ms


@dataclass(frozen=True, slots=True)
class CreateKey:
    """A key to add. replaces: the id of one that ends at replaced_expires_at_ms at the latest."""

    record: KeyRecord
    replaces: str = ""
    replaced_expires_at_ms: int = 0

    def encode(self) -> bytes:
        """Return the command as it stands in the catalog's log."""
        one = self.record
        message = pb.CreateKey(
            id=one.id,
            number=one.number,
            name=one.name,
            digest=one.digest,
            actions=one.actions,
            collections=one.collections,
            created_at_ms=one.created_at_ms,
            expires_at_ms=one.expires_at_ms,
            calls_per_s=one.calls_per_s,
            bytes_per_day=one.bytes_per_day,
            replaces=self.replaces,
            replaced_expires_at_ms=self.replaced_expires_at_ms,
        )
        encoded: bytes = pb.Command(create_key=message).SerializeToString(deterministic=True)
        return encoded


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """A key to end; one that was ended before keeps its time."""

    id: str
    revoked_at_ms: int

    def encode(self) -> bytes:
        """Return the command as it stands in the catalog's log."""
        message = pb.RevokeKey(id=self.id, revoked_at_ms=self.revoked_at_ms)
        encoded: bytes = pb.Command(revoke_key=message).SerializeToString(deterministic=True)
        return encoded


def created_key(made: pb.CreateKey) -> CreateKey:
    """Return the command that a message stands for."""
    record = KeyRecord(
        made.id,
        made.number,
        made.name,
        made.digest,
        tuple(made.actions),
        tuple(made.collections),
        made.created_at_ms,
        made.expires_at_ms,
        calls_per_s=made.calls_per_s,
        bytes_per_day=made.bytes_per_day,
    )
    return CreateKey(record, made.replaces, made.replaced_expires_at_ms)


class KeyRows:
    """The rows of keys, in a transaction of the catalog. meta: the database that they are in."""

    def __init__(self, txn: Any, meta: Any) -> None:  # noqa: ANN401 - py-lmdb has no types
        self._txn = txn
        self._meta = meta

    def all(self) -> list[KeyRecord]:
        """Return all keys in the order of their making, ended ones too. Raises Corrupt."""
        found: list[KeyRecord] = []
        with self._txn.cursor(db=self._meta) as cursor:
            if cursor.set_range(_ROW):
                for key, sealed in cursor:
                    if not bytes(key).startswith(_ROW):
                        break
                    found.append(_decoded(bytes(key), bytes(sealed)))
        return sorted(found, key=lambda one: one.number)

    def change(self, command: CreateKey | RevokeKey, seq: int) -> None:
        """Apply a command. seq: its own. Raises AlreadyExists, NotFound."""
        if isinstance(command, RevokeKey):
            self._revoke(command, seq)
        else:
            self._create(command, seq)

    def _create(self, command: CreateKey, seq: int) -> None:
        if self._get(command.record.id) is not None:
            raise AlreadyExists(f"key {command.record.id!r} exists")
        if command.replaces:
            old = self._there(command.replaces)
            until = command.replaced_expires_at_ms
            if not 0 < old.expires_at_ms <= until:
                self._put_record(replace(old, expires_at_ms=until))
        self._put_record(command.record)
        self._put(KEYS_STATE, codec.u64(seq))

    def _revoke(self, command: RevokeKey, seq: int) -> None:
        record = self._there(command.id)
        if not record.revoked_at_ms:
            self._put_record(replace(record, revoked_at_ms=command.revoked_at_ms))
        self._put(KEYS_STATE, codec.u64(seq))

    def _there(self, key_id: str) -> KeyRecord:
        record = self._get(key_id)
        if record is None:
            raise NotFound(f"no key {key_id!r}", field="id")
        return record

    def _get(self, key_id: str) -> KeyRecord | None:
        row = _ROW + key_id.encode()
        sealed = self._txn.get(row, db=self._meta)
        return None if sealed is None else _decoded(row, bytes(sealed))

    def _put_record(self, record: KeyRecord) -> None:
        plain = asdict(record) | {"digest": record.digest.hex()}
        self._put(_ROW + record.id.encode(), codec.to_json(plain))

    def _put(self, key: bytes, value: bytes) -> None:
        self._txn.put(key, codec.seal(_META, key, value), db=self._meta)


def _decoded(row: bytes, sealed: bytes) -> KeyRecord:
    try:
        plain = json.loads(codec.unseal(_META, row, sealed))
        plain["digest"] = bytes.fromhex(plain["digest"])
        plain["actions"], plain["collections"] = (
            tuple(plain["actions"]),
            tuple(plain["collections"]),
        )
        return KeyRecord(**plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"the catalog's {row!r} cannot be read: {error!r}") from None
