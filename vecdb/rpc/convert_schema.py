"""Between a collection's schema and its messages. Raises InvalidArgument, SchemaMismatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vecdb.embed.client import Encoders, ModelInfo
from vecdb.errors import DimensionMismatch, InvalidArgument, SchemaMismatch
from vecdb.multi import MultiSpace
from vecdb.rpc.convert import METRICS, text_field
from vecdb.rpc.pb import collections_pb2 as pb
from vecdb.storage.numbered import SchemaChange
from vecdb.types import (
    DEFAULT_TARGET_RECALL,
    Hnsw,
    Metric,
    ModelBinding,
    Schema,
    Space,
    SparseSpace,
)
from vecdb.write.prepare import unknown_space

M_BOUNDS = (4, 128)
EF_CONSTRUCTION_BOUNDS = (8, 2_000)
TARGET_RECALL_BOUNDS = (0.5, 0.999)


def schema_of(message: pb.Collection, encoders: Encoders) -> Schema:
    """Return the schema of a collection to create; models are looked up. Raises NoModel."""
    dense, sparse, multi = _spaces(message.spaces, encoders, "collection.spaces")
    texts = tuple(map(text_field, message.text_fields))
    return Schema(dense, sparse, texts, multi_spaces=multi)


def schema_change(message: pb.UpdateCollectionRequest, encoders: Encoders) -> SchemaChange:
    """Return what an update drops and adds; models are looked up. Raises NoModel."""
    dense, sparse, multi = _spaces(message.add_spaces, encoders, "add_spaces")
    return SchemaChange(
        tuple(message.drop_spaces),
        tuple(message.drop_text_fields),
        dense,
        sparse,
        tuple(map(text_field, message.add_text_fields)),
        multi,
    )


def _spaces(
    messages: Mapping[str, pb.Space], encoders: Encoders, field: str
) -> tuple[tuple[Space, ...], tuple[SparseSpace, ...], tuple[MultiSpace, ...]]:
    """Return the dense, the sparse and the multi-dense spaces, by name."""
    dense: list[Space] = []
    sparse: list[SparseSpace] = []
    multi: list[MultiSpace] = []
    for name, one in sorted(messages.items()):
        kind = one.WhichOneof("kind")
        if kind == "sparse":
            sparse.append(_sparse_space(name, one.sparse, encoders, f"{field}[{name!r}].sparse"))
        elif kind == "multi_dense":
            multi.append(_multi_space(name, one, field))
        else:
            dense.append(_space(name, one, encoders, f"{field}[{name!r}].dense"))
    return tuple(dense), tuple(sparse), tuple(multi)


def changed_schema(schema: Schema, messages: Mapping[str, pb.Space]) -> Schema:
    """Return a schema with what an update says of its spaces.

    Raises SchemaMismatch for what cannot be changed, InvalidArgument for spaces it does not have.
    """
    spaces = {space.name: space for space in schema.spaces}
    sparse = {space.name: space for space in schema.sparse_spaces}
    for name, message in messages.items():
        field = f"spaces[{name!r}]"
        kind = message.WhichOneof("kind")
        if name not in (space.name for space in schema.all_spaces):
            raise unknown_space(name, schema, field)
        if kind is None:
            raise InvalidArgument(
                f"space {name!r}: expected dense, sparse or multi_dense", field=field
            )
        there = "sparse" if name in sparse else "multi_dense"
        if kind == "dense" and name in spaces:
            spaces[name] = _changed(spaces[name], message.dense, f"{field}.dense")
        elif kind != ("dense" if name in spaces else there):
            raise _fixed(name, field, "kind", "dense" if name in spaces else there, kind)
        elif kind == "multi_dense":
            _check_same(schema.multi_space(name), message.multi_dense, f"{field}.multi_dense")
        else:
            sparse[name] = _changed_sparse(sparse[name], message.sparse, f"{field}.sparse")
    return replace(schema, spaces=tuple(spaces.values()), sparse_spaces=tuple(sparse.values()))


def _changed(space: Space, dense: pb.Dense, field: str) -> Space:
    """Return a space with what can be changed of it, once nothing else is asked."""
    model = space.model or ModelBinding("", "")
    metric = METRICS.get(dense.metric)
    for what, is_set, there, asked in (
        ("dim", dense.dim, space.dim, dense.dim),
        ("metric", dense.metric, space.metric.name.lower(), metric and metric.name.lower()),
        ("model", dense.model, model.name, dense.model),
        ("model_fingerprint", dense.model_fingerprint, model.fingerprint, dense.model_fingerprint),
        ("hnsw.m", dense.hnsw.m, space.hnsw.m, dense.hnsw.m),
        (
            "hnsw.ef_construction",
            dense.hnsw.ef_construction,
            space.hnsw.ef_construction,
            dense.hnsw.ef_construction,
        ),
    ):
        if is_set and there != asked:
            raise _fixed(space.name, f"{field}.{what}", what, there, asked)
    if not dense.HasField("target_recall"):
        return space
    return replace(space, target_recall=_target_recall(dense, field))


def _changed_sparse(space: SparseSpace, message: pb.Sparse, field: str) -> SparseSpace:
    """Return a space with what can be changed of it, once nothing else is asked."""
    model = space.model or ModelBinding("", "")
    for what, there, asked in (
        ("model", model.name, message.model),
        ("model_fingerprint", model.fingerprint, message.model_fingerprint),
    ):
        if asked and there != asked:
            raise _fixed(space.name, f"{field}.{what}", what, there, asked)
    return replace(space, idf=message.idf) if message.HasField("idf") else space


def _check_same(space: MultiSpace | None, message: pb.MultiDense, field: str) -> None:
    """Raise SchemaMismatch unless what is said of a multi-dense space is as it is."""
    assert space is not None
    metric = METRICS.get(message.metric)
    if message.dim not in (0, space.dim):
        raise _fixed(space.name, f"{field}.dim", "dim", space.dim, message.dim)
    if message.metric and metric is not space.metric:
        asked = metric and metric.name.lower()
        raise _fixed(space.name, f"{field}.metric", "metric", space.metric.name.lower(), asked)


def _fixed(name: str, field: str, what: str, there: object, asked: object) -> SchemaMismatch:
    return SchemaMismatch(
        f"space {name!r}: {what} is {there or 'none'} and cannot be changed to {asked}",
        hint="add a space as wanted, or drop this one and add it in the same call, empty",
        field=field,
        expected=there,
        got=asked,
    )


def _multi_space(name: str, message: pb.Space, field: str) -> MultiSpace:
    metric = METRICS.get(message.multi_dense.metric or pb.METRIC_COSINE)
    if metric not in (Metric.COSINE, Metric.DOT):
        raise InvalidArgument(
            f"space {name!r}: expected metric cosine or dot",
            field=f"{field}[{name!r}].multi_dense.metric",
        )
    return MultiSpace(name, message.multi_dense.dim, metric)


def _sparse_space(name: str, message: pb.Sparse, encoders: Encoders, field: str) -> SparseSpace:
    if not message.model:
        return SparseSpace(name, message.idf)
    model = encoders.resolve(message.model)
    _check_gives(name, model, "sparse", field)
    return SparseSpace(name, message.idf, ModelBinding(model.name, model.fingerprint))


def _check_gives(name: str, model: ModelInfo, wanted: str, field: str) -> None:
    """Raise InvalidArgument unless a model gives what a space holds."""
    if model.gives != wanted:
        given = "scores" if model.gives == "score" else f"{model.gives} vectors"
        raise InvalidArgument(
            f"space {name!r}: model {model.name} gives {given}, no {wanted} ones",
            field=f"{field}.model",
            hint="vecdb models list shows what each gives",
        )


def _space(name: str, message: pb.Space, encoders: Encoders, field: str) -> Space:
    if message.WhichOneof("kind") != "dense":
        raise InvalidArgument(f"space {name!r}: expected dense, sparse or multi_dense", field=field)
    dense = message.dense
    metric = METRICS.get(dense.metric)
    unset = dense.metric == pb.METRIC_UNSPECIFIED
    if metric is None and not (unset and dense.model):
        raise InvalidArgument(
            f"space {name!r}: expected metric cosine, dot, euclid or manhattan",
            field=f"{field}.metric",
        )
    hnsw = _hnsw(dense.hnsw, f"{field}.hnsw")
    recall = _target_recall(dense, field)
    if metric is not None and not dense.model:
        return Space(name, dense.dim, metric, None, hnsw, recall)
    model = encoders.resolve(dense.model)
    _check_gives(name, model, "dense", field)
    if dense.dim not in (0, model.dim, *model.dims):
        made = ", ".join(map(str, (model.dim, *model.dims)))
        raise DimensionMismatch(
            f"space {name!r}: model {model.name} makes {made} dimensions, got {dense.dim}",
            field=f"{field}.dim",
            expected=made,
            got=dense.dim,
        )
    binding = ModelBinding(model.name, model.fingerprint)
    return Space(name, dense.dim or model.dim, metric or model.metric, binding, hnsw, recall)


def _hnsw(message: pb.Hnsw, field: str) -> Hnsw:
    default = Hnsw()
    hnsw = Hnsw(message.m or default.m, message.ef_construction or default.ef_construction)
    for name, value, (low, high) in (
        ("m", hnsw.m, M_BOUNDS),
        ("ef_construction", hnsw.ef_construction, EF_CONSTRUCTION_BOUNDS),
    ):
        if not low <= value <= high:
            raise InvalidArgument(
                f"{name} is {value}, expected {low} to {high}", field=f"{field}.{name}", got=value
            )
    return hnsw


def _target_recall(dense: pb.Dense, field: str) -> float:
    if not dense.HasField("target_recall"):
        return DEFAULT_TARGET_RECALL
    low, high = TARGET_RECALL_BOUNDS
    if not low <= dense.target_recall <= high:
        raise InvalidArgument(
            f"target_recall is {dense.target_recall}, expected {low} to {high}",
            field=f"{field}.target_recall",
            got=dense.target_recall,
        )
    return dense.target_recall
