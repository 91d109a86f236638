"""What a caller wants written, as operations: each encoded as it comes, or refused with the reason.

Pure and lazy. How operations become requests is ``batches.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sized
from dataclasses import fields
from typing import Any, Final, NamedTuple, TypeAlias, cast

from vecdb_client.errors import InvalidArgument
from vecdb_client.expiry import Expiry, expiry_of
from vecdb_client.images import ImageFile, ImageLike, image_bytes
from vecdb_client.multi import Multi, fill_multi, multi_of
from vecdb_client.payloads import Payload, payload_bytes
from vecdb_client.pb import common_pb2
from vecdb_client.pb import points_pb2 as pb
from vecdb_client.requests import checked_text, text_list
from vecdb_client.tables import Table, is_table, table_points
from vecdb_client.types import Delete, Patch, Point
from vecdb_client.vectors import Numbers, Sparse, VectorLike, f32_bytes, matrix_rows, sparse_of

_POINT_KEYS: Final = frozenset(field.name for field in fields(Point))

IMAGE_TEXTS: Final = 8
"""So many texts take a model about as long as an image."""


class Image(NamedTuple):
    """The bytes of an image file."""

    content: bytes


Content: TypeAlias = bytes | str | Image | Sparse | Multi


class PutOp(NamedTuple):
    """A point, encoded. vectors: per space float32 bytes, what is to be encoded, or others."""

    id: str
    payload: bytes
    vectors: dict[str, Content]
    if_version: int | None = None
    expiry: Expiry | None = None

    def size(self) -> tuple[int, int]:
        """Return the most bytes that the operation takes on the wire, and how many texts it has."""
        size, texts = _size(self.vectors)
        return 4 * len(self.id) + len(self.payload) + 64 + size, texts

    def append_to(self, request: pb.WriteRequest) -> None:
        """Add the operation to a request."""
        put = _added(request, self.if_version).put
        put.id = self.id
        if self.payload:
            put.payload = self.payload
        _fill(put.vectors, self.vectors)
        _set_expiry(put, self.expiry)


class PatchOp(NamedTuple):
    """Changes of a point, encoded. vectors: as in PutOp, None to remove one."""

    id: str
    set: bytes
    unset: list[str]
    append: bytes
    remove: bytes
    vectors: dict[str, Content | None]
    if_version: int | None = None
    expiry: Expiry | None = None

    def size(self) -> tuple[int, int]:
        """Return the most bytes that the operation takes on the wire, and how many texts it has."""
        size, texts = _size(self.vectors)
        size += len(self.set) + len(self.append) + len(self.remove) + 112
        return size + 4 * len(self.id) + sum(4 * len(path) + 8 for path in self.unset), texts

    def append_to(self, request: pb.WriteRequest) -> None:
        """Add the operation to a request."""
        self.fill(_added(request, self.if_version).patch)

    def fill(self, patch: pb.PatchPoint) -> None:
        """Say the changes in a message."""
        patch.id = self.id
        patch.set, patch.append, patch.remove = self.set, self.append, self.remove
        patch.unset.extend(self.unset)
        _fill(patch.vectors, self.vectors)
        patch.unset_vectors.extend(space for space, value in self.vectors.items() if value is None)
        _set_expiry(patch, self.expiry)


class DeleteOp(NamedTuple):
    """The id of a point to remove."""

    id: str
    if_version: int | None = None

    def size(self) -> tuple[int, int]:
        """Return the most bytes that the operation takes on the wire, and no texts."""
        return 4 * len(self.id) + 32, 0

    def append_to(self, request: pb.WriteRequest) -> None:
        """Add the operation to a request."""
        _added(request, self.if_version).delete.id = self.id


class Refused(NamedTuple):
    """An item that cannot be sent, and why."""

    id: str
    error: InvalidArgument


Op: TypeAlias = PutOp | PatchOp | DeleteOp | Refused


def _added(request: pb.WriteRequest, if_version: int | None) -> pb.WriteOp:
    op = request.ops.add()
    if if_version is not None:
        op.if_version = if_version
    return op


def _set_expiry(message: common_pb2.Point | pb.PatchPoint, expiry: Expiry | None) -> None:
    if expiry is None:
        return
    if expiry.ttl_ms is not None:
        message.ttl_ms = expiry.ttl_ms
    elif expiry.expires_at_ms is not None:
        message.expires_at_ms = expiry.expires_at_ms


def _size(vectors: Mapping[str, Content | None]) -> tuple[int, int]:
    """Return the most bytes that vectors take on the wire, and how many texts they cost."""
    size = texts = 0
    for space, value in vectors.items():
        size += 4 * len(space) + 48
        if value is None:
            continue
        size += len(value)
        if isinstance(value, Multi):
            size += len(value.f32) + 16
        elif isinstance(value, Sparse):
            size += 9 * len(value.indices) + 16
        elif isinstance(value, Image):
            size += len(value.content)
            texts += IMAGE_TEXTS
        elif isinstance(value, str):
            texts += 1
            if not value.isascii():
                size += len(value.encode()) - len(value)
    return size, texts


def _fill(
    message: MutableMapping[str, common_pb2.Vector], vectors: Mapping[str, Content | None]
) -> None:
    for space, value in vectors.items():
        if isinstance(value, str):
            message[space].text = value
        elif isinstance(value, Image):
            message[space].image = value.content
        elif isinstance(value, Sparse):
            message[space].sparse.indices.extend(value.indices)
            message[space].sparse.values.extend(value.values)
        elif isinstance(value, Multi):
            fill_multi(message[space], value)
        elif value is not None:
            message[space].f32 = value


def write_ops(items: Iterable[Point | Mapping[str, Any] | Patch | Delete]) -> Iterator[Op]:
    """Yield each operation encoded, or refused with the reason; a point is an upsert."""
    if isinstance(items, (Mapping, Point, Patch, Delete, str)):
        raise InvalidArgument(
            f"operations are a list or another iterable, got one {type(items).__name__}: "
            "put it into a list"
        )
    for item in items:
        try:
            if isinstance(item, Patch):
                yield patch_op(item)
            elif isinstance(item, Delete):
                yield DeleteOp(checked_text(item.id, "an id"), checked_version(item.if_version))
            else:
                yield _put(item, None, None)
        except InvalidArgument as error:
            yield Refused(_id_of(item), error)


def point_ops(
    points: Iterable[Point | Mapping[str, Any]] | Table,
    if_version: int | None = None,
    expiry: Expiry | None = None,
) -> Iterator[Op]:
    """Yield each point encoded, or refused with the reason.

    if_version and expiry: of those without one.
    """
    if is_table(points):
        points = table_points(cast(Table, points))
    if isinstance(points, (Mapping, Point, str)):
        raise InvalidArgument(
            f"points is a list or another iterable of points, got one {type(points).__name__}: "
            "put it into a list"
        )
    for point in cast(Iterable[Point | Mapping[str, Any]], points):
        try:
            yield _put(point, if_version, expiry)
        except InvalidArgument as error:
            yield Refused(_id_of(point), error)


def column_ops(
    ids: Iterable[str],
    vectors: object,
    texts: Iterable[str] | None,
    payloads: Iterable[Payload | None] | None,
    if_version: int | None = None,
    expiry: Expiry | None = None,
) -> Iterator[Op]:
    """Yield the points of parallel columns, encoded.

    vectors: (n, dim), or n vectors, or a mapping of space names to such; None for none. In a
    multi-dense space, n arrays of (m, dim).
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
            yield PutOp(checked_text(id, "an id"), payload, encoded, if_version, expiry)
        except InvalidArgument as error:
            yield Refused(str(id), error)


def delete_ops(ids: Iterable[str], if_version: int | None = None) -> Iterator[Op]:
    """Yield a delete per id; one id stands for itself."""
    for id in [ids] if isinstance(ids, str) else ids:
        try:
            yield DeleteOp(checked_text(id, "an id"), if_version)
        except InvalidArgument as error:
            yield Refused(str(id), error)


def _column(column: object) -> Iterable[Any]:
    if isinstance(column, str) or not isinstance(column, Iterable):
        raise InvalidArgument(f"a column of vectors is (n, dim), got a {type(column).__name__}")
    return column


def _content(value: VectorLike) -> Content:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, ImageFile):
        return Image(image_bytes(value.file))
    if isinstance(value, (dict, tuple)) and (sparse := sparse_of(value)) is not None:
        return sparse
    multi = multi_of(value)
    return f32_bytes(cast(Numbers, value)) if multi is None else multi


def _text(value: str) -> str:
    return checked_text(value, "a text")


def _as_is(row: bytes) -> bytes:
    return row


def _put(point: Point | Mapping[str, Any], if_version: int | None, expiry: Expiry | None) -> PutOp:
    if isinstance(point, Point):
        id, vector, text, image = point.id, point.vector, point.text, point.image
        payload, named, version = point.payload, point.vectors, point.if_version
        own = expiry_of(point.ttl_s, point.expires_at)
    elif isinstance(point, Mapping):
        if not _POINT_KEYS.issuperset(point):
            unknown = ", ".join(sorted(map(repr, set(point) - _POINT_KEYS)))
            raise _bad(f"unknown key {unknown}; the keys are {', '.join(sorted(_POINT_KEYS))}")
        if "id" not in point:
            raise _bad("it has no id")
        get = point.get
        id, vector, text, image = point["id"], get("vector"), get("text"), get("image")
        payload, named, version = get("payload"), get("vectors"), get("if_version")
        own = expiry_of(get("ttl_s"), get("expires_at"))
    else:
        raise _bad(f"it is a {type(point).__name__}, not a dict or a Point")
    if type(id) is not str or not id.isascii():
        checked_text(id, "an id")
    vectors = _default_vector(vector, text, image)
    for space, value in _named(vectors, named):
        vectors[space] = _content(value)
    version = if_version if version is None else checked_version(version)
    encoded = b"" if payload is None else payload_bytes(payload)
    return PutOp(id, encoded, vectors, version, expiry if own is None else own)


def patch_op(patch: Patch) -> PatchOp:
    """Return a patch encoded. Raises InvalidArgument."""
    vectors: dict[str, Content | None] = {**_default_vector(patch.vector, patch.text, patch.image)}
    for space, value in _named(vectors, patch.vectors):
        vectors[space] = None if value is None else _content(value)
    return PatchOp(
        checked_text(patch.id, "an id"),
        payload_bytes(patch.set),
        text_list(patch.unset, "a path"),
        payload_bytes(patch.append),
        payload_bytes(patch.remove),
        vectors,
        checked_version(patch.if_version),
        expiry_of(patch.ttl_s, patch.expires_at),
    )


def checked_version(version: int | None) -> int | None:
    """Return an if_version. Raises InvalidArgument unless it is a whole number from 0, or None."""
    if version is None or (type(version) is int and 0 <= version < 1 << 64):
        return version
    raise InvalidArgument(f"if_version is a whole number from 0, got {version!r}")


def _default_vector(
    vector: VectorLike | None, text: str | None, image: ImageLike | None
) -> dict[str, Content]:
    if text is None and image is None:  # nearly always
        return {} if vector is None else {"": _content(vector)}
    given = {"a vector": vector, "a text": text, "an image": image}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise _bad(f"it has {' and '.join(named)}, for one space")
    if image is not None:
        return {"": Image(image_bytes(image))}
    return {"": checked_text(cast(str, text), "a text")}


def _named(
    vectors: Mapping[str, object], named: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    """Yield the vectors by space name. Raises InvalidArgument for a space that has one already."""
    if named is None:
        return
    if not isinstance(named, Mapping):
        raise _bad('vectors is a dict of space names, such as {"title": [...]}')
    for space, value in named.items():
        if checked_text(space, "a space's name") in vectors:
            raise _bad("the default space has two vectors")
        yield space, value


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


def _id_of(point: object) -> str:
    found = point.get("id", "") if isinstance(point, Mapping) else getattr(point, "id", "")
    return str(cast(object, found))


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"bad point: {why}", reason="BAD_POINT")
