"""Which points to consider: ``F("year") >= 1900`` and friends, typed, built into messages.

A path names a field of the payload; dots step into objects, arrays are looked through. Conditions
combine with ``&``, ``|`` and ``~``, each in its own parentheses. What a filter matches is the
server's to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final, NoReturn, TypeAlias

from vecdb_client.errors import InvalidArgument
from vecdb_client.pb import common_pb2 as pb
from vecdb_client.types import Match

FilterValue: TypeAlias = str | int | float | bool
Bound: TypeAlias = float | date | str
"""A number, or a time: an aware datetime, a date (its midnight, UTC), or RFC 3339 text."""
Place: TypeAlias = tuple[float, float]
"""Latitude and longitude in degrees."""

MODES: Final[dict[str, pb.KeywordMode]] = {
    "any": pb.KEYWORD_MODE_ANY,
    "all": pb.KEYWORD_MODE_ALL,
    "phrase": pb.KEYWORD_MODE_PHRASE,
}
_INT64_MAX: Final = (1 << 63) - 1
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Filter:
    """A condition on points. Immutable; made by F, combined with & | ~."""

    __slots__ = ("_text", "message")

    def __init__(self, message: pb.Filter, text: str) -> None:
        self.message: Final = message
        self._text: Final = text

    def __and__(self, other: Filter) -> Filter:
        return _join("and", " & ", self, other)

    def __or__(self, other: Filter) -> Filter:
        return _join("or", " | ", self, other)

    def __invert__(self) -> Filter:
        return Filter(_message("not", self.message), f"~{self._text}")

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a filter is neither true nor false: combine with & | ~ (not `and`, `or`, `not`), and "
            'write F("year").between(a, b) for `a <= F("year") <= b`; to ask whether there is one: '
            "`filter is not None`"
        )

    def __repr__(self) -> str:
        return self._text


class F:
    """A field of the payload, by its path: compare it, and a Filter comes out.

    A path holds every value that it leads to, and a condition matches when one of them does. In
    payloads times are RFC 3339 text, places {"lat": .., "lon": ..} or GeoJSON Points.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or not path:
            raise _bad(f'a path is text such as "author.name", got {path!r}')
        self.path: Final = path

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]  # a filter is the point
        return Filter(
            pb.Filter(equals=pb.Equals(path=self.path, value=_value(value))),
            f"({self!r} == {value!r})",
        )

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        """Return a filter of the points whose field is another, or that have no such field."""
        return ~(self == value)

    __hash__ = None  # type: ignore[assignment]  # == makes a filter, so no set can hold a field

    def __gt__(self, value: Bound) -> Filter:
        return self.range(gt=value)

    def __ge__(self, value: Bound) -> Filter:
        return self.range(gte=value)

    def __lt__(self, value: Bound) -> Filter:
        return self.range(lt=value)

    def __le__(self, value: Bound) -> Filter:
        return self.range(lte=value)

    def between(self, low: Bound, high: Bound) -> Filter:
        """Return a filter for low <= field <= high, both included."""
        return self.range(gte=low, lte=high)

    def range(
        self,
        *,
        gt: Bound | None = None,
        gte: Bound | None = None,
        lt: Bound | None = None,
        lte: Bound | None = None,
    ) -> Filter:
        """Return a filter of the points whose field has one value that keeps all the bounds.

        Two comparisons joined by & ask less of an array: one of its values may keep the first, and
        another one the second.
        """
        bounds = {"gt": gt, "gte": gte, "lt": lt, "lte": lte}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        message = pb.Range(path=self.path)
        for name, bound in given.items():
            value = _value(time_text(bound) if isinstance(bound, date) else bound)
            if value.WhichOneof("kind") == "bool":
                raise _bad(f"ranges are of numbers and times, got {bound!r} for {self!r}")
            getattr(message, name).CopyFrom(value)
        if len(given) == 1:
            text = "".join(f"({self!r} {_SIGNS[name]} {bound!r})" for name, bound in given.items())
        else:
            text = ", ".join(f"{name}={bound!r}" for name, bound in given.items())
            text = f"{self!r}.range({text})"
        return Filter(pb.Filter(range=message), text)

    def isin(self, values: Iterable[FilterValue]) -> Filter:
        """Return a filter of the points whose field equals one of the values; at least one."""
        return self._values("in", "isin", values)

    def notin(self, values: Iterable[FilterValue]) -> Filter:
        """Return a filter of the points whose field equals none of the values, or is not there."""
        return self._values("not_in", "notin", values)

    def contains_any(self, values: Iterable[FilterValue]) -> Filter:
        """Return a filter of the points whose array contains at least one of the values: isin."""
        return self._values("in", "contains_any", values)

    def contains_all(self, values: Iterable[FilterValue]) -> Filter:
        """Return a filter of the points whose array contains every one of the values."""
        return self._values("contains_all", "contains_all", values)

    def prefix(self, begin: str) -> Filter:
        """Return a filter of the points whose field is text that begins so."""
        if not isinstance(begin, str) or not begin:
            raise _bad(f"{self!r}.prefix() takes some text, got {begin!r}")
        message = pb.Prefix(path=self.path, prefix=_value(begin).string)
        return Filter(pb.Filter(prefix=message), f"{self!r}.prefix({begin!r})")

    def matches(self, words: str, match: Match = "any") -> Filter:
        """Return a filter of the points whose text field holds the words: any, all or as a phrase.

        The field is one of the collection's text fields; words are taken as keyword searches do.
        """
        if match not in MODES:
            raise _bad(f"match is one of {', '.join(MODES)}; got {match!r}")
        if not isinstance(words, str) or not words:
            raise _bad(f"{self!r}.matches() takes some text, got {words!r}")
        text = _value(words).string
        message = pb.MatchesText(path=self.path, text=text, mode=MODES[match])
        return Filter(pb.Filter(text=message), f"{self!r}.matches({words!r}, {match!r})")

    def exists(self) -> Filter:
        """Return a filter of the points whose field has a value: not null, not an empty array."""
        return Filter(pb.Filter(exists=pb.Path(path=self.path)), f"{self!r}.exists()")

    def is_null(self) -> Filter:
        """Return a filter of the points whose field is there as null, or as an array with null."""
        return Filter(pb.Filter(is_null=pb.Path(path=self.path)), f"{self!r}.is_null()")

    def count_between(self, low: int, high: int | None = None) -> Filter:
        """Return a filter for low <= number of values <= high; None is no limit."""
        message = pb.ValuesCount(path=self.path)
        for name, bound in (("gte", low), ("lte", high)):
            if bound is not None:
                if (
                    isinstance(bound, bool)
                    or not isinstance(bound, int)
                    or not 0 <= bound < 1 << 32
                ):
                    raise _bad(f"{self!r}.count_between() takes whole numbers, got {bound!r}")
                setattr(message, name, bound)
        return Filter(pb.Filter(values_count=message), f"{self!r}.count_between({low!r}, {high!r})")

    def near(self, lat: float, lon: float, metres: float) -> Filter:
        """Return a filter of the points whose place is at most so many metres from another."""
        message = pb.GeoRadius(
            path=self.path, center=place_message((lat, lon)), metres=_degrees(metres, "a distance")
        )
        return Filter(pb.Filter(geo_radius=message), f"{self!r}.near({lat!r}, {lon!r}, {metres!r})")

    def within_box(self, south: float, west: float, north: float, east: float) -> Filter:
        """Return a filter of the points with a place in a box; west > east crosses 180 degrees."""
        message = pb.GeoBox(
            path=self.path,
            south_west=place_message((south, west)),
            north_east=place_message((north, east)),
        )
        text = f"{self!r}.within_box({south!r}, {west!r}, {north!r}, {east!r})"
        return Filter(pb.Filter(geo_box=message), text)

    def within_polygon(self, corners: Iterable[Place]) -> Filter:
        """Return a filter of the points whose place is inside a ring of (lat, lon) corners."""
        listed = list(corners)
        message = pb.GeoPolygon(
            path=self.path, corners=[place_message(corner) for corner in listed]
        )
        return Filter(pb.Filter(geo_polygon=message), f"{self!r}.within_polygon({listed!r})")

    def has_element(self, condition: Filter) -> Filter:
        """Return a filter of the points with one object at this path that matches by itself.

        Paths of the condition begin at that object:
        ``F("authors").has_element((F("name") == "Le Guin") & (F("year") > 1960))``.
        """
        inner = filter_message(condition)
        if inner is None:
            raise _bad(f"{self!r}.has_element() takes a filter, got None")
        message = pb.Nested(path=self.path, filter=inner)
        return Filter(pb.Filter(nested=message), f"{self!r}.has_element({condition!r})")

    @staticmethod
    def has_id(ids: Iterable[str]) -> Filter:
        """Return a filter of the points of these ids; at least one."""
        if isinstance(ids, (str, bytes)):
            raise _bad(f"F.has_id() takes a list of ids, got the text {ids!r}")
        listed = list(ids)
        if not listed or not all(isinstance(name, str) for name in listed):
            raise _bad(f"F.has_id() takes ids, each a text, got {listed!r}")
        return Filter(pb.Filter(has_id=pb.HasId(ids=listed)), f"F.has_id({listed!r})")

    @staticmethod
    def has_space(space: str = "") -> Filter:
        """Return a filter of the points that have a vector in a space."""
        return Filter(pb.Filter(has_space=pb.HasSpace(space=space)), f"F.has_space({space!r})")

    @staticmethod
    def at_least(number: int, filters: Iterable[Filter]) -> Filter:
        """Return a filter of the points that match at least so many of the filters."""
        listed = list(filters)
        messages = [message for message in map(filter_message, listed) if message is not None]
        if isinstance(number, bool) or not 1 <= number <= len(messages):
            raise _bad(f"F.at_least() takes a number from 1 to {len(messages)}, got {number!r}")
        message = pb.MinShould(least=number, filters=messages)
        return Filter(pb.Filter(min_should=message), f"F.at_least({number!r}, {listed!r})")

    def __repr__(self) -> str:
        return f'F("{self.path}")'

    def _values(self, kind: str, method: str, values: Iterable[FilterValue]) -> Filter:
        if isinstance(values, (str, bytes)):
            raise _bad(f"{self!r}.{method}() takes a list of values, got the text {values!r}")
        listed = list(values)
        if not listed:
            raise _bad(f"{self!r}.{method}() got no values")
        message = pb.In(path=self.path, values=[_value(value) for value in listed])
        return Filter(_message(kind, message), f"{self!r}.{method}({listed!r})")


def filter_message(filter: Filter | None) -> pb.Filter | None:
    """Return the message of a filter. Raises InvalidArgument (BAD_FILTER) for what is none."""
    if filter is None:
        return None
    if isinstance(filter, Filter):
        return filter.message
    hint = "; compare it with something" if isinstance(filter, F) else ""
    raise _bad(f'a filter is made like F("year") >= 1900, got {filter!r}{hint}')


def _join(kind: str, sign: str, left: Filter, right: Filter) -> Filter:
    """Return both filters in one list; lists of the same kind are merged, to keep depth small."""
    if not isinstance(right, Filter):
        return NotImplemented
    parts: list[pb.Filter] = []
    texts: list[str] = []
    for side in (left, right):
        if side.message.WhichOneof("kind") == kind:
            parts += getattr(side.message, kind).filters
            texts.append(repr(side)[1:-1])
        else:
            parts.append(side.message)
            texts.append(repr(side))
    return Filter(_message(kind, pb.FilterList(filters=parts)), f"({sign.join(texts)})")


def _message(kind: str, part: pb.Filter | pb.FilterList | pb.In) -> pb.Filter:
    """Return a filter of a kind whose name is a keyword of Python: and, or, not, in."""
    message = pb.Filter()
    getattr(message, kind).CopyFrom(part)
    return message


def time_text(moment: date) -> str:
    """Return a time as RFC 3339 text. datetime is a date too."""
    if isinstance(moment, datetime) and moment.utcoffset() is None:
        raise _bad(f"{moment!r} has no time zone: give it one, such as tzinfo=datetime.UTC")
    # In UTC, as offsets of old times may have seconds, for which RFC 3339 has no room.
    return (moment.astimezone(UTC) if isinstance(moment, datetime) else moment).isoformat()


def place_message(corner: Place) -> pb.GeoPoint:
    """Return a place. Raises InvalidArgument."""
    try:
        lat, lon = corner
    except (TypeError, ValueError):
        raise _bad(f"a place is (latitude, longitude), got {corner!r}") from None
    return pb.GeoPoint(lat=_degrees(lat, "a latitude"), lon=_degrees(lon, "a longitude"))


def _degrees(value: float, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _bad(f"{what} is a number, got {value!r}") from None


def _value(value: object) -> pb.Value:
    """Return a typed value. numpy's scalars become plain ones."""
    item = getattr(value, "item", None)
    if item is not None and not isinstance(value, (str, int, float)):
        value = item()
    if isinstance(value, bool):  # before int, of which it is one
        return pb.Value(bool=value)
    if isinstance(value, int):
        if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
            raise _bad(f"{value} does not fit 64 bits")
        return pb.Value(int64=value)
    if isinstance(value, float):
        if math.isnan(value):
            raise _bad("NaN equals nothing and is in no range")
        return pb.Value(double=value)
    if isinstance(value, str):
        try:
            return pb.Value(string=value)
        except ValueError as error:
            raise _bad(str(error)) from None
    raise _bad(f"a value is str, int, float or bool, got {value!r}")


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"bad filter: {why}", reason="BAD_FILTER")
