from . import common_pb2 as _common_pb2
from . import retrieval_pb2 as _retrieval_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MediaType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEDIA_TYPE_UNSPECIFIED: _ClassVar[MediaType]
    MEDIA_TYPE_TEXT: _ClassVar[MediaType]
    MEDIA_TYPE_MARKDOWN: _ClassVar[MediaType]
    MEDIA_TYPE_HTML: _ClassVar[MediaType]
    MEDIA_TYPE_PDF: _ClassVar[MediaType]
MEDIA_TYPE_UNSPECIFIED: MediaType
MEDIA_TYPE_TEXT: MediaType
MEDIA_TYPE_MARKDOWN: MediaType
MEDIA_TYPE_HTML: MediaType
MEDIA_TYPE_PDF: MediaType

class Document(_message.Message):
    __slots__ = ("id", "title", "content", "media_type", "metadata", "sha256", "characters", "chunks", "put_at", "version")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    PUT_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    content: bytes
    media_type: MediaType
    metadata: bytes
    sha256: str
    characters: int
    chunks: int
    put_at: str
    version: int
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., content: _Optional[bytes] = ..., media_type: _Optional[_Union[MediaType, str]] = ..., metadata: _Optional[bytes] = ..., sha256: _Optional[str] = ..., characters: _Optional[int] = ..., chunks: _Optional[int] = ..., put_at: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Chunking(_message.Message):
    __slots__ = ("tokens", "overlap")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    overlap: int
    def __init__(self, tokens: _Optional[int] = ..., overlap: _Optional[int] = ...) -> None: ...

class PutDocumentsRequest(_message.Message):
    __slots__ = ("collection", "documents", "chunking", "ttl_ms")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    CHUNKING_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    chunking: Chunking
    ttl_ms: int
    def __init__(self, collection: _Optional[str] = ..., documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ..., chunking: _Optional[_Union[Chunking, _Mapping]] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class PutDocumentsResponse(_message.Message):
    __slots__ = ("commit_seq", "results")
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    commit_seq: int
    results: _containers.RepeatedCompositeFieldContainer[PutDocumentResult]
    def __init__(self, commit_seq: _Optional[int] = ..., results: _Optional[_Iterable[_Union[PutDocumentResult, _Mapping]]] = ...) -> None: ...

class PutDocumentResult(_message.Message):
    __slots__ = ("id", "added", "kept", "removed", "tokens", "characters", "warnings", "error", "commit_seq")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    id: str
    added: int
    kept: int
    removed: int
    tokens: int
    characters: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    error: ItemError
    commit_seq: int
    def __init__(self, id: _Optional[str] = ..., added: _Optional[int] = ..., kept: _Optional[int] = ..., removed: _Optional[int] = ..., tokens: _Optional[int] = ..., characters: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., error: _Optional[_Union[ItemError, _Mapping]] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class GetDocumentsRequest(_message.Message):
    __slots__ = ("collection", "ids", "with_content")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_CONTENT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    with_content: bool
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., with_content: bool = ...) -> None: ...

class GetDocumentsResponse(_message.Message):
    __slots__ = ("documents", "missing")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    missing: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ..., missing: _Optional[_Iterable[str]] = ...) -> None: ...

class ListDocumentsRequest(_message.Message):
    __slots__ = ("collection", "filter", "page_size", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    page_size: int
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDocumentsResponse(_message.Message):
    __slots__ = ("documents", "next_page_token")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    next_page_token: str
    def __init__(self, documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteDocumentsRequest(_message.Message):
    __slots__ = ("collection", "ids", "erase")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    ERASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    erase: bool
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., erase: bool = ...) -> None: ...

class DeleteDocumentsResponse(_message.Message):
    __slots__ = ("missing", "documents", "chunks", "commit_seq", "receipt")
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    missing: _containers.RepeatedScalarFieldContainer[str]
    documents: int
    chunks: int
    commit_seq: int
    receipt: ErasureReceipt
    def __init__(self, missing: _Optional[_Iterable[str]] = ..., documents: _Optional[int] = ..., chunks: _Optional[int] = ..., commit_seq: _Optional[int] = ..., receipt: _Optional[_Union[ErasureReceipt, _Mapping]] = ...) -> None: ...

class ErasureReceipt(_message.Message):
    __slots__ = ("document_sha256", "erased_at", "points", "pages", "segments", "collection_uuid", "commit_seq")
    DOCUMENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    ERASED_AT_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_UUID_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    document_sha256: _containers.RepeatedScalarFieldContainer[str]
    erased_at: str
    points: int
    pages: int
    segments: int
    collection_uuid: str
    commit_seq: int
    def __init__(self, document_sha256: _Optional[_Iterable[str]] = ..., erased_at: _Optional[str] = ..., points: _Optional[int] = ..., pages: _Optional[int] = ..., segments: _Optional[int] = ..., collection_uuid: _Optional[str] = ..., commit_seq: _Optional[int] = ...) -> None: ...
