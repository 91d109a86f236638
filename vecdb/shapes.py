"""The shapes that a filter asks places to lie in. Data only, and known from `types.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class GeoRadius:
    """A payload path that holds a place at most so many metres from another, along a great circle.

    Degrees: lat -90 to 90, lon -180 to 180.
    """

    path: str
    lat: float
    lon: float
    metres: float


@dataclass(frozen=True, slots=True)
class GeoBox:
    """A payload path that holds a place in a box of degrees; west > east crosses 180 degrees."""

    path: str
    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True)
class GeoPolygon:
    """A payload path that holds a place inside a polygon. corners: (lat, lon) of each."""

    path: str
    corners: tuple[tuple[float, float], ...]


GeoShape: TypeAlias = GeoRadius | GeoBox | GeoPolygon
