from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BackupRequest(_message.Message):
    __slots__ = ("collections", "held")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedScalarFieldContainer[str]
    held: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, collections: _Optional[_Iterable[str]] = ..., held: _Optional[_Iterable[bytes]] = ...) -> None: ...

class BackupResponse(_message.Message):
    __slots__ = ("collection", "object", "chunk")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    collection: BackupCollection
    object: BackupObject
    chunk: bytes
    def __init__(self, collection: _Optional[_Union[BackupCollection, _Mapping]] = ..., object: _Optional[_Union[BackupObject, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class BackupCollection(_message.Message):
    __slots__ = ("name", "number", "count", "bytes", "sent_bytes", "left_out")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    count: int
    bytes: int
    sent_bytes: int
    left_out: str
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ..., count: _Optional[int] = ..., bytes: _Optional[int] = ..., sent_bytes: _Optional[int] = ..., left_out: _Optional[str] = ...) -> None: ...

class BackupObject(_message.Message):
    __slots__ = ("sha256", "bytes", "manifest")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    sha256: bytes
    bytes: int
    manifest: bool
    def __init__(self, sha256: _Optional[bytes] = ..., bytes: _Optional[int] = ..., manifest: bool = ...) -> None: ...

class RestoreRequest(_message.Message):
    __slots__ = ("begin", "object", "chunk")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    begin: RestoreBegin
    object: BackupObject
    chunk: bytes
    def __init__(self, begin: _Optional[_Union[RestoreBegin, _Mapping]] = ..., object: _Optional[_Union[BackupObject, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class RestoreBegin(_message.Message):
    __slots__ = ("collections", "new_name", "replace", "aliases")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedScalarFieldContainer[str]
    new_name: str
    replace: bool
    aliases: bool
    def __init__(self, collections: _Optional[_Iterable[str]] = ..., new_name: _Optional[str] = ..., replace: bool = ..., aliases: bool = ...) -> None: ...

class RestoreResponse(_message.Message):
    __slots__ = ("received_bytes", "verified", "restored")
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    received_bytes: int
    verified: VerifiedCollection
    restored: RestoredCollection
    def __init__(self, received_bytes: _Optional[int] = ..., verified: _Optional[_Union[VerifiedCollection, _Mapping]] = ..., restored: _Optional[_Union[RestoredCollection, _Mapping]] = ...) -> None: ...

class VerifiedCollection(_message.Message):
    __slots__ = ("name", "points", "rebuilt_segments", "findings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    REBUILT_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    points: int
    rebuilt_segments: int
    findings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., points: _Optional[int] = ..., rebuilt_segments: _Optional[int] = ..., findings: _Optional[_Iterable[str]] = ...) -> None: ...

class RestoredCollection(_message.Message):
    __slots__ = ("name", "source", "points", "commit_seq", "replaced")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    points: int
    commit_seq: int
    replaced: bool
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., points: _Optional[int] = ..., commit_seq: _Optional[int] = ..., replaced: bool = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collections: _Optional[_Iterable[str]] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("progress", "finding", "checked")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    progress: CheckProgress
    finding: CheckFinding
    checked: CheckedCollection
    def __init__(self, progress: _Optional[_Union[CheckProgress, _Mapping]] = ..., finding: _Optional[_Union[CheckFinding, _Mapping]] = ..., checked: _Optional[_Union[CheckedCollection, _Mapping]] = ...) -> None: ...

class CheckProgress(_message.Message):
    __slots__ = ("collection", "done_points", "points")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DONE_POINTS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    done_points: int
    points: int
    def __init__(self, collection: _Optional[str] = ..., done_points: _Optional[int] = ..., points: _Optional[int] = ...) -> None: ...

class CheckFinding(_message.Message):
    __slots__ = ("collection", "text")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    text: str
    def __init__(self, collection: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class CheckedCollection(_message.Message):
    __slots__ = ("collection", "points", "findings")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    points: int
    findings: int
    def __init__(self, collection: _Optional[str] = ..., points: _Optional[int] = ..., findings: _Optional[int] = ...) -> None: ...
