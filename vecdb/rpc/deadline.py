"""How long a call may still take."""

from __future__ import annotations

import math
import threading
import time

import grpc


def remaining_s(context: grpc.ServicerContext) -> float | None:
    """Return the seconds until a call's deadline, or None when it has none.

    gRPC says some 9e18 for none, which no lock of Python can wait for.
    """
    left: float | None = context.time_remaining()
    if left is None or left >= threading.TIMEOUT_MAX:
        return None
    return max(left, 0.0)


def deadline_of(context: grpc.ServicerContext) -> float:
    """Return a call's deadline as time.monotonic has it; infinity when it has none."""
    left = remaining_s(context)
    return math.inf if left is None else time.monotonic() + left
