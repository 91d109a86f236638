"""What documents and contexts are to a program: data, and how messages carry it. No transport."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from vecdb_client.errors import InvalidArgument
from vecdb_client.payloads import Payload, payload_bytes, payload_of
from vecdb_client.pb import documents_pb2, retrieval_pb2
from vecdb_client.requests import checked_text

MediaType: TypeAlias = Literal["", "text", "markdown", "html", "pdf"]
RetrievalMode: TypeAlias = Literal["", "hybrid", "dense", "keyword"]
Speaker: TypeAlias = Literal["user", "assistant"]
PassageOrder: TypeAlias = Literal["relevance", "document"]

_MEDIA: Final[dict[MediaType, documents_pb2.MediaType]] = {
    "": documents_pb2.MEDIA_TYPE_UNSPECIFIED,
    "text": documents_pb2.MEDIA_TYPE_TEXT,
    "markdown": documents_pb2.MEDIA_TYPE_MARKDOWN,
    "html": documents_pb2.MEDIA_TYPE_HTML,
    "pdf": documents_pb2.MEDIA_TYPE_PDF,
}
_MEDIA_NAMES: Final = {number: name for name, number in _MEDIA.items()}
_MODES: Final[dict[RetrievalMode, retrieval_pb2.RetrievalMode]] = {
    "": retrieval_pb2.RETRIEVAL_MODE_UNSPECIFIED,
    "hybrid": retrieval_pb2.RETRIEVAL_MODE_HYBRID,
    "dense": retrieval_pb2.RETRIEVAL_MODE_DENSE,
    "keyword": retrieval_pb2.RETRIEVAL_MODE_KEYWORD,
}
_SPEAKERS: Final[dict[Speaker, retrieval_pb2.Speaker]] = {
    "user": retrieval_pb2.SPEAKER_USER,
    "assistant": retrieval_pb2.SPEAKER_ASSISTANT,
}


@dataclass(frozen=True, slots=True)
class Document:
    """A document: to put, or as it is stored.

    content: text, or the bytes of a file; b"" in replies unless it was asked for, and then the
    document's text. media_type: "" has the server find out. title: "" for what the document says
    itself. metadata: a JSON object that every chunk has too.
    sha256, characters, chunks, put_at (RFC 3339) and version are the server's.
    """

    id: str
    content: str | bytes = b""
    title: str = ""
    media_type: MediaType = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    characters: int = 0
    chunks: int = 0
    put_at: str = ""
    version: int = 0

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content if isinstance(self.content, str) else self.content.decode()


DocumentLike: TypeAlias = Document | Mapping[str, Any]
"""A Document, or a mapping with its fields: ``{"id": "a", "content": "..."}``."""


@dataclass(frozen=True, slots=True)
class PutDocument:
    """What became of a document that was put.

    added, kept, removed: chunks. tokens: that were encoded. error: why it was refused, "" when it
    was stored; reason: its name for programs, such as BAD_DOCUMENT.
    """

    id: str
    added: int
    kept: int
    removed: int
    tokens: int
    characters: int
    commit_seq: int
    warnings: tuple[str, ...] = ()
    reason: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What was erased; see ErasureReceipt in documents.proto."""

    document_sha256: tuple[str, ...]
    erased_at: str
    points: int
    pages: int
    segments: int
    collection_uuid: str
    commit_seq: int


@dataclass(frozen=True, slots=True)
class DeletedDocuments:
    """What was removed, and the ids that were not there. receipt: where erase was asked for."""

    documents: int
    chunks: int
    missing: tuple[str, ...]
    commit_seq: int
    receipt: ErasureReceipt | None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A way to find chunks.

    mode: "" by meaning and by words where the collection has both. space: whose vectors to search.
    candidates: hits that are looked at, 0 for 50. cross_encoder: a model that reads them beside the
    question and orders them. name: what reports call it.
    """

    mode: RetrievalMode = ""
    cross_encoder: str = ""
    candidates: int = 0
    space: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """Something said before."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document: characters start to end of its text, the end not included.

    marker: what citations name, 1 for [1]. section: the headings it stands under. score: of its
    best hit, on the scale of how it was found; relevance: 0 to 1. points: ids of the chunks found.
    cut: whether it was shortened to fit.
    """

    marker: int
    document: str
    title: str
    section: str
    start: int
    end: int
    text: str
    score: float
    relevance: float
    points: tuple[str, ...]
    metadata: Mapping[str, Any]
    cut: bool


@dataclass(frozen=True, slots=True)
class Context:
    """The passages that a question is answered from, and `rendered`, which holds them all.

    searched: what was searched for. tokens: of rendered. nothing_relevant: the collection has
    nothing about it. relevance: of the best hit, shown or not. query_id: for feedback, "" where
    questions are not logged. timings_us: by stage.
    """

    query_id: str
    searched: str
    passages: tuple[Passage, ...]
    rendered: str
    tokens: int
    nothing_relevant: bool
    relevance: float
    warnings: tuple[str, ...]
    commit_seq: int
    timings_us: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of an answer. citations: the passages that it cites, in the order of the text.

    finish_reason: "stop", "length", "nothing_relevant", or what the model's server calls it.
    citations_removed: of passages that do not exist; they were taken out of the text.
    """

    text: str
    citations: tuple[Passage, ...]
    context: Context
    finish_reason: str
    prompt_tokens: int
    answer_tokens: int
    citations_removed: int
    model: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What one retrieval gave.

    recall, ndcg, mrr: None without judgements. overlap: with what the first one found.
    """

    name: str
    recall: Measured | None
    ndcg: Measured | None
    mrr: Measured | None
    overlap: Measured | None
    latency_ms: Measured | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay gave, over so many questions, of which so many were judged."""

    questions: int
    judged: int
    reports: tuple[ReplayReport, ...]


def document_message(given: DocumentLike) -> documents_pb2.Document:
    """Return a document as the wire has it. Raises InvalidArgument."""
    try:
        one = given if isinstance(given, Document) else Document(**given)
    except TypeError as error:
        raise InvalidArgument(f"a document has an id and content: {error}") from None
    if one.media_type not in _MEDIA:
        raise InvalidArgument(f"no media type {one.media_type!r}: expected {', '.join(_MEDIA)}")
    content = one.content
    if isinstance(content, str):
        content = checked_text(content, "a document's content").encode()
    metadata: Payload | None = dict(one.metadata) or None
    return documents_pb2.Document(
        id=checked_text(one.id, "a document's id"),
        title=checked_text(one.title, "a document's title"),
        content=bytes(content),
        media_type=_MEDIA[one.media_type],
        metadata=payload_bytes(metadata),
    )


def document(message: documents_pb2.Document) -> Document:
    """Return a stored document."""
    return Document(
        message.id,
        message.content,
        message.title,
        _MEDIA_NAMES.get(message.media_type, ""),
        payload_of(message.metadata),
        message.sha256,
        message.characters,
        message.chunks,
        message.put_at,
        message.version,
    )


def put_document(message: documents_pb2.PutDocumentResult) -> PutDocument:
    """Return what became of a document."""
    return PutDocument(
        message.id,
        message.added,
        message.kept,
        message.removed,
        message.tokens,
        message.characters,
        message.commit_seq,
        tuple(message.warnings),
        message.error.reason,
        message.error.message,
    )


def deleted(message: documents_pb2.DeleteDocumentsResponse) -> DeletedDocuments:
    """Return what was removed."""
    receipt = None
    if message.HasField("receipt"):
        one = message.receipt
        receipt = ErasureReceipt(
            tuple(one.document_sha256),
            one.erased_at,
            one.points,
            one.pages,
            one.segments,
            one.collection_uuid,
            one.commit_seq,
        )
    return DeletedDocuments(
        message.documents, message.chunks, tuple(message.missing), message.commit_seq, receipt
    )


def retrieval_message(one: Retrieval) -> retrieval_pb2.Retrieval:
    """Return a way to find chunks as the wire has it. Raises InvalidArgument."""
    if one.mode not in _MODES:
        raise InvalidArgument(f"no mode {one.mode!r}: expected hybrid, dense or keyword")
    if one.candidates < 0:
        raise InvalidArgument(f"candidates is a whole number from 0, got {one.candidates!r}")
    return retrieval_pb2.Retrieval(
        name=one.name,
        mode=_MODES[one.mode],
        space=one.space,
        candidates=one.candidates,
        cross_encoder=one.cross_encoder,
    )


def turn_messages(history: Iterable[Turn | tuple[Speaker, str]]) -> list[retrieval_pb2.Turn]:
    """Return what was said before as the wire has it. Raises InvalidArgument."""
    found: list[retrieval_pb2.Turn] = []
    for given in history:
        one = given if isinstance(given, Turn) else Turn(*given)
        if one.speaker not in _SPEAKERS:
            raise InvalidArgument(f"no speaker {one.speaker!r}: expected user or assistant")
        text = checked_text(one.text, "what was said before")
        found.append(retrieval_pb2.Turn(speaker=_SPEAKERS[one.speaker], text=text))
    return found


def context(message: retrieval_pb2.ContextResponse) -> Context:
    """Return a context."""
    return Context(
        message.query_id,
        message.searched,
        _passages(message.passages),
        message.rendered,
        message.tokens,
        message.nothing_relevant,
        message.relevance,
        tuple(message.warnings),
        message.commit_seq,
        dict(message.timings_us),
    )


def answer(message: retrieval_pb2.AnswerEnd, text: str) -> Answer:
    """Return an answer from its end. text: all of it."""
    return Answer(
        text,
        _passages(message.citations),
        context(message.context),
        message.finish_reason,
        message.prompt_tokens,
        message.answer_tokens,
        message.citations_removed,
        message.model,
    )


def replayed(message: retrieval_pb2.ReplayEnd) -> Replayed:
    """Return what a replay gave."""
    return Replayed(
        message.questions,
        message.judged,
        tuple(
            ReplayReport(
                one.name,
                *(
                    _measured(getattr(one, name)) if one.HasField(name) else None
                    for name in ("recall", "ndcg", "mrr", "overlap", "latency_ms")
                ),
            )
            for one in message.reports
        ),
    )


def _measured(message: retrieval_pb2.Estimate) -> Measured:
    return Measured(message.mean, message.low, message.high)


def _passages(messages: Sequence[retrieval_pb2.Passage]) -> tuple[Passage, ...]:
    return tuple(
        Passage(
            one.marker,
            one.document,
            one.title,
            one.section,
            one.start,
            one.end,
            one.text,
            one.score,
            one.relevance,
            tuple(one.points),
            payload_of(one.metadata),
            one.cut,
        )
        for one in messages
    )
