"""How often and how long: calls in turn, medians, percentiles. All durations are in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np


def timed(work: Callable[[int], object], times: int) -> list[float]:
    """Return the seconds of each of some calls in turn; each is given its number, from 0."""
    found: list[float] = []
    for at in range(times):
        started = time.perf_counter()
        work(at)
        found.append(time.perf_counter() - started)
    return found


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(np.asarray(values)))


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile of durations in milliseconds."""
    return float(np.percentile(np.asarray(seconds), percent)) * 1e3
