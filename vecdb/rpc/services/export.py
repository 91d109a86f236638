"""Export: all points that a filter matches, a page a message."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc

from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.rpc.deadline import deadline_of
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.services.reads import check_reply, listing_of, wanted_of

PAGE_POINTS = 1_000
PAGE_BYTES = 1 << 20
"""A message of this size costs little beside its points, and one that waits takes no more."""
SHARE_OF_MESSAGE = 4
"""No page is more than so small a part of `limits.message_bytes`, one point aside."""
PAGE_S = 0.1
"""Seconds after which a page is sent as it is where points that match are rare."""


def export(
    database: Database,
    limits: LimitsConfig,
    request: pb.ExportRequest,
    context: grpc.ServicerContext,
) -> Iterator[bytes]:
    """Yield page after page: an ExportResponse each, serialized.

    gRPC asks for the next one when it has sent the one before, as fast as it is read. Meanwhile
    neither a transaction nor the collection is held open.
    """
    listing, wanted = listing_of(request, limits), wanted_of(request, limits)
    bytes_max = min(PAGE_BYTES, limits.message_bytes // SHARE_OF_MESSAGE)
    deadline, token = deadline_of(context), request.page_token
    while context.is_active():
        with (
            database.collection(request.collection) as collection,
            collection.snapshot(deadline) as snapshot,
        ):
            until = time.monotonic() + PAGE_S
            found = snapshot.page(listing, PAGE_POINTS, token, wanted, bytes_max, until)
            rest = pb.ExportResponse(
                next_page_token=found.next_token, damaged=found.damaged, commit_seq=snapshot.seq
            )
        page = found.points + rest.SerializeToString()
        check_reply(len(page), limits)
        yield page
        token = found.next_token
        if not token:
            return
