from . import common_pb2 as _common_pb2
from . import errors_pb2 as _errors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WriteOp(_message.Message):
    __slots__ = ("put", "delete", "patch", "if_version")
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    put: _common_pb2.Point
    delete: DeletePoint
    patch: PatchPoint
    if_version: int
    def __init__(self, put: _Optional[_Union[_common_pb2.Point, _Mapping]] = ..., delete: _Optional[_Union[DeletePoint, _Mapping]] = ..., patch: _Optional[_Union[PatchPoint, _Mapping]] = ..., if_version: _Optional[int] = ...) -> None: ...

class DeletePoint(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class PatchPoint(_message.Message):
    __slots__ = ("id", "set", "unset", "append", "remove", "vectors", "unset_vectors", "ttl_ms", "expires_at_ms")
    class VectorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    UNSET_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    UNSET_VECTORS_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    set: bytes
    unset: _containers.RepeatedScalarFieldContainer[str]
    append: bytes
    remove: bytes
    vectors: _containers.MessageMap[str, _common_pb2.Vector]
    unset_vectors: _containers.RepeatedScalarFieldContainer[str]
    ttl_ms: int
    expires_at_ms: int
    def __init__(self, id: _Optional[str] = ..., set: _Optional[bytes] = ..., unset: _Optional[_Iterable[str]] = ..., append: _Optional[bytes] = ..., remove: _Optional[bytes] = ..., vectors: _Optional[_Mapping[str, _common_pb2.Vector]] = ..., unset_vectors: _Optional[_Iterable[str]] = ..., ttl_ms: _Optional[int] = ..., expires_at_ms: _Optional[int] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("collection", "ops", "atomic", "idempotency_key")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    OPS_FIELD_NUMBER: _ClassVar[int]
    ATOMIC_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ops: _containers.RepeatedCompositeFieldContainer[WriteOp]
    atomic: bool
    idempotency_key: str
    def __init__(self, collection: _Optional[str] = ..., ops: _Optional[_Iterable[_Union[WriteOp, _Mapping]]] = ..., atomic: bool = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("commit_seq", "results", "replayed")
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    commit_seq: int
    results: _containers.RepeatedCompositeFieldContainer[WriteResult]
    replayed: bool
    def __init__(self, commit_seq: _Optional[int] = ..., results: _Optional[_Iterable[_Union[WriteResult, _Mapping]]] = ..., replayed: bool = ...) -> None: ...

class WriteResult(_message.Message):
    __slots__ = ("code", "reason", "message", "version", "found", "truncated")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    version: int
    found: bool
    truncated: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., version: _Optional[int] = ..., found: bool = ..., truncated: _Optional[_Iterable[str]] = ...) -> None: ...

class WriteStreamRequest(_message.Message):
    __slots__ = ("number", "write")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    number: int
    write: WriteRequest
    def __init__(self, number: _Optional[int] = ..., write: _Optional[_Union[WriteRequest, _Mapping]] = ...) -> None: ...

class WriteStreamResponse(_message.Message):
    __slots__ = ("number", "write", "error", "window")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    number: int
    write: WriteResponse
    error: _errors_pb2.Status
    window: int
    def __init__(self, number: _Optional[int] = ..., write: _Optional[_Union[WriteResponse, _Mapping]] = ..., error: _Optional[_Union[_errors_pb2.Status, _Mapping]] = ..., window: _Optional[int] = ...) -> None: ...

class DeleteWhereRequest(_message.Message):
    __slots__ = ("collection", "filter", "after_version", "max_version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AFTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    after_version: int
    max_version: int
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., after_version: _Optional[int] = ..., max_version: _Optional[int] = ...) -> None: ...

class DeleteWhereResponse(_message.Message):
    __slots__ = ("deleted", "progress")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    progress: WhereProgress
    def __init__(self, deleted: _Optional[int] = ..., progress: _Optional[_Union[WhereProgress, _Mapping]] = ...) -> None: ...

class PatchWhereRequest(_message.Message):
    __slots__ = ("collection", "filter", "patch", "after_version", "max_version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    AFTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    patch: PatchPoint
    after_version: int
    max_version: int
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., patch: _Optional[_Union[PatchPoint, _Mapping]] = ..., after_version: _Optional[int] = ..., max_version: _Optional[int] = ...) -> None: ...

class PatchWhereResponse(_message.Message):
    __slots__ = ("patched", "failures", "progress", "truncated")
    PATCHED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    patched: int
    failures: _containers.RepeatedCompositeFieldContainer[PatchFailure]
    progress: WhereProgress
    truncated: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, patched: _Optional[int] = ..., failures: _Optional[_Iterable[_Union[PatchFailure, _Mapping]]] = ..., progress: _Optional[_Union[WhereProgress, _Mapping]] = ..., truncated: _Optional[_Iterable[str]] = ...) -> None: ...

class PatchFailure(_message.Message):
    __slots__ = ("id", "result")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    id: str
    result: WriteResult
    def __init__(self, id: _Optional[str] = ..., result: _Optional[_Union[WriteResult, _Mapping]] = ...) -> None: ...

class WhereProgress(_message.Message):
    __slots__ = ("found", "skipped", "damaged", "complete", "after_version", "max_version", "commit_seq")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    AFTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    found: int
    skipped: int
    damaged: int
    complete: bool
    after_version: int
    max_version: int
    commit_seq: int
    def __init__(self, found: _Optional[int] = ..., skipped: _Optional[int] = ..., damaged: _Optional[int] = ..., complete: bool = ..., after_version: _Optional[int] = ..., max_version: _Optional[int] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class GetPointsRequest(_message.Message):
    __slots__ = ("collection", "ids", "with_vectors", "with_texts", "without_payload", "payload_mask")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    WITH_TEXTS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_MASK_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    with_vectors: bool
    with_texts: bool
    without_payload: bool
    payload_mask: _common_pb2.PayloadMask
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., with_vectors: bool = ..., with_texts: bool = ..., without_payload: bool = ..., payload_mask: _Optional[_Union[_common_pb2.PayloadMask, _Mapping]] = ...) -> None: ...

class GetPointsResponse(_message.Message):
    __slots__ = ("points", "missing", "damaged", "commit_seq")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[_common_pb2.Point]
    missing: _containers.RepeatedScalarFieldContainer[str]
    damaged: _containers.RepeatedScalarFieldContainer[str]
    commit_seq: int
    def __init__(self, points: _Optional[_Iterable[_Union[_common_pb2.Point, _Mapping]]] = ..., missing: _Optional[_Iterable[str]] = ..., damaged: _Optional[_Iterable[str]] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class CountRequest(_message.Message):
    __slots__ = ("collection", "filter")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ...) -> None: ...

class CountResponse(_message.Message):
    __slots__ = ("count", "commit_seq")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    count: int
    commit_seq: int
    def __init__(self, count: _Optional[int] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class ListPointsRequest(_message.Message):
    __slots__ = ("collection", "filter", "page_size", "page_token", "with_vectors", "with_texts", "without_payload", "order_by", "slice", "payload_mask")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    WITH_TEXTS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_MASK_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    page_size: int
    page_token: str
    with_vectors: bool
    with_texts: bool
    without_payload: bool
    order_by: OrderBy
    slice: Slice
    payload_mask: _common_pb2.PayloadMask
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., with_vectors: bool = ..., with_texts: bool = ..., without_payload: bool = ..., order_by: _Optional[_Union[OrderBy, _Mapping]] = ..., slice: _Optional[_Union[Slice, _Mapping]] = ..., payload_mask: _Optional[_Union[_common_pb2.PayloadMask, _Mapping]] = ...) -> None: ...

class OrderBy(_message.Message):
    __slots__ = ("path", "descending")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DESCENDING_FIELD_NUMBER: _ClassVar[int]
    path: str
    descending: bool
    def __init__(self, path: _Optional[str] = ..., descending: bool = ...) -> None: ...

class Slice(_message.Message):
    __slots__ = ("index", "count")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    index: int
    count: int
    def __init__(self, index: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class ListPointsResponse(_message.Message):
    __slots__ = ("points", "next_page_token", "damaged", "commit_seq")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[_common_pb2.Point]
    next_page_token: str
    damaged: _containers.RepeatedScalarFieldContainer[str]
    commit_seq: int
    def __init__(self, points: _Optional[_Iterable[_Union[_common_pb2.Point, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., damaged: _Optional[_Iterable[str]] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("collection", "filter", "slice", "page_token", "with_vectors", "with_texts", "without_payload", "payload_mask")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    WITH_TEXTS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_MASK_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    slice: Slice
    page_token: str
    with_vectors: bool
    with_texts: bool
    without_payload: bool
    payload_mask: _common_pb2.PayloadMask
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., slice: _Optional[_Union[Slice, _Mapping]] = ..., page_token: _Optional[str] = ..., with_vectors: bool = ..., with_texts: bool = ..., without_payload: bool = ..., payload_mask: _Optional[_Union[_common_pb2.PayloadMask, _Mapping]] = ...) -> None: ...

class ExportResponse(_message.Message):
    __slots__ = ("points", "next_page_token", "damaged", "commit_seq")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[_common_pb2.Point]
    next_page_token: str
    damaged: _containers.RepeatedScalarFieldContainer[str]
    commit_seq: int
    def __init__(self, points: _Optional[_Iterable[_Union[_common_pb2.Point, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., damaged: _Optional[_Iterable[str]] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("collection", "after_seq", "with_vectors", "with_texts", "without_payload", "payload_mask")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    WITH_TEXTS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_MASK_FIELD_NUMBER: _ClassVar[int]
    collection: str
    after_seq: int
    with_vectors: bool
    with_texts: bool
    without_payload: bool
    payload_mask: _common_pb2.PayloadMask
    def __init__(self, collection: _Optional[str] = ..., after_seq: _Optional[int] = ..., with_vectors: bool = ..., with_texts: bool = ..., without_payload: bool = ..., payload_mask: _Optional[_Union[_common_pb2.PayloadMask, _Mapping]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("deleted", "points", "commit_seq", "complete", "warnings", "truncated")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    deleted: _containers.RepeatedScalarFieldContainer[str]
    points: _containers.RepeatedCompositeFieldContainer[_common_pb2.Point]
    commit_seq: int
    complete: bool
    warnings: _containers.RepeatedScalarFieldContainer[str]
    truncated: bool
    def __init__(self, deleted: _Optional[_Iterable[str]] = ..., points: _Optional[_Iterable[_Union[_common_pb2.Point, _Mapping]]] = ..., commit_seq: _Optional[int] = ..., complete: bool = ..., warnings: _Optional[_Iterable[str]] = ..., truncated: bool = ...) -> None: ...

class AggregateRequest(_message.Message):
    __slots__ = ("collection", "filter", "aggregations")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AGGREGATIONS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _common_pb2.Filter
    aggregations: _containers.RepeatedCompositeFieldContainer[Aggregation]
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., aggregations: _Optional[_Iterable[_Union[Aggregation, _Mapping]]] = ...) -> None: ...

class Aggregation(_message.Message):
    __slots__ = ("facets", "numbers", "times")
    FACETS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    facets: Facets
    numbers: NumberStats
    times: TimeStats
    def __init__(self, facets: _Optional[_Union[Facets, _Mapping]] = ..., numbers: _Optional[_Union[NumberStats, _Mapping]] = ..., times: _Optional[_Union[TimeStats, _Mapping]] = ...) -> None: ...

class Facets(_message.Message):
    __slots__ = ("path", "limit")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    path: str
    limit: int
    def __init__(self, path: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class NumberStats(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class TimeStats(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class AggregateResponse(_message.Message):
    __slots__ = ("points", "results", "warnings", "commit_seq")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    points: int
    results: _containers.RepeatedCompositeFieldContainer[AggregateResult]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    commit_seq: int
    def __init__(self, points: _Optional[int] = ..., results: _Optional[_Iterable[_Union[AggregateResult, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class AggregateResult(_message.Message):
    __slots__ = ("facets", "numbers", "times")
    FACETS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    facets: FacetCounts
    numbers: NumberResult
    times: TimeResult
    def __init__(self, facets: _Optional[_Union[FacetCounts, _Mapping]] = ..., numbers: _Optional[_Union[NumberResult, _Mapping]] = ..., times: _Optional[_Union[TimeResult, _Mapping]] = ...) -> None: ...

class FacetCounts(_message.Message):
    __slots__ = ("values", "other_values")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    OTHER_VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[FacetCount]
    other_values: int
    def __init__(self, values: _Optional[_Iterable[_Union[FacetCount, _Mapping]]] = ..., other_values: _Optional[int] = ...) -> None: ...

class FacetCount(_message.Message):
    __slots__ = ("value", "points")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    value: _common_pb2.Value
    points: int
    def __init__(self, value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., points: _Optional[int] = ...) -> None: ...

class NumberResult(_message.Message):
    __slots__ = ("points", "count", "sum", "avg", "min", "max")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    AVG_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    points: int
    count: int
    sum: _common_pb2.Value
    avg: float
    min: _common_pb2.Value
    max: _common_pb2.Value
    def __init__(self, points: _Optional[int] = ..., count: _Optional[int] = ..., sum: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., avg: _Optional[float] = ..., min: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., max: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...

class TimeResult(_message.Message):
    __slots__ = ("points", "count", "min", "max")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    points: int
    count: int
    min: str
    max: str
    def __init__(self, points: _Optional[int] = ..., count: _Optional[int] = ..., min: _Optional[str] = ..., max: _Optional[str] = ...) -> None: ...
