"""Between the messages of the wire and the types of the rooms below. Raises InvalidArgument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from vecdb.errors import InvalidArgument, VecdbError
from vecdb.multi import MultiVector
from vecdb.opened import CollectionInfo
from vecdb.outcomes import ItemResult
from vecdb.rpc.pb import collections_pb2, common_pb2, points_pb2, search_pb2
from vecdb.rpc.status import code_number
from vecdb.types import (
    F32,
    Delete,
    Match,
    Metric,
    Op,
    Patch,
    PayloadEdits,
    Point,
    Put,
    SparseVector,
    TextField,
)

# --- vectors

_F4 = np.dtype(np.float32)
"""Of the wire too: it is little-endian, and so are the machines that the kernel is built for."""


def floats_bytes(floats: common_pb2.Floats) -> bytes:
    """Return hand-written floats in the one form that is stored."""
    return np.fromiter(floats.values, "<f4", len(floats.values)).tobytes()


def vector_array(vector: common_pb2.Vector, field: str) -> F32:
    """Return a vector given by numbers. Raises InvalidArgument for any other."""
    kind = vector.WhichOneof("kind")
    if kind == "floats":
        raw = floats_bytes(vector.floats)
    elif kind == "f32":
        raw = vector.f32
    else:
        raise InvalidArgument(f"{field}: expected numbers, got {kind or 'nothing'}", field=field)
    if not raw or len(raw) % 4:
        raise InvalidArgument(
            f"{field}: {len(raw)} bytes are no vector of float32", field=field, got=len(raw)
        )
    return np.frombuffer(raw, _F4)


def content_of(vector: common_pb2.Vector, field: str) -> str | bytes:
    """Return the text or the image that a vector is to be made from. Raises InvalidArgument."""
    kind = vector.WhichOneof("kind")
    content: str | bytes = vector.image if kind == "image" else vector.text
    if not content:
        raise InvalidArgument(f"the {kind} is empty: there is nothing to encode", field=field)
    return content


def sparse_vector(message: common_pb2.SparseVector) -> SparseVector:
    """Return a sparse vector as it was sent."""
    indices = np.fromiter(message.indices, np.uint32, len(message.indices))
    return SparseVector(indices, np.fromiter(message.values, np.float32, len(message.values)))


def multi_vector(message: common_pb2.MultiVector) -> MultiVector:
    """Return several vectors as they were sent."""
    return MultiVector(message.f32, message.dim)


def vector_message(vector: F32) -> common_pb2.Vector:
    """Return a vector, or the several of a multi-dense space, as replies carry it."""
    raw = vector.astype("<f4", copy=False).tobytes()
    if vector.ndim == 1:
        return common_pb2.Vector(f32=raw)
    return common_pb2.Vector(multi=common_pb2.MultiVector(f32=raw, dim=vector.shape[1]))


# --- words

_MATCHES = {
    common_pb2.KEYWORD_MODE_ANY: Match.ANY,
    common_pb2.KEYWORD_MODE_ALL: Match.ALL,
    common_pb2.KEYWORD_MODE_PHRASE: Match.PHRASE,
}


def match_of(mode: common_pb2.KeywordMode, field: str) -> Match:
    """Return which words a text must hold. Raises InvalidArgument."""
    match = _MATCHES.get(mode)
    if match is None:
        raise InvalidArgument("expected mode any, all or phrase", field=field)
    return match


# --- writes


def ops_of(messages: Iterable[points_pb2.WriteOp]) -> tuple[list[Op], dict[int, VecdbError]]:
    """Return the operations of a write, and what is wrong with those that are no operations."""
    ops: list[Op] = []
    refused: dict[int, VecdbError] = {}
    for position, message in enumerate(messages):
        kind = message.WhichOneof("op")
        op: Op = Delete(message.delete.id)
        try:
            if kind == "put":
                op = Put(message.put.id, message.put.payload, {})
                _fill_expiry(op, message.put)
                _fill_vectors(op, message.put.vectors, "put")
            elif kind == "patch":
                op = _edits_of(message.patch)
                _fill_vectors(op, message.patch.vectors, "patch")
            elif kind is None:
                raise InvalidArgument("the operation is empty: expected put, delete or patch")
        except VecdbError as error:
            refused[position] = error
        if message.HasField("if_version"):
            op.if_version = message.if_version
        ops.append(op)
    return ops, refused


def patch_of(message: points_pb2.PatchPoint) -> Patch:
    """Return a patch as it was sent. Raises InvalidArgument."""
    patch = _edits_of(message)
    _fill_vectors(patch, message.vectors, "patch")
    return patch


def _edits_of(message: points_pb2.PatchPoint) -> Patch:
    edits = PayloadEdits(message.set, tuple(message.unset), message.append, message.remove)
    patch = Patch(message.id, edits, unset_vectors=tuple(message.unset_vectors))
    _fill_expiry(patch, message)
    return patch


def _fill_expiry(op: Put | Patch, message: common_pb2.Point | points_pb2.PatchPoint) -> None:
    said = message.WhichOneof("expiry")
    if said == "ttl_ms":
        op.ttl_ms = message.ttl_ms
    elif said == "expires_at_ms":
        op.expires_at_ms = message.expires_at_ms


def _fill_vectors(op: Put | Patch, vectors: Mapping[str, common_pb2.Vector], what: str) -> None:
    for space, vector in vectors.items():
        kind = vector.WhichOneof("kind")
        if kind == "f32":
            op.vectors[space] = vector.f32
        elif kind == "floats":
            op.vectors[space] = floats_bytes(vector.floats)
        elif kind == "text":
            op.texts[space] = vector.text
        elif kind == "image":
            op.images[space] = vector.image
        elif kind == "sparse":
            op.sparse[space] = sparse_vector(vector.sparse)
        elif kind == "multi":
            op.multi[space] = multi_vector(vector.multi)
        else:
            raise InvalidArgument(
                f"vector {space!r}: expected f32, floats, text, image, sparse or multi, got "
                f"{kind or 'nothing'}",
                field=f"{what}.vectors[{space!r}]",
            )


def fill_write_result(message: points_pb2.WriteResult, result: ItemResult) -> None:
    """Fill in what became of an operation."""
    message.code = code_number(result.reason)
    message.reason, message.message = result.reason, result.message
    message.version, message.found = result.version, result.found
    message.truncated.extend(result.truncated)


# --- points


def fill_point(message: common_pb2.Point | search_pb2.Hit, point: Point) -> None:
    """Fill a reply's point, or what a hit says of its point."""
    message.id = point.id
    message.payload = point.payload
    message.version = point.version
    for space, vector in point.vectors.items():
        message.vectors[space].CopyFrom(vector_message(vector))
    for space, sparse in point.sparse.items():
        held = message.vectors[space].sparse
        held.indices.extend(sparse.indices.tolist())
        held.values.extend(sparse.values.tolist())
    for space, text in point.texts.items():
        message.texts[space] = text
    if point.expires_at_ms:
        message.expires_at_ms = point.expires_at_ms


# --- collections

METRICS = {
    collections_pb2.METRIC_COSINE: Metric.COSINE,
    collections_pb2.METRIC_DOT: Metric.DOT,
    collections_pb2.METRIC_EUCLID: Metric.EUCLID,
    collections_pb2.METRIC_MANHATTAN: Metric.MANHATTAN,
}


def metric_message(metric: Metric) -> collections_pb2.Metric:
    """Return a metric as the wire numbers it."""
    return next(number for number, known in METRICS.items() if known is metric)


def text_field(message: collections_pb2.TextField) -> TextField:
    """Return a text field; what is unset is as TextField has it."""
    numbers = {name: getattr(message, name) for name in ("k1", "b") if message.HasField(name)}
    return TextField(message.path, message.language, **numbers)


def collection_message(info: CollectionInfo) -> collections_pb2.Collection:
    """Return a collection as replies carry it."""
    message = collections_pb2.Collection(
        name=info.name,
        created_at_ms=info.created_at_ms,
        quarantined=bool(info.quarantined),
        quarantine_reason=info.quarantined,
        metadata=info.metadata,
        aliases=info.aliases,
        ttl_ms=info.ttl_ms,
    )
    message.limits.points = info.points_max
    for space in info.schema.spaces:
        dense = message.spaces[space.name].dense
        dense.dim = space.dim
        dense.metric = metric_message(space.metric)
        dense.hnsw.m = space.hnsw.m
        dense.hnsw.ef_construction = space.hnsw.ef_construction
        dense.target_recall = space.target_recall
        if space.model is not None:
            dense.model = space.model.name
            dense.model_fingerprint = space.model.fingerprint
        if space.shadow is not None:
            dense.shadow_of = space.shadow.of
    for sparse in info.schema.sparse_spaces:
        message.spaces[sparse.name].sparse.idf = sparse.idf
        if sparse.model is not None:
            message.spaces[sparse.name].sparse.model = sparse.model.name
            message.spaces[sparse.name].sparse.model_fingerprint = sparse.model.fingerprint
    for multi in info.schema.multi_spaces:
        message.spaces[multi.name].multi_dense.dim = multi.dim
        message.spaces[multi.name].multi_dense.metric = metric_message(multi.metric)
    for text in info.schema.text_fields:
        message.text_fields.add(path=text.path, language=text.language, k1=text.k1, b=text.b)
    return message
