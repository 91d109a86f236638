"""Points: write and read."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from vecdb.collection.snapshot import Found
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.metrics import Metrics
from vecdb.rpc.convert import fill_point
from vecdb.rpc.convert_aggregate import aggregations_of, fill_result
from vecdb.rpc.deadline import deadline_of, remaining_s
from vecdb.rpc.pb import common_pb2, points_pb2_grpc
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.services.contents import ContentEncoder
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.export import export
from vecdb.rpc.services.reads import (
    check_reply,
    checked_filter,
    listing_of,
    page_size_of,
    wanted_of,
)
from vecdb.rpc.services.watch import watch
from vecdb.rpc.services.where import WhereCalls
from vecdb.rpc.services.write_stream import write_stream
from vecdb.rpc.services.writing import Writing
from vecdb.write.prepare import check_batch


class PointsService(points_pb2_grpc.PointsServicer):
    """Serves vecdb.v1.Points."""

    def __init__(
        self, database: Database, encoder: SpaceEncoder, limits: LimitsConfig, metrics: Metrics
    ) -> None:
        self._database = database
        self._limits = limits
        texts = ContentEncoder(encoder, limits)
        self._writing = Writing(database, texts, limits, metrics)
        self._where = WhereCalls(database, texts, limits, metrics)

    def Write(self, request: pb.WriteRequest, context: grpc.ServicerContext) -> pb.WriteResponse:
        """Apply a list of operations; return a result for each."""
        return self._writing.begin(request, context).reply(remaining_s(context))

    def WriteStream(
        self, requests: Iterator[pb.WriteStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.WriteStreamResponse | None]:
        """Apply one write after the other; yield their answers, None for nothing yet."""
        return write_stream(self._writing, requests, context)

    def DeleteWhere(
        self, request: pb.DeleteWhereRequest, context: grpc.ServicerContext
    ) -> pb.DeleteWhereResponse:
        """Delete points that a filter matches."""
        return self._where.delete(request, context)

    def PatchWhere(
        self, request: pb.PatchWhereRequest, context: grpc.ServicerContext
    ) -> pb.PatchWhereResponse:
        """Patch points that a filter matches."""
        return self._where.patch(request, context)

    def Get(
        self, request: pb.GetPointsRequest, context: grpc.ServicerContext
    ) -> pb.GetPointsResponse:
        """Return points by id."""
        check_batch(len(request.ids), self._limits, "ids")
        wanted = wanted_of(request, self._limits)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot() as snapshot,
        ):
            found = snapshot.get(request.ids, wanted, self._limits.message_bytes)
            reply = pb.GetPointsResponse(
                missing=found.missing, damaged=found.damaged, commit_seq=snapshot.seq
            )
        _fill(reply, found, self._limits)
        return reply

    def Count(self, request: pb.CountRequest, context: grpc.ServicerContext) -> pb.CountResponse:
        """Return the exact number of points that match."""
        chosen = checked_filter(request, self._limits)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            return pb.CountResponse(count=snapshot.count(chosen), commit_seq=snapshot.seq)

    def List(self, request: pb.ListPointsRequest, context: grpc.ServicerContext) -> bytes:
        """Return a page of points, by id or in the order of a field, serialized."""
        size = page_size_of(request, self._limits)
        listing = listing_of(request, self._limits)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            wanted, bytes_max = wanted_of(request, self._limits), self._limits.message_bytes // 2
            found = snapshot.page(listing, size, request.page_token, wanted, bytes_max)
            rest = pb.ListPointsResponse(
                next_page_token=found.next_token, damaged=found.damaged, commit_seq=snapshot.seq
            )
        reply = found.points + rest.SerializeToString()
        check_reply(len(reply), self._limits)
        return reply

    def Export(self, request: pb.ExportRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Yield all points that a filter matches: an ExportResponse a page, serialized."""
        return export(self._database, self._limits, request, context)

    def Watch(
        self, request: pb.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchResponse | None]:
        """Yield what writes change; None for nothing yet."""
        return watch(self._database, self._limits, request, context)

    def Aggregate(
        self, request: pb.AggregateRequest, context: grpc.ServicerContext
    ) -> pb.AggregateResponse:
        """Return counts and sums over all points that match."""
        asked = aggregations_of(request.aggregations, self._limits)
        chosen = checked_filter(request, self._limits)
        with (
            self._database.collection(request.collection) as collection,
            collection.snapshot(deadline_of(context)) as snapshot,
        ):
            found = snapshot.aggregate(asked, chosen)
            reply = pb.AggregateResponse(
                points=found.points, warnings=found.warnings, commit_seq=snapshot.seq
            )
        for result in found.results:
            fill_result(reply.results.add(), result)
        check_reply(reply.ByteSize(), self._limits)
        return reply


def _fill(reply: pb.GetPointsResponse, found: Found, limits: LimitsConfig) -> None:
    for point in found.points:
        message: common_pb2.Point = reply.points.add()
        fill_point(message, point)
    check_reply(reply.ByteSize(), limits)
