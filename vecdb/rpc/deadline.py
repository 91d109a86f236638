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


def half_of(context: grpc.ServicerContext) -> grpc.ServicerContext:
    """Return a call that may take half as long as another has left: for work it can do without."""
    return _Half(context)  # type: ignore[return-value]


class _Half:
    """What work on behalf of a call asks of its context."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        left = remaining_s(context)
        self._until = None if left is None else time.monotonic() + left / 2
        self.add_callback = context.add_callback
        self.is_active = context.is_active

    def time_remaining(self) -> float | None:
        """Return the seconds left, or None."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.0)
