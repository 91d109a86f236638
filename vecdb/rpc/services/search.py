"""Search: the nearest points."""

from __future__ import annotations

import time

import grpc

from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.metrics import Metrics
from vecdb.rpc.convert import vector_array
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.dispatch import quick_when
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.pb import search_pb2_grpc
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.reads import check_reply, checked_filter, wanted_of
from vecdb.types import F32, Filter, Query, QueryResult
from vecdb.write.prepare import unknown_space


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
        near, k, chosen = self._read(request)
        try:
            result, timings = self._query(near, k, chosen, request, context, started)
        except VecdbError as error:
            error.field = _FIELDS.get(error.field, error.field)
            raise
        reply = _encode(result, timings, started)
        check_reply(len(reply), self._limits)
        self._metrics.count_query(timings, result.count, complete=result.complete)
        return reply

    def _query(
        self,
        near: pb.Near,
        k: int,
        chosen: Filter | None,
        request: pb.QueryRequest,
        context: grpc.ServicerContext,
        started: int,
    ) -> tuple[QueryResult, dict[str, int]]:
        """Return what was found, and the microseconds of each stage."""
        leg = request.legs[0]
        wanted = wanted_of(request)
        with self._database.collection(request.collection) as collection:
            vector = self._vector(near, collection, context)
            embedded = time.perf_counter_ns()
            with collection.snapshot(deadline_of(context)) as snapshot:
                snapshotted = time.perf_counter_ns()
                snapshot.require_seq(request.min_commit_seq)
                if vector is None:
                    vector = snapshot.vector_of(near.vector.point, near.space)
                query = Query(vector, k, near.space, chosen, leg.ef, leg.exact)
                scale = collection.recall.scale(near.space)
                result = snapshot.query(query, wanted, self._limits.message_bytes, scale)
            collection.recall.saw(query)
        timings = {
            "embed": (embedded - started) // 1000,
            "snapshot": (snapshotted - embedded) // 1000,
            **result.timings_us,
        }
        return result, timings

    def _read(self, request: pb.QueryRequest) -> tuple[pb.Near, int, Filter | None]:
        if len(request.legs) != 1 or request.legs[0].WhichOneof("kind") != "near":
            raise InvalidArgument(
                f"expected exactly one leg, near; got {len(request.legs)} legs", field="legs"
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
        return request.legs[0].near, request.k, checked_filter(request, self._limits)

    def _vector(
        self, near: pb.Near, collection: Collection, context: grpc.ServicerContext
    ) -> F32 | None:
        """Return the vector to search near to; None for that of a stored point."""
        field = "legs[0].near.vector"
        space = collection.schema.space(near.space)
        if space is None:
            raise unknown_space(near.space, collection.schema, "legs[0].near.space")
        kind = near.vector.WhichOneof("kind")
        if kind == "point":
            return None
        if kind != "text":
            return vector_array(near.vector, field)
        if not near.vector.text:
            raise InvalidArgument("the text is empty: there is nothing to encode", field=field)
        encoded = self._encoder.encode(space, [near.vector.text], Role.QUERY, context)
        vector: F32 = encoded.vectors[0]
        return vector


# The path of the request's field that an error of the rooms below is about.
_FIELDS = {
    "vector": "legs[0].near.vector",
    "point": "legs[0].near.vector.point",
    "texts[0]": "legs[0].near.vector.text",
    "space": "legs[0].near.space",
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
