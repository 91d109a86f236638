from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EstimateRecallRequest(_message.Message):
    __slots__ = ("collection", "space", "k", "samples", "efs")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    EFS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    space: str
    k: int
    samples: int
    efs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, collection: _Optional[str] = ..., space: _Optional[str] = ..., k: _Optional[int] = ..., samples: _Optional[int] = ..., efs: _Optional[_Iterable[int]] = ...) -> None: ...

class EstimateRecallResponse(_message.Message):
    __slots__ = ("now", "by_ef", "target_recall", "live_samples", "samples")
    NOW_FIELD_NUMBER: _ClassVar[int]
    BY_EF_FIELD_NUMBER: _ClassVar[int]
    TARGET_RECALL_FIELD_NUMBER: _ClassVar[int]
    LIVE_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    now: RecallEstimate
    by_ef: _containers.RepeatedCompositeFieldContainer[RecallEstimate]
    target_recall: float
    live_samples: int
    samples: int
    def __init__(self, now: _Optional[_Union[RecallEstimate, _Mapping]] = ..., by_ef: _Optional[_Iterable[_Union[RecallEstimate, _Mapping]]] = ..., target_recall: _Optional[float] = ..., live_samples: _Optional[int] = ..., samples: _Optional[int] = ...) -> None: ...

class RecallEstimate(_message.Message):
    __slots__ = ("ef", "recall", "low", "high", "search_us")
    EF_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    SEARCH_US_FIELD_NUMBER: _ClassVar[int]
    ef: int
    recall: float
    low: float
    high: float
    search_us: int
    def __init__(self, ef: _Optional[int] = ..., recall: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., search_us: _Optional[int] = ...) -> None: ...
