# Made from exports.py by scripts/make_async.py. Do not edit.
"""All points of a collection: one stream after another, each from where the last one broke."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from vecdb_client import replies
from vecdb_client.pb import points_pb2
from vecdb_client.protocol import EXPORT
from vecdb_client.aio.transport import Transport
from vecdb_client.types import Page


async def exported(transport: Transport, request: points_pb2.ExportRequest) -> AsyncIterator[Page]:
    """Yield pages to the last; see AsyncCollection.export_pages. request: is written to."""
    is_done = False

    def rest() -> points_pb2.ExportRequest | None:
        return None if is_done else request

    async for reply in transport.resumed(EXPORT, rest):
        request.page_token = reply.next_page_token
        is_done = not reply.next_page_token
        yield replies.page(reply)
