"""The commands of the catalog's log as values, and their one encoding; see command.proto."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vecdb.errors import Corrupt
from vecdb.storage.keys import CreateKey, RevokeKey, created_key
from vecdb.storage.pb import command_pb2 as pb


@dataclass(frozen=True, slots=True)
class CreateCollection:
    """A collection to name. schema: JSON, as the catalog keeps it. metadata: JSON or b"".

    ttl_ms: of points that are written without an expiry; 0 for ever.
    """

    name: str
    uuid: str
    created_at_ms: int
    schema: bytes
    metadata: bytes = b""
    ttl_ms: int = 0

    def encode(self) -> bytes:
        """Return the command as it stands in the catalog's log."""
        message = pb.CreateCollection(
            name=self.name,
            uuid=self.uuid,
            created_at_ms=self.created_at_ms,
            schema=self.schema,
            metadata=self.metadata,
            ttl_ms=self.ttl_ms,
        )
        return _encoded(pb.Command(create_collection=message))


@dataclass(frozen=True, slots=True)
class CloneCollection:
    """A collection to make of another, as it is at a seq of its log; uuids say which are meant."""

    name: str
    uuid: str
    created_at_ms: int
    source: str
    source_uuid: str
    source_seq: int

    def encode(self) -> bytes:
        """Return the command as it stands in the catalog's log."""
        message = pb.CloneCollection(
            name=self.name,
            uuid=self.uuid,
            created_at_ms=self.created_at_ms,
            source=self.source,
            source_uuid=self.source_uuid,
            source_seq=self.source_seq,
        )
        return _encoded(pb.Command(clone_collection=message))


@dataclass(frozen=True, slots=True)
class RestoreCollection:
    """A collection of a backup: a new one, or one whose points all go at a seq of its log.

    uuid: of the one that it replaces, where seq is not 0. What the backup has is put with seq + 1.
    backup: sha256 of the backup's manifest. source: the collection's name there. The others as in
    CreateCollection.
    """

    name: str
    uuid: str
    created_at_ms: int
    schema: bytes
    metadata: bytes
    ttl_ms: int
    seq: int
    backup: bytes
    source: str

    def encode(self) -> bytes:
        """Return the command as it stands in either log."""
        message = pb.RestoreCollection(
            name=self.name,
            uuid=self.uuid,
            created_at_ms=self.created_at_ms,
            schema=self.schema,
            metadata=self.metadata,
            ttl_ms=self.ttl_ms,
            seq=self.seq,
            backup=self.backup,
            source=self.source,
        )
        return _encoded(pb.Command(restore_collection=message))


@dataclass(frozen=True, slots=True)
class DropCollection:
    """A collection to forget. uuid: which of those that had the name."""

    name: str
    uuid: str

    def encode(self) -> bytes:
        """Return the command as it stands in the catalog's log."""
        message = pb.DropCollection(name=self.name, uuid=self.uuid)
        return _encoded(pb.Command(drop_collection=message))


@dataclass(frozen=True, slots=True)
class UpdateCollection:
    """What of a collection can be changed, as it is afterwards. Fields as in CreateCollection."""

    name: str
    uuid: str
    schema: bytes
    metadata: bytes
    ttl_ms: int = 0

    def encode(self) -> bytes:
        """Return the command as it stands in the catalog's log."""
        message = pb.UpdateCollection(
            name=self.name,
            uuid=self.uuid,
            schema=self.schema,
            metadata=self.metadata,
            ttl_ms=self.ttl_ms,
        )
        return _encoded(pb.Command(update_collection=message))


@dataclass(frozen=True, slots=True)
class Truncate:
    """A collection to empty, at a seq of its own log, of which it is a command as well."""

    name: str
    uuid: str
    seq: int

    def encode(self) -> bytes:
        """Return the command as it stands in either log."""
        message = pb.Truncate(name=self.name, uuid=self.uuid, seq=self.seq)
        return _encoded(pb.Command(truncate=message))


@dataclass(frozen=True, slots=True)
class SetAliases:
    """Aliases and the collections they are to stand for, in order; None deletes one."""

    aliases: tuple[tuple[str, str | None], ...]

    def encode(self) -> bytes:
        """Return the command as it stands in the catalog's log."""
        message = pb.SetAliases()
        for alias, collection in self.aliases:
            message.aliases.add(alias=alias, collection=collection or "")
        return _encoded(pb.Command(set_aliases=message))


CatalogCommand: TypeAlias = (
    CreateCollection
    | CloneCollection
    | RestoreCollection
    | DropCollection
    | UpdateCollection
    | Truncate
    | SetAliases
    | CreateKey
    | RevokeKey
)


def decode_catalog_command(encoded: bytes) -> CatalogCommand:
    """Return the command that encode gave. Raises Corrupt."""
    try:
        command = pb.Command.FromString(encoded)
    except Exception as error:  # protobuf's DecodeError has no public base of its own
        raise Corrupt(f"a command of the catalog's log cannot be read: {error}") from error
    match command.WhichOneof("kind"):
        case "create_collection":
            made = command.create_collection
            return CreateCollection(
                made.name, made.uuid, made.created_at_ms, made.schema, made.metadata, made.ttl_ms
            )
        case "clone_collection" | "restore_collection":
            return _copied(command)
        case "drop_collection":
            return DropCollection(command.drop_collection.name, command.drop_collection.uuid)
        case "update_collection":
            new = command.update_collection
            return UpdateCollection(new.name, new.uuid, new.schema, new.metadata, new.ttl_ms)
        case "truncate":
            emptied = command.truncate
            return Truncate(emptied.name, emptied.uuid, emptied.seq)
        case "set_aliases":
            named = command.set_aliases.aliases
            return SetAliases(tuple((one.alias, one.collection or None) for one in named))
        case "create_key":
            return created_key(command.create_key)
        case "revoke_key":
            return RevokeKey(command.revoke_key.id, command.revoke_key.revoked_at_ms)
        case kind:
            raise Corrupt(f"a command of the catalog's log is of kind {kind!r}")


def _copied(command: pb.Command) -> CloneCollection | RestoreCollection:
    """Return the command of a collection that is a copy of another one."""
    if command.HasField("clone_collection"):
        copy = command.clone_collection
        return CloneCollection(
            copy.name,
            copy.uuid,
            copy.created_at_ms,
            copy.source,
            copy.source_uuid,
            copy.source_seq,
        )
    back = command.restore_collection
    return RestoreCollection(
        back.name,
        back.uuid,
        back.created_at_ms,
        back.schema,
        back.metadata,
        back.ttl_ms,
        back.seq,
        back.backup,
        back.source,
    )


def _encoded(command: pb.Command) -> bytes:
    encoded: bytes = command.SerializeToString(deterministic=True)
    return encoded
