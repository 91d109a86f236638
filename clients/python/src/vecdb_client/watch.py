"""Following a collection: one stream after another, until the caller stops asking."""

from __future__ import annotations

import time
from collections.abc import Iterator

from vecdb_client import replies, requests
from vecdb_client.errors import VecdbError
from vecdb_client.protocol import WATCH
from vecdb_client.transport import Transport
from vecdb_client.types import Changes, WithPayload


def follow(
    transport: Transport,
    name: str,
    after_seq: int | None,
    *,
    with_vectors: bool,
    with_texts: bool,
    with_payload: WithPayload,
) -> Iterator[Changes]:
    """Yield what writes to a collection change; see Collection.watch."""
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
            for reply in transport.stream(WATCH, request):
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
            transport.wait(pause)
