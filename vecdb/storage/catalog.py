"""Which collections there are, by which names: one LMDB environment for the whole data directory.

Changed by commands alone, one thread at a time; reading needs no care. See FORMAT.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vecdb.errors import AlreadyExists, Corrupt, FailedPrecondition, NotFound
from vecdb.storage import codec
from vecdb.storage.catalog_command import (
    CatalogCommand,
    CloneCollection,
    CreateCollection,
    DropCollection,
    RestoreCollection,
    SetAliases,
    Truncate,
    UpdateCollection,
)
from vecdb.storage.environment import Environment, told_when_full
from vecdb.storage.format import check_format, check_version, format_of
from vecdb.storage.keys import KEYS_STATE, CreateKey, KeyRecord, KeyRows, RevokeKey
from vecdb.storage.numbered import NumberedSchema

DATABASES = (b"meta", b"collections", b"aliases", b"dropped")
_MAP_BYTES = 1 << 30
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class CatalogFolder:
    """Where a collection's files are. truncated_seq: see CatalogEntry."""

    uuid: str
    truncated_seq: int

    @property
    def name(self) -> str:
        """The name of the folder: a truncation gives it a new one."""
        return f"{self.uuid}-{self.truncated_seq}" if self.truncated_seq else self.uuid


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A collection as the catalog knows it.

    metadata: JSON of the client's, or b"". truncated_seq: of the last truncation, or 0. ttl_ms: of
    points that are written without an expiry; 0 for ever.
    """

    name: str
    uuid: str
    created_at_ms: int
    schema: NumberedSchema
    metadata: bytes = b""
    truncated_seq: int = 0
    ttl_ms: int = 0

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return CatalogFolder(self.uuid, self.truncated_seq).name


class Catalog:
    """The names of collections, and those whose files are still to be removed."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        if not read_only and (path / "data.mdb").exists():
            _look_first(path)
        self._environment = Environment(
            path, DATABASES, read_only=read_only, map_bytes=_MAP_BYTES, create=not read_only
        )
        self._path = path
        self._db = self._environment.databases
        # A state of the catalog, and what was found in it by name or alias; any thread may replace
        # it. With the next state all of it goes: names come and go without end.
        self._known: tuple[bytes, dict[str, CatalogEntry]] = (b"", {})
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
        """Return the collection of that name or alias, or None. Raises Corrupt."""
        txn = self._environment.begin_read()
        try:
            state = bytes(txn.get(b"state", db=self._db[b"meta"]) or b"")
            at, known = self._known
            if at != state:
                known = {}
                self._known = state, known
            found = known.get(name)
            if found is not None:
                return found
            entry = self._find(txn, name)
        finally:
            self._environment.end_read(txn)
        if entry is not None:
            known[name] = entry
        return entry

    def _find(self, txn: Any, name: str) -> CatalogEntry | None:  # noqa: ANN401 - py-lmdb has no types
        entry = self._entry(txn, name)
        if entry is None and (target := self._target(txn, name)) is not None:
            entry = self._entry(txn, target)
        return entry

    def _entry(self, txn: Any, name: str) -> CatalogEntry | None:  # noqa: ANN401
        key = name.encode()
        sealed = txn.get(key, db=self._db[b"collections"])
        return None if sealed is None else _decode(key, bytes(sealed))

    def _target(self, txn: Any, alias: str) -> str | None:  # noqa: ANN401
        """Return the name of the collection that an alias stands for, or None."""
        key = alias.encode()
        sealed = txn.get(key, db=self._db[b"aliases"])
        return None if sealed is None else codec.unseal(b"aliases", key, sealed).decode()

    def aliases(self) -> dict[str, str]:
        """Return all aliases, by name, and the collection that each stands for. Raises Corrupt."""
        with self._environment.begin() as txn:
            return self._aliases(txn)

    def _aliases(self, txn: Any) -> dict[str, str]:  # noqa: ANN401
        with txn.cursor(db=self._db[b"aliases"]) as cursor:
            return {
                (name := bytes(key)).decode(): codec.unseal(b"aliases", name, sealed).decode()
                for key, sealed in cursor
            }

    def entries(self) -> list[CatalogEntry]:
        """Return all collections by name. Raises Corrupt."""
        with self._environment.begin() as txn, txn.cursor(db=self._db[b"collections"]) as cursor:
            return [_decode(bytes(key), bytes(sealed)) for key, sealed in cursor]

    def folders(self) -> list[CatalogFolder]:
        """Return the folders of all collections, in a third of the time. Raises Corrupt."""
        with self._environment.begin() as txn, txn.cursor(db=self._db[b"collections"]) as cursor:
            return [_decode_folder(bytes(key), bytes(sealed)) for key, sealed in cursor]

    def copy(self, path: Path) -> None:
        """Write all that the catalog holds now into a new environment. Raises StorageFull."""
        with self._environment.begin() as txn:
            self._environment.copy(txn, path)

    def count(self) -> int:
        """Return the number of collections."""
        with self._environment.begin() as txn:
            number: int = txn.stat(self._db[b"collections"])["entries"]
            return number

    def state(self) -> bytes:
        """Return what every command changes."""
        txn = self._environment.begin_read()
        try:
            return bytes(txn.get(b"state", db=self._db[b"meta"]) or b"")
        finally:
            self._environment.end_read(txn)

    def keys(self) -> list[KeyRecord]:
        """Return all API keys in the order of their making, ended ones too. Raises Corrupt."""
        with self._environment.begin() as txn:
            return KeyRows(txn, self._db[b"meta"]).all()

    def keys_state(self) -> bytes:
        """Return what every change of a key changes; b"" where there never was one."""
        txn = self._environment.begin_read()  # at every call of whoever has a key
        try:
            return bytes(txn.get(KEYS_STATE, b"", db=self._db[b"meta"]))
        finally:
            self._environment.end_read(txn)

    def apply(self, command: CatalogCommand) -> None:
        """Change the catalog by a command of its log. Durable when it returns.

        Deterministic: two catalogs that apply the same log hold the same bytes. Raises
        AlreadyExists, NotFound, FailedPrecondition, StorageFull, and then changes nothing.
        """
        digest = hashlib.sha256(command.encode()).digest()

        def change() -> None:
            with self._environment.begin(write=True) as txn, told_when_full(self._path):
                seq, chain = self._state(txn)
                self._change(txn, command, seq + 1)
                chain = codec.next_chain(chain, seq + 1, digest)
                self._put(txn, b"meta", b"state", codec.u64(seq + 1) + chain)

        self._environment.growing(change)

    def _change(self, txn: Any, command: CatalogCommand, seq: int) -> None:  # noqa: ANN401
        match command:
            case CreateCollection():
                self._create(txn, command)
            case CloneCollection():
                self._clone(txn, command)
            case RestoreCollection():
                self._restore(txn, command)
            case DropCollection(name, uuid):
                self._drop(txn, self._there(txn, name, uuid))
            case UpdateCollection(name, uuid, schema, metadata, ttl_ms):
                numbered = NumberedSchema.from_plain(json.loads(schema))
                entry = self._there(txn, name, uuid)
                after = replace(entry, schema=numbered, metadata=metadata, ttl_ms=ttl_ms)
                self._put_entry(txn, after)
            case Truncate(name, uuid, seq):
                entry = self._there(txn, name, uuid)
                self._put(txn, b"dropped", entry.folder.encode(), b"")
                self._put_entry(txn, replace(entry, truncated_seq=seq))
            case SetAliases(aliases):
                for alias, collection in aliases:
                    self._set_alias(txn, alias, collection)
            case CreateKey() | RevokeKey():
                KeyRows(txn, self._db[b"meta"]).change(command, seq)

    def _there(self, txn: Any, name: str, uuid: str) -> CatalogEntry:  # noqa: ANN401
        entry = self._entry(txn, name)
        if entry is None or entry.uuid != uuid:
            raise NotFound(f"no collection {name!r} of uuid {uuid}")
        return entry

    def _create(self, txn: Any, command: CreateCollection) -> None:  # noqa: ANN401
        self._check_free(txn, command.name)
        schema = NumberedSchema.from_plain(json.loads(command.schema))
        entry = CatalogEntry(
            command.name,
            command.uuid,
            command.created_at_ms,
            schema,
            command.metadata,
            ttl_ms=command.ttl_ms,
        )
        self._put_entry(txn, entry)

    def _clone(self, txn: Any, command: CloneCollection) -> None:  # noqa: ANN401
        self._check_free(txn, command.name)
        source = self._there(txn, command.source, command.source_uuid)
        entry = replace(
            source,
            name=command.name,
            uuid=command.uuid,
            created_at_ms=command.created_at_ms,
            truncated_seq=0,
        )
        self._put_entry(txn, entry)

    def _restore(self, txn: Any, command: RestoreCollection) -> None:  # noqa: ANN401
        if command.seq:
            there = self._there(txn, command.name, command.uuid)
            self._put(txn, b"dropped", there.folder.encode(), b"")
        else:
            self._check_free(txn, command.name)
        entry = CatalogEntry(
            command.name,
            command.uuid,
            command.created_at_ms,
            NumberedSchema.from_plain(json.loads(command.schema)),
            command.metadata,
            command.seq,
            command.ttl_ms,
        )
        self._put_entry(txn, entry)

    def _check_free(self, txn: Any, name: str) -> None:  # noqa: ANN401
        if self._entry(txn, name) is not None:
            raise AlreadyExists(f"collection {name!r} exists", collection=name)
        if (target := self._target(txn, name)) is not None:
            raise AlreadyExists(f"{name!r} is an alias of collection {target!r}", collection=name)

    def _drop(self, txn: Any, entry: CatalogEntry) -> None:  # noqa: ANN401
        names = [alias for alias, target in self._aliases(txn).items() if target == entry.name]
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise FailedPrecondition(
                f"collection {entry.name!r} has aliases: {', '.join(names[:_SHOWN])}{more}",
                hint="move or delete them first, with Collections.SetAliases",
                collection=entry.name,
            )
        txn.delete(entry.name.encode(), db=self._db[b"collections"])
        # Its files are to be removed, whenever that is done: also after a crash.
        self._put(txn, b"dropped", entry.folder.encode(), b"")

    def _set_alias(self, txn: Any, alias: str, collection: str | None) -> None:  # noqa: ANN401
        key = alias.encode()
        if collection is None:
            if not txn.delete(key, db=self._db[b"aliases"]):
                raise NotFound(f"no alias {alias!r}", alias=alias)
            return
        if self._entry(txn, alias) is not None:
            raise AlreadyExists(f"alias {alias!r}: a collection has that name", alias=alias)
        entry = self._find(txn, collection)
        if entry is None:
            raise NotFound(
                f"alias {alias!r}: no collection {collection!r}", alias=alias, collection=collection
            )
        self._put(txn, b"aliases", key, entry.name.encode())

    def dropped(self) -> list[str]:
        """Return the folders that are still to be removed."""
        with self._environment.begin() as txn, txn.cursor(db=self._db[b"dropped"]) as cursor:
            return [bytes(key).decode() for key, _ in cursor]

    def removed(self, folder: str) -> None:
        """Forget a folder that was to be removed."""
        with self._environment.begin(write=True) as txn:
            txn.delete(folder.encode(), db=self._db[b"dropped"])

    def _state(self, txn: Any) -> tuple[int, bytes]:  # noqa: ANN401 - py-lmdb has no types
        sealed = txn.get(b"state", db=self._db[b"meta"])
        if sealed is None:
            raise Corrupt("the catalog has no state", hint="restore from a backup")
        value = codec.unseal(b"meta", b"state", sealed)
        return codec.from_u64(value[:8]), value[8:]

    def _put_entry(self, txn: Any, entry: CatalogEntry) -> None:  # noqa: ANN401
        plain = {
            "uuid": entry.uuid,
            "created_at_ms": entry.created_at_ms,
            "schema": entry.schema.to_plain(),
            "metadata": entry.metadata.decode(),
            "truncated_seq": entry.truncated_seq,
            "ttl_ms": entry.ttl_ms,
        }
        self._put(txn, b"collections", entry.name.encode(), codec.to_json(plain))

    def _put(self, txn: Any, database: bytes, key: bytes, value: bytes) -> None:  # noqa: ANN401
        txn.put(key, codec.seal(database, key, value), db=self._db[database])


def _look_first(path: Path) -> None:
    """Raise as check_format, before a catalog is opened to write: that makes what it may lack."""
    try:
        version = format_of(path)
    except Corrupt:
        return  # opening it says so; or its first process died before it said which format it has
    check_version(path, version)


def _decode_folder(key: bytes, sealed: bytes) -> CatalogFolder:
    try:
        plain = json.loads(codec.unseal(b"collections", key, sealed).decode())
        return CatalogFolder(plain["uuid"], plain["truncated_seq"])
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"catalog entry {key!r} cannot be read: {error!r}") from None


def _decode(key: bytes, sealed: bytes) -> CatalogEntry:
    try:
        plain = json.loads(codec.unseal(b"collections", key, sealed))
        return CatalogEntry(
            key.decode(),
            plain["uuid"],
            plain["created_at_ms"],
            NumberedSchema.from_plain(plain["schema"]),
            plain["metadata"].encode(),
            plain["truncated_seq"],
            plain["ttl_ms"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"catalog entry {key!r} cannot be read: {error!r}") from None
