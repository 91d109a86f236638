from . import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetrievalMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RETRIEVAL_MODE_UNSPECIFIED: _ClassVar[RetrievalMode]
    RETRIEVAL_MODE_HYBRID: _ClassVar[RetrievalMode]
    RETRIEVAL_MODE_DENSE: _ClassVar[RetrievalMode]
    RETRIEVAL_MODE_KEYWORD: _ClassVar[RetrievalMode]

class Speaker(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEAKER_UNSPECIFIED: _ClassVar[Speaker]
    SPEAKER_USER: _ClassVar[Speaker]
    SPEAKER_ASSISTANT: _ClassVar[Speaker]

class PassageOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PASSAGE_ORDER_UNSPECIFIED: _ClassVar[PassageOrder]
    PASSAGE_ORDER_RELEVANCE: _ClassVar[PassageOrder]
    PASSAGE_ORDER_DOCUMENT: _ClassVar[PassageOrder]
RETRIEVAL_MODE_UNSPECIFIED: RetrievalMode
RETRIEVAL_MODE_HYBRID: RetrievalMode
RETRIEVAL_MODE_DENSE: RetrievalMode
RETRIEVAL_MODE_KEYWORD: RetrievalMode
SPEAKER_UNSPECIFIED: Speaker
SPEAKER_USER: Speaker
SPEAKER_ASSISTANT: Speaker
PASSAGE_ORDER_UNSPECIFIED: PassageOrder
PASSAGE_ORDER_RELEVANCE: PassageOrder
PASSAGE_ORDER_DOCUMENT: PassageOrder

class Retrieval(_message.Message):
    __slots__ = ("name", "mode", "space", "candidates", "cross_encoder")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    CROSS_ENCODER_FIELD_NUMBER: _ClassVar[int]
    name: str
    mode: RetrievalMode
    space: str
    candidates: int
    cross_encoder: str
    def __init__(self, name: _Optional[str] = ..., mode: _Optional[_Union[RetrievalMode, str]] = ..., space: _Optional[str] = ..., candidates: _Optional[int] = ..., cross_encoder: _Optional[str] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("speaker", "text")
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    speaker: Speaker
    text: str
    def __init__(self, speaker: _Optional[_Union[Speaker, str]] = ..., text: _Optional[str] = ...) -> None: ...

class ContextRequest(_message.Message):
    __slots__ = ("collection", "question", "history", "condense", "retrieval", "filter", "budget_tokens", "passages", "per_document", "neighbours", "order", "min_relevance", "min_commit_seq")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    CONDENSE_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    BUDGET_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    PER_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    MIN_RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    MIN_COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    collection: str
    question: str
    history: _containers.RepeatedCompositeFieldContainer[Turn]
    condense: bool
    retrieval: Retrieval
    filter: _common_pb2.Filter
    budget_tokens: int
    passages: int
    per_document: int
    neighbours: int
    order: PassageOrder
    min_relevance: float
    min_commit_seq: int
    def __init__(self, collection: _Optional[str] = ..., question: _Optional[str] = ..., history: _Optional[_Iterable[_Union[Turn, _Mapping]]] = ..., condense: bool = ..., retrieval: _Optional[_Union[Retrieval, _Mapping]] = ..., filter: _Optional[_Union[_common_pb2.Filter, _Mapping]] = ..., budget_tokens: _Optional[int] = ..., passages: _Optional[int] = ..., per_document: _Optional[int] = ..., neighbours: _Optional[int] = ..., order: _Optional[_Union[PassageOrder, str]] = ..., min_relevance: _Optional[float] = ..., min_commit_seq: _Optional[int] = ...) -> None: ...

class Passage(_message.Message):
    __slots__ = ("marker", "document", "title", "section", "start", "end", "text", "score", "relevance", "points", "metadata", "cut")
    MARKER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    marker: int
    document: str
    title: str
    section: str
    start: int
    end: int
    text: str
    score: float
    relevance: float
    points: _containers.RepeatedScalarFieldContainer[str]
    metadata: bytes
    cut: bool
    def __init__(self, marker: _Optional[int] = ..., document: _Optional[str] = ..., title: _Optional[str] = ..., section: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., text: _Optional[str] = ..., score: _Optional[float] = ..., relevance: _Optional[float] = ..., points: _Optional[_Iterable[str]] = ..., metadata: _Optional[bytes] = ..., cut: bool = ...) -> None: ...

class ContextResponse(_message.Message):
    __slots__ = ("query_id", "searched", "passages", "rendered", "tokens", "nothing_relevant", "relevance", "warnings", "commit_seq", "timings_us")
    class TimingsUsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    RENDERED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    NOTHING_RELEVANT_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_SEQ_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_US_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    searched: str
    passages: _containers.RepeatedCompositeFieldContainer[Passage]
    rendered: str
    tokens: int
    nothing_relevant: bool
    relevance: float
    warnings: _containers.RepeatedScalarFieldContainer[str]
    commit_seq: int
    timings_us: _containers.ScalarMap[str, int]
    def __init__(self, query_id: _Optional[str] = ..., searched: _Optional[str] = ..., passages: _Optional[_Iterable[_Union[Passage, _Mapping]]] = ..., rendered: _Optional[str] = ..., tokens: _Optional[int] = ..., nothing_relevant: bool = ..., relevance: _Optional[float] = ..., warnings: _Optional[_Iterable[str]] = ..., commit_seq: _Optional[int] = ..., timings_us: _Optional[_Mapping[str, int]] = ...) -> None: ...

class AnswerRequest(_message.Message):
    __slots__ = ("context", "language", "max_tokens")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    context: ContextRequest
    language: str
    max_tokens: int
    def __init__(self, context: _Optional[_Union[ContextRequest, _Mapping]] = ..., language: _Optional[str] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class AnswerResponse(_message.Message):
    __slots__ = ("delta", "end")
    DELTA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    delta: str
    end: AnswerEnd
    def __init__(self, delta: _Optional[str] = ..., end: _Optional[_Union[AnswerEnd, _Mapping]] = ...) -> None: ...

class AnswerEnd(_message.Message):
    __slots__ = ("citations", "context", "prompt_tokens", "answer_tokens", "finish_reason", "citations_removed", "model")
    CITATIONS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    CITATIONS_REMOVED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    citations: _containers.RepeatedCompositeFieldContainer[Passage]
    context: ContextResponse
    prompt_tokens: int
    answer_tokens: int
    finish_reason: str
    citations_removed: int
    model: str
    def __init__(self, citations: _Optional[_Iterable[_Union[Passage, _Mapping]]] = ..., context: _Optional[_Union[ContextResponse, _Mapping]] = ..., prompt_tokens: _Optional[int] = ..., answer_tokens: _Optional[int] = ..., finish_reason: _Optional[str] = ..., citations_removed: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class Judgement(_message.Message):
    __slots__ = ("id", "grade")
    ID_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    id: str
    grade: float
    def __init__(self, id: _Optional[str] = ..., grade: _Optional[float] = ...) -> None: ...

class FeedbackRequest(_message.Message):
    __slots__ = ("query_id", "judgements", "helpful", "comment")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    HELPFUL_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    judgements: _containers.RepeatedCompositeFieldContainer[Judgement]
    helpful: bool
    comment: str
    def __init__(self, query_id: _Optional[str] = ..., judgements: _Optional[_Iterable[_Union[Judgement, _Mapping]]] = ..., helpful: bool = ..., comment: _Optional[str] = ...) -> None: ...

class FeedbackResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReplayRequest(_message.Message):
    __slots__ = ("collection", "retrievals", "questions", "judged", "k")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RETRIEVALS_FIELD_NUMBER: _ClassVar[int]
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    collection: str
    retrievals: _containers.RepeatedCompositeFieldContainer[Retrieval]
    questions: int
    judged: bool
    k: int
    def __init__(self, collection: _Optional[str] = ..., retrievals: _Optional[_Iterable[_Union[Retrieval, _Mapping]]] = ..., questions: _Optional[int] = ..., judged: bool = ..., k: _Optional[int] = ...) -> None: ...

class ReplayResponse(_message.Message):
    __slots__ = ("progress", "end")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    progress: ReplayProgress
    end: ReplayEnd
    def __init__(self, progress: _Optional[_Union[ReplayProgress, _Mapping]] = ..., end: _Optional[_Union[ReplayEnd, _Mapping]] = ...) -> None: ...

class ReplayProgress(_message.Message):
    __slots__ = ("done", "questions")
    DONE_FIELD_NUMBER: _ClassVar[int]
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    done: int
    questions: int
    def __init__(self, done: _Optional[int] = ..., questions: _Optional[int] = ...) -> None: ...

class ReplayEnd(_message.Message):
    __slots__ = ("questions", "judged", "reports")
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    questions: int
    judged: int
    reports: _containers.RepeatedCompositeFieldContainer[ReplayReport]
    def __init__(self, questions: _Optional[int] = ..., judged: _Optional[int] = ..., reports: _Optional[_Iterable[_Union[ReplayReport, _Mapping]]] = ...) -> None: ...

class ReplayReport(_message.Message):
    __slots__ = ("name", "recall", "ndcg", "mrr", "overlap", "latency_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    NDCG_FIELD_NUMBER: _ClassVar[int]
    MRR_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    recall: Estimate
    ndcg: Estimate
    mrr: Estimate
    overlap: Estimate
    latency_ms: Estimate
    def __init__(self, name: _Optional[str] = ..., recall: _Optional[_Union[Estimate, _Mapping]] = ..., ndcg: _Optional[_Union[Estimate, _Mapping]] = ..., mrr: _Optional[_Union[Estimate, _Mapping]] = ..., overlap: _Optional[_Union[Estimate, _Mapping]] = ..., latency_ms: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("mean", "low", "high")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    mean: float
    low: float
    high: float
    def __init__(self, mean: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...
