"""What one client's points in a collection must be, also where a write's fate was not heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from vecdb_client import StoredPoint

DIM = 16


class Violation(AssertionError):
    """The node did what it must not."""


@dataclass(frozen=True)
class Held:
    """A point as it was written."""

    payload: dict[str, object]
    vector: np.ndarray

    def is_as(self, found: StoredPoint) -> bool:
        vector = np.asarray(found.vector, np.float32)
        return found.payload == self.payload and np.array_equal(vector, self.vector)


@dataclass(frozen=True)
class World:
    """The points of an area. fading: those that expire, and so may be there or not."""

    sure: dict[str, Held] = field(default_factory=dict)
    fading: dict[str, Held] = field(default_factory=dict)

    def with_points(self, points: dict[str, Held], *, fading: bool) -> World:
        """Return the world with some points put."""
        without = self.without(points)
        if fading:
            return replace(without, fading={**without.fading, **points})
        return replace(without, sure={**without.sure, **points})

    def without(self, names: Iterable[str]) -> World:
        gone = set(names)
        return World(
            {name: held for name, held in self.sure.items() if name not in gone},
            {name: held for name, held in self.fading.items() if name not in gone},
        )

    def fits(self, name: str, found: StoredPoint | None) -> bool:
        """Whether a point may be as it was found, or not found."""
        if name in self.sure:
            return found is not None and self.sure[name].is_as(found)
        if found is None:
            return True
        return name in self.fading and self.fading[name].is_as(found)

    def settled(self, other: World, found: dict[str, StoredPoint], names: Iterable[str]) -> World:
        """Return which of two worlds each point is of, where each may be of either."""
        now = self
        for name in names:
            if self.fits(name, found.get(name)):
                continue
            if not other.fits(name, found.get(name)):
                raise Violation(f"{name} is neither as before nor as after: {found.get(name)}")
            now = now.without([name])
            for place in ("sure", "fading"):
                held = getattr(other, place)
                if name in held:
                    now = replace(now, **{place: {**getattr(now, place), name: held[name]}})
        return now

    def check(self, points: Iterable[StoredPoint], what: str) -> None:
        """Raise Violation unless these are all points that there must be, and no other."""
        found = {point.id: point for point in points}
        for name in self.sure.keys() | found.keys():
            if not self.fits(name, found.get(name)):
                raise Violation(f"{what}: {name} is {found.get(name)}, not {self.sure.get(name)}")

    def nearest(self, query: np.ndarray, k: int) -> list[tuple[float, str]]:
        """Return the ids of the nearest points that are sure to be there, with their distances."""
        names = sorted(self.sure)
        if not names:
            return []
        held = np.array([self.sure[name].vector for name in names], np.float64)
        distances = np.linalg.norm(held - query, axis=1)
        return [(float(distances[at]), names[at]) for at in np.argsort(distances)[:k]]
