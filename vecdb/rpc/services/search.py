"""Search: the nearest points."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import grpc

from vecdb.collection.collection import Collection
from vecdb.collection.snapshot import Snapshot
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.metrics import Metrics
from vecdb.query.keyword import check_words
from vecdb.rpc.convert import sparse_vector, vector_array
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.dispatch import quick_when
from vecdb.rpc.pb import common_pb2, search_pb2_grpc
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.reads import check_reply, checked_filter, wanted_of
from vecdb.types import (
    F32,
    AnyQuery,
    Filter,
    KeywordQuery,
    Match,
    Query,
    QueryResult,
    Space,
    SparseQuery,
    SparseVector,
)
from vecdb.write.prepare import unknown_space
from vecdb.write.sparse import checked_sparse


def _is_plain(request: pb.QueryRequest) -> bool:
    """Return whether a query costs little: a walk near to numbers, without a filter."""
    if request.HasField("filter") or len(request.legs) != 1:
        return False
    leg = request.legs[0]
    return not leg.exact and leg.near.vector.HasField("f32")


class SearchService(search_pb2_grpc.SearchServicer):
    """Serves vecdb.v1.Search."""

    def __init__(
        self, database: Database, encoder: SpaceEncoder, limits: LimitsConfig, metrics: Metrics
    ) -> None:
        self._database = database
        self._encoder = encoder
        self._limits = limits
        self._metrics = metrics

    @quick_when(_is_plain)
    def Query(self, request: pb.QueryRequest, context: grpc.ServicerContext) -> bytes:
        """Return the k points nearest to a vector: a QueryResponse, serialized."""
        started = time.perf_counter_ns()
        leg, chosen = self._read(request)
        try:
            result, timings = self._query(leg, chosen, request, context, started)
        except VecdbError as error:
            fields = _FIELDS[str(leg.WhichOneof("kind"))]
            error.field = fields.get(error.field, error.field)
            raise
        reply = _encode(result, timings, started)
        check_reply(len(reply), self._limits)
        self._metrics.count_query(timings, result.found, complete=result.complete)
        return reply

    def _query(
        self,
        leg: pb.Leg,
        chosen: Filter | None,
        request: pb.QueryRequest,
        context: grpc.ServicerContext,
        started: int,
    ) -> tuple[QueryResult, dict[str, int]]:
        """Return what was found, and the microseconds of each stage."""
        wanted = wanted_of(request)
        with self._database.collection(request.collection) as collection:
            ask = self._near if leg.HasField("near") else self._keyword
            query_of = ask(leg, request.k, chosen, collection, context)
            embedded = time.perf_counter_ns()
            with collection.snapshot(deadline_of(context)) as snapshot:
                snapshotted = time.perf_counter_ns()
                snapshot.require_seq(request.min_commit_seq)
                query = query_of(snapshot)
                scale = 1.0
                if isinstance(query, Query):
                    scale = collection.recall.scale(query.space)
                result = snapshot.query(query, wanted, self._limits.message_bytes, scale)
            if isinstance(query, Query):
                collection.recall.saw(query)
        timings = {
            "embed": (embedded - started) // 1000,
            "snapshot": (snapshotted - embedded) // 1000,
            **result.timings_us,
        }
        return result, timings

    def _read(self, request: pb.QueryRequest) -> tuple[pb.Leg, Filter | None]:
        if len(request.legs) != 1 or request.legs[0].WhichOneof("kind") is None:
            raise InvalidArgument(
                f"expected exactly one leg, near or keyword; got {len(request.legs)} legs",
                field="legs",
            )
        if request.k < 1:
            raise InvalidArgument(
                f"k is {request.k}, expected 1 to {self._limits.k}", field="k", got=request.k
            )
        if request.k > self._limits.k:
            raise LimitExceeded(
                f"k is {request.k}, the limit is {self._limits.k}",
                field="k",
                hint="raise limits.k, or page through the points with List",
            )
        if request.legs[0].ef > self._limits.ef:
            raise LimitExceeded(
                f"ef is {request.legs[0].ef}, the limit is {self._limits.ef}",
                field="legs[0].ef",
                hint="raise limits.ef, or ask for exact",
            )
        return request.legs[0], checked_filter(request, self._limits)

    def _near(
        self,
        leg: pb.Leg,
        k: int,
        chosen: Filter | None,
        collection: Collection,
        context: grpc.ServicerContext,
    ) -> Ask:
        """Return what to ask for the points near to a vector, which may be a stored point's."""
        near, schema = leg.near, collection.schema
        if near.space not in (space.name for space in schema.all_spaces):
            raise unknown_space(near.space, schema, "space")
        kind = near.vector.WhichOneof("kind")
        vector: F32 | SparseVector | None = None
        if kind == "sparse" and schema.sparse_space(near.space) is not None:
            sent = sparse_vector(near.vector.sparse)
            vector = checked_sparse(sent, near.space, self._limits, "vector")
        elif kind != "point":
            space = schema.space(near.space)
            if kind == "sparse" or space is None:
                raise unknown_space(near.space, schema, "vector", sparse=kind == "sparse")
            vector = self._dense(near.vector, space, context)

        def ask(snapshot: Snapshot) -> Query | SparseQuery:
            found = vector
            if found is None:  # that of a stored point
                found = snapshot.vector_of(near.vector.point, near.space)
            if isinstance(found, SparseVector):
                return SparseQuery(found, k, near.space, chosen)
            return Query(found, k, near.space, chosen, leg.ef, leg.exact)

        return ask

    def _dense(self, vector: common_pb2.Vector, space: Space, context: grpc.ServicerContext) -> F32:
        field = "legs[0].near.vector"
        if vector.WhichOneof("kind") != "text":
            return vector_array(vector, field)
        if not vector.text:
            raise InvalidArgument("the text is empty: there is nothing to encode", field=field)
        encoded = self._encoder.encode(space, [vector.text], Role.QUERY, context)
        found: F32 = encoded.vectors[0]
        return found

    def _keyword(
        self,
        leg: pb.Leg,
        k: int,
        chosen: Filter | None,
        collection: Collection,
        context: grpc.ServicerContext,
    ) -> Ask:
        """Return what to ask for the points whose text fits some words."""
        keyword = leg.keyword
        check_words(keyword.text, self._limits)
        match = MATCHES.get(keyword.mode)
        if match is None:
            raise InvalidArgument("expected mode any, all or phrase", field="mode")
        query = KeywordQuery(keyword.text, k, tuple(keyword.fields), match, chosen)
        return lambda snapshot: query


Ask: TypeAlias = Callable[[Snapshot], AnyQuery]

MATCHES = {
    pb.KEYWORD_MODE_ANY: Match.ANY,
    pb.KEYWORD_MODE_ALL: Match.ALL,
    pb.KEYWORD_MODE_PHRASE: Match.PHRASE,
}

# The path of the request's field that an error of the rooms below is about.
_FIELDS = {
    "near": {
        "vector": "legs[0].near.vector",
        "point": "legs[0].near.vector.point",
        "texts[0]": "legs[0].near.vector.text",
        "space": "legs[0].near.space",
    },
    "keyword": {name: f"legs[0].keyword.{name}" for name in ("text", "fields", "mode")},
}


def _encode(result: QueryResult, timings: dict[str, int], started: int) -> bytes:
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
            total_us=(time.perf_counter_ns() - started) // 1000,
        ),
    )
    # The fields of a message may come in pieces; hits are the first of them.
    encoded: bytes = result.hits + rest.SerializeToString()
    return encoded
