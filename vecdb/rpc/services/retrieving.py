"""Documents.Context: a question becomes a query, its hits are judged, passages are made of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import grpc

from vecdb.collection.collection import Collection
from vecdb.config import Config
from vecdb.embed.encoder import Role
from vecdb.errors import Corrupt, InvalidArgument, LimitExceeded, NoModel, Unavailable
from vecdb.rag import documents
from vecdb.rag.documents import SECTION, TEXT, Layout, json_bytes
from vecdb.rag.fusing import Ranked, fused
from vecdb.rag.passages import Context, Hit, Options, Place, assemble, hit_of
from vecdb.rag.prompts import language_of
from vecdb.rag.relevance import Draws, Judge, Scale, scale, sure
from vecdb.rpc.convert_query import candidates_of
from vecdb.rpc.pb import common_pb2, search_pb2
from vecdb.rpc.pb import retrieval_pb2 as pb
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.search import SearchService
from vecdb.rpc.services.text_models import TextModels
from vecdb.types import F32, Metric, Point, Schema, Space, SparseSpace, Wanted

READ_BYTES = 1 << 32
"""Of the records of documents, whose chunks are listed in them, and of neighbours."""
CANDIDATES = 50
MEANING = 2.0
"""Weight of the leg of vectors, that of words being 1, in what a cross-encoder is to read."""
PASSAGES, PASSAGES_MAX = 8, 100
PER_DOCUMENT = 3
NEIGHBOURS, NEIGHBOURS_MAX = 1, 10
BUDGET_MIN, BUDGET_MAX = 16, 1_000_000
"""Tokens of a context."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a question found. hits: with their texts, not judged yet. similarities: dense, by id.

    judge: None where a cross-encoder has judged already.
    """

    hits: list[Hit]
    similarities: dict[str, float]
    space: Space | SparseSpace | None
    judge: Judge | None
    commit_seq: int
    embed_us: int
    search_us: int
    warnings: list[str]


class Retrieving:
    """Finds what questions ask for. Safe for any number of threads."""

    def __init__(
        self, config: Config, search: SearchService, encoder: SpaceEncoder, models: TextModels
    ) -> None:
        self._config = config.documents
        self._limits = config.limits
        self._search = search
        self._encoder = encoder
        self._models = models
        self._draws = Draws()
        self._lock = threading.Lock()  # guards the next
        self._scales: dict[tuple[str, int, Metric, str], Scale | None] = {}

    def check(self, request: pb.ContextRequest) -> None:
        """Raise InvalidArgument or LimitExceeded for numbers and texts that cannot be."""
        self._check_text(request.question, "question")
        if not request.question.strip():
            raise InvalidArgument("the question is empty", field="question")
        for at, turn in enumerate(request.history):
            self._check_text(turn.text, f"history[{at}].text")
            if turn.speaker not in (pb.SPEAKER_USER, pb.SPEAKER_ASSISTANT):
                raise InvalidArgument(
                    "who said it is not set, or nobody known: expected user or assistant",
                    field=f"history[{at}].speaker",
                )
        bounds = (
            ("budget_tokens", request.budget_tokens, BUDGET_MIN, BUDGET_MAX),
            ("passages", request.passages, 1, PASSAGES_MAX),
            ("per_document", request.per_document, 1, PASSAGES_MAX),
            ("neighbours", request.neighbours, 0, NEIGHBOURS_MAX),
        )
        for name, asked, low, high in bounds:
            if asked and not low <= asked <= high:
                raise InvalidArgument(
                    f"{name} is {asked}, expected {low} to {high}", field=name, got=asked
                )
        if request.HasField("min_relevance") and not 0 <= request.min_relevance <= 1:
            raise InvalidArgument(
                f"min_relevance is {request.min_relevance}, expected 0 to 1", field="min_relevance"
            )
        self.check_retrieval(request.retrieval, "retrieval")

    def check_retrieval(self, retrieval: pb.Retrieval, field: str) -> None:
        """Raise LimitExceeded where more candidates are asked for than a query may have hits."""
        if retrieval.candidates > self._limits.k:
            raise LimitExceeded(
                f"candidates is {retrieval.candidates}, the limit is {self._limits.k}",
                field=f"{field}.candidates",
                hint="ask for fewer, or raise limits.k",
            )

    def context(
        self,
        collection: Collection,
        request: pb.ContextRequest,
        searched: str,
        context: grpc.ServicerContext,
    ) -> pb.ContextResponse:
        """Return the passages of a question. searched: what it is searched by."""
        begun = time.perf_counter_ns()
        found = self.find(collection, request, searched, context)
        judged_at = time.perf_counter_ns()
        least = self._config.min_relevance
        if request.HasField("min_relevance"):
            least = request.min_relevance
        judged = _Judged(found, least)
        options = self._options(request)
        learn = self._models.of(found.space)
        began = time.perf_counter_ns()
        made = assemble(judged, options, learn, partial(self._neighbours, collection))
        reply = _reply(made, judged)
        reply.searched = searched
        reply.commit_seq = found.commit_seq
        reply.warnings.extend(found.warnings)
        ended = time.perf_counter_ns()
        reply.timings_us["embed"] = found.embed_us
        reply.timings_us["search"] = found.search_us
        reply.timings_us["relevance"] = (began - judged_at) // 1000
        reply.timings_us["assemble"] = (ended - began) // 1000
        reply.timings_us["total"] = (ended - begun) // 1000
        return reply

    def forget(self, collection: Collection) -> None:
        """Keep nothing of a collection in memory."""
        self._draws.forget(collection)

    def find(
        self,
        collection: Collection,
        request: pb.ContextRequest,
        searched: str,
        context: grpc.ServicerContext,
    ) -> Found:
        """Return the chunks that a question finds, best first. Raises as Search.Query does."""
        for _ in range(2):
            schema = collection.schema
            found = self._find(collection, request, searched, schema, context)
            # A vector belongs to the model that a space had: it may have got another meanwhile.
            if found.space is None or collection.schema == schema:
                return found
        raise Unavailable("the schema has changed meanwhile", retry_after_s=0.01)

    def _find(
        self,
        collection: Collection,
        request: pb.ContextRequest,
        searched: str,
        schema: Schema,
        context: grpc.ServicerContext,
    ) -> Found:
        retrieval = request.retrieval
        space, fields = self._ways(schema, retrieval)
        begun = time.perf_counter_ns()
        content = common_pb2.Vector(text=searched)
        if isinstance(space, Space):
            vector = self._encoder.encode(space, [searched], Role.QUERY, context).vectors[0]
            content = common_pb2.Vector(f32=vector.astype("<f4", copy=False).tobytes())
        embedded = time.perf_counter_ns()
        query = self._query(request, searched, space, content, fields)
        answer = search_pb2.QueryResponse.FromString(self._search.Query(query, context))
        searched_at = time.perf_counter_ns()
        both = len(query.legs) == 2
        hits = [
            hit
            for one in answer.hits
            if (hit := hit_of(one.id, one.payload, one.score)) is not None
        ]
        judge = None
        if not retrieval.cross_encoder:
            judge = self._judge(collection, space, searched, context)
            if both:
                hits = _fused(hits, answer, judge)[: query.legs[0].k]
        return Found(
            hits,
            _similarities(answer, alone=not both) if isinstance(space, Space) else {},
            space,
            judge,
            answer.commit_seq,
            (embedded - begun) // 1000,
            (searched_at - embedded) // 1000,
            list(answer.warnings),
        )

    def _query(
        self,
        request: pb.ContextRequest,
        searched: str,
        space: Space | SparseSpace | None,
        content: common_pb2.Vector,
        fields: Sequence[str],
    ) -> search_pb2.QueryRequest:
        """Return the query of a question: near to its content, by its words, or both."""
        query = search_pb2.QueryRequest(
            collection=request.collection, min_commit_seq=request.min_commit_seq
        )
        k = query.k = request.retrieval.candidates or CANDIDATES
        if request.HasField("filter"):
            query.filter.CopyFrom(request.filter)
        if space is not None:
            query.legs.add(near=search_pb2.Near(space=space.name, vector=content))
        if fields:
            mode = common_pb2.KEYWORD_MODE_ANY
            words = search_pb2.Keyword(text=searched, fields=fields, mode=mode)
            query.legs.add(keyword=words)
        if len(query.legs) == 2:
            query.legs[0].weight = MEANING
            query.legs[0].k = query.legs[1].k = k
            if not request.retrieval.cross_encoder:
                query.k = min(2 * k, self._limits.k)  # all that either of them has
        if request.retrieval.cross_encoder:
            second = query.rerank.cross_encoder
            second.model, second.text = request.retrieval.cross_encoder, searched
            if space is not None:
                second.space = space.name
            else:
                second.field = TEXT
            query.rerank.candidates = candidates_of(query, k, self._limits)
        return query

    def _ways(
        self, schema: Schema, retrieval: pb.Retrieval
    ) -> tuple[Space | SparseSpace | None, list[str]]:
        """Return the space and the text fields that are searched. Raises NoModel."""
        mode = retrieval.mode
        if mode not in pb.RetrievalMode.values():
            raise InvalidArgument(f"{mode} is no mode of retrieval", field="retrieval.mode")
        spaces = self._models.spaces(schema)
        if retrieval.space:
            spaces = [one for one in spaces if one.name == retrieval.space]
        known = [one.path for one in schema.texts.values()]
        fields = [path for path in (TEXT, SECTION) if path in known]
        if mode in (pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_DENSE) and not spaces:
            raise NoModel(
                f"no space {retrieval.space!r} with a model for texts that this server has"
                if retrieval.space
                else "the collection has no space with a model for texts that this server has",
                field="retrieval.mode",
                hint="search by words: retrieval.mode keyword",
            )
        if mode in (pb.RETRIEVAL_MODE_HYBRID, pb.RETRIEVAL_MODE_KEYWORD) and TEXT not in known:
            raise InvalidArgument(
                f"the collection has no text field {TEXT!r}",
                field="retrieval.mode",
                hint="add it with Collections.Update, or search by meaning: retrieval.mode dense",
            )
        if not spaces and not fields:
            raise NoModel(
                "the collection has neither a space with a model for texts nor a text field "
                f"{TEXT!r}",
                hint="documents are put into collections that have one of them",
            )
        if mode == pb.RETRIEVAL_MODE_DENSE:
            fields = []
        if mode == pb.RETRIEVAL_MODE_KEYWORD:
            spaces = []
        return (spaces[0] if spaces else None), fields

    def _judge(
        self,
        collection: Collection,
        space: Space | SparseSpace | None,
        searched: str,
        context: grpc.ServicerContext,
    ) -> Judge:
        texts = {one.path: one.language for one in collection.schema.texts.values()}
        language = texts.get(TEXT, "")
        scale = None
        if isinstance(space, Space):
            scale = self._scale(space, language_of(searched), context)
        return Judge(self._draws.of(collection, language), searched, scale, language)

    def _scale(self, space: Space, language: str, context: grpc.ServicerContext) -> Scale | None:
        """Return the scale of a space's model, which is asked for it once."""
        assert space.model is not None
        key = space.model.fingerprint, space.dim, space.metric, language
        with self._lock:
            if key in self._scales:
                return self._scales[key]

        def probe(questions: Sequence[str], answers: Sequence[str]) -> tuple[F32, F32]:
            return (
                self._encoder.encode(space, questions, Role.QUERY, context).vectors,
                self._encoder.encode(space, answers, Role.DOCUMENT, context).vectors,
            )

        found = scale(language, space.metric, probe)
        with self._lock:
            self._scales[key] = found
        return found

    def _options(self, request: pb.ContextRequest) -> Options:
        return Options(
            request.budget_tokens or self._config.context_tokens,
            request.passages or PASSAGES,
            request.per_document or PER_DOCUMENT,
            request.neighbours if request.HasField("neighbours") else NEIGHBOURS,
            request.order == pb.PASSAGE_ORDER_DOCUMENT,
        )

    def _check_text(self, text: str, field: str) -> None:
        size, most = len(text.encode()), self._config.question_bytes
        if size > most:
            raise LimitExceeded(
                f"{field} has {size} bytes, the limit is {most}",
                field=field,
                hint="shorten it, or raise documents.question_bytes",
            )

    def _neighbours(self, collection: Collection, places: Sequence[Place]) -> Mapping[Place, Hit]:
        """Return the chunks at some places, those that are there."""
        if not places:
            return {}
        names = list(dict.fromkeys(document for document, _ in places))
        with collection.snapshot() as snapshot:
            found = snapshot.get(names, Wanted(), READ_BYTES)
            of: dict[str, Place] = {}
            layouts = {point.id: _layout(point) for point in found.points}
            for document, at in places:
                layout = layouts.get(document)
                if layout is not None and at < len(layout):
                    of[layout[at].id] = document, at
            chunks = snapshot.get(list(of), Wanted(), READ_BYTES).points
        neighbours: dict[Place, Hit] = {}
        for point in chunks:
            hit = hit_of(point.id, point.payload)
            if hit is not None:
                neighbours[of[point.id]] = hit
        return neighbours


class _Judged:
    """Hits with their relevance, those that reach the least; judged as they are asked for."""

    def __init__(self, found: Found, least: float) -> None:
        self._found = found
        self._least = least
        self.best = 0.0

    def __iter__(self) -> Iterator[Hit]:
        for hit in self._found.hits:
            judge = self._found.judge
            if judge is None:
                relevance = sure(hit.score)
            else:
                similarity = self._found.similarities.get(hit.id)
                relevance = judge.relevance(similarity, (hit.section, hit.text))
            self.best = max(self.best, relevance)
            if relevance >= self._least:
                yield hit._replace(relevance=relevance)


def _reply(made: Context, judged: _Judged) -> pb.ContextResponse:
    reply = pb.ContextResponse(
        rendered=made.rendered,
        tokens=made.tokens,
        relevance=judged.best,
        nothing_relevant=not made.passages and not made.warnings,
        warnings=made.warnings,
    )
    for marker, one in enumerate(made.passages, 1):
        best = one.best
        reply.passages.add(
            marker=marker,
            document=best.document,
            title=best.title,
            section=best.section,
            start=one.start,
            end=one.end,
            text=one.text,
            score=best.score,
            relevance=best.relevance,
            points=one.points,
            metadata=json_bytes(best.metadata) if best.metadata else b"",
            cut=one.cut,
        )
    return reply


def _similarities(answer: search_pb2.QueryResponse, *, alone: bool) -> dict[str, float]:
    """Return what the leg of vectors, the first, says of each hit. alone: there is no other."""
    if alone:
        return {hit.id: hit.legs[0].score if hit.legs else hit.score for hit in answer.hits}
    return {hit.id: leg.score for hit in answer.hits for leg in hit.legs if leg.leg == 0}


def _fused(hits: Sequence[Hit], answer: search_pb2.QueryResponse, judge: Judge) -> list[Hit]:
    """Return the hits of two legs, that of vectors and that of words, as one list."""
    ranks = {hit.id: {leg.leg: leg.rank for leg in hit.legs} for hit in answer.hits}
    ranked = [Ranked(hit, ranks[hit.id].get(0), ranks[hit.id].get(1)) for hit in hits]
    return fused(ranked, lambda hit: judge.covered((hit.section, hit.text)))


def _layout(point: Point) -> Layout | None:
    """Return the chunks of a document, None of a point that is none, or a damaged one."""
    try:
        stored = documents.stored_of(point.id, point.version, point.payload)
    except Corrupt:
        return None
    return None if stored is None else stored.layout
