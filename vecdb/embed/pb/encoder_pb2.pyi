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
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("models", "counters")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    counters: Counters
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "dim", "metric", "max_tokens", "fingerprint", "ready", "reason", "license", "is_default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    dim: int
    metric: str
    max_tokens: int
    fingerprint: str
    ready: bool
    reason: str
    license: str
    is_default: bool
    def __init__(self, name: _Optional[str] = ..., dim: _Optional[int] = ..., metric: _Optional[str] = ..., max_tokens: _Optional[int] = ..., fingerprint: _Optional[str] = ..., ready: bool = ..., reason: _Optional[str] = ..., license: _Optional[str] = ..., is_default: bool = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("texts", "batches", "tokens", "padded_tokens", "failed_texts", "dropped_texts", "rejected_texts", "busy_s", "queued_s", "waiting_texts", "running_s")
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
    running_s: float
    def __init__(self, texts: _Optional[int] = ..., batches: _Optional[int] = ..., tokens: _Optional[int] = ..., padded_tokens: _Optional[int] = ..., failed_texts: _Optional[int] = ..., dropped_texts: _Optional[int] = ..., rejected_texts: _Optional[int] = ..., busy_s: _Optional[float] = ..., queued_s: _Optional[float] = ..., waiting_texts: _Optional[int] = ..., running_s: _Optional[float] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("model", "texts", "role")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    role: Role
    def __init__(self, model: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ..., role: _Optional[_Union[Role, str]] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("fingerprint", "vectors", "tokens", "truncated", "queue_ms", "inference_ms")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_MS_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    vectors: bytes
    tokens: _containers.RepeatedScalarFieldContainer[int]
    truncated: _containers.RepeatedScalarFieldContainer[bool]
    queue_ms: float
    inference_ms: float
    def __init__(self, fingerprint: _Optional[str] = ..., vectors: _Optional[bytes] = ..., tokens: _Optional[_Iterable[int]] = ..., truncated: _Optional[_Iterable[bool]] = ..., queue_ms: _Optional[float] = ..., inference_ms: _Optional[float] = ...) -> None: ...
