# Made from watch.py by scripts/make_async.py. Do not edit.
"""Following a collection: one stream after another, until the caller stops asking."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

from vecdb_client import replies, requests
from vecdb_client.errors import VecdbError
from vecdb_client.protocol import WATCH
from vecdb_client.aio.transport import Transport
from vecdb_client.types import Changes, WithPayload


async def follow(
    transport: Transport,
    name: str,
    after_seq: int | None,
    *,
    with_vectors: bool,
    with_texts: bool,
    with_payload: WithPayload,
) -> AsyncIterator[Changes]:
    """Yield what writes to a collection change; see AsyncCollection.watch."""
    attempt, heard, is_first = 0, time.monotonic(), True
    while True:
        request = requests.watch_request(
            name,
            after_seq,
            with_vectors=with_vectors,
            with_texts=with_texts,
            with_payload=with_payload,
        )
        try:
            async for reply in transport.stream(WATCH, request):
                attempt, heard = 0, time.monotonic()
                if reply.complete:
                    after_seq = reply.commit_seq
                if is_first or reply.points or reply.deleted or reply.warnings or reply.truncated:
                    yield replies.changes(reply)
                is_first = False
        except VecdbError as error:
            attempt += 1
            pause = transport.pause_s(error, attempt, heard)
            if pause is None:
                raise
            await transport.wait(pause)
