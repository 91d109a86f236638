"""What is added to the scores of candidates: for matching a filter, for being near to a value.

Only what a boost is and what it comes to for one payload; `collection/reorder.py` applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np

from vecdb.segment.fields import Json, as_number, nodes_at
from vecdb.segment.geo import metres_from, place_of
from vecdb.segment.times import microseconds
from vecdb.types import Filter

ADJUSTMENTS_MAX = 20
DECAY = 0.5


class Moment(NamedTuple):
    """A time, in microseconds since 1970."""

    microseconds: int


class Place(NamedTuple):
    """A place, in degrees."""

    lat: float
    lon: float


class Curve(IntEnum):
    """How a boost falls off from the origin."""

    EXP = 1
    GAUSS = 2
    LINEAR = 3


class Decay(NamedTuple):
    """1 up to `offset` away from the origin, `decay` where it is `scale` farther.

    origin: a number, or a time (scale and offset in seconds), or a place (metres). Finite all.
    """

    path: str
    curve: Curve
    origin: float | Moment | Place
    scale: float
    offset: float = 0.0
    decay: float = DECAY

    def of(self, payload: Json) -> float:
        """Return the decay of what a payload holds nearest to the origin; 0 where it holds none."""
        nearest = min(self._distances(payload), default=None)
        if nearest is None:
            return 0.0
        return _CURVES[self.curve](max(0.0, nearest - self.offset) / self.scale, self.decay)

    def _distances(self, payload: Json) -> Iterator[float]:
        """Yield how far what stands at the path is from the origin, if it is of the same kind."""
        origin = self.origin
        for node in nodes_at(payload, self.path):
            if isinstance(origin, Moment):
                time = microseconds(node) if isinstance(node, str) else None
                if time is not None:
                    yield abs(time - origin.microseconds) / 1e6
            elif isinstance(origin, Place):
                place = place_of(node) if isinstance(node, dict) else None
                if place is not None:
                    lat, lon = np.array([place]).T
                    yield float(metres_from(origin, lat, lon)[0])
            elif isinstance(node, (int, float)) and (number := as_number(node)) is not None:
                yield abs(float(number) - origin)


_CURVES: dict[Curve, Callable[[float, float], float]] = {
    Curve.EXP: lambda d, decay: decay**d,
    Curve.GAUSS: lambda d, decay: decay ** (d * d),
    Curve.LINEAR: lambda d, decay: max(0.0, 1 - (1 - decay) * d),
}


Adjusts: TypeAlias = Filter | Decay


class Adjustment(NamedTuple):
    """Adds its weight to points that match a filter, or as much of it as a decay says."""

    by: Adjusts
    weight: float


class Boost(NamedTuple):
    """Adjustments of the scores of so many candidates, which add up."""

    adjustments: tuple[Adjustment, ...]
    candidates: int
