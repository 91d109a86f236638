"""DeleteWhere and PatchWhere: one change to all points that a filter matches."""

from __future__ import annotations

from dataclasses import replace

import grpc

from vecdb.collection.sweep import Sweep, Swept
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.errors import InvalidArgument
from vecdb.metrics import Metrics
from vecdb.rpc.convert import fill_write_result, patch_of
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.services.contents import ContentEncoder
from vecdb.rpc.services.reads import checked_filter
from vecdb.types import Delete, Filter, Op
from vecdb.write.prepare import check_op

DELETE_BYTES = 64
"""About what a delete takes in a command besides its id."""


class WhereCalls:
    """Serves the two calls of vecdb.v1.Points."""

    def __init__(
        self, database: Database, texts: ContentEncoder, limits: LimitsConfig, metrics: Metrics
    ) -> None:
        self._database = database
        self._texts = texts
        self._limits = limits
        self._metrics = metrics

    def delete(
        self, request: pb.DeleteWhereRequest, context: grpc.ServicerContext
    ) -> pb.DeleteWhereResponse:
        """Delete points that match."""
        chosen = self._filter(request)

        def delete(name: str, version: int) -> Op:
            return Delete(name, version)

        with self._database.collection(request.collection) as collection:
            deadline = deadline_of(context)
            sweep = Sweep(
                collection, delete, DELETE_BYTES, self._limits, deadline, context.is_active
            )
            swept = sweep.run(chosen, request.after_version, _upto(request))
        self._count("delete", swept)
        return pb.DeleteWhereResponse(deleted=swept.changed, progress=_progress(swept))

    def patch(
        self, request: pb.PatchWhereRequest, context: grpc.ServicerContext
    ) -> pb.PatchWhereResponse:
        """Patch points that match."""
        chosen = self._filter(request)
        if request.patch.id:
            raise InvalidArgument("the filter says which points: patch has no id", field="patch.id")
        patch = patch_of(request.patch)
        with self._database.collection(request.collection) as collection:
            schema = collection.schema
            truncated = self._texts.encode_one(schema, patch, context)
            check_op(replace(patch, id="any"), schema, self._limits, collection.clock())

            def patched(name: str, version: int) -> Op:
                return replace(patch, id=name, if_version=version)

            sweep = Sweep(
                collection,
                patched,
                request.patch.ByteSize() + DELETE_BYTES,
                self._limits,
                deadline_of(context),
                context.is_active,
                schema,
            )
            swept = sweep.run(chosen, request.after_version, _upto(request))
        self._count("patch", swept)
        reply = pb.PatchWhereResponse(
            patched=swept.changed, progress=_progress(swept), truncated=truncated
        )
        for name, result in swept.failed:
            failure = reply.failures.add(id=name)
            fill_write_result(failure.result, result)
        return reply

    def _filter(self, request: pb.DeleteWhereRequest | pb.PatchWhereRequest) -> Filter:
        chosen = checked_filter(request, self._limits)
        if chosen is None:
            raise InvalidArgument(
                "filter is not set: expected which points are to be changed",
                field="filter",
                hint="Collections.Truncate empties a collection",
            )
        return chosen

    def _count(self, kind: str, swept: Swept) -> None:
        refused = len(swept.failed) + swept.skipped
        for what, count in (("applied", swept.changed), ("refused", refused)):
            if count:
                self._metrics.write_operations.labels(kind, what).inc(count)


def _upto(request: pb.DeleteWhereRequest | pb.PatchWhereRequest) -> int | None:
    return request.max_version if request.HasField("max_version") else None


def _progress(swept: Swept) -> pb.WhereProgress:
    return pb.WhereProgress(
        found=swept.found,
        skipped=swept.skipped,
        damaged=swept.damaged,
        complete=swept.complete,
        after_version=swept.after,
        max_version=swept.upto,
        commit_seq=swept.commit_seq,
    )
