"""A setting: a field of a section of config.py that knows its meaning and its bounds."""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar

T = TypeVar("T")


def setting(
    default: T,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    *,
    one_of: tuple[str, ...] = (),
) -> T:
    """Return a dataclass field that knows its meaning and bounds (inclusive).

    one_of: the values there are, where those are words.
    """
    known = {"doc": doc, "low": low, "high": high, "one_of": one_of}
    made: T = field(default=default, metadata=known)
    return made
