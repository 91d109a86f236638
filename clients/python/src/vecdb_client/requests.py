"""What the caller asked, as messages. Pure functions, shared by every transport.

Writes are built in ``batches.py``. Raises InvalidArgument for what cannot be a request at all;
limits and names are the server's to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from vecdb_client.arguments import UINT32_MAX
from vecdb_client.arguments import count as _count
from vecdb_client.errors import InvalidArgument
from vecdb_client.expiry import milliseconds
from vecdb_client.filters import Filter, filter_message
from vecdb_client.multi import MultiDenseSpace
from vecdb_client.payloads import Payload, payload_bytes
from vecdb_client.pb import (
    collections_pb2,
    common_pb2,
    models_pb2,
    points_pb2,
)
from vecdb_client.types import (
    Mask,
    Metric,
    Role,
    Space,
    SparseSpace,
    TextField,
    WithPayload,
)

METRICS: Final[dict[str, collections_pb2.Metric]] = {
    "cosine": collections_pb2.METRIC_COSINE,
    "dot": collections_pb2.METRIC_DOT,
    "euclid": collections_pb2.METRIC_EUCLID,
    "manhattan": collections_pb2.METRIC_MANHATTAN,
}
_ROLES: Final[dict[str, models_pb2.EmbedRole]] = {
    "document": models_pb2.EMBED_ROLE_DOCUMENT,
    "query": models_pb2.EMBED_ROLE_QUERY,
}


def create_request(
    name: str,
    *,
    dim: int | None,
    metric: Metric | None,
    model: str | None,
    spaces: Mapping[str, Space | SparseSpace | MultiDenseSpace] | None,
    text_fields: Iterable[TextField],
    metadata: Payload | None,
    ttl_s: float | None,
    points_max: int | None = None,
    if_not_exists: bool,
) -> collections_pb2.CreateCollectionRequest:
    """Return the request for a collection of one default space, or of the spaces given.

    Where nothing is said of spaces but there are text fields, it has none.
    """
    texts = list(text_fields)
    if spaces is None:
        none = texts and dim is None and metric is None and model is None
        spaces = {} if none else {"": Space(dim, metric, model or "")}
    elif dim is not None or metric is not None or model is not None:
        raise InvalidArgument("give either dim, metric and model, or spaces, which have their own")
    request = collections_pb2.CreateCollectionRequest(if_not_exists=if_not_exists)
    request.collection.name = checked_text(name, "a collection's name")
    request.collection.metadata = payload_bytes(metadata)
    if ttl_s is not None:
        request.collection.ttl_ms = milliseconds(ttl_s)
    if points_max:
        request.collection.limits.points = _count(points_max, "points_max")
    for space_name, space in spaces.items():
        request.collection.spaces[space_name].CopyFrom(_space(space_name, space))
    request.collection.text_fields.extend(map(_text_field, texts))
    return request


def _space(name: str, space: Space | SparseSpace | MultiDenseSpace) -> collections_pb2.Space:
    if isinstance(space, MultiDenseSpace):
        return collections_pb2.Space(multi_dense=_multi(name, space))
    if isinstance(space, SparseSpace):
        return collections_pb2.Space(
            sparse=collections_pb2.Sparse(
                idf=space.idf, model=space.model, model_fingerprint=space.model_fingerprint
            )
        )
    return collections_pb2.Space(dense=_dense(name, space))


def _text_field(text: TextField) -> collections_pb2.TextField:
    if not isinstance(text, TextField):
        raise InvalidArgument(f"text_fields holds TextField(path=...), got {text!r}")
    path = checked_text(text.path, "a text field's path")
    return collections_pb2.TextField(path=path, language=text.language, k1=text.k1, b=text.b)


def update_request(
    name: str,
    metadata: Payload | None,
    spaces: Mapping[str, Space | SparseSpace],
    ttl_s: float | None = None,
    *,
    points_max: int | None = None,
    add_spaces: Mapping[str, Space | SparseSpace | MultiDenseSpace] | None = None,
    drop_spaces: Iterable[str] = (),
    add_text_fields: Iterable[TextField] = (),
    drop_text_fields: Iterable[str] = (),
) -> collections_pb2.UpdateCollectionRequest:
    """Return the request to change a collection; None leaves what there is."""
    request = collections_pb2.UpdateCollectionRequest(
        drop_spaces=text_list(drop_spaces, "a space's name"),
        add_text_fields=map(_text_field, add_text_fields),
        drop_text_fields=text_list(drop_text_fields, "a text field's path"),
    )
    if points_max is not None:
        request.limits.SetInParent()  # also where it is 0, which is no limit
        request.limits.points = points_max and _count(points_max, "points_max")
    for space_name, added in (add_spaces or {}).items():
        request.add_spaces[space_name].CopyFrom(_space(space_name, added))
    request.name = checked_text(name, "a collection's name")
    if metadata is not None:
        request.metadata = payload_bytes(metadata)
    if ttl_s is not None:
        request.ttl_ms = milliseconds(ttl_s)
    for space_name, space in spaces.items():
        if isinstance(space, SparseSpace):
            request.spaces[space_name].CopyFrom(_space(space_name, space))
        else:
            request.spaces[space_name].dense.CopyFrom(_given(space_name, space))
    return request


def aliases_request(aliases: Mapping[str, str | None]) -> collections_pb2.SetAliasesRequest:
    """Return the request to have aliases stand for collections, or to delete those of None."""
    request = collections_pb2.SetAliasesRequest()
    for alias, collection in aliases.items():
        action = request.actions.add()
        if collection is None:
            action.delete.alias = checked_text(alias, "an alias")
        else:
            action.set.alias = checked_text(alias, "an alias")
            action.set.collection = checked_text(collection, "a collection's name")
    return request


def _dense(name: str, space: Space) -> collections_pb2.Dense:
    dense = _given(name, space)
    if space.dim is None and not space.model:
        raise InvalidArgument(f"space {name!r} needs a dim, or a model that has one")
    if space.metric is None and not space.model:
        dense.metric = collections_pb2.METRIC_COSINE
    return dense


def _multi(name: str, space: MultiDenseSpace) -> collections_pb2.MultiDense:
    if space.metric not in ("cosine", "dot"):
        raise InvalidArgument(f"space {name!r}: metric is cosine or dot, got {space.metric!r}")
    return collections_pb2.MultiDense(dim=_count(space.dim, "dim"), metric=METRICS[space.metric])


def _given(name: str, space: Space) -> collections_pb2.Dense:
    """Return what is said of a space."""
    if not isinstance(space, Space):
        raise InvalidArgument(f"space {name!r} is a Space(dim=..., metric=...), got {space!r}")
    if space.metric is not None and space.metric not in METRICS:
        raise InvalidArgument(f"metric is one of {', '.join(METRICS)}; got {space.metric!r}")
    dense = collections_pb2.Dense(model=space.model, model_fingerprint=space.model_fingerprint)
    if space.dim is not None:
        dense.dim = _count(space.dim, "dim")
    if space.metric is not None:
        dense.metric = METRICS[space.metric]
    if space.m is not None:
        dense.hnsw.m = _count(space.m, "m")
    if space.ef_construction is not None:
        dense.hnsw.ef_construction = _count(space.ef_construction, "ef_construction")
    if space.target_recall is not None:
        dense.target_recall = space.target_recall
    return dense


def get_request(
    collection: str,
    ids: list[str],
    *,
    with_vectors: bool,
    with_texts: bool,
    with_payload: WithPayload,
) -> points_pb2.GetPointsRequest:
    """Return the request for points by id."""
    return points_pb2.GetPointsRequest(
        collection=collection,
        ids=ids,
        with_vectors=with_vectors,
        with_texts=with_texts,
        **payload_parts(with_payload),
    )


def payload_parts(with_payload: WithPayload) -> dict[str, Any]:
    """Return the fields of a request that say what to send of payloads. Raises InvalidArgument."""
    if isinstance(with_payload, bool):
        return {"without_payload": not with_payload}
    mask = with_payload if isinstance(with_payload, Mask) else Mask(with_payload)
    try:
        include = text_list(mask.include, "a path of with_payload")
        exclude = text_list(mask.exclude, "a path of with_payload")
    except TypeError:
        raise InvalidArgument(
            f"with_payload is True, False, a list of paths or a Mask; got {with_payload!r}"
        ) from None
    return {"payload_mask": common_pb2.PayloadMask(include=include, exclude=exclude)}


def count_request(collection: str, filter: Filter | None) -> points_pb2.CountRequest:
    """Return the request for the number of points that a filter matches."""
    return points_pb2.CountRequest(collection=collection, filter=filter_message(filter))


def list_request(
    collection: str,
    filter: Filter | None,
    *,
    page_size: int,
    page_token: str,
    with_vectors: bool,
    with_texts: bool,
    with_payload: WithPayload,
    order_by: str | None = None,
    descending: bool = False,
    slice: tuple[int, int] | None = None,
) -> points_pb2.ListPointsRequest:
    """Return the request for one page of points."""
    if descending and order_by is None:
        raise InvalidArgument("descending goes with order_by, a payload path")
    request = points_pb2.ListPointsRequest(
        collection=collection,
        filter=filter_message(filter),
        page_size=_count(page_size, "page_size"),
        page_token=page_token,
        with_vectors=with_vectors,
        with_texts=with_texts,
        **payload_parts(with_payload),
    )
    if order_by is not None:
        request.order_by.path = checked_text(order_by, "order_by")
        request.order_by.descending = descending
    if slice is not None:
        request.slice.CopyFrom(_slice(slice))
    return request


def _slice(slice: tuple[int, int]) -> points_pb2.Slice:
    try:
        index, count = slice
        sound = 0 <= index < count <= UINT32_MAX and type(index) is type(count) is int
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise InvalidArgument(f"slice is (i, n), the i-th of n from 0 on; got {slice!r}")
    return points_pb2.Slice(index=index, count=count)


def export_request(
    collection: str,
    filter: Filter | None,
    *,
    slice: tuple[int, int] | None,
    page_token: str,
    with_vectors: bool,
    with_texts: bool,
    with_payload: WithPayload,
) -> points_pb2.ExportRequest:
    """Return the request for all points that a filter matches, after a page or from the first."""
    return points_pb2.ExportRequest(
        collection=collection,
        filter=filter_message(filter),
        slice=None if slice is None else _slice(slice),
        page_token=page_token,
        with_vectors=with_vectors,
        with_texts=with_texts,
        **payload_parts(with_payload),
    )


def watch_request(
    collection: str,
    after_seq: int | None,
    *,
    with_vectors: bool,
    with_texts: bool,
    with_payload: WithPayload,
) -> points_pb2.WatchRequest:
    """Return the request for what writes change after one of them, or from now on."""
    if after_seq is not None and not 0 <= after_seq < 1 << 64:
        raise InvalidArgument(f"after_seq is a whole number from 0, got {after_seq!r}")
    return points_pb2.WatchRequest(
        collection=collection,
        after_seq=after_seq,
        with_vectors=with_vectors,
        with_texts=with_texts,
        **payload_parts(with_payload),
    )


def embed_items(
    texts: str | Iterable[str], images: bytes | Iterable[bytes]
) -> list[str] | list[bytes]:
    """Return what is to be encoded: texts or images; one stands for itself."""
    listed = text_list(texts, "a text")
    files = [images] if isinstance(images, bytes) else list(images)
    for file in files:
        if not isinstance(file, bytes):
            raise InvalidArgument(f"an image is the bytes of a file, got {type(file).__name__}")
    if listed and files:
        raise InvalidArgument("texts and images do not go in one call")
    return files or listed


def embed_request(model: str, role: Role, dim: int) -> models_pb2.EmbedRequest:
    """Return the request to encode, still without items."""
    return models_pb2.EmbedRequest(model=model, role=role_number(role), dimensions=dim)


def with_items(
    wanted: models_pb2.EmbedRequest, items: list[str] | list[bytes]
) -> models_pb2.EmbedRequest:
    """Return a request to encode these items."""
    request = models_pb2.EmbedRequest()
    request.CopyFrom(wanted)
    for item in items:
        if isinstance(item, str):
            request.texts.append(item)
        else:
            request.images.append(item)
    return request


def role_number(role: Role) -> models_pb2.EmbedRole:
    """Return a role as messages have it."""
    if role not in _ROLES:
        raise InvalidArgument(f"role is one of {', '.join(_ROLES)}; got {role!r}")
    return _ROLES[role]


def text_list(texts: str | Iterable[str], what: str) -> list[str]:
    """Return the texts as a list; one text stands for itself."""
    listed = [texts] if isinstance(texts, str) else list(texts)
    for text in listed:
        checked_text(text, what)
    return listed


def checked_text(text: str, what: str) -> str:
    """Return the text. Raises InvalidArgument when it is none, or has no UTF-8 form."""
    if not isinstance(text, str):
        raise InvalidArgument(f"{what} is a str, got {text!r}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"{what} is not Unicode text: {error}") from None
    return text
