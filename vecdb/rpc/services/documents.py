"""Documents: put, read, listed, removed, and asked for what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

import grpc

from vecdb.collection.collection import Collection
from vecdb.collection.paging import Listing
from vecdb.config import Config
from vecdb.database import Database
from vecdb.embed.client import Encoders
from vecdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LimitExceeded,
    VersionMismatch,
)
from vecdb.metrics import Metrics
from vecdb.outcomes import WriteOutcome
from vecdb.rag import documents
from vecdb.rag.documents import LAYOUT, Stored
from vecdb.rag.reading import Readers
from vecdb.rpc.deadline import deadline_of, remaining_s
from vecdb.rpc.dispatch import waits
from vecdb.rpc.pb import documents_pb2 as pb
from vecdb.rpc.pb import documents_pb2_grpc, points_pb2, retrieval_pb2
from vecdb.rpc.services.answering import Answering
from vecdb.rpc.services.contents import ContentEncoder
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.putting import Putting, media_type_of
from vecdb.rpc.services.query_log import QueryLog
from vecdb.rpc.services.reads import check_reply, checked_filter, page_size_of
from vecdb.rpc.services.replaying import replay
from vecdb.rpc.services.retrieving import Retrieving
from vecdb.rpc.services.search import SearchService
from vecdb.rpc.services.text_models import TextModels
from vecdb.segment.times import rfc3339
from vecdb.types import And, Exists, Point, Wanted
from vecdb.write.prepare import check_batch, check_id, prepare

READ_BYTES = 1 << 32
"""Of the records of documents, which list their chunks: replies are smaller, and checked."""
WRITES = 32
"""Under way at once of one call: others have their place in the writer's queue."""
ATTEMPTS = 3


class DocumentsService(documents_pb2_grpc.DocumentsServicer):
    """Serves vecdb.v1.Documents."""

    def __init__(
        self,
        config: Config,
        database: Database,
        encoders: Encoders,
        encoder: SpaceEncoder,
        search: SearchService,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._encoders = encoders
        self._config = config
        self._limits = config.limits
        self._readers = Readers(config.documents)
        models = TextModels(encoders, encoder)
        contents = ContentEncoder(encoder, config.limits)
        self._putting = Putting(config, self._readers, contents, models, metrics)
        self._retrieving = Retrieving(config, search, encoder, models)
        self._log = QueryLog(database, config)
        self._answering = Answering(config, database, self._retrieving, self._log, metrics)

    def close(self) -> None:
        """End the processes that read documents, and write what is to be logged."""
        self._readers.close()
        self._answering.close()
        self._log.close()

    @waits
    def Put(
        self, request: pb.PutDocumentsRequest, context: grpc.ServicerContext
    ) -> pb.PutDocumentsResponse:
        """Store documents."""
        count, most = len(request.documents), self._config.documents.put_items
        if not count:
            raise InvalidArgument("documents is empty: expected at least one", field="documents")
        if count > most:
            raise LimitExceeded(
                f"{count} documents, the limit is {most}",
                field="documents",
                hint="send several requests, or raise documents.put_items",
            )
        with self._database.collection(request.collection) as collection:
            return self._putting.put(collection, request, context)

    def Get(
        self, request: pb.GetDocumentsRequest, context: grpc.ServicerContext
    ) -> pb.GetDocumentsResponse:
        """Return documents by id."""
        check_batch(len(request.ids), self._limits, "ids")
        reply = pb.GetDocumentsResponse()
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            points = snapshot.get(request.ids, Wanted(), READ_BYTES).points
            found = {one.id: one for one in points}
            for name in dict.fromkeys(request.ids):
                stored = _stored(found.get(name))
                if stored is None:
                    reply.missing.append(name)
                    continue
                content = b""
                if request.with_content:
                    ids = [stored.layout[at].id for at in range(len(stored.layout))]
                    chunks = snapshot.get(ids, Wanted(), READ_BYTES).points if ids else []
                    texts = {one.id: _text(one.payload) for one in chunks}
                    content = documents.whole_text(stored.layout, texts).encode()
                reply.documents.append(_message(stored, content))
                check_reply(reply.ByteSize() if content else 0, self._limits)
        check_reply(reply.ByteSize(), self._limits)
        return reply

    def List(
        self, request: pb.ListDocumentsRequest, context: grpc.ServicerContext
    ) -> pb.ListDocumentsResponse:
        """Return a page of documents by id."""
        size = page_size_of(request, self._limits)
        chosen = checked_filter(request, self._limits)
        are_documents = Exists(LAYOUT)
        listing = Listing(are_documents if chosen is None else And((are_documents, chosen)))
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            page = snapshot.page(
                listing, size, request.page_token, Wanted(), self._limits.message_bytes // 2
            )
        points = points_pb2.ListPointsResponse.FromString(page.points).points
        reply = pb.ListDocumentsResponse(next_page_token=page.next_token)
        for point in points:
            stored = documents.stored_of(point.id, point.version, point.payload)
            if stored is not None:
                reply.documents.append(_message(stored, b""))
        return reply

    @waits
    def Delete(
        self, request: pb.DeleteDocumentsRequest, context: grpc.ServicerContext
    ) -> pb.DeleteDocumentsResponse:
        """Remove documents, and with `erase` their bytes from the disk."""
        check_batch(len(request.ids), self._limits, "ids")
        for at, name in enumerate(request.ids):
            check_id(name, f"ids[{at}]")
        names = list(dict.fromkeys(request.ids))
        reply = pb.DeleteDocumentsResponse()
        with self._database.collection(request.collection) as collection:
            for first in range(0, len(names), WRITES):
                self._delete(collection, names[first : first + WRITES], context, reply)
            if request.erase:
                self._erase(collection, names, reply, context)
        return reply

    def Context(
        self, request: retrieval_pb2.ContextRequest, context: grpc.ServicerContext
    ) -> retrieval_pb2.ContextResponse:
        """Return the passages that a question is answered from."""
        return self._answering.context(request, context)

    def Answer(
        self, request: retrieval_pb2.AnswerRequest, context: grpc.ServicerContext
    ) -> Iterator[retrieval_pb2.AnswerResponse | None]:
        """Yield an answer as it is written, and its end."""
        yield from self._answering.answer(request, context)

    def Feedback(
        self, request: retrieval_pb2.FeedbackRequest, context: grpc.ServicerContext
    ) -> retrieval_pb2.FeedbackResponse:
        """Store what was right for a question."""
        self._log.judge(request, remaining_s(context))
        return retrieval_pb2.FeedbackResponse()

    def Replay(
        self, request: retrieval_pb2.ReplayRequest, context: grpc.ServicerContext
    ) -> Iterator[retrieval_pb2.ReplayResponse | None]:
        """Yield how far a replay is, and what it gave."""
        yield from replay(self._log, self._retrieving, self._database, request, context)

    def _delete(
        self,
        collection: Collection,
        names: Sequence[str],
        context: grpc.ServicerContext,
        reply: pb.DeleteDocumentsResponse,
    ) -> None:
        """Remove documents, each in a transaction of its own; they wait for the disk together."""
        left = list(names)
        for attempt in range(1, ATTEMPTS + 1):
            with collection.snapshot() as snapshot:
                found = {one.id: one for one in snapshot.get(left, Wanted(), READ_BYTES).points}
            known = {name: _stored(found.get(name)) for name in left}
            reply.missing.extend(name for name, stored in known.items() if stored is None)
            begun = [
                (stored, self._removed(collection, stored))
                for stored in known.values()
                if stored is not None
            ]
            left = []
            for stored, written in begun:
                try:
                    outcome = written.result(remaining_s(context))
                except FutureTimeout:
                    raise DeadlineExceeded(
                        "the deadline passed before all was removed; it may still become so",
                        hint="delete them again",
                    ) from None
                except VersionMismatch:  # it was put meanwhile
                    if attempt == ATTEMPTS:
                        raise
                    left.append(stored.id)
                    continue
                reply.commit_seq = max(reply.commit_seq, outcome.commit_seq)
                reply.documents += 1
                reply.chunks += len(stored.layout)
            if not left:
                return

    def _removed(self, collection: Collection, stored: Stored) -> Future[WriteOutcome]:
        command = prepare(
            documents.removal(stored),
            collection.schema,
            self._putting.limits,
            atomic=True,
            now_ms=collection.clock(),
        )
        return collection.write(command)

    def _erase(
        self,
        collection: Collection,
        names: Sequence[str],
        reply: pb.DeleteDocumentsResponse,
        context: grpc.ServicerContext,
    ) -> None:
        """Overwrite what was removed, also by earlier calls, and say so."""
        erased = collection.erase(deadline_of(context))
        self._encoders.forget(remaining_s(context))
        self._retrieving.forget(collection)
        receipt = reply.receipt
        receipt.document_sha256.extend(hashlib.sha256(name.encode()).hexdigest() for name in names)
        receipt.erased_at = rfc3339(1000 * collection.clock())
        receipt.points = reply.documents + reply.chunks
        receipt.pages, receipt.segments = erased.pages, erased.segments
        receipt.collection_uuid = collection.uuid
        receipt.commit_seq = reply.commit_seq


def _stored(point: Point | None) -> Stored | None:
    return None if point is None else documents.stored_of(point.id, point.version, point.payload)


def _message(stored: Stored, content: bytes) -> pb.Document:
    known = stored.payload
    metadata = known.get(documents.METADATA)
    return pb.Document(
        id=stored.id,
        title=str(known.get(documents.TITLE, "")),
        content=content,
        media_type=media_type_of(str(known.get("media_type", ""))),
        metadata=json.dumps(metadata, ensure_ascii=False).encode() if metadata else b"",
        sha256=str(known.get("sha256", "")),
        characters=int(known.get("characters", 0)),
        chunks=len(stored.layout),
        put_at=str(known.get("put_at", "")),
        version=stored.version,
    )


def _text(payload: bytes) -> str:
    return str(json.loads(payload or b"{}").get(documents.TEXT, ""))
