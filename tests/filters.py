"""Random payloads and filters: few paths and values that meet often, and the odd ones among them.

`to_client` says a filter in the words of the Python client.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from vecdb import types as vt
from vecdb.config import LimitsConfig
from vecdb.errors import BadFilter
from vecdb.query.filter_check import check_filter
from vecdb.segment.fields import KEYWORD_BYTES_MAX, KEYWORD_HEAD_BYTES
from vecdb_client import F
from vecdb_client import Filter as ClientFilter

LONG = "é" * KEYWORD_BYTES_MAX
HEAD = LONG[: KEYWORD_HEAD_BYTES // 2]
EDGES = [0, 2**53, 2**62, 2**63, 2**64, 10**18, 10**25, 10**400]
INTS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(EDGES).flatmap(lambda edge: st.integers(edge - 2, edge + 2)),
    st.sampled_from(EDGES).flatmap(lambda edge: st.integers(-edge - 2, -edge + 2)),
    st.integers(-(2**63), 2**63 - 1),
)
DOUBLES = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 2.0**53, 2.0**63, -(2.0**63), 1e300, 5e-324]),
    st.sampled_from(EDGES[:-1]).map(lambda edge: math.nextafter(float(edge), math.inf)),
    st.sampled_from(EDGES[:-1]).map(lambda edge: math.nextafter(float(edge), -math.inf)),
    st.floats(allow_nan=False, allow_infinity=False),
)
TIMES = st.sampled_from(
    [
        "2024-02-29T12:00:00Z",
        "2024-02-29t12:00:00z",
        "2024-02-29 13:00:00+01:00",
        "2024-02-29T12:00:00.000001Z",
        "2024-02-29T12:00:00.0000019Z",
        "2024-02-29T11:59:60Z",
        "2024-02-29",
        "2024-03-01",
        "2024-02-28T23:30:00-00:30",
        "0002-01-01T00:00:00Z",
        "9998-12-31T23:59:59.999999Z",
    ]
)
NO_TIMES = st.sampled_from(
    ["2023-02-29", "2024-02-29T12:00:00", "2024-02-29T24:00:00Z", "2024-2-29", "٢٠٢٤-02-29"]
)
TEXT = st.characters(exclude_categories=["Cs"])
STRINGS = st.one_of(
    st.sampled_from(["", "a", "A", "1", "true", "0", "é", "e\u0301", "🦆", "a.b", "\0", "\uffff"]),
    st.sampled_from([LONG, LONG + "x", "x" * 256, "x" * 257, "x" * 258, "x" * 5_000]),
    st.text(TEXT, max_size=4),
    TIMES,
    NO_TIMES,
)
SCALARS = st.one_of(INTS, DOUBLES, STRINGS, st.booleans())
LATS = st.one_of(st.sampled_from([-90, 90, 0, 10, -10]), st.integers(-4, 4).map(lambda n: n / 2))
LONS = st.one_of(
    st.sampled_from([-180, 180, 0, 179, -179, 170.5]), st.integers(-4, 4).map(lambda n: n / 2)
)
PLACES = st.one_of(
    st.builds(lambda lat, lon: {"lat": lat, "lon": lon}, LATS, LONS),
    st.builds(lambda lat, lon: {"type": "Point", "coordinates": [lon, lat]}, LATS, LONS),
    st.sampled_from(
        [
            {"lat": 91, "lon": 0},
            {"lat": 0, "lon": 181},
            {"lat": True, "lon": 0},
            {"lat": "0", "lon": 0},
            {"lat": 0},
            {"lat": 0, "lon": 10**400},
            {"type": "Point", "coordinates": [1]},
            {"type": "Point", "coordinates": {"lat": 0, "lon": 0}},
        ]
    ),
)
KEYS = st.one_of(st.sampled_from(["a", "b", "a.b", "é"]), st.text(TEXT, min_size=1, max_size=2))
VALUES = st.recursive(
    st.one_of(SCALARS, st.none(), PLACES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
PAYLOADS = st.one_of(
    st.just(b""),
    OBJECTS.map(lambda payload: json.dumps(payload).encode()),
    OBJECTS.map(lambda payload: json.dumps(payload, ensure_ascii=False).encode()),
)
PATHS = st.one_of(st.sampled_from(["a", "b", "a.b", "a.a", "b.a", "a.b.a", "é", "none"]), KEYS)

# What the wire can carry: int64, double, string, bool.
WIRE_INTS = INTS.filter(lambda n: -(2**63) <= n < 2**63)
SOUGHT = st.one_of(
    WIRE_INTS, DOUBLES, st.sampled_from([math.inf, -math.inf]), STRINGS, st.booleans()
)
NUMBER_BOUNDS = st.one_of(WIRE_INTS, DOUBLES, st.just(math.inf))
LISTS = st.lists(SOUGHT, min_size=1, max_size=4).map(tuple)


@st.composite
def bounds(draw: st.DrawFn, kind: type, values: st.SearchStrategy) -> vt.Range | vt.ValuesCount:
    low = draw(st.sampled_from([None, "gt", "gte"]))
    high = draw(st.sampled_from(["lt", "lte"] if low is None else [None, "lt", "lte"]))
    return kind(draw(PATHS), **{name: draw(values) for name in (low, high) if name})


RANGES = bounds(vt.Range, NUMBER_BOUNDS)
BEGINS = st.one_of(
    st.sampled_from(["a", "x", "2024-02", HEAD, HEAD + "é", LONG, LONG + "x", "x" * 200]),
    st.text(TEXT, min_size=1, max_size=2),
)


def is_valid(filter: vt.Filter) -> bool:
    try:
        check_filter(filter, LimitsConfig())
    except BadFilter:
        return False
    return True


def is_clear(corners: tuple[tuple[float, float], ...]) -> bool:
    """Whether no edge goes half way round, where either way is the shorter one."""
    return all((a[1] - b[1]) % 360 != 180 for a, b in pairwise((*corners, corners[0])))


CORNERS = st.lists(st.tuples(LATS, LONS), min_size=3, max_size=5).map(tuple).filter(is_clear)
# Nobody lies on such a circle: how the last bit is rounded does not matter.
RADII = st.sampled_from([0.01, 70_000.3, 2e6, 1.9e7, 3e7])
BY_VALUE: dict[str, st.SearchStrategy] = {
    "equals": st.builds(vt.Equals, PATHS, SOUGHT),
    "in": st.builds(vt.In, PATHS, LISTS),
    "not_in": st.builds(vt.Not, st.builds(vt.In, PATHS, LISTS)),
    "contains_all": st.builds(vt.ContainsAll, PATHS, LISTS),
    "range": st.one_of(RANGES, bounds(vt.Range, TIMES)),
    "prefix": st.builds(vt.Prefix, PATHS, BEGINS),
    "exists": st.builds(vt.Exists, PATHS),
    "is_null": st.builds(vt.IsNull, PATHS),
    "values_count": bounds(vt.ValuesCount, st.integers(0, 4)),
    "geo_radius": st.builds(vt.GeoRadius, PATHS, LATS, LONS, RADII).filter(is_valid),
    "geo_box": st.builds(vt.GeoBox, PATHS, LATS, LONS, LATS, LONS).filter(is_valid),
    "geo_polygon": st.builds(vt.GeoPolygon, PATHS, CORNERS).filter(is_valid),
}
"""Conditions on what a path holds, by the protocol's word for them."""


# A function of its own, as hypothesis writes out a strategy whenever another is made of it.
@st.composite
def conditions(draw: st.DrawFn) -> vt.ValueCondition:
    return draw(st.one_of(list(BY_VALUE.values())))


CONDITIONS = conditions()


def joined(inner: st.SearchStrategy) -> dict[str, st.SearchStrategy]:
    """Return filters made of others, by the protocol's word for them."""
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return {
        "not": st.builds(vt.Not, inner),
        "and": st.builds(vt.And, several),
        "or": st.builds(vt.Or, several),
        "min_should": several.flatmap(
            lambda f: st.builds(vt.MinShould, st.integers(1, len(f)), st.just(f))
        ),
    }


def combined(leaves: st.SearchStrategy, max_leaves: int) -> st.SearchStrategy:
    def more(inner: st.SearchStrategy) -> st.SearchStrategy:
        return st.one_of(list(joined(inner).values()))

    return st.recursive(leaves, more, max_leaves=max_leaves)


@st.composite
def nested(draw: st.DrawFn, *, twice: bool = False) -> vt.Nested:
    leaves = st.one_of(CONDITIONS, nested()) if twice else CONDITIONS
    return vt.Nested(draw(PATHS), draw(combined(leaves, 3)))


NESTED = nested()
NESTED_TWICE = nested(twice=True)


WORDS = st.one_of(
    st.sampled_from(
        ["a", "A a", "x", "é", "2024", "02 29", "2024-02-29", "true", "1 a", "-", "ab"]
    ),
    STRINGS.filter(bool),
)


def matches_text(paths: Sequence[str]) -> st.SearchStrategy:
    return st.builds(vt.MatchesText, st.sampled_from(paths), WORDS, st.sampled_from(vt.Match))


def of_points(
    ids: list[str], spaces: list[str], texts: Sequence[str] = ()
) -> dict[str, st.SearchStrategy]:
    """Return conditions on more than values, by the protocol's word for them; see filters."""
    found = {
        "has_id": st.builds(
            vt.HasId, st.lists(st.sampled_from([*ids, "?"]), min_size=1).map(tuple)
        ),
        "has_space": st.builds(vt.HasSpace, st.sampled_from(spaces)),
    }
    return found | ({"text": matches_text(texts)} if texts else {})


def filters(ids: list[str], spaces: list[str], texts: Sequence[str] = ()) -> st.SearchStrategy:
    """Return filters of every kind over points of some ids, one of them unknown, and spaces.

    texts: paths of text fields.
    """
    others = st.one_of(list(of_points(ids, spaces, texts).values()))
    return combined(st.one_of(CONDITIONS, CONDITIONS, NESTED, NESTED_TWICE, others), 5)


def to_client(filter: vt.Filter) -> ClientFilter:
    match filter:
        case vt.And(inner):
            return _fold([to_client(each) for each in inner], lambda a, b: a & b)
        case vt.Or(inner):
            return _fold([to_client(each) for each in inner], lambda a, b: a | b)
        case vt.MinShould(least, inner):
            return F.at_least(least, map(to_client, inner))
        case vt.Not(vt.In(path, values)):
            return F(path).notin(values)
        case vt.Not(inner):
            return ~to_client(inner)
        case vt.HasId(ids):
            return F.has_id(ids)
        case vt.HasSpace(space):
            return F.has_space(space)
    return _of_field(F(filter.path), filter)


def _fold(filters, join):
    folded = filters[0]
    for each in filters[1:]:
        folded = join(folded, each)
    return folded


def _of_field(field: F, filter: vt.Filter) -> ClientFilter:
    make = _OF_FIELD.get(type(filter))
    return _in_bounds(field, filter) if make is None else make(field, filter)


_OF_FIELD = {
    vt.Equals: lambda field, made: field == made.value,
    vt.In: lambda field, made: field.isin(made.values),
    vt.ContainsAll: lambda field, made: field.contains_all(made.values),
    vt.Prefix: lambda field, made: field.prefix(made.prefix),
    vt.MatchesText: lambda field, made: field.matches(made.text, made.match.name.lower()),
    vt.Exists: lambda field, made: field.exists(),
    vt.IsNull: lambda field, made: field.is_null(),
    vt.GeoRadius: lambda field, made: field.near(made.lat, made.lon, made.metres),
    vt.GeoBox: lambda field, made: field.within_box(made.south, made.west, made.north, made.east),
    vt.GeoPolygon: lambda field, made: field.within_polygon(made.corners),
    vt.Nested: lambda field, made: field.has_element(to_client(made.filter)),
}


def _in_bounds(field: F, made: vt.Range | vt.ValuesCount) -> ClientFilter:
    parts = {name: getattr(made, name) for name in ("gt", "gte", "lt", "lte")}
    if isinstance(made, vt.ValuesCount):
        low = parts["gte"] if made.gt is None else made.gt + 1
        high = parts["lte"] if made.lt is None else made.lt - 1
        # Of no number at all the client cannot speak: more than any, then.
        return field.count_between(low or 0, high) if high != -1 else field.count_between(2**32 - 1)
    return field.range(**parts)
