"""Search: the nearest points."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.metrics import Metrics
from vecdb.rpc.convert import fill_point, vector_array
from vecdb.rpc.pb import search_pb2 as pb
from vecdb.rpc.pb import search_pb2_grpc
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.reads import check_reply, checked_filter, wanted_of
from vecdb.types import F32, Filter, Query, QueryResult
from vecdb.write.prepare import unknown_space


class SearchService(search_pb2_grpc.SearchServicer):
    """Serves vecdb.v1.Search."""

    def __init__(
        self, database: Database, encoder: SpaceEncoder, limits: LimitsConfig, metrics: Metrics
    ) -> None:
        self._database = database
        self._encoder = encoder
        self._limits = limits
        self._metrics = metrics

    def Query(self, request: pb.QueryRequest, context: grpc.ServicerContext) -> pb.QueryResponse:
        """Return the k points nearest to a vector."""
        started = time.perf_counter_ns()
        near, k, chosen = self._read(request)
        leg = request.legs[0]
        wanted = wanted_of(request)
        with _named(), self._database.collection(request.collection) as collection:
            vector = self._vector(near, collection, context)
            embedded = time.perf_counter_ns()
            with collection.snapshot() as snapshot:
                snapshotted = time.perf_counter_ns()
                snapshot.require_seq(request.min_commit_seq)
                if vector is None:
                    vector = snapshot.vector_of(near.vector.point, near.space)
                result = snapshot.query(
                    Query(vector, k, near.space, chosen, leg.ef, leg.exact),
                    wanted,
                    self._limits.message_bytes,
                )
        timings = {
            "embed": (embedded - started) // 1000,
            "snapshot": (snapshotted - embedded) // 1000,
            **result.timings_us,
        }
        reply = _reply(result, timings, started)
        check_reply(reply.ByteSize(), self._limits)
        self._count(result, timings)
        return reply

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

    def _count(self, result: QueryResult, timings: dict[str, int]) -> None:
        for stage, spent in timings.items():
            self._metrics.query_stage.labels(stage).observe(spent / 1e6)
        self._metrics.hits.inc(len(result.hits))
        if not result.complete:
            self._metrics.incomplete.inc()


_FIELDS = {
    "vector": "legs[0].near.vector",
    "point": "legs[0].near.vector.point",
    "texts[0]": "legs[0].near.vector.text",
    "space": "legs[0].near.space",
}


@contextmanager
def _named() -> Iterator[None]:
    """Give the errors of the rooms below the path of the request's field that they are about."""
    try:
        yield
    except VecdbError as error:
        error.field = _FIELDS.get(error.field, error.field)
        raise


def _reply(result: QueryResult, timings: dict[str, int], started: int) -> pb.QueryResponse:
    reply = pb.QueryResponse(
        plan=result.plan,
        matched=result.matched,
        commit_seq=result.commit_seq,
        complete=result.complete,
        warnings=result.warnings,
    )
    for hit in result.hits:
        fill_point(reply.hits.add(score=hit.score, distance=hit.distance), hit.point)
    for stage, spent in timings.items():
        setattr(reply.timings, f"{stage}_us", spent)
    reply.timings.total_us = (time.perf_counter_ns() - started) // 1000
    return reply
