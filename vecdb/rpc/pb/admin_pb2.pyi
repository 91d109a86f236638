from . import keys_pb2 as _keys_pb2
from . import backup_pb2 as _backup_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConditionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONDITION_STATE_UNSPECIFIED: _ClassVar[ConditionState]
    CONDITION_STATE_OK: _ClassVar[ConditionState]
    CONDITION_STATE_WARNING: _ClassVar[ConditionState]
    CONDITION_STATE_ERROR: _ClassVar[ConditionState]

class CollectionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLLECTION_STATE_UNSPECIFIED: _ClassVar[CollectionState]
    COLLECTION_STATE_OK: _ClassVar[CollectionState]
    COLLECTION_STATE_BUILDING: _ClassVar[CollectionState]
    COLLECTION_STATE_DEGRADED: _ClassVar[CollectionState]
    COLLECTION_STATE_QUARANTINED: _ClassVar[CollectionState]
CONDITION_STATE_UNSPECIFIED: ConditionState
CONDITION_STATE_OK: ConditionState
CONDITION_STATE_WARNING: ConditionState
CONDITION_STATE_ERROR: ConditionState
COLLECTION_STATE_UNSPECIFIED: CollectionState
COLLECTION_STATE_OK: CollectionState
COLLECTION_STATE_BUILDING: CollectionState
COLLECTION_STATE_DEGRADED: CollectionState
COLLECTION_STATE_QUARANTINED: CollectionState

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

class StatusRequest(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: int
    def __init__(self, collections: _Optional[int] = ...) -> None: ...

class LimitsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LimitsResponse(_message.Message):
    __slots__ = ("limits",)
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    def __init__(self, limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("name", "value", "meaning", "least", "most")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    meaning: str
    least: int
    most: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ..., meaning: _Optional[str] = ..., least: _Optional[int] = ..., most: _Optional[int] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("version", "uptime_s", "state", "conditions", "addresses", "processes", "memory_bytes", "data", "embedding", "builds", "collections")
    class AddressesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    BUILDS_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    version: str
    uptime_s: float
    state: ConditionState
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    addresses: _containers.ScalarMap[str, str]
    processes: _containers.RepeatedCompositeFieldContainer[Process]
    memory_bytes: int
    data: DataStatus
    embedding: EmbeddingStatus
    builds: BuildStatus
    collections: _containers.RepeatedCompositeFieldContainer[CollectionStatus]
    def __init__(self, version: _Optional[str] = ..., uptime_s: _Optional[float] = ..., state: _Optional[_Union[ConditionState, str]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., addresses: _Optional[_Mapping[str, str]] = ..., processes: _Optional[_Iterable[_Union[Process, _Mapping]]] = ..., memory_bytes: _Optional[int] = ..., data: _Optional[_Union[DataStatus, _Mapping]] = ..., embedding: _Optional[_Union[EmbeddingStatus, _Mapping]] = ..., builds: _Optional[_Union[BuildStatus, _Mapping]] = ..., collections: _Optional[_Iterable[_Union[CollectionStatus, _Mapping]]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("name", "state", "reason", "advice")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: ConditionState
    reason: str
    advice: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[ConditionState, str]] = ..., reason: _Optional[str] = ..., advice: _Optional[str] = ...) -> None: ...

class Process(_message.Message):
    __slots__ = ("name", "pid", "ready", "restarts", "memory_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    pid: int
    ready: bool
    restarts: int
    memory_bytes: int
    def __init__(self, name: _Optional[str] = ..., pid: _Optional[int] = ..., ready: bool = ..., restarts: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class DataStatus(_message.Message):
    __slots__ = ("directory", "format_version", "collections", "collections_open", "collections_quarantined", "points", "tail_points", "segments", "segments_quarantined", "store_bytes", "segment_bytes", "disk_free_bytes", "disk_bytes", "writes_waiting")
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_OPEN_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    TAIL_POINTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    STORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITES_WAITING_FIELD_NUMBER: _ClassVar[int]
    directory: str
    format_version: int
    collections: int
    collections_open: int
    collections_quarantined: int
    points: int
    tail_points: int
    segments: int
    segments_quarantined: int
    store_bytes: int
    segment_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    writes_waiting: int
    def __init__(self, directory: _Optional[str] = ..., format_version: _Optional[int] = ..., collections: _Optional[int] = ..., collections_open: _Optional[int] = ..., collections_quarantined: _Optional[int] = ..., points: _Optional[int] = ..., tail_points: _Optional[int] = ..., segments: _Optional[int] = ..., segments_quarantined: _Optional[int] = ..., store_bytes: _Optional[int] = ..., segment_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., writes_waiting: _Optional[int] = ...) -> None: ...

class CollectionStatus(_message.Message):
    __slots__ = ("name", "state", "reason", "points", "tail_points", "segments", "segments_quarantined", "builds", "store_bytes", "map_bytes", "segment_bytes", "readers", "readers_max", "reader_lag_txns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    TAIL_POINTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    BUILDS_FIELD_NUMBER: _ClassVar[int]
    STORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    READERS_FIELD_NUMBER: _ClassVar[int]
    READERS_MAX_FIELD_NUMBER: _ClassVar[int]
    READER_LAG_TXNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: CollectionState
    reason: str
    points: int
    tail_points: int
    segments: int
    segments_quarantined: int
    builds: int
    store_bytes: int
    map_bytes: int
    segment_bytes: int
    readers: int
    readers_max: int
    reader_lag_txns: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[CollectionState, str]] = ..., reason: _Optional[str] = ..., points: _Optional[int] = ..., tail_points: _Optional[int] = ..., segments: _Optional[int] = ..., segments_quarantined: _Optional[int] = ..., builds: _Optional[int] = ..., store_bytes: _Optional[int] = ..., map_bytes: _Optional[int] = ..., segment_bytes: _Optional[int] = ..., readers: _Optional[int] = ..., readers_max: _Optional[int] = ..., reader_lag_txns: _Optional[int] = ...) -> None: ...

class EmbeddingStatus(_message.Message):
    __slots__ = ("enabled", "ready", "reason", "restarts", "models")
    class ModelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    ready: bool
    reason: str
    restarts: int
    models: _containers.ScalarMap[str, str]
    def __init__(self, enabled: bool = ..., ready: bool = ..., reason: _Optional[str] = ..., restarts: _Optional[int] = ..., models: _Optional[_Mapping[str, str]] = ...) -> None: ...

class BuildStatus(_message.Message):
    __slots__ = ("running", "segments", "seconds", "failures")
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    running: int
    segments: int
    seconds: float
    failures: int
    def __init__(self, running: _Optional[int] = ..., segments: _Optional[int] = ..., seconds: _Optional[float] = ..., failures: _Optional[int] = ...) -> None: ...
