"""Where the time of one call goes, while it is traced; nothing but a look whether it is, otherwise.

What works on a call notes its pieces here; who exports them is none of its business. See otel.py.
"""

from __future__ import annotations

import contextvars
import time
from typing import Protocol


class Trace(Protocol):
    """A call that is traced."""

    traceparent: str
    """The call, as W3C's header of that name has it."""

    def note(
        self, name: str, begun_ns: int, ended_ns: int, attributes: dict[str, str | int]
    ) -> None:
        """Take a piece of work on the call. begun_ns, ended_ns: of time.perf_counter_ns."""


_current: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("trace", default=None)

enter = _current.set
"""Begin to work on a call that is traced, in this thread; returns what `leave` takes."""

leave = _current.reset
"""Work on what was worked on before."""

current = _current.get
"""Return the trace of the call that this thread works on, or None."""


def note(name: str, begun_ns: int, **attributes: str | int) -> None:
    """Tell of a piece of work that ends now. begun_ns: of time.perf_counter_ns.

    attributes: what kind of work it was; nothing of what is stored or asked for.
    """
    trace = _current.get()
    if trace is not None:
        trace.note(name, begun_ns, time.perf_counter_ns(), attributes)
