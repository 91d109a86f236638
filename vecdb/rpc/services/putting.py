"""Documents.Put: read, cut, compare with what is stored, encode what is new, write.

All documents of a call are encoded together, so that the model has full batches, and written one by
one: each in a transaction of its own, which holds only if the document is as it was looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field, replace

import grpc

from vecdb.collection.collection import Collection
from vecdb.config import Config, LimitsConfig
from vecdb.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LimitExceeded,
    NoModel,
    PointNotFound,
    VecdbError,
    VersionMismatch,
    by_reason,
)
from vecdb.metrics import Metrics
from vecdb.outcomes import WriteOutcome
from vecdb.rag import documents
from vecdb.rag.chunking import chunk
from vecdb.rag.documents import Described, Plan, Stored
from vecdb.rag.reading import MediaKind, Readers, sniff
from vecdb.rag.texts import Text
from vecdb.rag.token_counts import Learn
from vecdb.rpc.deadline import remaining_s
from vecdb.rpc.pb import documents_pb2 as pb
from vecdb.rpc.services.contents import ContentEncoder
from vecdb.rpc.services.text_models import TextModels
from vecdb.segment.times import rfc3339
from vecdb.types import Op, Put, Schema, Wanted
from vecdb.write.prepare import check_id, prepare

READ_BYTES = 1 << 32
"""Of the records of documents, whose chunks are listed in them."""
WRITES = 32
"""Under way at once of one call: others have their place in the writer's queue."""
ATTEMPTS = 3
"""Times that a document is put: another call may write it meanwhile."""
TOKENS_MIN, TOKENS_MAX = 16, 8_192
SECTION_SHARE = 4
"""A section's headings have at most this part of what the model reads, the chunk has the rest."""

KINDS = {
    pb.MEDIA_TYPE_UNSPECIFIED: MediaKind.UNKNOWN,
    pb.MEDIA_TYPE_TEXT: MediaKind.TEXT,
    pb.MEDIA_TYPE_MARKDOWN: MediaKind.MARKDOWN,
    pb.MEDIA_TYPE_HTML: MediaKind.HTML,
    pb.MEDIA_TYPE_PDF: MediaKind.PDF,
}


@dataclass(frozen=True, slots=True)
class _Cut:
    """How texts are cut for a collection. learn: makes what counts tokens as its model does."""

    spaces: tuple[str, ...]
    learn: Learn
    tokens: int
    overlap: int


@dataclass(slots=True)
class _Task:
    """One document of a call, as far as it came. put: hash of what decides what is stored."""

    at: int
    message: pb.Document
    metadata: bytes = b""
    sha256: str = ""
    put: str = ""
    stored: Stored | None = None
    text: Text | None = None
    plan: Plan | None = None
    result: pb.PutDocumentResult = field(default_factory=pb.PutDocumentResult)
    written: Future[WriteOutcome] | None = None
    error: VecdbError | None = None
    done: bool = False


class Putting:
    """Puts the documents of requests. Safe for any number of threads."""

    def __init__(
        self,
        config: Config,
        readers: Readers,
        contents: ContentEncoder,
        models: TextModels,
        metrics: Metrics,
    ) -> None:
        self._config = config.documents
        # A document's chunks are one command, whatever one request of points may have.
        most = max(config.limits.batch_items, 2 * config.documents.document_chunks + 1)
        self.limits: LimitsConfig = replace(config.limits, batch_items=most)
        """Of the operations of one document."""
        self._readers = readers
        self._contents = contents
        self._models = models
        self._metrics = metrics

    def put(
        self,
        collection: Collection,
        request: pb.PutDocumentsRequest,
        context: grpc.ServicerContext,
    ) -> pb.PutDocumentsResponse:
        """Store the documents of a request; what is wrong with one is its own result."""
        collection.check_room()  # before they are read and encoded
        tasks = [_Task(at, message) for at, message in enumerate(request.documents)]
        cut = self._cut(collection.schema, request.chunking)
        ttl_ms = request.ttl_ms or None
        self._check(tasks, cut, ttl_ms)
        for attempt in range(ATTEMPTS):
            open_tasks = [task for task in tasks if not task.done]
            if not open_tasks:
                break
            self._look(collection, open_tasks)
            self._plan(collection, open_tasks, cut, ttl_ms, context, anew=attempt > 0)
            self._encode(collection, open_tasks, context)
            for first in range(0, len(open_tasks), WRITES):
                part = open_tasks[first : first + WRITES]
                self._write(collection, part, context)
                self._settle(part, remaining_s(context), give_up=attempt == ATTEMPTS - 1)
        reply = pb.PutDocumentsResponse(results=[task.result for task in tasks])
        reply.commit_seq = max((task.result.commit_seq for task in tasks), default=0)
        self._count(tasks)
        return reply

    # --- what is asked

    def _cut(self, schema: Schema, asked: pb.Chunking) -> _Cut:
        """Return how to cut for a collection. Raises NoModel, InvalidArgument."""
        spaces = self._models.spaces(schema)
        models = [self._models.model_of(space) for space in spaces]
        if not spaces and not any(one.path == documents.TEXT for one in schema.texts.values()):
            raise NoModel(
                "the collection has neither a space with a model for texts nor a text field "
                f"{documents.TEXT!r}: documents could not be found in it",
                hint="create it with a space of a model and the text fields text and section",
            )
        tokens = asked.tokens or self._config.chunk_tokens
        overlap = asked.overlap if asked.HasField("overlap") else self._config.overlap_tokens
        if not TOKENS_MIN <= tokens <= TOKENS_MAX:
            raise InvalidArgument(
                f"chunks of {tokens} tokens: expected {TOKENS_MIN} to {TOKENS_MAX}",
                field="chunking.tokens",
            )
        # Special tokens and a prompt are read too; 8 is more than the models of the catalogue add.
        room = [model.max_tokens - model.max_tokens // SECTION_SHARE - 8 for model in models]
        tokens = max(TOKENS_MIN, min([tokens, *room]))
        if asked.HasField("overlap") and 2 * overlap >= tokens:
            raise InvalidArgument(
                f"chunks of {tokens} tokens cannot repeat {overlap} of the one before: expected "
                "less than half",
                field="chunking.overlap",
            )
        learn = self._models.of(spaces[0] if spaces else None)
        return _Cut(
            tuple(space.name for space in spaces), learn, tokens, min(overlap, (tokens - 1) // 2)
        )

    def _check(self, tasks: Sequence[_Task], cut: _Cut, ttl_ms: int | None) -> None:
        """Find out what each document is; refuse those that are wrong."""
        names: set[str] = set()
        for task in tasks:
            message, where = task.message, f"documents[{task.at}]"
            task.result.id = message.id
            try:
                check_id(message.id, f"{where}.id")
                if message.id in names:
                    raise InvalidArgument(
                        f"document {message.id!r} stands twice in the request", field=f"{where}.id"
                    )
                names.add(message.id)
                self._readers.check(message.content)
                if len(message.metadata) > self.limits.metadata_bytes:
                    raise LimitExceeded(
                        f"the metadata has {len(message.metadata)} bytes, the limit is "
                        f"{self.limits.metadata_bytes}",
                        field=f"{where}.metadata",
                        hint="each chunk has it too: keep it short, or raise limits.metadata_bytes",
                    )
                task.metadata = documents.checked_metadata(message.metadata, f"{where}.metadata")
            except VecdbError as error:
                _refuse(task, error)
                continue
            task.sha256 = hashlib.sha256(message.content).hexdigest()
            task.put = documents.put_hash(
                task.sha256,
                message.title,
                message.media_type,
                task.metadata.decode(),
                sorted(cut.spaces),
                cut.tokens,
                cut.overlap,
            )

    # --- a document's way

    def _look(self, collection: Collection, tasks: Sequence[_Task]) -> None:
        """Find out what is stored of the documents."""
        with collection.snapshot() as snapshot:
            ids = [task.message.id for task in tasks]
            found = snapshot.get(ids, Wanted(), READ_BYTES)
        points = {point.id: point for point in found.points}
        for task in tasks:
            point = points.get(task.message.id)
            task.stored = None
            if point is None:
                continue
            try:
                task.stored = documents.stored_of(point.id, point.version, point.payload)
                if task.stored is None:
                    raise InvalidArgument(
                        f"{point.id!r} is a point that is not a document",
                        field=f"documents[{task.at}].id",
                        hint="give the document another id, or delete the point",
                    )
            except VecdbError as error:
                _refuse(task, error)

    def _plan(
        self,
        collection: Collection,
        tasks: Sequence[_Task],
        cut: _Cut,
        ttl_ms: int | None,
        context: grpc.ServicerContext,
        *,
        anew: bool,
    ) -> None:
        """Find out what is to be written. anew: take nothing that is stored for granted."""
        for task in tasks:
            if task.done:
                continue
            stored = task.stored
            if stored is not None and stored.put == task.put and ttl_ms is None and not anew:
                task.result.kept = len(stored.layout)
                task.result.characters = int(stored.payload.get("characters", 0))
                task.result.commit_seq = stored.version
                task.done = True
                continue
            try:
                self._plan_one(collection, task, cut, ttl_ms, context, anew=anew)
            except VecdbError as error:
                error.field = error.field or f"documents[{task.at}].content"
                _refuse(task, error)

    def _plan_one(
        self,
        collection: Collection,
        task: _Task,
        cut: _Cut,
        ttl_ms: int | None,
        context: grpc.ServicerContext,
        *,
        anew: bool,
    ) -> None:
        message = task.message
        if task.text is None:
            task.text = self._readers.read(message.content, _kind(message), remaining_s(context))
        text = task.text
        count, most = cut.learn(text.text), self._config.document_chunks
        chunks = chunk(text, count, cut.tokens, cut.overlap, most)
        described = Described(
            id=message.id,
            title=message.title or text.title or message.id,
            media_type=_kind(message).name.lower(),
            metadata=task.metadata,
            sha256=task.sha256,
            characters=len(text.text),
            put=task.put,
            put_at=rfc3339(1000 * collection.clock()),
        )
        task.plan = documents.plan(described, chunks, task.stored, cut.spaces, ttl_ms, anew=anew)
        task.result.added, task.result.kept = task.plan.added, task.plan.kept
        task.result.removed = task.plan.removed
        task.result.characters = len(text.text)
        task.result.tokens = task.plan.tokens
        del task.result.warnings[:]
        task.result.warnings.extend(text.warnings)

    def _encode(
        self, collection: Collection, tasks: Sequence[_Task], context: grpc.ServicerContext
    ) -> None:
        """Give the new chunks of all documents their vectors."""
        ops: list[Op] = []
        of: list[_Task] = []
        for task in tasks:
            if task.plan is not None and not task.done:
                new = [one for one in task.plan.ops if isinstance(one, Put) and one.texts]
                ops += new
                of += [task] * len(new)
        if not ops:
            return
        refused: dict[int, VecdbError] = {}
        truncated = self._contents.encode_ops(collection.schema, ops, refused, context)
        for position, error in refused.items():
            if not of[position].done:
                error.field = f"documents[{of[position].at}].content"
                _refuse(of[position], error)
        for task in {id(of[at]): of[at] for at in truncated}.values():
            task.result.warnings.append("chunks were longer than the model reads: they were cut")

    def _write(
        self, collection: Collection, tasks: Sequence[_Task], context: grpc.ServicerContext
    ) -> None:
        schema = collection.schema
        for task in tasks:
            if task.done or task.plan is None:
                continue
            try:
                command = prepare(
                    task.plan.ops,
                    schema,
                    self.limits,
                    atomic=True,
                    now_ms=collection.clock(),
                    ttl_ms=collection.ttl_ms,
                )
                task.written = collection.write(command, is_wanted=context.is_active, schema=schema)
            except VecdbError as error:
                _refuse(task, error)

    def _settle(self, tasks: Sequence[_Task], timeout_s: float | None, *, give_up: bool) -> None:
        """Wait for the writes; those that met another call's stay open unless to give up."""
        for task in tasks:
            if task.done or task.written is None:
                continue
            written, task.written = task.written, None
            try:
                outcome = written.result(timeout_s)
            except FutureTimeout:
                _refuse(
                    task,
                    DeadlineExceeded(
                        "the deadline passed before the document was durable",
                        hint="put it again: what is there already costs nothing",
                    ),
                )
                continue
            except VecdbError as error:
                if give_up or not isinstance(error, (PointNotFound, VersionMismatch)):
                    _refuse(task, error)
                continue
            failed = next((one for one in outcome.results if one.reason), None)
            if failed is None:
                task.result.commit_seq = outcome.commit_seq
                task.done = True
            elif give_up:
                _refuse(task, by_reason(failed.reason)(failed.message))

    def _count(self, tasks: Sequence[_Task]) -> None:
        counts = self._metrics.document_puts
        for task in tasks:
            added = task.result.added + task.result.removed
            counts.labels("refused" if task.error else "stored" if added else "kept").inc()
        for what in ("added", "kept", "removed"):
            total = sum(getattr(task.result, what) for task in tasks)
            self._metrics.document_chunks.labels(what).inc(total)


def _refuse(task: _Task, error: VecdbError) -> None:
    task.error = error
    task.done = True
    told = pb.PutDocumentResult(id=task.message.id)
    told.error.reason, told.error.message = error.reason, str(error)
    task.result.CopyFrom(told)


def _kind(message: pb.Document) -> MediaKind:
    kind = KINDS.get(message.media_type, MediaKind.UNKNOWN)
    return sniff(message.content) if kind is MediaKind.UNKNOWN else kind


def media_type_of(name: str) -> pb.MediaType:
    """Return the media type that a stored document's name of it means."""
    return next(
        (number for number, kind in KINDS.items() if kind.name.lower() == name),
        pb.MEDIA_TYPE_UNSPECIFIED,
    )
