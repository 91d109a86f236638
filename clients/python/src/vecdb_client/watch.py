"""Following a collection: one stream after another, until the caller stops asking."""

from __future__ import annotations

from collections.abc import Iterator

from vecdb_client import replies
from vecdb_client.pb import points_pb2
from vecdb_client.protocol import WATCH
from vecdb_client.transport import Transport
from vecdb_client.types import Changes


def follow(transport: Transport, request: points_pb2.WatchRequest) -> Iterator[Changes]:
    """Yield what writes to a collection change; see Collection.watch. request: is written to."""
    is_first = True
    for reply in transport.resumed(WATCH, lambda: request):
        if reply.complete:
            request.after_seq = reply.commit_seq
        if is_first or reply.points or reply.deleted or reply.warnings or reply.truncated:
            yield replies.changes(reply)
        is_first = False
