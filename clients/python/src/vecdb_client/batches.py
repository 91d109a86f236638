"""How a stream of points becomes requests: encoded one by one, grouped by count and by bytes.

Pure: points in, batches out, lazily, so that a generator of any length passes in bounded memory. An
item that cannot be sent is refused with a reason and does not sink its batch. Sending is
``ingest.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias, cast

from vecdb_client.errors import InvalidArgument
from vecdb_client.payloads import Payload, payload_bytes
from vecdb_client.pb import points_pb2 as pb
from vecdb_client.requests import checked_text
from vecdb_client.types import ItemFailure, Point
from vecdb_client.vectors import Numbers, Sparse, VectorLike, f32_bytes, matrix_rows, sparse_of

_POINT_KEYS: Final = frozenset(("id", "vector", "payload", "text", "vectors"))
_EMBEDDED_MAX: Final = 128
"""Texts of one batch: encoding takes milliseconds each, and the deadline is the batch's."""
BATCH_POINTS_DEFAULT: Final = 1_000
BATCH_BYTES: Final = 7 << 19
"""3.5 MiB: enough that a larger batch is no faster, and below the 4 MiB that gRPC takes by
default, so that proxies let it through."""


Content: TypeAlias = bytes | str | Sparse


class Put(NamedTuple):
    """A point, encoded. vectors: per space float32 bytes, the text to encode, or sparse."""

    id: str
    payload: bytes
    vectors: dict[str, Content]

    def size(self) -> tuple[int, int]:
        """Return the most bytes that the operation takes on the wire, and how many texts it has."""
        size = 4 * len(self.id) + len(self.payload) + 48
        texts = 0
        for space, value in self.vectors.items():
            size += 4 * len(space) + len(value) + 48
            if isinstance(value, Sparse):
                size += 9 * len(value.indices) + 16
            elif isinstance(value, str):
                texts += 1
                if not value.isascii():
                    size += len(value.encode()) - len(value)
        return size, texts

    def append_to(self, request: pb.WriteRequest) -> None:
        """Add the operation to a request."""
        put = request.ops.add().put
        put.id = self.id
        if self.payload:
            put.payload = self.payload
        for space, value in self.vectors.items():
            if isinstance(value, str):
                put.vectors[space].text = value
            elif isinstance(value, Sparse):
                put.vectors[space].sparse.indices.extend(value.indices)
                put.vectors[space].sparse.values.extend(value.values)
            else:
                put.vectors[space].f32 = value


class Delete(NamedTuple):
    """The id of a point to remove."""

    id: str

    def size(self) -> tuple[int, int]:
        """Return the most bytes that the operation takes on the wire, and no texts."""
        return 4 * len(self.id) + 32, 0

    def append_to(self, request: pb.WriteRequest) -> None:
        """Add the operation to a request."""
        request.ops.add().delete.id = self.id


class Refused(NamedTuple):
    """An item that cannot be sent, and why."""

    id: str
    error: InvalidArgument


Op: TypeAlias = Put | Delete | Refused


@dataclass(slots=True)
class Batch:
    """A request, serialised, and which items of the input it stands for: [start, end)."""

    start: int
    end: int = 0
    key: str = ""
    ids: list[str] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    refused: list[ItemFailure] = field(default_factory=list)
    body: bytes = b""

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
            elif batch.ids and (
                size + op_size > bytes_max
                or len(batch.ids) >= points_max
                or texts + op_texts > _EMBEDDED_MAX
            ):
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
    if batch.ids or batch.refused:
        yield _closed(batch, request, index + 1, collection, f"{key}/{number}")


def point_ops(points: Iterable[Point | Mapping[str, Any]]) -> Iterator[Op]:
    """Yield each point encoded, or refused with the reason."""
    if isinstance(points, (Mapping, Point, str)):
        raise InvalidArgument(
            f"points is a list or another iterable of points, got one {type(points).__name__}: "
            "put it into a list"
        )
    for point in points:
        try:
            yield _put(point)
        except InvalidArgument as error:
            yield Refused(_id_of(point), error)


def column_ops(
    ids: Iterable[str],
    vectors: object,
    texts: Iterable[str] | None,
    payloads: Iterable[Payload | None] | None,
) -> Iterator[Op]:
    """Yield the points of parallel columns, encoded.

    vectors: (n, dim), or n vectors, or a mapping of space names to such; None for none.
    Raises InvalidArgument when a column is shorter or longer than ids.
    """
    if isinstance(ids, (str, bytes)):
        raise InvalidArgument("ids is a list of ids, got one text")
    columns: list[Iterable[Any]] = [ids]
    lengths = {"ids": _length(ids), "payloads": _length(payloads)}
    contents: list[tuple[str, Callable[[Any], Content]]] = []
    named = vectors if isinstance(vectors, Mapping) else {"": vectors}
    for space, column in named.items():
        if column is not None:
            rows = matrix_rows(column)
            contents.append((space, _content if rows is None else _as_is))
            columns.append(_column(column) if rows is None else rows)
            lengths[f"vectors[{space!r}]" if space else "vectors"] = _length(column)
    if texts is not None:
        if any(space == "" for space, _ in contents):
            raise InvalidArgument("texts fills the default space, which vectors fills already")
        contents.append(("", _text))
        columns.append(texts)
        lengths["texts"] = _length(texts)
    if payloads is not None:
        columns.append(payloads)
    known = {name: n for name, n in lengths.items() if n is not None}
    if len(set(known.values())) > 1:
        found = ", ".join(f"{name} has {n:,}" for name, n in known.items())
        raise InvalidArgument(f"the columns differ in length: {found}")
    for id, *values in _zipped(columns):
        try:
            payload = b"" if payloads is None else payload_bytes(values.pop())
            encoded = {
                space: encode(value)
                for (space, encode), value in zip(contents, values, strict=True)
            }
            yield Put(checked_text(id, "an id"), payload, encoded)
        except InvalidArgument as error:
            yield Refused(str(id), error)


def delete_ops(ids: Iterable[str]) -> Iterator[Op]:
    """Yield a delete per id; one id stands for itself."""
    for id in [ids] if isinstance(ids, str) else ids:
        try:
            yield Delete(checked_text(id, "an id"))
        except InvalidArgument as error:
            yield Refused(str(id), error)


def _column(column: object) -> Iterable[Any]:
    if isinstance(column, str) or not isinstance(column, Iterable):
        raise InvalidArgument(f"a column of vectors is (n, dim), got a {type(column).__name__}")
    return column


def _content(value: VectorLike) -> Content:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (dict, tuple)) and (sparse := sparse_of(value)) is not None:
        return sparse
    return f32_bytes(cast(Numbers, value))


def _text(value: str) -> str:
    return checked_text(value, "a text")


def _as_is(row: bytes) -> bytes:
    return row


def _put(point: Point | Mapping[str, Any]) -> Put:
    if isinstance(point, Point):
        id, vector, text = point.id, point.vector, point.text
        payload, named = point.payload, point.vectors
    elif isinstance(point, Mapping):
        if not _POINT_KEYS.issuperset(point):
            unknown = ", ".join(sorted(map(repr, set(point) - _POINT_KEYS)))
            raise _bad(f"unknown key {unknown}; the keys are {', '.join(sorted(_POINT_KEYS))}")
        if "id" not in point:
            raise _bad("it has no id")
        get = point.get
        id, vector, text = point["id"], get("vector"), get("text")
        payload, named = get("payload"), get("vectors")
    else:
        raise _bad(f"it is a {type(point).__name__}, not a dict or a Point")
    if type(id) is not str or not id.isascii():
        checked_text(id, "an id")
    vectors: dict[str, Content] = {}
    if vector is not None:
        vectors[""] = _content(vector)
    if text is not None:
        if vector is not None:
            raise _bad("it has a vector and a text, for one space")
        vectors[""] = checked_text(text, "a text")
    if named is not None:
        _add_named(vectors, named)
    return Put(id, b"" if payload is None else payload_bytes(payload), vectors)


def _add_named(vectors: dict[str, Content], named: Mapping[str, VectorLike]) -> None:
    if not isinstance(named, Mapping):
        raise _bad('vectors is a dict of space names, such as {"title": [...]}')
    for space, value in named.items():
        if checked_text(space, "a space's name") in vectors:
            raise _bad("the default space has two vectors")
        vectors[space] = _content(value)


def _closed(batch: Batch, request: pb.WriteRequest, end: int, collection: str, key: str) -> Batch:
    request.collection = collection
    request.idempotency_key = key
    batch.end = end
    batch.key = key
    batch.body = request.SerializeToString()
    return batch


def _length(column: object) -> int | None:
    """Return the length of a column that knows it, else None."""
    shape = getattr(column, "shape", None)
    if shape:
        return int(shape[0])
    return len(column) if isinstance(column, Sized) else None


def _zipped(columns: list[Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows. Raises InvalidArgument when a column that did not know its length differs."""
    try:
        yield from zip(*columns, strict=True)
    except ValueError as error:
        if not str(error).startswith("zip() argument"):
            raise
        raise InvalidArgument(f"the columns differ in length: {error}") from None


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


def _id_of(point: object) -> str:
    found = point.get("id", "") if isinstance(point, Mapping) else getattr(point, "id", "")
    return str(cast(object, found))


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"bad point: {why}", reason="BAD_POINT")
