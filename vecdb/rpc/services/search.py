"""Search: the nearest points, the best words, and both together."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import grpc

from vecdb.collection.asked import AnyQuery, Asked
from vecdb.collection.collection import Collection
from vecdb.collection.snapshot import Snapshot
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.errors import Unavailable, VecdbError
from vecdb.metrics import Metrics
from vecdb.multi import MultiQuery
from vecdb.outcomes import QueryResult
from vecdb.query.fusion import Fusion, Rrf
from vecdb.query.keyword import check_words
from vecdb.query.order import OrderBy, OrderQuery
from vecdb.rpc.convert import content_of, match_of, sparse_vector, vector_array
from vecdb.rpc.convert_aggregate import checked_path, value_message
from vecdb.rpc.convert_highlight import highlights_of
from vecdb.rpc.convert_query import (
    candidates_of,
    check_query,
    fusion_of,
    group_of,
    leg_k,
    paged,
    weights_of,
)
from vecdb.rpc.convert_recommend import recommended
from vecdb.rpc.convert_reorder import ahead_of, boost_of, hits_needed, mmr_of
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.dispatch import quick_when
from vecdb.rpc.pb import common_pb2, search_pb2_grpc
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.services.batch import Batch, KnownTexts
from vecdb.rpc.services.encode import IMAGE, TEXT, QueryContent, SpaceEncoder
from vecdb.rpc.services.explain import explain
from vecdb.rpc.services.fitting import FittingContent
from vecdb.rpc.services.reads import check_reply, checked_filter, wanted_of
from vecdb.rpc.services.rerank import second_look, several
from vecdb.rpc.services.slow import SlowQueries
from vecdb.types import (
    F32,
    Filter,
    KeywordQuery,
    Query,
    Space,
    SparseQuery,
    SparseSpace,
    SparseVector,
    Wanted,
)
from vecdb.write.prepare import unknown_space
from vecdb.write.sparse import checked_sparse

BY_RANK = Rrf()
_MORE = "min_score", "fusion", "payload_mask", "highlights", "page_token"


def _is_plain(request: pb.QueryRequest) -> bool:
    """Return whether a query costs little: a walk near to numbers, without a filter."""
    costly = "filter", "rerank", "boost", "mmr", "group", "highlights"
    if any(map(request.HasField, costly)) or len(request.legs) != 1:
        return False
    leg = request.legs[0]
    return not (leg.exact or leg.HasField("filter")) and leg.near.vector.HasField("f32")


class SearchService(search_pb2_grpc.SearchServicer):
    """Serves vecdb.v1.Search."""

    def __init__(
        self,
        database: Database,
        encoder: SpaceEncoder,
        limits: LimitsConfig,
        metrics: Metrics,
        slow: SlowQueries,
    ) -> None:
        self._slow = slow
        self._database = database
        self._encoder = encoder
        self._limits = limits
        self._metrics = metrics

    @quick_when(_is_plain)
    def Query(self, request: pb.QueryRequest, context: grpc.ServicerContext) -> bytes:
        """Return the k points nearest to a vector: a QueryResponse, serialized."""
        try:
            return self._query(request, context)
        except VecdbError as error:
            error.field = self.field_of(error.field, request)
            raise

    def Explain(
        self, request: pb.ExplainRequest, context: grpc.ServicerContext
    ) -> pb.ExplainResponse:
        """Return what a query finds, and how."""
        try:
            return explain(self, self._database, self._limits, request.query, context)
        except VecdbError as error:
            error.field = self.field_of(error.field, request.query)
            raise

    def QueryBatch(
        self, request: pb.QueryBatchRequest, context: grpc.ServicerContext
    ) -> pb.QueryBatchResponse:
        """Return what each of many queries finds, or its error."""
        started = time.perf_counter_ns()
        texts = KnownTexts(self._encoder)
        queries = SearchService(self._database, texts, self._limits, self._metrics, self._slow)
        batch = Batch(queries, self._limits, request)
        with self._database.collection(request.collection) as collection:
            reply = batch.answer(collection, texts, context)
        check_reply(reply.ByteSize(), self._limits)
        self._slow.look_at_batch(request, (time.perf_counter_ns() - started) // 1000)
        return reply

    def _query(self, request: pb.QueryRequest, context: grpc.ServicerContext) -> bytes:
        started = time.perf_counter_ns()
        with self._database.collection(request.collection) as collection:
            ask, wanted = self.asked(request, collection, context)
            embedded = time.perf_counter_ns()
            with collection.snapshot(deadline_of(context)) as snapshot:
                snapshotted = time.perf_counter_ns()
                snapshot.require_seq(request.min_commit_seq)
                asked, scale = ask(snapshot), collection.recall.scale
                result = snapshot.query(asked, wanted, self._limits.message_bytes, scale)
            collection.recall.saw_legs(asked.legs, asked.filter)
        timings = {
            "embed": (embedded - started) // 1000,
            "snapshot": (snapshotted - embedded) // 1000,
            **result.timings_us,
        }
        total_us = (time.perf_counter_ns() - started) // 1000
        reply = self.reply(result, timings, total_us)
        self._slow.look(request, result, timings, total_us)
        check_reply(len(reply), self._limits)
        return reply

    def asked(
        self,
        request: pb.QueryRequest,
        collection: Collection,
        context: grpc.ServicerContext,
        *,
        again: bool = False,
    ) -> tuple[Callable[[Snapshot], Asked], Wanted]:
        """Return what a request asks of a snapshot, and for. Raises what is wrong with it.

        again: since a space got another model while its content was encoded.
        """
        plain = self._plain(request, collection)
        if plain is not None:
            return plain
        pages, whole = None, request
        if request.HasField("page_token"):
            request, pages = paged(request, collection.uuid)
        check_query(request, self._limits)
        chosen = checked_filter(request, self._limits)
        wanted = wanted_of(request, self._limits)
        group = group_of(request, self._limits)
        mmr = mmr_of(request, self._limits)
        boost = boost_of(request, mmr, self._limits)
        k, offset = request.k, request.offset
        fusion: Fusion = BY_RANK
        min_score = request.min_score if request.HasField("min_score") else None
        weights: Sequence[float] = ()
        if len(request.legs) > 1:
            fusion, weights = fusion_of(request), weights_of(request)
        need = hits_needed(request)
        for one in (boost, mmr):
            need = need if one is None else max(need, one.candidates)
        schema, limits = collection.schema, self._limits
        rerank = second_look(request, need, schema, limits, self._encoder, context)
        if rerank is not None:
            need = candidates_of(request, need, self._limits)
        content = FittingContent(self._encoder, context)
        asks = self._asks(request, need + ahead_of(request), chosen, collection, content)
        if request.HasField("highlights"):
            made = highlights_of(request, collection.schema, deadline_of(context))
            wanted = wanted._replace(more=made)

        def of(snapshot: Snapshot) -> Asked:
            if not content.fit(snapshot):
                if again:
                    raise Unavailable("the schema has changed meanwhile", retry_after_s=0.01)
                return self.asked(whole, collection, context, again=True)[0](snapshot)
            second = None if rerank is None else rerank(snapshot)
            legs = [ask(snapshot) for ask in asks]
            return Asked(
                legs,
                k,
                chosen,
                offset,
                min_score,
                fusion,
                weights,
                second,
                boost,
                mmr,
                group,
                content.tokens,
                pages,
            )

        return of, wanted

    def _plain(
        self, request: pb.QueryRequest, collection: Collection
    ) -> tuple[Callable[[Snapshot], Asked], Wanted] | None:
        """Return what asked() does of the queries that most are, or None: see collection.plain."""
        if not _is_plain(request) or any(map(request.HasField, _MORE)):
            return None
        leg, k = request.legs[0], request.k
        near, limits = leg.near, self._limits
        if not 1 <= k <= limits.k or leg.ef > limits.ef or request.offset or leg.k:
            return None
        if leg.HasField("weight") or collection.schema.space(near.space) is None:
            return None
        query = Query(vector_array(near.vector, "legs[0].near.vector"), k, near.space, None, leg.ef)
        asked = Asked((query,), k)
        wanted = Wanted(not request.without_payload, request.with_vectors, request.with_texts)
        return lambda snapshot: asked, wanted

    def field_of(self, field: str, request: pb.QueryRequest) -> str:
        """Return the path of a request's field; field: with a leg's as the rooms below name it."""
        found = _OF_LEG.fullmatch(field)
        if found is None:
            return field
        kind = request.legs[int(found[1])].WhichOneof("kind")
        known = _FIELDS.get(str(kind), {})
        return f"legs[{found[1]}].{known.get(found[2], found[2])}"

    def reply(self, result: QueryResult, timings: dict[str, int], total_us: int) -> bytes:
        """Return a QueryResponse, serialized, and count the query. timings: us of each stage."""
        self._metrics.count_query(timings, result.found, complete=result.complete)
        return _encode(result, timings, total_us)

    def _asks(
        self,
        request: pb.QueryRequest,
        need: int,
        chosen: Filter | None,
        collection: Collection,
        content: QueryContent,
    ) -> list[Ask]:
        """Return what to ask for each leg, which is to find what is needed alone or fused.

        chosen: the filter of all.
        """
        kinds = {
            "near": self._near,
            "keyword": self._keyword,
            "recommend": self._recommend,
            "order_by": self._order_by,
        }
        asks: list[Ask] = []
        for at, leg in enumerate(request.legs):
            try:
                own = checked_filter(leg, self._limits)
                kind = kinds[leg.WhichOneof("kind")]
                k = leg_k(leg, request, need, self._limits)
                asks.append(kind(at, leg, k, chosen if own is None else own, collection, content))
            except VecdbError as error:
                error.field = _leg_field(error.field, at)
                raise
        return asks

    def _near(
        self,
        at: int,
        leg: pb.Leg,
        k: int,
        chosen: Filter | None,
        collection: Collection,
        content: QueryContent,
    ) -> Ask:
        """Return what to ask for the points near to a vector, which may be a stored point's."""
        if collection.schema.multi_space(leg.near.space) is not None:
            return self._near_multi(at, leg, k, chosen, collection)
        near, schema = leg.near, collection.schema
        space, sparse = schema.space(near.space), schema.sparse_space(near.space)
        if space is None and sparse is None:
            raise unknown_space(near.space, schema, "space")
        kind = near.vector.WhichOneof("kind")
        vector: F32 | SparseVector | None = None
        if sparse is not None and (kind == "sparse" or (kind == TEXT and sparse.model)):
            vector = self._sparse(at, near.vector, sparse, content)
        elif kind != "point":
            if kind in ("sparse", "multi") or space is None:
                given = {str(kind): True} if kind in ("sparse", "multi") else {}
                raise unknown_space(near.space, schema, "vector", **given)
            vector = self._dense(at, near.vector, space, content)

        def ask(snapshot: Snapshot) -> Query | SparseQuery:
            found = vector
            if found is None:  # that of a stored point
                found = snapshot.vector_of(
                    near.vector.point, near.space, f"legs[{at}].near.vector.point"
                )
            if isinstance(found, SparseVector):
                return SparseQuery(found, k, near.space, chosen)
            return Query(found, k, near.space, chosen, leg.ef, leg.exact)

        return ask

    def _near_multi(
        self, at: int, leg: pb.Leg, k: int, chosen: Filter | None, collection: Collection
    ) -> Ask:
        """Return what to ask for the points near to several vectors."""
        field = f"legs[{at}].near.vector"
        of = several(leg.near, collection.schema, self._limits, field)
        space, ef, exact = leg.near.space, leg.ef, leg.exact
        return lambda snapshot: MultiQuery(of(snapshot), k, space, chosen, ef, exact)

    def _dense(
        self, at: int, vector: common_pb2.Vector, space: Space, content: QueryContent
    ) -> F32:
        field = f"legs[{at}].near.vector"
        kind = vector.WhichOneof("kind")
        if kind not in (TEXT, IMAGE):
            return vector_array(vector, field)
        found: F32 = content.encode(space, [content_of(vector, field)])[0]
        return found

    def _sparse(
        self, at: int, vector: common_pb2.Vector, space: SparseSpace, content: QueryContent
    ) -> SparseVector:
        if vector.WhichOneof("kind") == TEXT:
            text = str(content_of(vector, f"legs[{at}].near.vector"))
            found = content.encode_sparse(space, text)
        else:
            found = sparse_vector(vector.sparse)
        return checked_sparse(found, space.name, self._limits, "vector")

    def _keyword(
        self,
        at: int,
        leg: pb.Leg,
        k: int,
        chosen: Filter | None,
        collection: Collection,
        content: QueryContent,
    ) -> Ask:
        """Return what to ask for the points whose text fits some words."""
        keyword = leg.keyword
        check_words(keyword.text, self._limits)
        match = match_of(keyword.mode, "mode")
        query = KeywordQuery(keyword.text, k, tuple(keyword.fields), match, chosen)
        return lambda snapshot: query

    def _recommend(
        self,
        at: int,
        leg: pb.Leg,
        k: int,
        chosen: Filter | None,
        collection: Collection,
        content: QueryContent,
    ) -> Ask:
        """Return what to ask for the points like some examples."""
        name, schema = leg.recommend.space, collection.schema
        space = schema.space(name)
        if space is None:
            raise unknown_space(name, schema, "space")
        read = recommended(
            leg.recommend, space, f"legs[{at}].recommend", partial(content.encode, space)
        )
        own = chosen if leg.HasField("filter") else None
        return lambda snapshot: read.query(snapshot, k, own, leg.ef, leg.exact)

    def _order_by(
        self,
        at: int,
        leg: pb.Leg,
        k: int,
        chosen: Filter | None,
        collection: Collection,
        content: QueryContent,
    ) -> Ask:
        """Return what to ask for the points in the order of a payload field."""
        path = checked_path(leg.order_by.path, "order_by.path")
        query = OrderQuery(OrderBy(path, leg.order_by.descending), k, chosen)
        return lambda snapshot: query


Ask: TypeAlias = Callable[[Snapshot], AnyQuery]

# The path within a leg of the field that an error of the rooms below is about.
_FIELDS = {
    "near": {
        "vector": "near.vector",
        "texts[0]": "near.vector.text",
        "images[0]": "near.vector.image",
        "space": "near.space",
    },
    "keyword": {name: f"keyword.{name}" for name in ("text", "fields", "mode")},
    "recommend": {"vector": "recommend", "space": "recommend.space"},
}
_OF_LEG = re.compile(r"legs\[(\d+)\]\.(\w+(?:\[0\])?)")


def _leg_field(field: str, at: int) -> str:
    """Return the field of an error about a leg as Searcher gives it."""
    return field if not field or field.startswith("legs[") else f"legs[{at}].{field}"


def _encode(result: QueryResult, timings: dict[str, int], total_us: int) -> bytes:
    rest = pb.QueryResponse(
        plan=result.plan,
        matched=result.matched,
        commit_seq=result.commit_seq,
        complete=result.complete,
        warnings=result.warnings,
        timings=pb.Timings(
            embed_us=timings["embed"],
            snapshot_us=timings["snapshot"],
            filter_us=timings["filter"],
            search_us=timings["search"],
            fetch_us=timings["fetch"],
            total_us=total_us,
        ),
        usage=pb.Usage(embed_tokens=result.tokens),
    )
    if result.next_token:
        rest.next_page_token = result.next_token
    for group in result.groups:
        rest.groups.add(value=value_message(group.value)).MergeFromString(group.hits)
    # The fields of a message may come in pieces; hits are the first of them.
    encoded: bytes = result.hits + rest.SerializeToString()
    return encoded
