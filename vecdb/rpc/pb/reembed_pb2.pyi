from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReembedState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REEMBED_STATE_UNSPECIFIED: _ClassVar[ReembedState]
    REEMBED_STATE_NONE: _ClassVar[ReembedState]
    REEMBED_STATE_FILLING: _ClassVar[ReembedState]
    REEMBED_STATE_INCOMPLETE: _ClassVar[ReembedState]
    REEMBED_STATE_READY: _ClassVar[ReembedState]
    REEMBED_STATE_SWITCHED: _ClassVar[ReembedState]
REEMBED_STATE_UNSPECIFIED: ReembedState
REEMBED_STATE_NONE: ReembedState
REEMBED_STATE_FILLING: ReembedState
REEMBED_STATE_INCOMPLETE: ReembedState
REEMBED_STATE_READY: ReembedState
REEMBED_STATE_SWITCHED: ReembedState

class ReembedRequest(_message.Message):
    __slots__ = ("collection", "space", "start", "switch", "roll_back", "finish", "cancel", "status")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    ROLL_BACK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    space: str
    start: StartReembed
    switch: SwitchReembed
    roll_back: RollBackReembed
    finish: FinishReembed
    cancel: CancelReembed
    status: ReembedStatus
    def __init__(self, collection: _Optional[str] = ..., space: _Optional[str] = ..., start: _Optional[_Union[StartReembed, _Mapping]] = ..., switch: _Optional[_Union[SwitchReembed, _Mapping]] = ..., roll_back: _Optional[_Union[RollBackReembed, _Mapping]] = ..., finish: _Optional[_Union[FinishReembed, _Mapping]] = ..., cancel: _Optional[_Union[CancelReembed, _Mapping]] = ..., status: _Optional[_Union[ReembedStatus, _Mapping]] = ...) -> None: ...

class StartReembed(_message.Message):
    __slots__ = ("model", "dim", "switch_when_ready")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    SWITCH_WHEN_READY_FIELD_NUMBER: _ClassVar[int]
    model: str
    dim: int
    switch_when_ready: bool
    def __init__(self, model: _Optional[str] = ..., dim: _Optional[int] = ..., switch_when_ready: bool = ...) -> None: ...

class SwitchReembed(_message.Message):
    __slots__ = ("allow_missing",)
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    allow_missing: bool
    def __init__(self, allow_missing: bool = ...) -> None: ...

class RollBackReembed(_message.Message):
    __slots__ = ("allow_missing",)
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    allow_missing: bool
    def __init__(self, allow_missing: bool = ...) -> None: ...

class FinishReembed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelReembed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReembedStatus(_message.Message):
    __slots__ = ("overlap",)
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    overlap: bool
    def __init__(self, overlap: bool = ...) -> None: ...

class ReembedResponse(_message.Message):
    __slots__ = ("collection", "space", "state", "model", "dim", "shadow", "shadow_model", "shadow_dim", "total", "done", "missing_text", "failed", "error", "points_per_s", "eta_s", "overlap", "switch_when_ready")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    SHADOW_MODEL_FIELD_NUMBER: _ClassVar[int]
    SHADOW_DIM_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    MISSING_TEXT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    POINTS_PER_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    SWITCH_WHEN_READY_FIELD_NUMBER: _ClassVar[int]
    collection: str
    space: str
    state: ReembedState
    model: str
    dim: int
    shadow: str
    shadow_model: str
    shadow_dim: int
    total: int
    done: int
    missing_text: int
    failed: int
    error: str
    points_per_s: float
    eta_s: float
    overlap: ReembedOverlap
    switch_when_ready: bool
    def __init__(self, collection: _Optional[str] = ..., space: _Optional[str] = ..., state: _Optional[_Union[ReembedState, str]] = ..., model: _Optional[str] = ..., dim: _Optional[int] = ..., shadow: _Optional[str] = ..., shadow_model: _Optional[str] = ..., shadow_dim: _Optional[int] = ..., total: _Optional[int] = ..., done: _Optional[int] = ..., missing_text: _Optional[int] = ..., failed: _Optional[int] = ..., error: _Optional[str] = ..., points_per_s: _Optional[float] = ..., eta_s: _Optional[float] = ..., overlap: _Optional[_Union[ReembedOverlap, _Mapping]] = ..., switch_when_ready: bool = ...) -> None: ...

class ReembedOverlap(_message.Message):
    __slots__ = ("share", "low", "high", "queries", "by_vectors")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    BY_VECTORS_FIELD_NUMBER: _ClassVar[int]
    share: float
    low: float
    high: float
    queries: int
    by_vectors: bool
    def __init__(self, share: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., queries: _Optional[int] = ..., by_vectors: bool = ...) -> None: ...
