"""The state of an embedding worker, as whoever watches it keeps it for all others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from vecdb.embed.channel import WorkerState

log = logging.getLogger(__name__)

OnChange = Callable[[WorkerState], object]


class Watched:
    """What one that is started here and one elsewhere have in common.

    on_change: called with every new state, from the watching thread; must not block.
    """

    def __init__(self, on_change: OnChange) -> None:
        self._on_change = on_change
        self._changed = threading.Condition()  # guards the state, and what subclasses say
        self._state = WorkerState()

    @property
    def state(self) -> WorkerState:
        """Return whether the worker answers now."""
        with self._changed:
            return self._state

    def wait_ready(self, timeout_s: float) -> bool:
        """Return whether the worker answers, waiting for it up to timeout_s."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state.ready, timeout_s)

    def _become(self, state: WorkerState) -> None:
        """Take a new state; one without a generation is of the present one."""
        with self._changed:
            if state.generation == 0:
                state = replace(state, generation=self._state.generation)
            if state == self._state:
                return
            self._state = state
            self._changed.notify_all()
        try:
            self._on_change(state)
        except Exception:
            log.exception("what listens to the embedding worker's state failed")
