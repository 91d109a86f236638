"""What vecdb must do, in a dict and numpy: the state machine holds the real server against it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np

from vecdb.analysis import analyze
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
    Match,
    MatchesText,
    MinShould,
    Nested,
    Not,
    Or,
    Prefix,
    Range,
    ValueCondition,
    ValuesCount,
)

Payload = dict[str, Any]
TEXT_FIELDS = {"a": "", "b": "english"}
"""Those of the collections whose filters are held against this, and their languages."""


# --- patches: by the words of the protocol, on a payload of Python's types


class Clash(Exception):
    """A path leads into, or ends at, a value of another kind."""


def patched(
    payload: Payload,
    set: Payload | None = None,
    unset: Sequence[str] = (),
    append: dict[str, list] | None = None,
    remove: dict[str, list] | None = None,
) -> Payload:
    """Return a payload after changes, or raise Clash; the one given stays as it is."""
    root: Payload = json.loads(json.dumps(payload))
    for path, value in (set or {}).items():
        here, last = place(root, path, make=True)
        here[last] = json.loads(json.dumps(value))
    for path in unset:
        here, last = place(root, path, make=False)
        here.pop(last, None)
    for path, values in (append or {}).items():
        array(root, path, make=True).extend(json.loads(json.dumps(values)))
    for path, values in (remove or {}).items():
        held = array(root, path, make=False)
        held[:] = [one for one in held if not any(equal(one, other) for other in values)]
    return root


def place(root: Payload, path: str, make: bool) -> tuple[Payload, str]:
    here, (*keys, last) = root, path.split(".")
    for key in keys:
        if key not in here and not make:
            return {}, last
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            raise Clash(path)
    return here, last


def array(root: Payload, path: str, make: bool) -> list:
    here, last = place(root, path, make)
    found = here.setdefault(last, []) if make else here.get(last, [])
    if not isinstance(found, list):
        raise Clash(path)
    return found


def equal(one: object, other: object) -> bool:
    """Whether two JSON values are the same: true is no 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return one == other


# --- filters: by the words of the protocol alone, looking at one payload


def holds(filter: Filter, payload: Any, name: str, spaces: frozenset[str]) -> bool:
    """Whether a point matches: its payload, its id, and the spaces that it has vectors in."""

    def inner(other: Filter) -> bool:
        return holds(other, payload, name, spaces)

    match filter:
        case And(filters):
            return all([inner(each) for each in filters])
        case Or(filters):
            return any([inner(each) for each in filters])
        case MinShould(least, filters):
            return sum([inner(each) for each in filters]) >= least
        case Not(other):
            return not inner(other)
        case HasId(ids):
            return name in ids
        case HasSpace(space):
            return space in spaces
    nodes = [node for path, node in held(payload) if path == filter.path]
    if isinstance(filter, MatchesText):
        return matches_text(filter, [node for node in nodes if isinstance(node, str)])
    if isinstance(filter, Nested):
        objects = [node for node in nodes if isinstance(node, dict)]
        return any([holds(filter.filter, each, "", frozenset()) for each in objects])
    return matches(filter, nodes)


def matches_text(filter: MatchesText, texts: list[str]) -> bool:
    """Whether texts hold words, cut as the server cuts them; one of them has all of a phrase."""
    asked = analyze(filter.text, TEXT_FIELDS.get(filter.path, ""))
    there = [analyze(text, TEXT_FIELDS.get(filter.path, "")) for text in texts]
    words = {word for one in there for word in one.words}
    if filter.match is Match.ANY:
        return not words.isdisjoint(asked.words)
    if filter.match is Match.ALL or not asked.words:
        return bool(asked.words) and words.issuperset(asked.words)
    phrase = set(zip(asked.words, asked.positions, strict=True))
    return any(
        phrase <= {(word, at - first) for word, at in zip(*one, strict=True)}
        for one in there
        for first in range(-max(asked.positions), max(one.positions, default=0) + 1)
    )


def held(node: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield path and node of all that is held: dots join keys, arrays are looked through."""
    if isinstance(node, list):
        for inner in node:
            yield from held(inner, keys)
        return
    if keys:
        yield ".".join(keys), node
    if isinstance(node, dict):
        for key, inner in node.items():
            yield from held(inner, (*keys, key))


def matches(condition: ValueCondition, nodes: list[Any]) -> bool:
    """Whether what stands at its path matches a condition."""
    values = [node for node in nodes if node is not None]
    match condition:
        case Equals(_, sought):
            return any(same(value, sought) for value in values)
        case In(_, several):
            return any(same(value, sought) for value in values for sought in several)
        case ContainsAll(_, several):
            return all(any(same(value, sought) for value in values) for sought in several)
        case Prefix(_, begin):
            return any(isinstance(value, str) and value.startswith(begin) for value in values)
        case Exists():
            return bool(values)
        case IsNull():
            return None in nodes
        case ValuesCount():
            return inside(len(values), condition)
        case Range():
            return any(in_range(value, condition) for value in values)
    return any(in_shape(value, condition) for value in values)


def exact(value: object) -> Fraction | float | None:
    """Return a number as it is compared: integers exactly, those beyond int64 as doubles."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    return Fraction(value) if math.isfinite(value) else value


def same(one: object, other: object) -> bool:
    if exact(one) is not None or exact(other) is not None:
        return exact(one) is not None and exact(one) == exact(other)
    return type(one) is type(other) and one == other


def in_range(value: object, bounds: Range) -> bool:
    if not any(isinstance(b, str) for b in (bounds.gt, bounds.gte, bounds.lt, bounds.lte)):
        number = exact(value)
        return number is not None and inside(number, bounds, exact)
    moment = time_of(value)
    return moment is not None and inside(moment, bounds, time_of)


def inside(
    number: Any, bounds: Range | ValuesCount, read: Callable[[Any], Any] = lambda bound: bound
) -> bool:
    return (
        (bounds.gt is None or number > read(bounds.gt))
        and (bounds.gte is None or number >= read(bounds.gte))
        and (bounds.lt is None or number < read(bounds.lt))
        and (bounds.lte is None or number <= read(bounds.lte))
    )


TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)


def time_of(value: object) -> datetime | None:
    """Return the moment of an RFC 3339 time, to the microsecond; no years below 2 or above 9998."""
    found = TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    day, clock, second, fraction, zone = found.groups()
    if clock is None:
        clock, second, zone = "00:00", "00", "Z"
    leap = second == "60"
    text = f"{day}T{clock}:{'59' if leap else second}{zone.upper()}"
    try:
        whole = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    cut = f"{fraction or '.'}000000"[1:7]
    return whole.astimezone(UTC) + timedelta(seconds=leap, microseconds=int(cut))


def in_shape(value: object, shape: GeoRadius | GeoBox | GeoPolygon) -> bool:
    place = place_of(value)
    if place is None:
        return False
    lat, lon = place
    match shape:
        case GeoRadius(_, center_lat, center_lon, metres):
            return metres_between((lat, lon), (center_lat, center_lon)) <= metres
        case GeoBox(_, south, west, north, east):
            if not south <= lat <= north:
                return False
            turned = [lon, -lon] if abs(lon) == 180 else [lon]
            if west <= east:
                return abs(lat) == 90 or any(west <= each <= east for each in turned)
            return abs(lat) == 90 or any(each >= west or each <= east for each in turned)
        case GeoPolygon(_, corners):
            ring = [(Fraction(y), Fraction(x)) for y, x in corners]
            for at in range(1, len(ring)):
                y, x = ring[at]
                while x - ring[at - 1][1] > 180:
                    x -= 360
                while x - ring[at - 1][1] < -180:
                    x += 360
                ring[at] = (y, x)
            return any(in_ring(Fraction(lat), Fraction(lon) + 360 * t, ring) for t in range(-3, 4))
    raise AssertionError(shape)


def place_of(value: object) -> tuple[float, float] | None:
    match value:
        case {"type": "Point", "coordinates": [lon, lat, *_]}:
            pass
        case {"lat": lat, "lon": lon}:
            pass
        case _:
            return None
    numbers = [exact(lat), exact(lon)]
    if None in numbers or not (-90 <= numbers[0] <= 90 and -180 <= numbers[1] <= 180):
        return None
    return float(lat), float(lon)


def metres_between(one: tuple[float, float], other: tuple[float, float]) -> float:
    """By the angle between the two directions from the middle of the earth."""

    def direction(lat: float, lon: float) -> np.ndarray:
        y, x = math.radians(lat), math.radians(lon)
        return np.array([math.cos(y) * math.cos(x), math.cos(y) * math.sin(x), math.sin(y)])

    a, b = direction(*one), direction(*other)
    return 6_371_008.8 * math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))


def in_ring(y: Fraction, x: Fraction, ring: list[tuple[Fraction, Fraction]]) -> bool:
    """Count the edges to the north of a place; on an edge is inside."""
    odd = False
    for (y1, x1), (y2, x2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if x1 == x2:
            if x == x1 and min(y1, y2) <= y <= max(y1, y2):
                return True
            continue
        if not min(x1, x2) <= x <= max(x1, x2):
            continue
        there = y1 + (y2 - y1) * (x - x1) / (x2 - x1)
        if there == y:
            return True
        if there > y and (x1 <= x) != (x2 <= x):
            odd = not odd
    return odd
