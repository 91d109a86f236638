"""How a process hears that it is to stop: signals, put on a queue that its main thread waits at.

A SimpleQueue, which may be put to from a signal handler; an Event may not: its lock may be held by
the very thread that the handler interrupts.
"""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAKE_S = 0.5


def on_signals(
    put: Callable[[int], object],
    numbers: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """Have signals put on a SimpleQueue from now on, by their numbers."""
    for number in numbers:
        signal.signal(number, lambda caught, _: put(caught))


def wait(asked: queue.SimpleQueue[T]) -> T:
    """Return the first that is put on a queue; for the main thread.

    Python's handlers run in the main thread, once it runs. A signal that comes between its last
    look for one and its falling asleep does not wake it, so it does not sleep for long.
    """
    while True:
        try:
            return asked.get(timeout=WAKE_S)
        except queue.Empty:
            continue
