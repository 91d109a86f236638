"""Filters on the wire: every kind arrives as it was meant, and what means nothing says why."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filters import PAYLOADS, filters, to_client
from tests.model import TEXT_FIELDS, holds
from vecdb.config import LimitsConfig
from vecdb.errors import BadFilter, LimitExceeded
from vecdb.query.filter_check import check_filter
from vecdb.rpc.convert_filter import filter_of
from vecdb.rpc.pb import common_pb2 as pb
from vecdb.segment.fields import parse
from vecdb.types import Filter, In, Not, ValuesCount

LIMITS = LimitsConfig(filter_nodes=20, filter_depth=6)


@given(filters(["p1"], [""], list(TEXT_FIELDS)), st.lists(PAYLOADS, max_size=4))
def test_what_the_client_sends_is_what_was_meant(filter: Filter, payloads: list[bytes]) -> None:
    message = pb.Filter.FromString(to_client(filter).message.SerializeToString())
    arrived = filter_of(message)
    check_filter(arrived, LimitsConfig())
    for payload in map(parse, payloads):
        for name, spaces in (("p1", frozenset({""})), ("p2", frozenset())):
            assert holds(arrived, payload, name, spaces) == holds(filter, payload, name, spaces)


def test_not_in_is_the_opposite_of_in() -> None:
    message = pb.Filter(not_in=pb.In(path="a", values=[pb.Value(int64=1), pb.Value(bool=True)]))
    assert filter_of(message) == Not(In("a", (1, True)))


def test_bounds_of_zero_are_bounds() -> None:
    message = pb.Filter(values_count=pb.ValuesCount(path="a", lte=0))
    assert filter_of(message) == ValuesCount("a", lte=0)


def place(lat: float, lon: float) -> pb.GeoPoint:
    return pb.GeoPoint(lat=lat, lon=lon)


def text_range(**bounds: pb.Value) -> pb.Filter:
    return pb.Filter(range=pb.Range(path="a", **bounds))


def radius(center: pb.GeoPoint, metres: float) -> pb.Filter:
    return pb.Filter(geo_radius=pb.GeoRadius(path="a", center=center, metres=metres))


def box(*corners: float) -> pb.Filter:
    south_west, north_east = place(*corners[:2]), place(*corners[2:])
    return pb.Filter(geo_box=pb.GeoBox(path="a", south_west=south_west, north_east=north_east))


def polygon(*corners: tuple[float, float]) -> pb.Filter:
    return pb.Filter(geo_polygon=pb.GeoPolygon(path="a", corners=[place(*c) for c in corners]))


def least(number: int, count: int) -> pb.Filter:
    one = pb.Filter(exists=pb.Path(path="a"))
    return pb.Filter(min_should=pb.MinShould(least=number, filters=[one] * count))


def nested(inner: pb.Filter, path: str = "a") -> pb.Filter:
    return pb.Filter(nested=pb.Nested(path=path, filter=inner))


NO_VALUES = pb.In(path="a")
TIME, NUMBER = pb.Value(string="2024-01-01"), pb.Value(int64=1)
BAD = {
    "not-in-nothing": (pb.Filter(not_in=NO_VALUES), "'in' on 'a' has no values"),
    "contains-nothing": (pb.Filter(contains_all=NO_VALUES), "'contains_all' on 'a' has no values"),
    "contains-nan": (
        pb.Filter(contains_all=pb.In(path="a", values=[pb.Value(double=math.nan)])),
        "compares with NaN",
    ),
    "no-time": (text_range(gt=pb.Value(string="old")), "RFC 3339 times such as .*, got 'old'"),
    "local-time": (text_range(gt=pb.Value(string="2024-01-01T00:00:00")), "RFC 3339 times"),
    "time-and-number": (text_range(gt=TIME, lt=NUMBER), "a number on one side and a time"),
    "two-lower-times": (text_range(gt=TIME, gte=TIME), "two bounds on one side"),
    "empty-prefix": (pb.Filter(prefix=pb.Prefix(path="a")), "the prefix on 'a' is empty"),
    "no-count": (
        pb.Filter(values_count=pb.ValuesCount(path="a")),
        "the values_count on 'a' has no",
    ),
    "two-counts": (
        pb.Filter(values_count=pb.ValuesCount(path="a", gt=1, gte=1)),
        "the values_count on 'a' has two bounds",
    ),
    "no-center": (radius(pb.GeoPoint(), 1), "a place of the condition on 'a' lacks lat or lon"),
    "no-longitude": (radius(pb.GeoPoint(lat=1), 1), "lacks lat or lon"),
    "no-metres": (radius(place(1, 1), 0), "0.0 metres, expected more than 0"),
    "negative-metres": (radius(place(1, 1), -1), "expected more than 0"),
    "endless-metres": (radius(place(1, 1), math.inf), "inf metres"),
    "nan-metres": (radius(place(1, 1), math.nan), "nan metres"),
    "north-of-the-pole": (radius(place(90.5, 1), 1), "names the place 90.5, 1.0: latitudes are"),
    "nan-latitude": (radius(place(math.nan, 1), 1), "latitudes are"),
    "no-corner": (pb.Filter(geo_box=pb.GeoBox(path="a")), "lacks lat or lon"),
    "longitude-360": (box(0, 0, 1, 360), "longitudes -180 to 180"),
    "south-above-north": (box(1, 0, 0, 1), "has its south, 1.0, north of its north, 0.0"),
    "two-corners": (polygon((0, 0), (1, 1)), "has 2 corners, expected 3 or more"),
    "around-the-pole": (polygon((80, 0), (80, 120), (80, -120)), "goes around a pole"),
    "bad-corner": (polygon((0, 0), (1, 1), (91, 0)), "names the place 91.0"),
    "at-least-none": (least(0, 2), "at least 0 of 2 filters: expected 1 to 2"),
    "at-least-too-many": (least(3, 2), "at least 3 of 2 filters"),
    "at-least-of-nothing": (least(1, 0), "need at least one filter inside"),
    "no-ids": (pb.Filter(has_id=pb.HasId()), "'has_id' has no ids"),
    "id-inside-nested": (nested(pb.Filter(has_id=pb.HasId(ids=["a"]))), "'has_id' is of points"),
    "space-inside-nested": (
        nested(nested(pb.Filter(has_space=pb.HasSpace()))),
        "'has_space' is of points",
    ),
    "nothing-inside-nested": (pb.Filter(nested=pb.Nested(path="a")), "a filter is empty"),
    "bad-inside-nested": (nested(text_range()), "the range on 'a' has no bound"),
    "long-path": (pb.Filter(exists=pb.Path(path="k" * 513)), "at most 512 characters, got 513"),
    "long-nested-path": (nested(least(1, 1), "k" * 513), "at most 512 characters"),
}


@pytest.mark.parametrize(("message", "words"), BAD.values(), ids=BAD.keys())
def test_a_filter_that_means_nothing(message: pb.Filter, words: str) -> None:
    with pytest.raises(BadFilter, match=words) as caught:
        check_filter(filter_of(message), LIMITS)
    assert caught.value.field == "filter"


def test_what_is_listed_counts() -> None:
    for message in (
        pb.Filter(has_id=pb.HasId(ids=["a"] * 20)),
        polygon(*[(0, n) for n in range(20)]),
        pb.Filter(contains_all=pb.In(path="a", values=[NUMBER] * 20)),
        least(1, 20),
    ):
        with pytest.raises(LimitExceeded, match="more than 20 conditions and values"):
            check_filter(filter_of(message), LIMITS)


def test_objects_inside_objects_are_levels() -> None:
    deep = pb.Filter(exists=pb.Path(path="a"))
    for _ in range(5):
        deep = nested(deep)
    check_filter(filter_of(deep), LIMITS)
    with pytest.raises(LimitExceeded, match="deeper than 6 levels"):
        check_filter(filter_of(nested(deep)), LIMITS)
