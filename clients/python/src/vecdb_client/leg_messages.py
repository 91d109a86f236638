"""Legs of a search, what is done with what they find, as messages. Pure functions."""

from __future__ import annotations

from typing import Final, cast

from vecdb_client.arguments import count, number
from vecdb_client.errors import InvalidArgument
from vecdb_client.filters import MODES, filter_message
from vecdb_client.highlights import Highlights
from vecdb_client.images import ImageFile, image_bytes
from vecdb_client.legs import Fusion, Keyword, Leg, Near, OrderBy, Recommend, Rrf, Weighted
from vecdb_client.multi import fill_multi, multi_of
from vecdb_client.pb import common_pb2, ranking_pb2, search_pb2
from vecdb_client.requests import checked_text, text_list
from vecdb_client.types import PointId
from vecdb_client.vectors import Numbers, VectorLike, f32_bytes, sparse_of

_STRATEGIES: Final[dict[str, ranking_pb2.RecommendStrategy]] = {
    "average": ranking_pb2.RECOMMEND_STRATEGY_AVERAGE,
    "best_score": ranking_pb2.RECOMMEND_STRATEGY_BEST_SCORE,
}
_NORMALIZATIONS: Final[dict[str, search_pb2.Normalization]] = {
    "min_max": search_pb2.NORMALIZATION_MIN_MAX,
    "z_score": search_pb2.NORMALIZATION_Z_SCORE,
}


def fill_leg(message: search_pb2.Leg, leg: Leg) -> None:
    """Write a leg into a message. Raises InvalidArgument."""
    _fill_kind(message, leg)
    if isinstance(leg, (Near, Recommend)):
        message.exact = leg.exact
        if leg.ef is not None:
            message.ef = count(leg.ef, "ef")
    if leg.k is not None:
        message.k = count(leg.k, "k of a leg")
    if leg.weight is not None:
        message.weight = number(leg.weight, "a weight")
    chosen = filter_message(leg.filter)
    if chosen is not None:
        message.filter.CopyFrom(chosen)


def fill_highlights(message: search_pb2.Highlights, asked: Highlights | bool) -> None:
    """Write which words to mark into a message. Raises InvalidArgument."""
    message.SetInParent()
    if asked is True:
        return
    if not isinstance(asked, Highlights):
        raise InvalidArgument(f"highlights is True, or Highlights(...); got {asked!r}")
    message.fields.extend(text_list(asked.fields, "a text field's path"))
    if asked.fragments is not None:
        message.fragments = count(asked.fragments, "fragments")
    if asked.characters is not None:
        message.characters = count(asked.characters, "characters")


def _fill_kind(message: search_pb2.Leg, leg: Leg) -> None:
    if isinstance(leg, Near):
        message.near.space = leg.space
        _fill_vector(message.near.vector, leg.query)
    elif isinstance(leg, Keyword):
        if leg.match not in MODES:
            raise InvalidArgument(f"match is one of {', '.join(MODES)}; got {leg.match!r}")
        message.keyword.text = checked_text(leg.text, "a keyword query")
        message.keyword.fields.extend(text_list(leg.fields, "a field"))
        message.keyword.mode = MODES[leg.match]
    elif isinstance(leg, Recommend):
        _fill_recommend(message.recommend, leg)
    elif isinstance(leg, OrderBy):
        message.order_by.path = checked_text(leg.path, "the path of OrderBy")
        message.order_by.descending = leg.descending
    else:
        raise InvalidArgument(
            f"a leg is Near(...), Keyword(...), Recommend(...) or OrderBy(...), got {leg!r}"
        )


def _fill_vector(vector: common_pb2.Vector, query: VectorLike | PointId) -> None:
    if isinstance(query, str):
        vector.text = checked_text(query, "a query")
    elif isinstance(query, ImageFile):
        vector.image = image_bytes(query.file)
    elif isinstance(query, PointId):
        vector.point = checked_text(query.id, "a point id")
    elif (sparse := sparse_of(query)) is not None:
        vector.sparse.indices.extend(sparse.indices)
        vector.sparse.values.extend(sparse.values)
    elif (multi := multi_of(query)) is not None:
        fill_multi(vector, multi)
    else:
        vector.f32 = f32_bytes(cast(Numbers, query))


def _fill_recommend(message: ranking_pb2.Recommend, leg: Recommend) -> None:
    if leg.strategy not in _STRATEGIES:
        known = ", ".join(_STRATEGIES)
        raise InvalidArgument(f"strategy is one of {known}; got {leg.strategy!r}")
    for into, examples in ((message.positive, leg.positive), (message.negative, leg.negative)):
        if isinstance(examples, (str, PointId)):
            raise InvalidArgument(f"examples come in a list, got {examples!r}")
        for example in examples:
            _fill_vector(into.add(), example)
    if not message.positive:
        raise InvalidArgument("Recommend takes at least one positive example")
    message.space = leg.space
    message.strategy = _STRATEGIES[leg.strategy]


def fill_fusion(message: search_pb2.Fusion, fusion: Fusion) -> None:
    """Write how legs are fused into a message. Raises InvalidArgument."""
    if isinstance(fusion, Rrf):
        message.rrf.k = count(fusion.k, "k of Rrf")
    elif isinstance(fusion, Weighted) and fusion.normalization in _NORMALIZATIONS:
        message.weighted.normalization = _NORMALIZATIONS[fusion.normalization]
    else:
        raise InvalidArgument(
            f"fusion is Rrf(k=...) or Weighted, by {' or '.join(_NORMALIZATIONS)}; got {fusion!r}"
        )
