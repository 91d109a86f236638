"""How a stream of operations becomes requests: grouped by count and by bytes.

Pure: operations in, batches out, lazily, so that a generator of any length passes in bounded
memory. An item that cannot be sent is refused with a reason and does not sink its batch. Sending
is ``ingest.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from vecdb_client.errors import InvalidArgument
from vecdb_client.operations import Op, Refused
from vecdb_client.pb import points_pb2 as pb
from vecdb_client.requests import checked_text
from vecdb_client.types import ItemFailure

_EMBEDDED_MAX: Final = 128
"""Texts of one batch: encoding takes milliseconds each, and the deadline is the batch's."""
BATCH_POINTS_DEFAULT: Final = 1_000
BATCH_BYTES: Final = 7 << 19
"""3.5 MiB: enough that a larger batch is no faster, and below the 4 MiB that gRPC takes by
default, so that proxies let it through."""


@dataclass(slots=True)
class Batch:
    """A request, serialised, and which items of the input it stands for: [start, end).

    atomic: all or nothing, so that it cannot be halved.
    """

    start: int
    end: int = 0
    key: str = ""
    ids: list[str] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    refused: list[ItemFailure] = field(default_factory=list)
    body: bytes = b""
    atomic: bool = False

    def halves(self) -> tuple[Batch, Batch]:
        """Return two batches with the same operations. The keys are new, and again the same."""
        request = pb.WriteRequest.FromString(self.body)
        middle = len(self.ids) // 2
        cuts = (slice(None, middle), slice(middle, None))
        first, second = (
            Batch(self.start, self.end, f"{self.key}.{i}", self.ids[cut], self.indexes[cut])
            for i, cut in enumerate(cuts)
        )
        for half, cut in zip((first, second), cuts, strict=True):
            half.body = pb.WriteRequest(
                collection=request.collection, ops=request.ops[cut], idempotency_key=half.key
            ).SerializeToString()
        return first, second


def batches(
    ops: Iterable[Op], *, collection: str, key: str, points_max: int, message_bytes: int
) -> Iterator[Batch]:
    """Yield the operations in batches, in their order.

    key: what the batches' idempotency keys begin with. points_max: operations of a batch.
    message_bytes: no request is larger; an item that alone is larger is refused.
    """
    bytes_max = min(BATCH_BYTES, message_bytes)
    checked_text(collection, "a collection's name")
    overhead = 4 * (len(collection) + len(key)) + 64
    index = number = 0
    batch, request, size, texts = Batch(0), pb.WriteRequest(), overhead, 0
    for index, op in enumerate(ops):
        if not isinstance(op, Refused):
            op_size, op_texts = op.size()
            if overhead + op_size > message_bytes:
                op = _refuse_size(op.id, op_size, message_bytes)
            elif batch.ids and (size + op_size > bytes_max or texts + op_texts > _EMBEDDED_MAX):
                yield _closed(batch, request, index, collection, f"{key}/{number}")
                number += 1
                batch, request, size, texts = Batch(index), pb.WriteRequest(), overhead, 0
        if isinstance(op, Refused):
            batch.refused.append(_failure(index, op))
            continue
        size += op_size
        texts += op_texts
        op.append_to(request)
        batch.ids.append(op.id)
        batch.indexes.append(index)
        if len(batch.ids) == points_max:  # at once: the next may be long in coming
            yield _closed(batch, request, index + 1, collection, f"{key}/{number}")
            number += 1
            batch, request, size, texts = Batch(index + 1), pb.WriteRequest(), overhead, 0
    if batch.ids or batch.refused:
        yield _closed(batch, request, index + 1, collection, f"{key}/{number}")


def atomic_batch(
    ops: Iterable[Op], *, collection: str, key: str, message_bytes: int
) -> Batch | None:
    """Return all operations as one request that is applied as a whole or not, or None for none.

    Raises InvalidArgument for an item that cannot be sent, and where they are more than a message.
    """
    batch, request = Batch(0, atomic=True), pb.WriteRequest(atomic=True)
    size = 4 * (len(collection) + len(key)) + 64
    for index, op in enumerate(ops):
        if isinstance(op, Refused):
            raise InvalidArgument(
                f"operation {index} ({op.id!r}): {op.error.message}", reason=op.error.reason
            )
        size += op.size()[0]
        if size > message_bytes:
            raise InvalidArgument(
                f"an atomic write is one message, of {message_bytes:,} bytes at most: it is full "
                f"with operation {index} ({op.id!r})",
                reason="LIMIT_EXCEEDED",
            )
        op.append_to(request)
        batch.ids.append(op.id)
        batch.indexes.append(index)
    if not batch.ids:
        return None
    return _closed(batch, request, len(batch.ids), checked_text(collection, "a name"), key)


def _closed(batch: Batch, request: pb.WriteRequest, end: int, collection: str, key: str) -> Batch:
    request.collection = collection
    request.idempotency_key = key
    batch.end = end
    batch.key = key
    batch.body = request.SerializeToString()
    return batch


def _refuse_size(id: str, size: int, message_bytes: int) -> Refused:
    return Refused(
        id,
        InvalidArgument(
            f"the item takes {size:,} bytes, and a message {message_bytes:,} at most; store less "
            "in its payload or text",
            reason="LIMIT_EXCEEDED",
        ),
    )


def _failure(index: int, refused: Refused) -> ItemFailure:
    error = refused.error
    reason = error.reason or "INVALID_ARGUMENT"
    return ItemFailure(index, refused.id, error.code, reason, error.message)
