"""The documents of a collection: put, read, removed, and asked for what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from vecdb_client import document_types, requests
from vecdb_client.document_types import (
    Answer,
    Context,
    DeletedDocuments,
    Document,
    DocumentLike,
    PassageOrder,
    PutDocument,
    Replayed,
    Retrieval,
    Speaker,
    Turn,
)
from vecdb_client.errors import InvalidArgument, NotFound, Unavailable
from vecdb_client.filters import Filter, filter_message
from vecdb_client.pb import documents_pb2, retrieval_pb2
from vecdb_client.progress import Progress, shown
from vecdb_client.protocol import (
    ANSWER,
    CONTEXT,
    DELETE_DOCUMENTS,
    FEEDBACK,
    GET_DOCUMENTS,
    LIST_DOCUMENTS,
    PUT_DOCUMENTS,
    REPLAY,
)
from vecdb_client.transport import Transport

PUT_S: Final = 600.0
ERASE_S: Final = 600.0
CALL_DOCUMENTS: Final = 64
CALL_BYTES: Final = 256 << 10
"""What a call puts, one larger document aside: some ten seconds of a model on two cores."""
DEFAULT: Final = Retrieval()


class Documents:
    """The documents of a collection, by its name. Threads may share it. Made by Client."""

    def __init__(self, transport: Transport, name: str) -> None:
        self.name = requests.checked_text(name, "a collection's name")
        self._transport = transport

    def __repr__(self) -> str:
        return f"Documents({self.name!r} at {self._transport.address!r})"

    def put(
        self,
        documents: DocumentLike | Iterable[DocumentLike],
        *,
        chunk_tokens: int = 0,
        overlap: int | None = None,
        ttl_s: float = 0.0,
        progress: Progress | bool | None = None,
        timeout_s: float = PUT_S,
    ) -> list[PutDocument]:
        """Store documents and return what became of each: see `error` of those that were refused.

        What is unchanged since it was put costs next to nothing; of the rest only new chunks are
        encoded. Any number of documents: they are sent in parts, read from the iterable as they
        are needed, each with a deadline of timeout_s. chunk_tokens, overlap: how texts are cut, 0
        and None for the server's own. progress: told of documents done, or True for a bar.
        Raises NotFound, FailedPrecondition (NO_MODEL), InvalidArgument.
        """
        given = [documents] if isinstance(documents, (Document, Mapping)) else documents
        chunking = documents_pb2.Chunking(tokens=chunk_tokens, overlap=overlap)
        found: list[PutDocument] = []
        with shown(progress, f"documents of {self.name}") as told:
            for part in _parts(given):
                request = documents_pb2.PutDocumentsRequest(
                    collection=self.name,
                    documents=part,
                    chunking=chunking,
                    ttl_ms=round(ttl_s * 1000),
                )
                reply = self._transport.call(PUT_DOCUMENTS, request, timeout_s=timeout_s)
                found += [document_types.put_document(one) for one in reply.results]
                if told:
                    told(len(found), None)
        return found

    def get(
        self, id: str, *, with_content: bool = False, timeout_s: float | None = None
    ) -> Document:
        """Return a document. with_content: with its text. Raises NotFound."""
        request = documents_pb2.GetDocumentsRequest(
            collection=self.name,
            ids=[requests.checked_text(id, "a document's id")],
            with_content=with_content,
        )
        reply = self._transport.call(GET_DOCUMENTS, request, timeout_s=timeout_s)
        if not reply.documents:
            raise NotFound(f"no document {id!r} in {self.name}", call=GET_DOCUMENTS.name)
        return document_types.document(reply.documents[0])

    def list(
        self,
        filter: Filter | None = None,
        *,
        page_size: int = 0,
        timeout_s: float | None = None,
    ) -> Iterator[Document]:
        """Yield documents in the order of their ids, without their texts.

        filter: of documents, such as ``F("metadata.author") == "Ada"``. page_size: of each call.
        """
        request = documents_pb2.ListDocumentsRequest(
            collection=self.name, filter=filter_message(filter), page_size=page_size
        )
        while True:
            reply = self._transport.call(LIST_DOCUMENTS, request, timeout_s=timeout_s)
            for message in reply.documents:
                yield document_types.document(message)
            request.page_token = reply.next_page_token
            if not request.page_token:
                return

    def delete(
        self,
        ids: str | Iterable[str],
        *,
        erase: bool = False,
        timeout_s: float | None = None,
    ) -> DeletedDocuments:
        """Remove documents. erase: their bytes are gone from the server's disk when it returns."""
        names = [ids] if isinstance(ids, str) else list(ids)
        request = documents_pb2.DeleteDocumentsRequest(
            collection=self.name,
            ids=[requests.checked_text(one, "a document's id") for one in names],
            erase=erase,
        )
        limit_s = ERASE_S if erase and timeout_s is None else timeout_s
        reply = self._transport.call(DELETE_DOCUMENTS, request, timeout_s=limit_s)
        return document_types.deleted(reply)

    def context(
        self,
        question: str,
        *,
        history: Iterable[Turn | tuple[Speaker, str]] = (),
        retrieval: Retrieval = DEFAULT,
        filter: Filter | None = None,
        budget_tokens: int = 0,
        passages: int = 0,
        per_document: int = 0,
        neighbours: int | None = None,
        order: PassageOrder = "relevance",
        min_relevance: float | None = None,
        condense: bool | None = None,
        min_commit_seq: int = 0,
        timeout_s: float | None = None,
    ) -> Context:
        """Return the passages that a question is answered from, fitted into a budget of tokens.

        history: what was said before, oldest first; a question that leans on it is searched
        together with it. filter: of chunks: ``F("document")``, ``F("metadata.author")``. passages,
        per_document: at most so many, 0 for 8 and 3. neighbours: chunks added around each, None for
        1. min_relevance: 0 keeps everything. Raises NotFound, FailedPrecondition, InvalidArgument.
        """
        request = _context_request(
            self.name, question, history, retrieval, filter, order, min_commit_seq
        )
        _fill(request, budget_tokens, passages, per_document, neighbours, min_relevance, condense)
        reply = self._transport.call(CONTEXT, request, timeout_s=timeout_s)
        return document_types.context(reply)

    def answer(
        self,
        question: str,
        *,
        history: Iterable[Turn | tuple[Speaker, str]] = (),
        retrieval: Retrieval = DEFAULT,
        filter: Filter | None = None,
        budget_tokens: int = 0,
        passages: int = 0,
        per_document: int = 0,
        neighbours: int | None = None,
        order: PassageOrder = "relevance",
        min_relevance: float | None = None,
        condense: bool | None = None,
        min_commit_seq: int = 0,
        language: str = "",
        max_tokens: int = 0,
    ) -> Iterator[str | Answer]:
        """Yield an answer as the server's language model writes it; last of all an Answer.

        As context() otherwise. language: "en", "zh", "" for the question's own. To stop reading
        ends it. Raises FailedPrecondition (NO_LANGUAGE_MODEL), Unavailable where it breaks off.
        """
        request = retrieval_pb2.AnswerRequest(
            context=_context_request(
                self.name, question, history, retrieval, filter, order, min_commit_seq
            ),
            language=language,
            max_tokens=max_tokens,
        )
        of = request.context
        _fill(of, budget_tokens, passages, per_document, neighbours, min_relevance, condense)
        pieces: list[str] = []
        for reply in self._transport.stream(ANSWER, request):
            if reply.HasField("end"):
                yield document_types.answer(reply.end, "".join(pieces))
                return
            pieces.append(reply.delta)
            yield reply.delta
        raise Unavailable("the answer broke off", call=ANSWER.name)

    def feedback(
        self,
        query_id: str,
        judgements: Mapping[str, float] | None = None,
        *,
        helpful: bool | None = None,
        comment: str = "",
        timeout_s: float | None = None,
    ) -> None:
        """Say what was right for a question: ids of documents or chunks, with grades from 0.

        Raises FailedPrecondition (NOT_LOGGED), NotFound.
        """
        request = retrieval_pb2.FeedbackRequest(
            query_id=query_id,
            judgements=[
                retrieval_pb2.Judgement(id=name, grade=grade)
                for name, grade in (judgements or {}).items()
            ],
            comment=requests.checked_text(comment, "a comment"),
        )
        if helpful is not None:
            request.helpful = helpful
        self._transport.call(FEEDBACK, request, timeout_s=timeout_s)

    def replay(
        self,
        retrievals: Iterable[Retrieval],
        *,
        questions: int = 0,
        judged: bool = False,
        k: int = 0,
        progress: Progress | bool | None = None,
    ) -> Replayed:
        """Ask logged questions again in several ways and return how the ways compare.

        questions: the latest so many, 0 for 1,000. judged: only those that have judgements. k:
        documents that are compared, 0 for 10. Raises FailedPrecondition (NOT_LOGGED).
        """
        request = retrieval_pb2.ReplayRequest(
            collection=self.name,
            retrievals=[document_types.retrieval_message(one) for one in retrievals],
            questions=questions,
            judged=judged,
            k=k,
        )
        with shown(progress, f"questions of {self.name}") as told:
            for reply in self._transport.stream(REPLAY, request):
                if reply.HasField("end"):
                    return document_types.replayed(reply.end)
                if told:
                    told(reply.progress.done, reply.progress.questions)
        raise Unavailable("the replay broke off", call=REPLAY.name)


def _context_request(
    collection: str,
    question: str,
    history: Iterable[Turn | tuple[Speaker, str]],
    retrieval: Retrieval,
    filter: Filter | None,
    order: PassageOrder,
    min_commit_seq: int,
) -> retrieval_pb2.ContextRequest:
    orders = {
        "relevance": retrieval_pb2.PASSAGE_ORDER_RELEVANCE,
        "document": retrieval_pb2.PASSAGE_ORDER_DOCUMENT,
    }
    if order not in orders:
        raise InvalidArgument(f"no order {order!r}: expected relevance or document")
    return retrieval_pb2.ContextRequest(
        collection=collection,
        question=requests.checked_text(question, "a question"),
        history=document_types.turn_messages(history),
        retrieval=document_types.retrieval_message(retrieval),
        filter=filter_message(filter),
        order=orders[order],
        min_commit_seq=min_commit_seq,
    )


def _fill(
    request: retrieval_pb2.ContextRequest,
    budget_tokens: int,
    passages: int,
    per_document: int,
    neighbours: int | None,
    min_relevance: float | None,
    condense: bool | None,
) -> None:
    """Say how much is wanted. Raises InvalidArgument for what is no number of the wire."""
    try:
        request.budget_tokens = budget_tokens
        request.passages = passages
        request.per_document = per_document
        if neighbours is not None:
            request.neighbours = neighbours
        if min_relevance is not None:
            request.min_relevance = min_relevance
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"budget, passages and neighbours are numbers from 0: {error}"
        ) from None
    if condense is not None:
        request.condense = condense


def _parts(documents: Iterable[DocumentLike]) -> Iterator[list[documents_pb2.Document]]:
    """Yield messages, as many as a call takes."""
    part: list[documents_pb2.Document] = []
    size = 0
    for one in documents:
        message = document_types.document_message(one)
        if part and (len(part) == CALL_DOCUMENTS or size + len(message.content) > CALL_BYTES):
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.content)
    if part:
        yield part
