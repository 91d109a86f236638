from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("write", "create_collection", "drop_collection", "update_collection", "set_aliases", "truncate", "clone_collection", "restore_collection", "create_key", "revoke_key")
    WRITE_FIELD_NUMBER: _ClassVar[int]
    CREATE_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DROP_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SET_ALIASES_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    CLONE_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RESTORE_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    CREATE_KEY_FIELD_NUMBER: _ClassVar[int]
    REVOKE_KEY_FIELD_NUMBER: _ClassVar[int]
    write: Write
    create_collection: CreateCollection
    drop_collection: DropCollection
    update_collection: UpdateCollection
    set_aliases: SetAliases
    truncate: Truncate
    clone_collection: CloneCollection
    restore_collection: RestoreCollection
    create_key: CreateKey
    revoke_key: RevokeKey
    def __init__(self, write: _Optional[_Union[Write, _Mapping]] = ..., create_collection: _Optional[_Union[CreateCollection, _Mapping]] = ..., drop_collection: _Optional[_Union[DropCollection, _Mapping]] = ..., update_collection: _Optional[_Union[UpdateCollection, _Mapping]] = ..., set_aliases: _Optional[_Union[SetAliases, _Mapping]] = ..., truncate: _Optional[_Union[Truncate, _Mapping]] = ..., clone_collection: _Optional[_Union[CloneCollection, _Mapping]] = ..., restore_collection: _Optional[_Union[RestoreCollection, _Mapping]] = ..., create_key: _Optional[_Union[CreateKey, _Mapping]] = ..., revoke_key: _Optional[_Union[RevokeKey, _Mapping]] = ...) -> None: ...

class CreateCollection(_message.Message):
    __slots__ = ("name", "uuid", "created_at_ms", "schema", "metadata", "ttl_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    created_at_ms: int
    schema: bytes
    metadata: bytes
    ttl_ms: int
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ..., created_at_ms: _Optional[int] = ..., schema: _Optional[bytes] = ..., metadata: _Optional[bytes] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class CloneCollection(_message.Message):
    __slots__ = ("name", "uuid", "created_at_ms", "source", "source_uuid", "source_seq")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_UUID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    created_at_ms: int
    source: str
    source_uuid: str
    source_seq: int
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ..., created_at_ms: _Optional[int] = ..., source: _Optional[str] = ..., source_uuid: _Optional[str] = ..., source_seq: _Optional[int] = ...) -> None: ...

class RestoreCollection(_message.Message):
    __slots__ = ("name", "uuid", "created_at_ms", "schema", "metadata", "ttl_ms", "seq", "backup", "source")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    created_at_ms: int
    schema: bytes
    metadata: bytes
    ttl_ms: int
    seq: int
    backup: bytes
    source: str
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ..., created_at_ms: _Optional[int] = ..., schema: _Optional[bytes] = ..., metadata: _Optional[bytes] = ..., ttl_ms: _Optional[int] = ..., seq: _Optional[int] = ..., backup: _Optional[bytes] = ..., source: _Optional[str] = ...) -> None: ...

class DropCollection(_message.Message):
    __slots__ = ("name", "uuid")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ...) -> None: ...

class UpdateCollection(_message.Message):
    __slots__ = ("name", "uuid", "schema", "metadata", "ttl_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    schema: bytes
    metadata: bytes
    ttl_ms: int
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ..., schema: _Optional[bytes] = ..., metadata: _Optional[bytes] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class SetAliases(_message.Message):
    __slots__ = ("aliases",)
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    def __init__(self, aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("alias", "collection")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    alias: str
    collection: str
    def __init__(self, alias: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class CreateKey(_message.Message):
    __slots__ = ("id", "number", "name", "digest", "actions", "collections", "created_at_ms", "expires_at_ms", "calls_per_s", "bytes_per_day", "replaces", "replaced_expires_at_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    CALLS_PER_S_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    REPLACED_EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    number: int
    name: str
    digest: bytes
    actions: _containers.RepeatedScalarFieldContainer[str]
    collections: _containers.RepeatedScalarFieldContainer[str]
    created_at_ms: int
    expires_at_ms: int
    calls_per_s: int
    bytes_per_day: int
    replaces: str
    replaced_expires_at_ms: int
    def __init__(self, id: _Optional[str] = ..., number: _Optional[int] = ..., name: _Optional[str] = ..., digest: _Optional[bytes] = ..., actions: _Optional[_Iterable[str]] = ..., collections: _Optional[_Iterable[str]] = ..., created_at_ms: _Optional[int] = ..., expires_at_ms: _Optional[int] = ..., calls_per_s: _Optional[int] = ..., bytes_per_day: _Optional[int] = ..., replaces: _Optional[str] = ..., replaced_expires_at_ms: _Optional[int] = ...) -> None: ...

class RevokeKey(_message.Message):
    __slots__ = ("id", "revoked_at_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    REVOKED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    revoked_at_ms: int
    def __init__(self, id: _Optional[str] = ..., revoked_at_ms: _Optional[int] = ...) -> None: ...

class Truncate(_message.Message):
    __slots__ = ("name", "uuid", "seq")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    seq: int
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ..., seq: _Optional[int] = ...) -> None: ...

class Write(_message.Message):
    __slots__ = ("runs", "refused", "truncated", "idempotency_key", "request_digest", "atomic", "proposed_at_ms", "points_max")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ATOMIC_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    POINTS_MAX_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    truncated: _containers.RepeatedCompositeFieldContainer[Truncated]
    idempotency_key: str
    request_digest: bytes
    atomic: bool
    proposed_at_ms: int
    points_max: int
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ..., truncated: _Optional[_Iterable[_Union[Truncated, _Mapping]]] = ..., idempotency_key: _Optional[str] = ..., request_digest: _Optional[bytes] = ..., atomic: bool = ..., proposed_at_ms: _Optional[int] = ..., points_max: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("positions", "puts", "deletes", "patches", "expected")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    PUTS_FIELD_NUMBER: _ClassVar[int]
    DELETES_FIELD_NUMBER: _ClassVar[int]
    PATCHES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    puts: Puts
    deletes: Deletes
    patches: Patches
    expected: _containers.RepeatedCompositeFieldContainer[Expected]
    def __init__(self, positions: _Optional[_Iterable[int]] = ..., puts: _Optional[_Union[Puts, _Mapping]] = ..., deletes: _Optional[_Union[Deletes, _Mapping]] = ..., patches: _Optional[_Union[Patches, _Mapping]] = ..., expected: _Optional[_Iterable[_Union[Expected, _Mapping]]] = ...) -> None: ...

class Expected(_message.Message):
    __slots__ = ("row", "version")
    ROW_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    row: int
    version: int
    def __init__(self, row: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class Puts(_message.Message):
    __slots__ = ("ids", "payloads", "columns", "cell_columns", "expires_at_ms")
    IDS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    CELL_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    cell_columns: _containers.RepeatedCompositeFieldContainer[CellColumn]
    expires_at_ms: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., payloads: _Optional[_Iterable[bytes]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., cell_columns: _Optional[_Iterable[_Union[CellColumn, _Mapping]]] = ..., expires_at_ms: _Optional[_Iterable[int]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("space", "rows", "vectors", "texts")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    space: int
    rows: _containers.RepeatedScalarFieldContainer[int]
    vectors: bytes
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, space: _Optional[int] = ..., rows: _Optional[_Iterable[int]] = ..., vectors: _Optional[bytes] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class CellColumn(_message.Message):
    __slots__ = ("space", "rows", "cells", "texts")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    space: int
    rows: _containers.RepeatedScalarFieldContainer[int]
    cells: _containers.RepeatedScalarFieldContainer[bytes]
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, space: _Optional[int] = ..., rows: _Optional[_Iterable[int]] = ..., cells: _Optional[_Iterable[bytes]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class Deletes(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Patches(_message.Message):
    __slots__ = ("patches", "payload_bytes_max", "read_bytes_max", "spaces")
    PATCHES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    patches: _containers.RepeatedCompositeFieldContainer[Patch]
    payload_bytes_max: int
    read_bytes_max: int
    spaces: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, patches: _Optional[_Iterable[_Union[Patch, _Mapping]]] = ..., payload_bytes_max: _Optional[int] = ..., read_bytes_max: _Optional[int] = ..., spaces: _Optional[_Iterable[int]] = ...) -> None: ...

class Patch(_message.Message):
    __slots__ = ("id", "set", "unset", "append", "remove", "vectors", "expires_at_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    UNSET_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    set: bytes
    unset: _containers.RepeatedScalarFieldContainer[str]
    append: bytes
    remove: bytes
    vectors: _containers.RepeatedCompositeFieldContainer[PatchedVector]
    expires_at_ms: int
    def __init__(self, id: _Optional[str] = ..., set: _Optional[bytes] = ..., unset: _Optional[_Iterable[str]] = ..., append: _Optional[bytes] = ..., remove: _Optional[bytes] = ..., vectors: _Optional[_Iterable[_Union[PatchedVector, _Mapping]]] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class PatchedVector(_message.Message):
    __slots__ = ("space", "cell", "text")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    space: int
    cell: bytes
    text: str
    def __init__(self, space: _Optional[int] = ..., cell: _Optional[bytes] = ..., text: _Optional[str] = ...) -> None: ...

class Truncated(_message.Message):
    __slots__ = ("position", "spaces")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    position: int
    spaces: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, position: _Optional[int] = ..., spaces: _Optional[_Iterable[str]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("position", "reason", "message")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    position: int
    reason: str
    message: str
    def __init__(self, position: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
