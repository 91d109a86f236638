"""Collections: create, look at, delete."""

from __future__ import annotations

import grpc

from vecdb.database import Database
from vecdb.embed.client import Encoders
from vecdb.errors import DimensionMismatch, InvalidArgument, NotFound
from vecdb.rpc.convert import METRICS, collection_message, text_field
from vecdb.rpc.pb import collections_pb2 as pb
from vecdb.rpc.pb import collections_pb2_grpc
from vecdb.types import DEFAULT_TARGET_RECALL, Hnsw, ModelBinding, Schema, Space, SparseSpace

M_BOUNDS = (4, 128)
EF_CONSTRUCTION_BOUNDS = (8, 2_000)
TARGET_RECALL_BOUNDS = (0.5, 0.999)


class CollectionsService(collections_pb2_grpc.CollectionsServicer):
    """Serves vecdb.v1.Collections."""

    def __init__(self, database: Database, encoders: Encoders) -> None:
        self._database = database
        self._encoders = encoders

    def Create(
        self, request: pb.CreateCollectionRequest, context: grpc.ServicerContext
    ) -> pb.CreateCollectionResponse:
        """Return the collection made, or the one that was there."""
        named = sorted(request.collection.spaces.items())
        is_sparse = {name: one.WhichOneof("kind") == "sparse" for name, one in named}
        schema = Schema(
            tuple(self._space(name, one) for name, one in named if not is_sparse[name]),
            tuple(SparseSpace(name) for name, _ in named if is_sparse[name]),
            tuple(map(text_field, request.collection.text_fields)),
        )
        info, created = self._database.create(
            request.collection.name, schema, if_not_exists=request.if_not_exists
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
                    graph=segment.graph,
                )
                for segment in stats.segments
            ],
            builds=[
                pb.BuildStats(number=b.number, phase=b.phase, done=b.done, total=b.total)
                for b in stats.builds
            ],
            compacting=stats.compacting,
            upkeep_error=stats.upkeep_error,
            store_bytes=stats.store_bytes,
            map_bytes=stats.map_bytes,
        )

    def Compact(
        self, request: pb.CompactRequest, context: grpc.ServicerContext
    ) -> pb.CompactResponse:
        """Ask for a compaction."""
        with self._database.collection(request.name) as collection:
            collection.compact()
        return pb.CompactResponse()

    def _space(self, name: str, message: pb.Space) -> Space:
        field = f"collection.spaces[{name!r}].dense"
        if message.WhichOneof("kind") != "dense":
            raise InvalidArgument(f"space {name!r}: expected dense or sparse", field=field)
        dense = message.dense
        metric = METRICS.get(dense.metric)
        unset = dense.metric == pb.METRIC_UNSPECIFIED
        if metric is None and not (unset and dense.model):
            raise InvalidArgument(
                f"space {name!r}: expected metric cosine, dot or euclid", field=f"{field}.metric"
            )
        hnsw = _hnsw(dense.hnsw, f"{field}.hnsw")
        recall = _target_recall(dense, field)
        if metric is not None and not dense.model:
            return Space(name, dense.dim, metric, None, hnsw, recall)
        model = self._encoders.resolve(dense.model)
        if dense.dim not in (0, model.dim):
            raise DimensionMismatch(
                f"space {name!r}: model {model.name} makes {model.dim} dimensions, got {dense.dim}",
                field=f"{field}.dim",
                expected=model.dim,
                got=dense.dim,
            )
        binding = ModelBinding(model.name, model.fingerprint)
        return Space(name, model.dim, metric or model.metric, binding, hnsw, recall)


def _hnsw(message: pb.Hnsw, field: str) -> Hnsw:
    default = Hnsw()
    hnsw = Hnsw(message.m or default.m, message.ef_construction or default.ef_construction)
    for name, value, (low, high) in (
        ("m", hnsw.m, M_BOUNDS),
        ("ef_construction", hnsw.ef_construction, EF_CONSTRUCTION_BOUNDS),
    ):
        if not low <= value <= high:
            raise InvalidArgument(
                f"{name} is {value}, expected {low} to {high}", field=f"{field}.{name}", got=value
            )
    return hnsw


def _target_recall(dense: pb.Dense, field: str) -> float:
    if not dense.HasField("target_recall"):
        return DEFAULT_TARGET_RECALL
    low, high = TARGET_RECALL_BOUNDS
    if not low <= dense.target_recall <= high:
        raise InvalidArgument(
            f"target_recall is {dense.target_recall}, expected {low} to {high}",
            field=f"{field}.target_recall",
            got=dense.target_recall,
        )
    return dense.target_recall
