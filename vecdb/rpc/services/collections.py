"""Collections: create, look at, change, empty, delete, and their aliases."""

from __future__ import annotations

import grpc

from vecdb.auth.call import caller
from vecdb.auth.scopes import READ
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.embed.client import Encoders
from vecdb.errors import InvalidArgument, LimitExceeded, NotFound
from vecdb.rpc.convert import collection_message
from vecdb.rpc.convert_schema import changed_schema, schema_change, schema_of
from vecdb.rpc.pb import collections_pb2 as pb
from vecdb.rpc.pb import collections_pb2_grpc
from vecdb.types import Schema
from vecdb.write.prepare import check_batch
from vecdb.write.schema import check_shadows_stay

_FRAME_BYTES = 8
"""What a message takes inside another, at most, beside its own bytes."""


class CollectionsService(collections_pb2_grpc.CollectionsServicer):
    """Serves vecdb.v1.Collections."""

    def __init__(self, database: Database, encoders: Encoders, limits: LimitsConfig) -> None:
        self._database = database
        self._encoders = encoders
        self._limits = limits

    def Create(
        self, request: pb.CreateCollectionRequest, context: grpc.ServicerContext
    ) -> pb.CreateCollectionResponse:
        """Return the collection made, or the one that was there."""
        info, created = self._database.create(
            request.collection.name,
            schema_of(request.collection, self._encoders),
            metadata=request.collection.metadata,
            ttl_ms=request.collection.ttl_ms,
            points_max=request.collection.limits.points,
            if_not_exists=request.if_not_exists,
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
        reply = pb.ListCollectionsResponse()
        size = 0
        may = caller().may
        for info in self._database.infos():
            if not may(READ, info.name):
                continue
            message = collection_message(info)
            if request.without_metadata:
                message.ClearField("metadata")
            size += message.ByteSize() + _FRAME_BYTES
            if size > self._limits.message_bytes:
                raise LimitExceeded(
                    f"the list is larger than limits.message_bytes ({self._limits.message_bytes})",
                    hint="ask without_metadata, and Get the metadata of each",
                )
            reply.collections.append(message)
        return reply

    def Update(
        self, request: pb.UpdateCollectionRequest, context: grpc.ServicerContext
    ) -> pb.UpdateCollectionResponse:
        """Change a collection; return it as it is now."""

        def changed(schema: Schema) -> Schema:
            check_shadows_stay(schema, request.drop_spaces)
            return changed_schema(schema, request.spaces)

        info = self._database.update(
            request.name,
            metadata=request.metadata if request.HasField("metadata") else None,
            ttl_ms=request.ttl_ms if request.HasField("ttl_ms") else None,
            points_max=request.limits.points if request.HasField("limits") else None,
            change=changed,
            alter=schema_change(request, self._encoders),
        )
        return pb.UpdateCollectionResponse(collection=collection_message(info))

    def Truncate(
        self, request: pb.TruncateCollectionRequest, context: grpc.ServicerContext
    ) -> pb.TruncateCollectionResponse:
        """Remove all points of a collection."""
        done = self._database.truncate(request.name)
        return pb.TruncateCollectionResponse(points=done.points, commit_seq=done.seq)

    def Clone(
        self, request: pb.CloneCollectionRequest, context: grpc.ServicerContext
    ) -> pb.CloneCollectionResponse:
        """Copy a collection."""
        info, copied = self._database.clone(request.name, request.new_name, context.is_active)
        return pb.CloneCollectionResponse(
            collection=collection_message(info), points=copied.points, commit_seq=copied.seq
        )

    def SetAliases(
        self, request: pb.SetAliasesRequest, context: grpc.ServicerContext
    ) -> pb.SetAliasesResponse:
        """Create, move and delete aliases."""
        check_batch(len(request.actions), self._limits, "actions")
        self._database.set_aliases(
            [_alias(action, f"actions[{at}]") for at, action in enumerate(request.actions)]
        )
        return pb.SetAliasesResponse()

    def ListAliases(
        self, request: pb.ListAliasesRequest, context: grpc.ServicerContext
    ) -> pb.ListAliasesResponse:
        """Return aliases by name."""
        found, may = self._database.aliases(request.collection), caller().may
        return pb.ListAliasesResponse(
            aliases=[
                pb.Alias(alias=alias, collection=name)
                for alias, name in found.items()
                if may(READ, alias)
            ]
        )

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
            text_pending_points=stats.text_pending_points,
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


def _alias(action: pb.AliasAction, field: str) -> tuple[str, str | None]:
    """Return an alias, and the collection that it is to stand for, or None to delete it."""
    kind = action.WhichOneof("action")
    if kind == "delete":
        return action.delete.alias, None
    if kind == "set":
        return action.set.alias, action.set.collection
    raise InvalidArgument(f"{field} is empty: expected set or delete", field=field)
