"""Watch: what writes change, sent as it happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

from vecdb.collection.watch import Changed
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.errors import NotFound
from vecdb.rpc.convert import fill_point
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.services.reads import wanted_of

POLL_S = 0.05
"""Seconds between two looks. A write of any process is seen so, and a look takes microseconds."""
SHARE_OF_MESSAGE = 4
"""A message holds so small a part of `limits.message_bytes`, and one point more."""


def watch(
    database: Database,
    limits: LimitsConfig,
    request: pb.WatchRequest,
    context: grpc.ServicerContext,
) -> Iterator[pb.WatchResponse | None]:
    """Yield what changes, and None now and then while nothing does."""
    over = threading.Event()
    if not context.add_callback(over.set):
        return
    wanted, bytes_max = wanted_of(request, limits), limits.message_bytes // SHARE_OF_MESSAGE
    after = request.after_seq if request.HasField("after_seq") else None
    uuid, first = "", True
    while not over.is_set():
        # Opened anew for each look: a collection that is watched may be closed, and dropped.
        with database.collection(request.collection) as collection:
            if uuid not in ("", collection.uuid):
                raise NotFound(
                    f"{request.collection!r} is another collection by now",
                    hint="list its points anew and watch from that reply's commit_seq",
                )
            uuid = collection.uuid
            watcher = collection.watch(after)
            if first:
                first = False
                after = watcher.seq
                yield pb.WatchResponse(commit_seq=after, complete=True)
            while (found := watcher.take(wanted, bytes_max)) is not None:
                yield _message(found)
            after = watcher.seq
        yield None
        over.wait(POLL_S)


def _message(found: Changed) -> pb.WatchResponse:
    message = pb.WatchResponse(
        deleted=found.deleted,
        commit_seq=found.seq,
        complete=found.complete,
        warnings=found.warnings,
        truncated=found.truncated,
    )
    for point in found.points:
        fill_point(message.points.add(), point)
    return message
