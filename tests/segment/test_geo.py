"""Places and shapes: poles, the 180th meridian, edges and corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model import metres_between
from vecdb.segment.geo import EARTH_RADIUS_M, inside, latitudes, place_of, unrolled
from vecdb.types import GeoBox, GeoPolygon, GeoRadius, GeoShape

DEGREE_M = math.radians(1) * EARTH_RADIUS_M


def is_in(shape: GeoShape, lat: float, lon: float) -> bool:
    """Also checks that the band of latitudes, which indexes ask first, holds what is inside."""
    (found,) = inside(shape, np.array([float(lat)]), np.array([float(lon)])).tolist()
    south, north = latitudes(shape)
    assert not found or south <= lat <= north
    return found


@given(
    st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.data()
)
def test_a_radius_is_a_distance(lat, lon, there_lat, there_lon, data) -> None:
    away = metres_between((lat, lon), (there_lat, there_lon))
    # The haversine formula is weak at the antipode: a thousandth part, and a metre.
    assert is_in(GeoRadius("p", lat, lon, away * 1.001 + 1), there_lat, there_lon)
    if away > 1 and away * 0.999 - 1 > 0:
        assert not is_in(GeoRadius("p", lat, lon, away * 0.999 - 1), there_lat, there_lon)


def test_radius_over_poles_and_meridian() -> None:
    assert is_in(GeoRadius("p", 89, 0, 2.01 * DEGREE_M), 89, 180)
    assert not is_in(GeoRadius("p", 89, 0, 1.99 * DEGREE_M), 89, 180)
    assert is_in(GeoRadius("p", -90, 77, 0.001), -90, -103)
    assert is_in(GeoRadius("p", 0, 179.5, 1.01 * DEGREE_M), 0, -179.5)
    assert is_in(GeoRadius("p", 0, -180, 0.001), 0, 180)
    assert is_in(GeoRadius("p", 10, 10, 0.001), 10, 10)
    assert is_in(GeoRadius("p", 10, 10, 2.1e7), -10, -170)


BOXES = [
    ((-1, -2, 1, 2), [(0, 0), (-1, -2), (1, 2), (1, 0)], [(1.001, 0), (0, 2.001), (0, 180)]),
    ((-1, 170, 1, -170), [(0, 170), (0, 180), (0, -180), (0, -170)], [(0, 169), (0, -169), (0, 0)]),
    ((-1, 170, 1, 180), [(0, 180), (0, -180)], [(0, -179)]),
    ((-1, -180, 1, -170), [(0, 180), (0, -180)], [(0, 179)]),
    ((0, -180, 90, 180), [(0, 0), (90, 180), (45, -180)], [(-0.1, 0)]),
    ((80, 0, 90, 1), [(90, 77), (90, 0.5), (85, 0.5)], [(89.9, 77)]),
    ((-90, 0, 0, 1), [(-90, -170)], [(90, 0.5)]),
    ((5, 5, 5, 5), [(5, 5)], [(5, 5.0001)]),
]


@pytest.mark.parametrize(("corners", "held", "others"), BOXES)
def test_boxes(corners, held, others) -> None:
    box = GeoBox("p", *corners)
    assert [place for place in held if not is_in(box, *place)] == []
    assert [place for place in others if is_in(box, *place)] == []


POLYGONS = {
    "square": (
        [(0, 0), (0, 2), (2, 2), (2, 0)],
        [(1, 1), (0, 0), (2, 2), (0, 1), (1, 2), (2, 1)],
        [(1, 2.001), (-0.001, 1), (1, -0.001), (1, 181), (0, 3), (2, -1)],
    ),
    "square, other way round": ([(2, 0), (2, 2), (0, 2), (0, 0)], [(1, 1), (0, 1)], [(1, 3)]),
    "closed by hand": ([(0, 0), (0, 2), (2, 2), (0, 0)], [(0.5, 1)], [(1.5, 1)]),
    "concave": (
        [(0, 0), (0, 4), (4, 4), (4, 3), (1, 3), (1, 0)],
        [(0.5, 1), (3, 3.5), (1, 2), (1, 3)],
        [(2, 1), (4, 2), (1.001, 2.999)],
    ),
    "a ray through corners": ([(0, 0), (1, 1), (0, 2), (-1, 1)], [(0, 1)], [(0, -1), (0, 3)]),
    "over the meridian": (
        [(-1, 179), (-1, -179), (1, -179), (1, 179)],
        [(0, 180), (0, -180), (0, 179), (0, -179)],
        [(0, 178), (0, -178), (0, 0)],
    ),
    "begins beyond the meridian": (
        [(-1, -179), (1, -179), (1, 179), (-1, 179)],
        [(0, 179.5), (0, -179.5), (0, 180)],
        [(0, 0), (0, 178.9)],
    ),
    "on the meridian": ([(0, 170), (0, 180), (5, 180)], [(1, 180), (1, -180)], [(1, -179)]),
    "to the pole": ([(80, 0), (80, 10), (90, 10), (90, 0)], [(85, 5), (90, 5)], [(85, 11)]),
    "most of the way round": (
        [(-1, -170), (-1, -60), (-1, 60), (-1, 170), (1, 170), (1, 60), (1, -60), (1, -170)],
        [(0, 0), (0, 169), (0, -169)],
        [(0, 175), (0, 180), (0, -175)],
    ),
}


@pytest.mark.parametrize(("corners", "held", "others"), POLYGONS.values(), ids=POLYGONS.keys())
def test_polygons(corners, held, others) -> None:
    shape = GeoPolygon("p", tuple(corners))
    assert [place for place in held if not is_in(shape, *place)] == []
    assert [place for place in others if is_in(shape, *place)] == []


def test_a_ring_around_a_pole_has_no_inside() -> None:
    with pytest.raises(ValueError, match="around a pole"):
        unrolled(GeoPolygon("p", ((80, 0), (80, 120), (80, -120))))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"lat": 1, "lon": 2}, (1.0, 2.0)),
        ({"lat": -90.0, "lon": 180, "name": "x"}, (-90.0, 180.0)),
        ({"type": "Point", "coordinates": [2, 1]}, (1.0, 2.0)),
        ({"type": "Point", "coordinates": [2, 1, 300]}, (1.0, 2.0)),
        ({"type": "Polygon", "coordinates": [2, 1]}, None),
        ({"type": "Point", "coordinates": [2]}, None),
        ({"type": "Point", "coordinates": "12"}, None),
        ({"lat": 1}, None),
        ({"lat": "1", "lon": 2}, None),
        ({"lat": True, "lon": 2}, None),
        ({"lat": 90.1, "lon": 2}, None),
        ({"lat": 1, "lon": -180.1}, None),
        ({"lat": 1, "lon": 10**400}, None),
        ({"lat": math.inf, "lon": 0}, None),
        ({}, None),
    ],
)
def test_which_objects_are_places(value, expected) -> None:
    assert place_of(value) == expected
