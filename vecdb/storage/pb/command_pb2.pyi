from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("write", "create_collection", "drop_collection")
    WRITE_FIELD_NUMBER: _ClassVar[int]
    CREATE_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DROP_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    write: Write
    create_collection: CreateCollection
    drop_collection: DropCollection
    def __init__(self, write: _Optional[_Union[Write, _Mapping]] = ..., create_collection: _Optional[_Union[CreateCollection, _Mapping]] = ..., drop_collection: _Optional[_Union[DropCollection, _Mapping]] = ...) -> None: ...

class CreateCollection(_message.Message):
    __slots__ = ("name", "uuid", "created_at_ms", "schema")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    created_at_ms: int
    schema: bytes
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ..., created_at_ms: _Optional[int] = ..., schema: _Optional[bytes] = ...) -> None: ...

class DropCollection(_message.Message):
    __slots__ = ("name", "uuid")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: str
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[str] = ...) -> None: ...

class Write(_message.Message):
    __slots__ = ("runs", "refused", "truncated", "idempotency_key", "request_digest")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    truncated: _containers.RepeatedCompositeFieldContainer[Truncated]
    idempotency_key: str
    request_digest: bytes
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ..., truncated: _Optional[_Iterable[_Union[Truncated, _Mapping]]] = ..., idempotency_key: _Optional[str] = ..., request_digest: _Optional[bytes] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("positions", "puts", "deletes")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    PUTS_FIELD_NUMBER: _ClassVar[int]
    DELETES_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    puts: Puts
    deletes: Deletes
    def __init__(self, positions: _Optional[_Iterable[int]] = ..., puts: _Optional[_Union[Puts, _Mapping]] = ..., deletes: _Optional[_Union[Deletes, _Mapping]] = ...) -> None: ...

class Puts(_message.Message):
    __slots__ = ("ids", "payloads", "columns", "sparse_columns")
    IDS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SPARSE_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    sparse_columns: _containers.RepeatedCompositeFieldContainer[SparseColumn]
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., payloads: _Optional[_Iterable[bytes]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., sparse_columns: _Optional[_Iterable[_Union[SparseColumn, _Mapping]]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("space", "rows", "vectors", "texts")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    space: str
    rows: _containers.RepeatedScalarFieldContainer[int]
    vectors: bytes
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, space: _Optional[str] = ..., rows: _Optional[_Iterable[int]] = ..., vectors: _Optional[bytes] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class SparseColumn(_message.Message):
    __slots__ = ("space", "rows", "cells")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    space: str
    rows: _containers.RepeatedScalarFieldContainer[int]
    cells: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, space: _Optional[str] = ..., rows: _Optional[_Iterable[int]] = ..., cells: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Deletes(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ...) -> None: ...

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
