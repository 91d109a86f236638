"""What aggregations find, and in which order lists come: by looking at every payload.

By the words of the protocol alone; long strings are compared as FORMAT.md says indexes hold them.
"""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

from tests.model import exact, held, time_of
from vecdb.segment.fields import key_of, shortened

Payloads = dict[str, dict]
"""By id, in the order in which they were written."""


def values_at(payload: dict, path: str) -> list[Any]:
    return [node for at, node in held(payload) if at == path and node is not None]


def kind_and_value(value: Any) -> tuple[int, Any] | None:
    """What tells a facet's values apart, and orders them."""
    if isinstance(value, bool):
        return 0, value
    if exact(value) is not None:
        return 1, exact(value)
    return (2, shortened(key_of(value))) if isinstance(value, str) else None


def facets(payloads: Payloads, path: str) -> list[tuple[tuple[int, Any], int]]:
    """All values with the points that hold each, in order."""
    counts: Counter[tuple[int, Any]] = Counter()
    for payload in payloads.values():
        found = {kind_and_value(value) for value in values_at(payload, path)}
        counts.update(one for one in found if one is not None)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def numbers(payloads: Payloads, path: str) -> dict[str, Any]:
    """Count, points, sum, least and greatest of numbers."""
    found = [[exact(value) for value in values_at(p, path)] for p in payloads.values()]
    found = [[number for number in some if number is not None] for some in found]
    flat = [number for some in found for number in some]
    return {
        "points": sum(map(bool, found)),
        "count": len(flat),
        "sum": exact_sum(flat),
        "min": min(flat, default=None),
        "max": max(flat, default=None),
    }


def exact_sum(flat: list[Fraction | float]) -> Fraction | float:
    infinite = {number for number in flat if isinstance(number, float)}
    if infinite:
        return sum(infinite) if len(infinite) == 1 else math.nan
    return sum(flat, Fraction(0))


def rounded(number: Fraction | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def times(payloads: Payloads, path: str) -> list[list[Any]]:
    """The moments that each point holds, of points that hold some."""
    found = [[time_of(value) for value in values_at(p, path)] for p in payloads.values()]
    return [some for some in ([t for t in one if t is not None] for one in found) if some]


def rank(value: Any) -> tuple[int, Any] | None:
    """What orders a value among all others."""
    if isinstance(value, str):
        moment = time_of(value)
        return (3, shortened(key_of(value))) if moment is None else (2, moment)
    return kind_and_value(value)


def ranks(payloads: Payloads, path: str, descending: bool) -> dict[str, tuple[int, Any]]:
    """By what each point that holds a value is ordered."""
    decides = max if descending else min
    found = {
        name: [one for one in map(rank, values_at(payload, path)) if one is not None]
        for name, payload in payloads.items()
    }
    return {name: decides(some) for name, some in found.items() if some}


def in_order(payloads: Payloads, path: str, descending: bool) -> list[str]:
    """The ids of the points that hold a value, by it."""
    ranked = [
        (by, at, name) for at, (name, by) in enumerate(ranks(payloads, path, descending).items())
    ]
    return [name for _, _, name in sorted(ranked, reverse=descending)]
