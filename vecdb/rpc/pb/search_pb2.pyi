from . import common_pb2 as _common_pb2
from . import errors_pb2 as _errors_pb2
from . import points_pb2 as _points_pb2
from . import ranking_pb2 as _ranking_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Normalization(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORMALIZATION_UNSPECIFIED: _ClassVar[Normalization]
    NORMALIZATION_MIN_MAX: _ClassVar[Normalization]
    NORMALIZATION_Z_SCORE: _ClassVar[Normalization]
NORMALIZATION_UNSPECIFIED: Normalization
NORMALIZATION_MIN_MAX: Normalization
NORMALIZATION_Z_SCORE: Normalization

class Near(_message.Message):
    __slots__ = ("vector", "space")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    vector: _common_pb2.Vector
    space: str
    def __init__(self, vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., space: _Optional[str] = ...) -> None: ...

class Keyword(_message.Message):
    __slots__ = ("text", "fields", "mode")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    text: str
    fields: _containers.RepeatedScalarFieldContainer[str]
    mode: _common_pb2.KeywordMode
    def __init__(self, text: _Optional[str] = ..., fields: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[_common_pb2.KeywordMode, str]] = ...) -> None: ...

class Leg(_message.Message):
    __slots__ = ("near", "keyword", "recommend", "order_by", "ef", "exact", "k", "weight", "filter")
    NEAR_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    RECOMMEND_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    near: Near
    keyword: Keyword
    recommend: _ranking_pb2.Recommend
    order_by: _points_pb2.OrderBy
    ef: int
    exact: bool
    k: int
    weight: float
    filter: _common_pb2.Filter
    def __init__(self, near: _Optional[_Union[Near, _Mapping]] = ..., keyword: _Optional[_Union[Keyword, _Mapping]] = ..., recommend: _Optional[_Union[_ranking_pb2.Recommend, _Mapping]] = ..., order_by: _Optional[_Union[_points_pb2.OrderBy, _Mapping]] = ..., ef: _Optional[int] = ..., exact: bool = ..., k: _Optional[int] = ..., weight: _Optional[float] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ...) -> None: ...

class Rrf(_message.Message):
    __slots__ = ("k",)
    K_FIELD_NUMBER: _ClassVar[int]
    k: int
    def __init__(self, k: _Optional[int] = ...) -> None: ...

class Weighted(_message.Message):
    __slots__ = ("normalization",)
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    normalization: Normalization
    def __init__(self, normalization: _Optional[_Union[Normalization, str]] = ...) -> None: ...

class Fusion(_message.Message):
    __slots__ = ("rrf", "weighted")
    RRF_FIELD_NUMBER: _ClassVar[int]
    WEIGHTED_FIELD_NUMBER: _ClassVar[int]
    rrf: Rrf
    weighted: Weighted
    def __init__(self, rrf: _Optional[_Union[Rrf, _Mapping]] = ..., weighted: _Optional[_Union[Weighted, _Mapping]] = ...) -> None: ...

class MaxSim(_message.Message):
    __slots__ = ("vector", "space")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    vector: _common_pb2.Vector
    space: str
    def __init__(self, vector: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ..., space: _Optional[str] = ...) -> None: ...

class CrossEncoder(_message.Message):
    __slots__ = ("model", "text", "field", "space")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    field: str
    space: str
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., field: _Optional[str] = ..., space: _Optional[str] = ...) -> None: ...

class Rerank(_message.Message):
    __slots__ = ("max_sim", "cross_encoder", "candidates")
    MAX_SIM_FIELD_NUMBER: _ClassVar[int]
    CROSS_ENCODER_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    max_sim: MaxSim
    cross_encoder: CrossEncoder
    candidates: int
    def __init__(self, max_sim: _Optional[_Union[MaxSim, _Mapping]] = ..., cross_encoder: _Optional[_Union[CrossEncoder, _Mapping]] = ..., candidates: _Optional[int] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("path", "size")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class Highlights(_message.Message):
    __slots__ = ("fields", "fragments", "characters")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    FRAGMENTS_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedScalarFieldContainer[str]
    fragments: int
    characters: int
    def __init__(self, fields: _Optional[_Iterable[str]] = ..., fragments: _Optional[int] = ..., characters: _Optional[int] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("collection", "legs", "k", "filter", "with_vectors", "with_texts", "without_payload", "min_commit_seq", "fusion", "offset", "min_score", "boost", "mmr", "rerank", "group", "payload_mask", "highlights", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    WITH_TEXTS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    MIN_COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    FUSION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    MMR_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_MASK_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHTS_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    legs: _containers.RepeatedCompositeFieldContainer[Leg]
    k: int
    filter: _common_pb2.Filter
    with_vectors: bool
    with_texts: bool
    without_payload: bool
    min_commit_seq: int
    fusion: Fusion
    offset: int
    min_score: float
    boost: _ranking_pb2.Boost
    mmr: _ranking_pb2.Mmr
    rerank: Rerank
    group: Group
    payload_mask: _common_pb2.PayloadMask
    highlights: Highlights
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., legs: _Optional[_Iterable[_Union[Leg, _Mapping]]] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., with_vectors: bool = ..., with_texts: bool = ..., without_payload: bool = ..., min_commit_seq: _Optional[int] = ..., fusion: _Optional[_Union[Fusion, _Mapping]] = ..., offset: _Optional[int] = ..., min_score: _Optional[float] = ..., boost: _Optional[_Union[_ranking_pb2.Boost, _Mapping]] = ..., mmr: _Optional[_Union[_ranking_pb2.Mmr, _Mapping]] = ..., rerank: _Optional[_Union[Rerank, _Mapping]] = ..., group: _Optional[_Union[Group, _Mapping]] = ..., payload_mask: _Optional[_Union[_common_pb2.PayloadMask, _Mapping]] = ..., highlights: _Optional[_Union[Highlights, _Mapping]] = ..., page_token: _Optional[str] = ...) -> None: ...

class LegHit(_message.Message):
    __slots__ = ("leg", "score", "rank")
    LEG_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    leg: int
    score: float
    rank: int
    def __init__(self, leg: _Optional[int] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ...) -> None: ...

class Highlight(_message.Message):
    __slots__ = ("field", "fragments")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    FRAGMENTS_FIELD_NUMBER: _ClassVar[int]
    field: str
    fragments: _containers.RepeatedCompositeFieldContainer[Fragment]
    def __init__(self, field: _Optional[str] = ..., fragments: _Optional[_Iterable[_Union[Fragment, _Mapping]]] = ...) -> None: ...

class Fragment(_message.Message):
    __slots__ = ("text", "value", "start", "words")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    value: int
    start: int
    words: _containers.RepeatedCompositeFieldContainer[Span]
    def __init__(self, text: _Optional[str] = ..., value: _Optional[int] = ..., start: _Optional[int] = ..., words: _Optional[_Iterable[_Union[Span, _Mapping]]] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("id", "score", "distance", "payload", "version", "vectors", "texts", "legs", "expires_at_ms", "highlights")
    class VectorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Vector, _Mapping]] = ...) -> None: ...
    class TextsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    score: float
    distance: float
    payload: bytes
    version: int
    vectors: _containers.MessageMap[str, _common_pb2.Vector]
    texts: _containers.ScalarMap[str, str]
    legs: _containers.RepeatedCompositeFieldContainer[LegHit]
    expires_at_ms: int
    highlights: _containers.RepeatedCompositeFieldContainer[Highlight]
    def __init__(self, id: _Optional[str] = ..., score: _Optional[float] = ..., distance: _Optional[float] = ..., payload: _Optional[bytes] = ..., version: _Optional[int] = ..., vectors: _Optional[_Mapping[str, _common_pb2.Vector]] = ..., texts: _Optional[_Mapping[str, str]] = ..., legs: _Optional[_Iterable[_Union[LegHit, _Mapping]]] = ..., expires_at_ms: _Optional[int] = ..., highlights: _Optional[_Iterable[_Union[Highlight, _Mapping]]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("embed_us", "snapshot_us", "filter_us", "search_us", "fetch_us", "total_us")
    EMBED_US_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_US_FIELD_NUMBER: _ClassVar[int]
    FILTER_US_FIELD_NUMBER: _ClassVar[int]
    SEARCH_US_FIELD_NUMBER: _ClassVar[int]
    FETCH_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    embed_us: int
    snapshot_us: int
    filter_us: int
    search_us: int
    fetch_us: int
    total_us: int
    def __init__(self, embed_us: _Optional[int] = ..., snapshot_us: _Optional[int] = ..., filter_us: _Optional[int] = ..., search_us: _Optional[int] = ..., fetch_us: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...

class HitGroup(_message.Message):
    __slots__ = ("hits", "value")
    HITS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    value: _common_pb2.Value
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("hits", "plan", "matched", "commit_seq", "complete", "warnings", "timings", "groups", "usage", "next_page_token")
    HITS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    plan: str
    matched: int
    commit_seq: int
    complete: bool
    warnings: _containers.RepeatedScalarFieldContainer[str]
    timings: Timings
    groups: _containers.RepeatedCompositeFieldContainer[HitGroup]
    usage: Usage
    next_page_token: str
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., plan: _Optional[str] = ..., matched: _Optional[int] = ..., commit_seq: _Optional[int] = ..., complete: bool = ..., warnings: _Optional[_Iterable[str]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[HitGroup, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("embed_tokens",)
    EMBED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    embed_tokens: int
    def __init__(self, embed_tokens: _Optional[int] = ...) -> None: ...

class QueryBatchRequest(_message.Message):
    __slots__ = ("collection", "queries", "min_commit_seq")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    MIN_COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    collection: str
    queries: _containers.RepeatedCompositeFieldContainer[QueryRequest]
    min_commit_seq: int
    def __init__(self, collection: _Optional[str] = ..., queries: _Optional[_Iterable[_Union[QueryRequest, _Mapping]]] = ..., min_commit_seq: _Optional[int] = ...) -> None: ...

class QueryBatchResponse(_message.Message):
    __slots__ = ("results", "commit_seq")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[QueryResult]
    commit_seq: int
    def __init__(self, results: _Optional[_Iterable[_Union[QueryResult, _Mapping]]] = ..., commit_seq: _Optional[int] = ...) -> None: ...

class QueryResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: QueryResponse
    error: _errors_pb2.Status
    def __init__(self, response: _Optional[_Union[QueryResponse, _Mapping]] = ..., error: _Optional[_Union[_errors_pb2.Status, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("query",)
    QUERY_FIELD_NUMBER: _ClassVar[int]
    query: QueryRequest
    def __init__(self, query: _Optional[_Union[QueryRequest, _Mapping]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("response", "legs", "conditions")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    response: QueryResponse
    legs: _containers.RepeatedCompositeFieldContainer[LegExplanation]
    conditions: _containers.RepeatedCompositeFieldContainer[ConditionExplanation]
    def __init__(self, response: _Optional[_Union[QueryResponse, _Mapping]] = ..., legs: _Optional[_Iterable[_Union[LegExplanation, _Mapping]]] = ..., conditions: _Optional[_Iterable[_Union[ConditionExplanation, _Mapping]]] = ...) -> None: ...

class LegExplanation(_message.Message):
    __slots__ = ("hits", "plan", "matched", "parts")
    HITS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    plan: str
    matched: int
    parts: _containers.RepeatedCompositeFieldContainer[PartExplanation]
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., plan: _Optional[str] = ..., matched: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[PartExplanation, _Mapping]]] = ...) -> None: ...

class PartExplanation(_message.Message):
    __slots__ = ("segment", "rows", "matched", "plan", "search_us", "found")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SEARCH_US_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    segment: int
    rows: int
    matched: int
    plan: str
    search_us: int
    found: int
    def __init__(self, segment: _Optional[int] = ..., rows: _Optional[int] = ..., matched: _Optional[int] = ..., plan: _Optional[str] = ..., search_us: _Optional[int] = ..., found: _Optional[int] = ...) -> None: ...

class ConditionExplanation(_message.Message):
    __slots__ = ("condition", "matched")
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    condition: _common_pb2.Filter
    matched: int
    def __init__(self, condition: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., matched: _Optional[int] = ...) -> None: ...
