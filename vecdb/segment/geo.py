"""Places on the globe: which payload objects are one, and which lie inside a shape.

Shapes include their edges. The poles have every longitude, and 180 degrees east is 180 degrees
west; both are so for radius and box. The edges of a polygon are straight on a map whose axes are
latitude and longitude, and go the shorter way round.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from vecdb.types import GeoBox, GeoPolygon, GeoRadius, GeoShape

F64 = NDArray[np.float64]
EARTH_RADIUS_M = 6_371_008.8
"""The mean radius; great circles on a sphere are within 0.6 % of those on the ellipsoid."""


def place_of(value: dict[str, Any]) -> tuple[float, float] | None:
    """Return latitude and longitude of a payload object, or None when it is no place.

    Either {"lat": .., "lon": ..} or a GeoJSON Point, whose coordinates are [longitude, latitude].
    """
    lat, lon = value.get("lat"), value.get("lon")
    if value.get("type") == "Point":
        coordinates = value.get("coordinates")
        if isinstance(coordinates, list) and len(coordinates) >= 2:
            lon, lat = coordinates[:2]
    if not (_is_number(lat) and _is_number(lon) and is_place(lat, lon)):
        return None
    return float(lat), float(lon)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_place(lat: float, lon: float) -> bool:
    """Whether latitude and longitude are in range; NaN is not."""
    return -90 <= lat <= 90 and -180 <= lon <= 180


def latitudes(shape: GeoShape) -> tuple[float, float]:
    """Return the lowest and highest latitude that a shape may hold."""
    if isinstance(shape, GeoRadius):
        # A little more than the arc, so that rounding never cuts off a place on the edge.
        reach = math.degrees(shape.metres / EARTH_RADIUS_M) * (1 + 1e-9) + 1e-9
        return shape.lat - reach, shape.lat + reach
    if isinstance(shape, GeoBox):
        return shape.south, shape.north
    corners = [lat for lat, _ in shape.corners]
    return min(corners), max(corners)


def inside(shape: GeoShape, lat: F64, lon: F64) -> NDArray[np.bool_]:
    """Return which of the places (n,), (n,) in degrees lie in a shape."""
    with np.errstate(all="ignore"):  # places come from files that nobody may have verified
        if isinstance(shape, GeoRadius):
            return _near(shape, lat, lon)
        if isinstance(shape, GeoBox):
            return _in_box(shape, lat, lon)
        return _in_polygon(shape, lat, lon)


def metres_from(place: tuple[float, float], lat: F64, lon: F64) -> F64:
    """Return how far places (n,), (n,) are from another along great circles; all in degrees."""
    # The haversine formula is exact for the smallest distances too.
    there, here = np.radians(lat), math.radians(place[0])
    half_lat = np.sin((there - here) / 2)
    half_lon = np.sin(np.radians(lon - place[1]) / 2)
    chord = half_lat**2 + np.cos(there) * math.cos(here) * half_lon**2
    distance: F64 = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return distance


def _near(shape: GeoRadius, lat: F64, lon: F64) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = metres_from((shape.lat, shape.lon), lat, lon) <= shape.metres
    return near


def _in_box(shape: GeoBox, lat: F64, lon: F64) -> NDArray[np.bool_]:
    if shape.west <= shape.east:
        across = (lon >= shape.west) & (lon <= shape.east)
    else:
        across = (lon >= shape.west) | (lon <= shape.east)
    if 180 in (abs(shape.west), abs(shape.east)):
        across |= np.abs(lon) == 180
    across |= np.abs(lat) == 90
    result: NDArray[np.bool_] = across & (lat >= shape.south) & (lat <= shape.north)
    return result


def unrolled(shape: GeoPolygon) -> list[tuple[float, float]]:
    """Return the corners with longitudes that go on past 180, so that no edge jumps.

    Raises ValueError for a ring around a pole, of which it could not be told which side is inside.
    """
    ring: list[tuple[float, float]] = []
    for lat, lon in (*shape.corners, shape.corners[0]):
        before = ring[-1][1] if ring else lon
        # Whole turns only: a corner and a place of the same longitude stay the same number.
        ring.append((lat, lon + 360 * round((before - lon) / 360)))
    if ring[-1][1] != ring[0][1]:
        raise ValueError("goes around a pole: use a box or a radius")
    return ring


def _in_polygon(shape: GeoPolygon, lat: F64, lon: F64) -> NDArray[np.bool_]:
    ring = unrolled(shape)
    west, east = min(x for _, x in ring), max(x for _, x in ring)
    found = np.zeros(len(lat), np.bool_)
    for turn in range(math.ceil((west - 180) / 360), math.floor((east + 180) / 360) + 1):
        turned = lon + 360 * turn
        near = np.flatnonzero((turned >= west) & (turned <= east))
        found[near] |= _in_ring(ring, lat[near], turned[near])
    return found


def _in_ring(ring: list[tuple[float, float]], lat: F64, lon: F64) -> NDArray[np.bool_]:
    """Count the edges that a ray to the east crosses; a place on an edge is inside."""
    odd = np.zeros(len(lat), np.bool_)
    on_edge = np.zeros(len(lat), np.bool_)
    for (y1, x1), (y2, x2) in pairwise(ring):
        turn = (x2 - x1) * (lat - y1) - (y2 - y1) * (lon - x1)
        on_edge |= (
            (turn == 0)
            & (lat >= min(y1, y2))
            & (lat <= max(y1, y2))
            & (lon >= min(x1, x2))
            & (lon <= max(x1, x2))
        )
        if y1 != y2:
            crosses = (lat < y1) != (lat < y2)
            odd ^= crosses & ((turn > 0) == (y2 > y1))
    return odd | on_edge
