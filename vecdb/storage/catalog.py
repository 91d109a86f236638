"""Which collections there are: one LMDB environment for the whole data directory.

Changes are made by one thread at a time; reading needs no care. See FORMAT.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecdb.errors import Corrupt
from vecdb.storage import codec
from vecdb.storage.codec import NumberedSchema
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
        # By name, with the catalog's applied_seq at which it was so. Any thread may replace one.
        self._known: dict[str, tuple[bytes, CatalogEntry]] = {}
        if not read_only:
            self._begin_format()
        try:
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
            self._put(txn, b"meta", b"applied_seq", codec.u64(0))

    def close(self) -> None:
        """Close the environment."""
        self._environment.close()

    def get(self, name: str) -> CatalogEntry | None:
        """Return the collection of that name, or None. Raises Corrupt."""
        key = name.encode()
        with self._environment.begin() as txn:
            seq = bytes(txn.get(b"applied_seq", db=self._db[b"meta"]) or b"")
            known = self._known.get(name)
            if known is not None and known[0] == seq:
                return known[1]
            sealed = txn.get(key, db=self._db[b"collections"])
            if sealed is None:
                self._known.pop(name, None)
                return None
            entry = _decode(key, bytes(sealed))
        self._known[name] = seq, entry
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

    def add(self, entry: CatalogEntry) -> None:
        """Name a collection. Durable when it returns."""
        plain = {
            "uuid": entry.uuid,
            "created_at_ms": entry.created_at_ms,
            "schema": entry.schema.to_plain(),
        }
        with self._change() as txn:
            self._put(txn, b"collections", entry.name.encode(), codec.to_json(plain))

    def drop(self, entry: CatalogEntry) -> None:
        """Forget a name, and remember that its files are to be removed."""
        with self._change() as txn:
            txn.delete(entry.name.encode(), db=self._db[b"collections"])
            self._put(txn, b"dropped", entry.uuid.encode(), b"")

    def dropped(self) -> list[str]:
        """Return the uuids whose files are still to be removed."""
        with self._environment.begin() as txn, txn.cursor(db=self._db[b"dropped"]) as cursor:
            return [bytes(key).decode() for key, _ in cursor]

    def removed(self, uuid: str) -> None:
        """Forget that a collection's files were to be removed."""
        with self._environment.begin(write=True) as txn:
            txn.delete(uuid.encode(), db=self._db[b"dropped"])

    @contextmanager
    def _change(self) -> Iterator[Any]:
        with self._environment.begin(write=True) as txn:
            sealed = txn.get(b"applied_seq", db=self._db[b"meta"])
            if sealed is None:
                raise Corrupt("the catalog has no applied_seq", hint="restore from a backup")
            seq = codec.from_u64(codec.unseal(b"meta", b"applied_seq", sealed))
            yield txn
            self._put(txn, b"meta", b"applied_seq", codec.u64(seq + 1))

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
