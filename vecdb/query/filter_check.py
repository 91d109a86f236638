"""What is a valid filter: one that means something, and whose cost is bounded."""

from __future__ import annotations

import math

from vecdb.analysis import analyze
from vecdb.config import LimitsConfig
from vecdb.errors import BadFilter, LimitExceeded
from vecdb.segment.fields import PATH_CHARACTERS_MAX
from vecdb.segment.geo import is_place, unrolled
from vecdb.segment.times import microseconds
from vecdb.types import (
    And,
    ContainsAll,
    Equals,
    Filter,
    GeoBox,
    GeoPolygon,
    GeoRadius,
    HasId,
    HasSpace,
    In,
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

_CORNERS_MIN = 3


def check_filter(filter: Filter, limits: LimitsConfig) -> None:
    """Raise BadFilter or LimitExceeded unless a filter means something and is of bounded cost."""
    nodes = 0
    stack: list[tuple[Filter, int, bool]] = [(filter, 1, False)]
    while stack:
        node, depth, is_nested = stack.pop()
        nodes += 1 + _listed(node, limits)
        if nodes > limits.filter_nodes:
            raise LimitExceeded(
                f"the filter has more than {limits.filter_nodes} conditions and values",
                field="filter",
                hint="raise limits.filter_nodes, or ask in several queries",
            )
        if depth > limits.filter_depth:
            raise LimitExceeded(
                f"the filter is nested deeper than {limits.filter_depth} levels",
                field="filter",
                hint="raise limits.filter_depth",
            )
        if isinstance(node, (And, Or, MinShould)):
            _check_list(node)
            stack.extend((inner, depth + 1, is_nested) for inner in node.filters)
        elif isinstance(node, Not):
            stack.append((node.filter, depth + 1, is_nested))
        elif isinstance(node, Nested):
            _check_path(node.path)
            stack.append((node.filter, depth + 1, True))
        elif isinstance(node, (HasId, HasSpace, MatchesText)):
            _check_of_point(node, is_nested)
        else:
            _check_path(node.path)
            _check_condition(node)


def _listed(node: Filter, limits: LimitsConfig) -> int:
    """Return how many values a condition lists, each of which costs as much as a condition.

    Raises LimitExceeded for a text that is too long to look for its words.
    """
    if isinstance(node, MatchesText):
        size = len(node.text.encode())
        if size > limits.text_bytes:
            raise LimitExceeded(
                f"the text that {node.path!r} is to match has {size} bytes, the limit is "
                f"{limits.text_bytes}",
                field="filter",
                hint="raise limits.text_bytes",
            )
        return len(analyze(node.text, "").words)
    if isinstance(node, (In, ContainsAll)):
        return len(node.values)
    if isinstance(node, HasId):
        return len(node.ids)
    return len(node.corners) if isinstance(node, GeoPolygon) else 0


def _check_list(node: And | Or | MinShould) -> None:
    if not node.filters:
        raise _bad("'and', 'or' and 'min_should' need at least one filter inside")
    if isinstance(node, MinShould) and not 1 <= node.least <= len(node.filters):
        raise _bad(
            f"'min_should' asks for at least {node.least} of {len(node.filters)} filters: "
            f"expected 1 to {len(node.filters)}"
        )


_NAMES = {HasId: "has_id", HasSpace: "has_space", MatchesText: "text"}


def _check_of_point(node: PointCondition, is_nested: bool) -> None:
    name = _NAMES[type(node)]
    if is_nested:
        raise _bad(f"'{name}' is of points, not of the objects inside 'nested'")
    if isinstance(node, HasId) and not node.ids:
        raise _bad("'has_id' has no ids")
    if isinstance(node, MatchesText) and not node.text:
        raise _bad(f"the text that {node.path!r} is to match is empty")


def _check_path(path: str) -> None:
    if len(path) > PATH_CHARACTERS_MAX:
        raise _bad(
            f"a path has at most {PATH_CHARACTERS_MAX} characters, got {len(path)}: {path[:40]!r}"
        )


def _check_condition(node: ValueCondition) -> None:
    if isinstance(node, Equals):
        _check_value(node.path, node.value)
    elif isinstance(node, (In, ContainsAll)):
        if not node.values:
            name = "in" if isinstance(node, In) else "contains_all"
            raise _bad(f"'{name}' on {node.path!r} has no values")
        for value in node.values:
            _check_value(node.path, value)
    elif isinstance(node, Range):
        _check_range(node)
    elif isinstance(node, ValuesCount):
        _check_bounds("values_count", node)
    elif isinstance(node, Prefix):
        if not node.prefix:
            raise _bad(f"the prefix on {node.path!r} is empty: every string begins with it")
    elif isinstance(node, (GeoRadius, GeoBox, GeoPolygon)):
        _check_shape(node)


def _check_bounds(name: str, node: Range | ValuesCount) -> list[Scalar]:
    """Return the bounds that there are."""
    bounds = [bound for bound in (node.gt, node.gte, node.lt, node.lte) if bound is not None]
    if not bounds:
        raise _bad(f"the {name} on {node.path!r} has no bound")
    if None not in (node.gt, node.gte) or None not in (node.lt, node.lte):
        raise _bad(f"the {name} on {node.path!r} has two bounds on one side")
    return bounds


def _check_range(node: Range) -> None:
    bounds = _check_bounds("range", node)
    times = [bound for bound in bounds if isinstance(bound, str)]
    if times and len(times) < len(bounds):
        raise _bad(f"the range on {node.path!r} has a number on one side and a time on the other")
    for bound in bounds:
        if isinstance(bound, bool):
            raise _bad(f"the range on {node.path!r} expects numbers or times")
        if isinstance(bound, str) and microseconds(bound) is None:
            raise _bad(
                f"the range on {node.path!r} expects numbers or RFC 3339 times such as "
                f"2024-02-29T12:30:00Z, got {bound[:40]!r}"
            )
        _check_value(node.path, bound)


def _check_value(path: str, value: Scalar) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise _bad(f"the condition on {path!r} compares with NaN")


def _check_shape(shape: GeoRadius | GeoBox | GeoPolygon) -> None:
    if isinstance(shape, GeoRadius):
        _check_place(shape.path, shape.lat, shape.lon)
        if not 0 < shape.metres < math.inf:
            raise _bad(
                f"the radius on {shape.path!r} is {shape.metres} metres, expected more than 0"
            )
    elif isinstance(shape, GeoBox):
        _check_place(shape.path, shape.south, shape.west)
        _check_place(shape.path, shape.north, shape.east)
        if shape.south > shape.north:
            raise _bad(
                f"the box on {shape.path!r} has its south, {shape.south}, north of its north, "
                f"{shape.north}"
            )
    else:
        for lat, lon in shape.corners:
            _check_place(shape.path, lat, lon)
        if len(shape.corners) < _CORNERS_MIN:
            raise _bad(
                f"the polygon on {shape.path!r} has {len(shape.corners)} corners, expected "
                f"{_CORNERS_MIN} or more"
            )
        try:
            unrolled(shape)
        except ValueError as error:
            raise _bad(f"the polygon on {shape.path!r} {error}") from None


def _check_place(path: str, lat: float, lon: float) -> None:
    if not is_place(lat, lon):
        raise _bad(
            f"the condition on {path!r} names the place {lat}, {lon}: latitudes are -90 to 90, "
            "longitudes -180 to 180"
        )


def _bad(why: str) -> BadFilter:
    return BadFilter(why, field="filter")
