from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]
    METRIC_DOT: _ClassVar[Metric]
    METRIC_EUCLID: _ClassVar[Metric]
    METRIC_MANHATTAN: _ClassVar[Metric]
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
METRIC_DOT: Metric
METRIC_EUCLID: Metric
METRIC_MANHATTAN: Metric

class Dense(_message.Message):
    __slots__ = ("dim", "metric", "model", "model_fingerprint", "hnsw", "target_recall", "shadow_of")
    DIM_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    HNSW_FIELD_NUMBER: _ClassVar[int]
    TARGET_RECALL_FIELD_NUMBER: _ClassVar[int]
    SHADOW_OF_FIELD_NUMBER: _ClassVar[int]
    dim: int
    metric: Metric
    model: str
    model_fingerprint: str
    hnsw: Hnsw
    target_recall: float
    shadow_of: str
    def __init__(self, dim: _Optional[int] = ..., metric: _Optional[_Union[Metric, str]] = ..., model: _Optional[str] = ..., model_fingerprint: _Optional[str] = ..., hnsw: _Optional[_Union[Hnsw, _Mapping]] = ..., target_recall: _Optional[float] = ..., shadow_of: _Optional[str] = ...) -> None: ...

class Hnsw(_message.Message):
    __slots__ = ("m", "ef_construction")
    M_FIELD_NUMBER: _ClassVar[int]
    EF_CONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    m: int
    ef_construction: int
    def __init__(self, m: _Optional[int] = ..., ef_construction: _Optional[int] = ...) -> None: ...

class Sparse(_message.Message):
    __slots__ = ("idf", "model", "model_fingerprint")
    IDF_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    idf: bool
    model: str
    model_fingerprint: str
    def __init__(self, idf: bool = ..., model: _Optional[str] = ..., model_fingerprint: _Optional[str] = ...) -> None: ...

class MultiDense(_message.Message):
    __slots__ = ("dim", "metric")
    DIM_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    dim: int
    metric: Metric
    def __init__(self, dim: _Optional[int] = ..., metric: _Optional[_Union[Metric, str]] = ...) -> None: ...

class Space(_message.Message):
    __slots__ = ("dense", "sparse", "multi_dense")
    DENSE_FIELD_NUMBER: _ClassVar[int]
    SPARSE_FIELD_NUMBER: _ClassVar[int]
    MULTI_DENSE_FIELD_NUMBER: _ClassVar[int]
    dense: Dense
    sparse: Sparse
    multi_dense: MultiDense
    def __init__(self, dense: _Optional[_Union[Dense, _Mapping]] = ..., sparse: _Optional[_Union[Sparse, _Mapping]] = ..., multi_dense: _Optional[_Union[MultiDense, _Mapping]] = ...) -> None: ...

class Collection(_message.Message):
    __slots__ = ("name", "spaces", "created_at_ms", "quarantined", "quarantine_reason", "text_fields", "metadata", "aliases", "ttl_ms", "limits")
    class SpacesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Space
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    name: str
    spaces: _containers.MessageMap[str, Space]
    created_at_ms: int
    quarantined: bool
    quarantine_reason: str
    text_fields: _containers.RepeatedCompositeFieldContainer[TextField]
    metadata: bytes
    aliases: _containers.RepeatedScalarFieldContainer[str]
    ttl_ms: int
    limits: CollectionLimits
    def __init__(self, name: _Optional[str] = ..., spaces: _Optional[_Mapping[str, Space]] = ..., created_at_ms: _Optional[int] = ..., quarantined: bool = ..., quarantine_reason: _Optional[str] = ..., text_fields: _Optional[_Iterable[_Union[TextField, _Mapping]]] = ..., metadata: _Optional[bytes] = ..., aliases: _Optional[_Iterable[str]] = ..., ttl_ms: _Optional[int] = ..., limits: _Optional[_Union[CollectionLimits, _Mapping]] = ...) -> None: ...

class CollectionLimits(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: int
    def __init__(self, points: _Optional[int] = ...) -> None: ...

class TextField(_message.Message):
    __slots__ = ("path", "language", "k1", "b")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    K1_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    path: str
    language: str
    k1: float
    b: float
    def __init__(self, path: _Optional[str] = ..., language: _Optional[str] = ..., k1: _Optional[float] = ..., b: _Optional[float] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("collection", "if_not_exists")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IF_NOT_EXISTS_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    if_not_exists: bool
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ..., if_not_exists: bool = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection", "created")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    created: bool
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ..., created: bool = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ("without_metadata",)
    WITHOUT_METADATA_FIELD_NUMBER: _ClassVar[int]
    without_metadata: bool
    def __init__(self, without_metadata: bool = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ...) -> None: ...

class UpdateCollectionRequest(_message.Message):
    __slots__ = ("name", "metadata", "spaces", "ttl_ms", "add_spaces", "drop_spaces", "add_text_fields", "drop_text_fields", "limits")
    class SpacesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Space
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...
    class AddSpacesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Space
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    ADD_SPACES_FIELD_NUMBER: _ClassVar[int]
    DROP_SPACES_FIELD_NUMBER: _ClassVar[int]
    ADD_TEXT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    DROP_TEXT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    name: str
    metadata: bytes
    spaces: _containers.MessageMap[str, Space]
    ttl_ms: int
    add_spaces: _containers.MessageMap[str, Space]
    drop_spaces: _containers.RepeatedScalarFieldContainer[str]
    add_text_fields: _containers.RepeatedCompositeFieldContainer[TextField]
    drop_text_fields: _containers.RepeatedScalarFieldContainer[str]
    limits: CollectionLimits
    def __init__(self, name: _Optional[str] = ..., metadata: _Optional[bytes] = ..., spaces: _Optional[_Mapping[str, Space]] = ..., ttl_ms: _Optional[int] = ..., add_spaces: _Optional[_Mapping[str, Space]] = ..., drop_spaces: _Optional[_Iterable[str]] = ..., add_text_fields: _Optional[_Iterable[_Union[TextField, _Mapping]]] = ..., drop_text_fields: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[CollectionLimits, _Mapping]] = ...) -> None: ...

class UpdateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class TruncateCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class TruncateCollectionResponse(_message.Message):
    __slots__ = ("points", "commit_seq")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    points: int
    commit_seq: int
    def __init__(self, points: _Optional[int] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class CloneCollectionRequest(_message.Message):
    __slots__ = ("name", "new_name")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    new_name: str
    def __init__(self, name: _Optional[str] = ..., new_name: _Optional[str] = ...) -> None: ...

class CloneCollectionResponse(_message.Message):
    __slots__ = ("collection", "points", "commit_seq")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    points: int
    commit_seq: int
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ..., points: _Optional[int] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class SetAliasesRequest(_message.Message):
    __slots__ = ("actions",)
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.RepeatedCompositeFieldContainer[AliasAction]
    def __init__(self, actions: _Optional[_Iterable[_Union[AliasAction, _Mapping]]] = ...) -> None: ...

class SetAliasesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AliasAction(_message.Message):
    __slots__ = ("set", "delete")
    SET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    set: SetAlias
    delete: DeleteAlias
    def __init__(self, set: _Optional[_Union[SetAlias, _Mapping]] = ..., delete: _Optional[_Union[DeleteAlias, _Mapping]] = ...) -> None: ...

class SetAlias(_message.Message):
    __slots__ = ("alias", "collection")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    alias: str
    collection: str
    def __init__(self, alias: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class DeleteAlias(_message.Message):
    __slots__ = ("alias",)
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    alias: str
    def __init__(self, alias: _Optional[str] = ...) -> None: ...

class ListAliasesRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ListAliasesResponse(_message.Message):
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

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("name", "if_exists")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IF_EXISTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    if_exists: bool
    def __init__(self, name: _Optional[str] = ..., if_exists: bool = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    def __init__(self, deleted: bool = ...) -> None: ...

class CollectionStatsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CollectionStatsResponse(_message.Message):
    __slots__ = ("points", "applied_seq", "tail_points", "segments", "store_bytes", "map_bytes", "builds", "compacting", "upkeep_error", "text_pending_points")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQ_FIELD_NUMBER: _ClassVar[int]
    TAIL_POINTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    STORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUILDS_FIELD_NUMBER: _ClassVar[int]
    COMPACTING_FIELD_NUMBER: _ClassVar[int]
    UPKEEP_ERROR_FIELD_NUMBER: _ClassVar[int]
    TEXT_PENDING_POINTS_FIELD_NUMBER: _ClassVar[int]
    points: int
    applied_seq: int
    tail_points: int
    segments: _containers.RepeatedCompositeFieldContainer[SegmentStats]
    store_bytes: int
    map_bytes: int
    builds: _containers.RepeatedCompositeFieldContainer[BuildStats]
    compacting: bool
    upkeep_error: str
    text_pending_points: int
    def __init__(self, points: _Optional[int] = ..., applied_seq: _Optional[int] = ..., tail_points: _Optional[int] = ..., segments: _Optional[_Iterable[_Union[SegmentStats, _Mapping]]] = ..., store_bytes: _Optional[int] = ..., map_bytes: _Optional[int] = ..., builds: _Optional[_Iterable[_Union[BuildStats, _Mapping]]] = ..., compacting: bool = ..., upkeep_error: _Optional[str] = ..., text_pending_points: _Optional[int] = ...) -> None: ...

class BuildStats(_message.Message):
    __slots__ = ("number", "phase", "done", "total")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    number: int
    phase: str
    done: int
    total: int
    def __init__(self, number: _Optional[int] = ..., phase: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class CompactRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CompactResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SegmentStats(_message.Message):
    __slots__ = ("number", "first_slot", "end_slot", "rows", "dead", "bytes", "quarantined", "graph")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FIRST_SLOT_FIELD_NUMBER: _ClassVar[int]
    END_SLOT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    number: int
    first_slot: int
    end_slot: int
    rows: int
    dead: int
    bytes: int
    quarantined: str
    graph: bool
    def __init__(self, number: _Optional[int] = ..., first_slot: _Optional[int] = ..., end_slot: _Optional[int] = ..., rows: _Optional[int] = ..., dead: _Optional[int] = ..., bytes: _Optional[int] = ..., quarantined: _Optional[str] = ..., graph: bool = ...) -> None: ...
