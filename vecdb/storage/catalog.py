"""Which collections there are: one LMDB environment for the whole data directory.

Changed by commands alone, one thread at a time; reading needs no care. See FORMAT.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecdb.errors import AlreadyExists, Corrupt, NotFound
from vecdb.storage import codec
from vecdb.storage.codec import NumberedSchema
from vecdb.storage.command import CreateCollection, DropCollection
from vecdb.storage.environment import Environment
from vecdb.storage.store import check_format

_DATABASES = (b"meta", b"collections", b"dropped")
_MAP_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A collection as the catalog knows it."""

    name: str
    uuid: str
    created_at_ms: int
    schema: NumberedSchema


class Catalog:
    """The names of collections, and those whose files are still to be removed."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._environment = Environment(
            path, _DATABASES, read_only=read_only, map_bytes=_MAP_BYTES, create=not read_only
        )
        self._db = self._environment.databases
        # By name, with the catalog's state at which it was so. Any thread may replace one.
        self._known: dict[str, tuple[bytes, CatalogEntry]] = {}
        try:
            if not read_only:
                self._begin_format()
            with self._environment.begin() as txn:
                check_format(path, txn, self._db[b"meta"])
        except BaseException:
            self._environment.close()
            raise

    def _begin_format(self) -> None:
        """Say which format a new catalog has; also one whose first process died before it could."""
        with self._environment.begin(write=True) as txn:
            if any(txn.stat(db)["entries"] for db in self._db.values()):
                return
            self._put(txn, b"meta", b"format", codec.u32(codec.FORMAT_VERSION))
            self._put(txn, b"meta", b"state", codec.u64(0) + bytes(32))

    def close(self) -> None:
        """Close the environment."""
        self._environment.close()

    def get(self, name: str) -> CatalogEntry | None:
        """Return the collection of that name, or None. Raises Corrupt."""
        key = name.encode()
        txn = self._environment.begin_read()
        try:
            state = bytes(txn.get(b"state", db=self._db[b"meta"]) or b"")
            known = self._known.get(name)
            if known is not None and known[0] == state:
                return known[1]
            sealed = txn.get(key, db=self._db[b"collections"])
            if sealed is None:
                self._known.pop(name, None)
                return None
            entry = _decode(key, bytes(sealed))
        finally:
            self._environment.end_read(txn)
        self._known[name] = state, entry
        return entry

    def entries(self) -> list[CatalogEntry]:
        """Return all collections by name. Raises Corrupt."""
        with self._environment.begin() as txn, txn.cursor(db=self._db[b"collections"]) as cursor:
            return [_decode(bytes(key), bytes(sealed)) for key, sealed in cursor]

    def count(self) -> int:
        """Return the number of collections."""
        with self._environment.begin() as txn:
            number: int = txn.stat(self._db[b"collections"])["entries"]
            return number

    def apply(self, command: CreateCollection | DropCollection) -> None:
        """Change the catalog by a command of its log. Durable when it returns.

        Deterministic: two catalogs that apply the same log hold the same bytes.
        Raises AlreadyExists, NotFound, and then changes nothing.
        """
        key = command.name.encode()
        with self._environment.begin(write=True) as txn:
            seq, chain = self._state(txn)
            there = txn.get(key, db=self._db[b"collections"])
            if isinstance(command, CreateCollection):
                if there is not None:
                    raise AlreadyExists(f"collection {command.name!r} exists")
                plain = {
                    "uuid": command.uuid,
                    "created_at_ms": command.created_at_ms,
                    "schema": json.loads(command.schema),
                }
                self._put(txn, b"collections", key, codec.to_json(plain))
            else:
                if there is None or _decode(key, bytes(there)).uuid != command.uuid:
                    raise NotFound(f"no collection {command.name!r} of uuid {command.uuid}")
                txn.delete(key, db=self._db[b"collections"])
                # Its files are to be removed, whenever that is done: also after a crash.
                self._put(txn, b"dropped", command.uuid.encode(), b"")
            chain = codec.next_chain(chain, seq + 1, hashlib.sha256(command.encode()).digest())
            self._put(txn, b"meta", b"state", codec.u64(seq + 1) + chain)

    def dropped(self) -> list[str]:
        """Return the uuids whose files are still to be removed."""
        with self._environment.begin() as txn, txn.cursor(db=self._db[b"dropped"]) as cursor:
            return [bytes(key).decode() for key, _ in cursor]

    def removed(self, uuid: str) -> None:
        """Forget that a collection's files were to be removed."""
        with self._environment.begin(write=True) as txn:
            txn.delete(uuid.encode(), db=self._db[b"dropped"])

    def _state(self, txn: Any) -> tuple[int, bytes]:  # noqa: ANN401 - py-lmdb has no types
        sealed = txn.get(b"state", db=self._db[b"meta"])
        if sealed is None:
            raise Corrupt("the catalog has no state", hint="restore from a backup")
        value = codec.unseal(b"meta", b"state", sealed)
        return codec.from_u64(value[:8]), value[8:]

    def _put(self, txn: Any, database: bytes, key: bytes, value: bytes) -> None:  # noqa: ANN401
        txn.put(key, codec.seal(database, key, value), db=self._db[database])


def _decode(key: bytes, sealed: bytes) -> CatalogEntry:
    try:
        plain = json.loads(codec.unseal(b"collections", key, sealed))
        return CatalogEntry(
            key.decode(),
            plain["uuid"],
            plain["created_at_ms"],
            NumberedSchema.from_plain(plain["schema"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"catalog entry {key!r} cannot be read: {error!r}") from None
