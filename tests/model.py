"""What vecdb must do, in a dict and numpy: the state machine holds the real server against it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Payload = dict[str, Any]


@dataclass
class Stored:
    vector: np.ndarray
    payload: Payload
    version: int


@dataclass
class ModelCollection:
    """Points by id; every answer by looking at all of them."""

    dim: int
    metric: str
    points: dict[str, Stored] = field(default_factory=dict)

    def put(self, name: str, vector: list[float], payload: Payload, version: int) -> None:
        stored = json.loads(json.dumps(payload))
        self.points[name] = Stored(np.array(vector, np.float32), stored, version)

    def delete(self, name: str) -> bool:
        return self.points.pop(name, None) is not None

    def score(self, stored: np.ndarray, query: np.ndarray) -> float:
        a, b = stored.astype(np.float64), query.astype(np.float64)
        if self.metric == "cosine":
            return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        if self.metric == "dot":
            return float(a @ b)
        return -float(np.linalg.norm(a - b))

    def matching(self, condition: Condition | None) -> dict[str, Stored]:
        return {
            name: stored
            for name, stored in self.points.items()
            if condition is None or condition.matches(stored.payload)
        }

    def search(self, query: list[float], condition: Condition | None) -> list[tuple[float, str]]:
        """Return all matching points, best first."""
        vector = np.array(query, np.float32)
        found = self.matching(condition).items()
        return sorted(((self.score(s.vector, vector), name) for name, s in found), reverse=True)


@dataclass(frozen=True)
class Condition:
    """One condition or its opposite. kind: equals, or range for value <= x <= high."""

    path: str
    kind: str
    value: Any
    high: Any = None
    negated: bool = False

    def matches(self, payload: Payload) -> bool:
        return self._holds(payload) != self.negated

    def _holds(self, payload: Payload) -> bool:
        held = payload.get(self.path)
        values = held if isinstance(held, list) else [held]
        if self.kind == "equals":
            return any(_same(value, self.value) for value in values)
        return any(_is_number(value) and self.value <= value <= self.high for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(held: object, asked: object) -> bool:
    if _is_number(held) and _is_number(asked):
        return held == asked
    return type(held) is type(asked) and held == asked
