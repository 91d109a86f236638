"""Collections: create, look at, delete."""

from __future__ import annotations

import grpc

from vecdb.database import Database
from vecdb.embed.client import Encoders
from vecdb.errors import DimensionMismatch, InvalidArgument, NotFound
from vecdb.rpc.convert import METRICS, collection_message
from vecdb.rpc.pb import collections_pb2 as pb
from vecdb.rpc.pb import collections_pb2_grpc
from vecdb.types import ModelBinding, Schema, Space


class CollectionsService(collections_pb2_grpc.CollectionsServicer):
    """Serves vecdb.v1.Collections."""

    def __init__(self, database: Database, encoders: Encoders) -> None:
        self._database = database
        self._encoders = encoders

    def Create(
        self, request: pb.CreateCollectionRequest, context: grpc.ServicerContext
    ) -> pb.CreateCollectionResponse:
        """Return the collection made, or the one that was there."""
        spaces = tuple(
            self._space(name, message)
            for name, message in sorted(request.collection.spaces.items())
        )
        info, created = self._database.create(
            request.collection.name, Schema(spaces), if_not_exists=request.if_not_exists
        )
        return pb.CreateCollectionResponse(collection=collection_message(info), created=created)

    def Get(
        self, request: pb.GetCollectionRequest, context: grpc.ServicerContext
    ) -> pb.GetCollectionResponse:
        """Return one collection."""
        info = self._database.info(request.name)
        return pb.GetCollectionResponse(collection=collection_message(info))

    def List(
        self, request: pb.ListCollectionsRequest, context: grpc.ServicerContext
    ) -> pb.ListCollectionsResponse:
        """Return all collections."""
        messages = [collection_message(info) for info in self._database.infos()]
        return pb.ListCollectionsResponse(collections=messages)

    def Delete(
        self, request: pb.DeleteCollectionRequest, context: grpc.ServicerContext
    ) -> pb.DeleteCollectionResponse:
        """Delete a collection."""
        try:
            self._database.drop(request.name)
        except NotFound:
            if not request.if_exists:
                raise
            return pb.DeleteCollectionResponse(deleted=False)
        return pb.DeleteCollectionResponse(deleted=True)

    def Stats(
        self, request: pb.CollectionStatsRequest, context: grpc.ServicerContext
    ) -> pb.CollectionStatsResponse:
        """Return sizes and state."""
        with self._database.collection(request.name) as collection:
            stats = collection.stats()
        return pb.CollectionStatsResponse(
            points=stats.points,
            applied_seq=stats.applied_seq,
            tail_points=stats.tail_points,
            segments=[
                pb.SegmentStats(
                    number=segment.number,
                    first_slot=segment.first,
                    end_slot=segment.end,
                    rows=segment.rows,
                    dead=segment.dead,
                    bytes=segment.bytes,
                    quarantined=segment.quarantined,
                )
                for segment in stats.segments
            ],
            store_bytes=stats.store_bytes,
            map_bytes=stats.map_bytes,
        )

    def _space(self, name: str, message: pb.Space) -> Space:
        field = f"collection.spaces[{name!r}].dense"
        if message.WhichOneof("kind") != "dense":
            raise InvalidArgument(f"space {name!r}: expected dense", field=field)
        dense = message.dense
        metric = METRICS.get(dense.metric)
        unset = dense.metric == pb.METRIC_UNSPECIFIED
        if metric is None and not (unset and dense.model):
            raise InvalidArgument(
                f"space {name!r}: expected metric cosine, dot or euclid", field=f"{field}.metric"
            )
        if metric is not None and not dense.model:
            return Space(name, dense.dim, metric)
        model = self._encoders.resolve(dense.model)
        if dense.dim not in (0, model.dim):
            raise DimensionMismatch(
                f"space {name!r}: model {model.name} makes {model.dim} dimensions, got {dense.dim}",
                field=f"{field}.dim",
                expected=model.dim,
                got=dense.dim,
            )
        binding = ModelBinding(model.name, model.fingerprint)
        return Space(name, model.dim, metric or model.metric, binding)
