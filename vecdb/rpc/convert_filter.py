"""Filters as the wire has them, and as the rooms below do. Raises BadFilter for what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vecdb.errors import BadFilter
from vecdb.rpc.convert import match_of
from vecdb.rpc.pb import common_pb2 as pb
from vecdb.types import (
    And,
    ContainsAll,
    Equals,
    Exists,
    Filter,
    GeoBox,
    GeoPolygon,
    GeoRadius,
    HasId,
    HasSpace,
    In,
    IsNull,
    MatchesText,
    MinShould,
    Nested,
    Not,
    Or,
    PointCondition,
    Prefix,
    Range,
    Scalar,
    ValueCondition,
    ValuesCount,
)

FILTER_DEPTH_MAX = 64
"""Deeper than limits.filter_depth may be set; keeps the translation itself from recursing far."""


def filter_of(message: pb.Filter, depth: int = 1) -> Filter:
    """Return the filter of a message."""
    if depth > FILTER_DEPTH_MAX:
        raise BadFilter(f"the filter is nested deeper than {FILTER_DEPTH_MAX}", field="filter")
    kind = message.WhichOneof("kind")
    if kind is None:
        raise BadFilter(
            "a filter is empty: expected one condition, or and, or, not", field="filter"
        )
    part = getattr(message, kind)
    condition = _CONDITIONS.get(kind)
    if condition is not None:
        return condition(part)
    if kind == "and":
        return And(_filters(part.filters, depth))
    if kind == "or":
        return Or(_filters(part.filters, depth))
    if kind == "not":
        return Not(filter_of(part, depth + 1))
    if kind == "min_should":
        return MinShould(part.least, _filters(part.filters, depth))
    return Nested(part.path, filter_of(part.filter, depth + 1))


def _filters(messages: Iterable[pb.Filter], depth: int) -> tuple[Filter, ...]:
    return tuple(filter_of(message, depth + 1) for message in messages)


def _values(message: pb.In) -> tuple[Scalar, ...]:
    return tuple(_value(value, message.path) for value in message.values)


def _value(message: pb.Value, path: str) -> Scalar:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise BadFilter(f"the condition on {path!r} has no value", field="filter")
    value: Scalar = getattr(message, kind)
    return value


def _bounds(message: pb.Range | pb.ValuesCount) -> dict[str, Any]:
    return {
        name: getattr(message, name)
        for name in ("gt", "gte", "lt", "lte")
        if message.HasField(name)
    }


def _range(message: pb.Range) -> Range:
    bounds = {name: _value(value, message.path) for name, value in _bounds(message).items()}
    return Range(message.path, **bounds)


def _place(message: pb.GeoPoint, path: str) -> tuple[float, float]:
    if not (message.HasField("lat") and message.HasField("lon")):
        raise BadFilter(f"a place of the condition on {path!r} lacks lat or lon", field="filter")
    return message.lat, message.lon


def _radius(message: pb.GeoRadius) -> GeoRadius:
    return GeoRadius(message.path, *_place(message.center, message.path), message.metres)


def _box(message: pb.GeoBox) -> GeoBox:
    south_west = _place(message.south_west, message.path)
    return GeoBox(message.path, *south_west, *_place(message.north_east, message.path))


def _polygon(message: pb.GeoPolygon) -> GeoPolygon:
    return GeoPolygon(message.path, tuple(_place(c, message.path) for c in message.corners))


_CONDITIONS: dict[str, Callable[[Any], Not | PointCondition | ValueCondition]] = {
    "equals": lambda part: Equals(part.path, _value(part.value, part.path)),
    "in": lambda part: In(part.path, _values(part)),
    "not_in": lambda part: Not(In(part.path, _values(part))),
    "contains_all": lambda part: ContainsAll(part.path, _values(part)),
    "range": _range,
    "exists": lambda part: Exists(part.path),
    "is_null": lambda part: IsNull(part.path),
    "prefix": lambda part: Prefix(part.path, part.prefix),
    "geo_radius": _radius,
    "geo_box": _box,
    "geo_polygon": _polygon,
    "values_count": lambda part: ValuesCount(part.path, **_bounds(part)),
    "has_id": lambda part: HasId(tuple(part.ids)),
    "has_space": lambda part: HasSpace(part.space),
    "text": lambda part: MatchesText(part.path, part.text, match_of(part.mode, "filter")),
}
