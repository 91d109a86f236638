"""What time it is, for what expires. Handed down from the database, so that tests can move it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Returns milliseconds since the Unix epoch."""


def wall_clock() -> int:
    """Return the milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
