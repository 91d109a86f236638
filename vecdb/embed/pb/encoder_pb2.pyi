from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_QUERY: _ClassVar[Role]
    ROLE_DOCUMENT: _ClassVar[Role]
ROLE_UNSPECIFIED: Role
ROLE_QUERY: Role
ROLE_DOCUMENT: Role

class DescribeRequest(_message.Message):
    __slots__ = ("metrics",)
    METRICS_FIELD_NUMBER: _ClassVar[int]
    metrics: bool
    def __init__(self, metrics: bool = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("models", "counters", "metrics", "instance")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelState]
    counters: Counters
    metrics: bytes
    instance: str
    def __init__(self, models: _Optional[_Iterable[_Union[ModelState, _Mapping]]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., metrics: _Optional[bytes] = ..., instance: _Optional[str] = ...) -> None: ...

class ModelState(_message.Message):
    __slots__ = ("name", "fingerprint", "reason", "loaded", "memory_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: str
    reason: str
    loaded: bool
    memory_bytes: int
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., reason: _Optional[str] = ..., loaded: bool = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("texts", "batches", "tokens", "padded_tokens", "failed_texts", "dropped_texts", "rejected_texts", "busy_s", "queued_s", "waiting_texts", "waiting_tokens", "running_s")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    PADDED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FAILED_TEXTS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TEXTS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_TEXTS_FIELD_NUMBER: _ClassVar[int]
    BUSY_S_FIELD_NUMBER: _ClassVar[int]
    QUEUED_S_FIELD_NUMBER: _ClassVar[int]
    WAITING_TEXTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_S_FIELD_NUMBER: _ClassVar[int]
    texts: int
    batches: int
    tokens: int
    padded_tokens: int
    failed_texts: int
    dropped_texts: int
    rejected_texts: int
    busy_s: float
    queued_s: float
    waiting_texts: int
    waiting_tokens: int
    running_s: float
    def __init__(self, texts: _Optional[int] = ..., batches: _Optional[int] = ..., tokens: _Optional[int] = ..., padded_tokens: _Optional[int] = ..., failed_texts: _Optional[int] = ..., dropped_texts: _Optional[int] = ..., rejected_texts: _Optional[int] = ..., busy_s: _Optional[float] = ..., queued_s: _Optional[float] = ..., waiting_texts: _Optional[int] = ..., waiting_tokens: _Optional[int] = ..., running_s: _Optional[float] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("model", "texts", "role", "images", "query")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    model: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    role: Role
    images: _containers.RepeatedScalarFieldContainer[bytes]
    query: str
    def __init__(self, model: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ..., role: _Optional[_Union[Role, str]] = ..., images: _Optional[_Iterable[bytes]] = ..., query: _Optional[str] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("fingerprint", "vectors", "tokens", "truncated", "prepare_ms", "queue_ms", "inference_ms", "sparse", "refused", "cached")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    PREPARE_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_MS_FIELD_NUMBER: _ClassVar[int]
    SPARSE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    vectors: bytes
    tokens: _containers.RepeatedScalarFieldContainer[int]
    truncated: _containers.RepeatedScalarFieldContainer[bool]
    prepare_ms: float
    queue_ms: float
    inference_ms: float
    sparse: _containers.RepeatedCompositeFieldContainer[SparseRow]
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    cached: int
    def __init__(self, fingerprint: _Optional[str] = ..., vectors: _Optional[bytes] = ..., tokens: _Optional[_Iterable[int]] = ..., truncated: _Optional[_Iterable[bool]] = ..., prepare_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., inference_ms: _Optional[float] = ..., sparse: _Optional[_Iterable[_Union[SparseRow, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ..., cached: _Optional[int] = ...) -> None: ...

class SparseRow(_message.Message):
    __slots__ = ("indices", "values")
    INDICES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    indices: bytes
    values: bytes
    def __init__(self, indices: _Optional[bytes] = ..., values: _Optional[bytes] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("position", "reason", "message", "retry_after_ms")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    position: int
    reason: str
    message: str
    retry_after_ms: int
    def __init__(self, position: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class TokenizeRequest(_message.Message):
    __slots__ = ("model", "texts", "role")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    role: Role
    def __init__(self, model: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ..., role: _Optional[_Union[Role, str]] = ...) -> None: ...

class TokenizeResponse(_message.Message):
    __slots__ = ("texts",)
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedCompositeFieldContainer[TokenizedText]
    def __init__(self, texts: _Optional[_Iterable[_Union[TokenizedText, _Mapping]]] = ...) -> None: ...

class TokenizedText(_message.Message):
    __slots__ = ("ids", "tokens", "truncated")
    IDS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    tokens: int
    truncated: bool
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., tokens: _Optional[int] = ..., truncated: bool = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class LoadResponse(_message.Message):
    __slots__ = ("took_ms",)
    TOOK_MS_FIELD_NUMBER: _ClassVar[int]
    took_ms: int
    def __init__(self, took_ms: _Optional[int] = ...) -> None: ...

class UnloadRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ForgetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ForgetResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: int
    def __init__(self, items: _Optional[int] = ...) -> None: ...

class UnloadResponse(_message.Message):
    __slots__ = ("unloaded",)
    UNLOADED_FIELD_NUMBER: _ClassVar[int]
    unloaded: bool
    def __init__(self, unloaded: bool = ...) -> None: ...
