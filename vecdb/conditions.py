"""How a node is, part by part: what is not as it should be, why, and what to do about it.

A part of a server registers, with Conditions.add, a callable that yields its conditions. They feed
Admin.Status, /readyz, /metrics and `vecdb status`; what is well need not be yielded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger(__name__)

State = Literal["ok", "warning", "error"]
STATES: tuple[State, ...] = ("ok", "warning", "error")

NAMES = {
    "backup": "the last scheduled backup failed, or is too old",
    "builds": "segments cannot be built or checked; exact search serves meanwhile",
    "certificates": "a certificate expires soon, or could not be read again",
    "collections": "collections whose store cannot be opened; the others serve",
    "disk": "little space is left for the data",
    "embedding": "texts and images cannot be encoded; vectors are served",
    "maps": "a store's map cannot grow much further",
    "memory": "the node has come near to its limit of memory",
    "readers": "most slots for readers of a store are taken",
    "segments": "segments whose files are not used; exact search serves meanwhile",
    "status": "a part of the node cannot say how it is",
    "workers": "query workers are being started again; the others serve",
    "writer": "the writer is being started again; reads are served",
}
"""Every condition there is, and what it means when it is not ok: the values of a label."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How one part is. name: of NAMES. reason: why it is so; advice: what to do, or "".

    Neither holds anything secret. A reason may name collections: only operators read it.
    """

    name: str
    state: State
    reason: str = ""
    advice: str = ""

    def __post_init__(self) -> None:
        if self.name not in NAMES or self.state not in STATES:
            raise ValueError(f"unknown condition {self.name!r} or state {self.state!r}")


Read = Callable[[], Iterable[Condition]]


class Conditions:
    """Where the parts of one server say how they are. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the next
        self._parts: list[Read] = []

    def add(self, read: Read) -> None:
        """Register what yields the conditions of a part; asked often, and so to be quick."""
        with self._lock:
            self._parts.append(read)

    def now(self) -> list[Condition]:
        """Return what is not ok, the worst first."""
        with self._lock:
            parts = list(self._parts)
        found: list[Condition] = []
        for read in parts:
            try:
                found += [one for one in read() if one.state != "ok"]
            except Exception as error:  # of that one alone: the others are told
                log.exception("a part of this node cannot say how it is")
                found.append(Condition("status", "error", f"{type(error).__name__}", "see the log"))
        return ranked(found)


def ranked(conditions: Iterable[Condition]) -> list[Condition]:
    """Return conditions, the worst first."""
    return sorted(conditions, key=lambda one: (-STATES.index(one.state), one.name))


def worst(conditions: Iterable[Condition]) -> State:
    """Return the worst state of some conditions; "ok" of none."""
    return max((one.state for one in conditions), key=STATES.index, default="ok")


def ready_text(conditions: Iterable[Condition]) -> str:
    """Return the lines of /readyz: no reasons, since whoever probes may read them."""
    return "".join(f"{one.state}: {one.name}, {NAMES[one.name]}\n" for one in conditions)
