"""Admin: what those who run a server ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

import grpc

from vecdb.backup.making import CHUNK_BYTES, Backups
from vecdb.collection.recall import Estimate, estimates, sample
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.errors import LimitExceeded
from vecdb.node_status import NodeStatus
from vecdb.rpc.convert_status import status_message
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.guard import Guard
from vecdb.rpc.pb import admin_pb2 as pb
from vecdb.rpc.pb import admin_pb2_grpc
from vecdb.rpc.pb import backup_pb2 as backup_pb
from vecdb.rpc.services.backup import backup, restore
from vecdb.rpc.services.check import check
from vecdb.rpc.services.keys import KeyCalls
from vecdb.segment.vectors import Effort
from vecdb.write.prepare import unknown_space

K_MAX = 1_000
SAMPLES_MAX = 1_000
EFS_MAX = 32
COLLECTIONS_MAX = 1_000
SHARE_OF_MESSAGE = 4
"""No chunk of a backup is more than so small a part of `limits.message_bytes`."""


class AdminService(KeyCalls, admin_pb2_grpc.AdminServicer):
    """Serves vecdb.v1.Admin."""

    def __init__(
        self,
        database: Database,
        limits: LimitsConfig,
        status: Callable[[], NodeStatus],
        guard: Guard,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Serve the data of a node. status: returns how the node is. guard: knows its keys.

        is_busy: see Backups.
        """
        self._database = database
        self._keys = database.keys
        self._guard = guard
        self._limits = limits
        self._status = status
        chunk_bytes = min(CHUNK_BYTES, limits.message_bytes // SHARE_OF_MESSAGE)
        self.backups = Backups(database, chunk_bytes, is_busy)

    def Status(self, request: pb.StatusRequest, context: grpc.ServicerContext) -> pb.StatusResponse:
        """Return how the node is."""
        count = request.collections or 100
        if count > COLLECTIONS_MAX:
            raise LimitExceeded(
                f"collections: {count}, the limit is {COLLECTIONS_MAX}", field="collections"
            )
        return status_message(self._status(), count)

    def Limits(self, request: pb.LimitsRequest, context: grpc.ServicerContext) -> pb.LimitsResponse:
        """Return the most that requests may ask."""
        return pb.LimitsResponse(
            limits=[
                pb.Limit(
                    name=one.name,
                    value=getattr(self._limits, one.name),
                    meaning=one.metadata["doc"],
                    least=one.metadata["low"],
                    most=one.metadata["high"],
                )
                for one in fields(self._limits)
            ]
        )

    def Backup(
        self, request: backup_pb.BackupRequest, context: grpc.ServicerContext
    ) -> Iterator[backup_pb.BackupResponse]:
        """Send a copy of collections."""
        return backup(self.backups, request, context)

    def Restore(
        self, request_iterator: Iterator[backup_pb.RestoreRequest], context: grpc.ServicerContext
    ) -> Iterator[backup_pb.RestoreResponse]:
        """Restore collections of what is sent."""
        return restore(self._database, request_iterator, context)

    def Check(
        self, request: backup_pb.CheckRequest, context: grpc.ServicerContext
    ) -> Iterator[backup_pb.CheckResponse | None]:
        """Send what is wrong with collections."""
        return check(self._database, request, context)

    def EstimateRecall(
        self, request: pb.EstimateRecallRequest, context: grpc.ServicerContext
    ) -> pb.EstimateRecallResponse:
        """Return how many of the true neighbours searches find."""
        k, count = request.k or 10, request.samples or 100
        self._check(request, k, count)
        with self._database.collection(request.collection) as collection:
            monitor = collection.recall
            with collection.snapshot(deadline_of(context)) as snapshot:
                space = snapshot.space(request.space)
                if space is None:
                    raise unknown_space(request.space, collection.schema, "space")
                live = monitor.live(space.name, count)
                queries = sample(snapshot, space, k, count, live)
                scale = monitor.scale(space.name)
                efforts = [Effort(scale=scale), *map(Effort, request.efs)]
                now, *by_ef = estimates(snapshot, queries, efforts)
        return pb.EstimateRecallResponse(
            now=_message(now),
            by_ef=[_message(one) for one in by_ef],
            target_recall=space.target_recall,
            live_samples=len(live),
            samples=len(queries),
        )

    def _check(self, request: pb.EstimateRecallRequest, k: int, count: int) -> None:
        for field, value, most in (
            ("k", k, min(K_MAX, self._limits.k)),
            ("samples", count, SAMPLES_MAX),
            ("efs", len(request.efs), EFS_MAX),
            ("efs", max(request.efs, default=1), self._limits.ef),
        ):
            if value > most:
                raise LimitExceeded(f"{field}: {value}, the limit is {most}", field=field)


def _message(one: Estimate) -> pb.RecallEstimate:
    return pb.RecallEstimate(
        ef=one.ef, recall=one.recall, low=one.low, high=one.high, search_us=one.search_us
    )
