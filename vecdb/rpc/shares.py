"""Which kind a call is, and how many calls of a kind may be open at once: each kind has its share.

A call that finds its share taken is refused at once, without a thread and before its message is
read. So however many writes there are, a query finds room and a thread; and the other way round.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import StrEnum

from prometheus_client.core import GaugeMetricFamily, Metric

from vecdb.config import LimitsConfig
from vecdb.errors import Overloaded
from vecdb.rpc.forward import READS, STATES

RETRY_S = 0.2


class Kind(StrEnum):
    """What a call asks for. The names are those of the settings: limits.query_calls and so on."""

    QUERY = "query"
    WRITE = "write"
    EMBED = "embed"
    ADMIN = "admin"


_EMBED = frozenset(
    (
        "/vecdb.v1.Models/Embed",
        "/vecdb.v1.Models/Rerank",
        "/vecdb.v1.Models/Tokenize",
        "/vecdb.v1.Documents/Context",
    )
)
_WRITE = frozenset(
    (
        "/vecdb.v1.Points/Write",
        "/vecdb.v1.Points/DeleteWhere",
        "/vecdb.v1.Points/PatchWhere",
        "/vecdb.v1.Documents/Put",
        "/vecdb.v1.Documents/Delete",
        "/vecdb.v1.Documents/Feedback",
    )
)
_QUERY = (READS | STATES) - _EMBED


def kind_of(path: str) -> Kind:
    """Return the kind of a method that is not a stream: "/vecdb.v1.Points/Write" is a write."""
    if path in _EMBED:
        return Kind.EMBED
    if path in _WRITE:
        return Kind.WRITE
    if path in _QUERY and not path.startswith("/vecdb.v1.Admin/"):
        return Kind.QUERY
    return Kind.ADMIN


class Share:
    """The calls of a kind that are open, and how many may be. Threads may share it."""

    def __init__(self, kind: Kind, most: int) -> None:
        self.kind = kind
        self.most = most
        self._lock = threading.Lock()  # guards the next; every call passes
        self._open = 0

    @property
    def open(self) -> int:
        """Calls that are open now."""
        return self._open

    def take(self) -> bool:
        """Count a call, unless there are as many as may be; return whether it was counted."""
        with self._lock:
            if self._open >= self.most:
                return False
            self._open += 1
            return True

    def give_back(self) -> None:
        """Count a call no longer."""
        with self._lock:
            self._open -= 1

    def taken(self) -> Overloaded:
        """Return the error of a call that finds no room."""
        return Overloaded(
            f"{self.most} calls of the kind {self.kind} are open already",
            hint=f"send fewer at a time, or raise limits.{self.kind}_calls",
            retry_after_s=RETRY_S,
        )


class OpenCalls:
    """How many calls are open, as metrics have it, and how many may be."""

    def __init__(self, shares: Iterable[Share]) -> None:
        """Tell of these."""
        self._shares = tuple(shares)

    def collect(self) -> Iterable[Metric]:
        """Return the numbers now."""
        now = GaugeMetricFamily(
            "vecdb_calls_open",
            "Calls that are worked on or wait for a thread, by kind: see limits.query_calls.",
            labels=("kind",),
        )
        most = GaugeMetricFamily(
            "vecdb_calls_open_max", "As many may be; more are refused.", labels=("kind",)
        )
        for share in self._shares:
            now.add_metric((share.kind,), share.open)
            most.add_metric((share.kind,), share.most)
        return [now, most]


def shares_of(limits: LimitsConfig) -> dict[Kind, Share]:
    """Return the shares of a process."""
    return {kind: Share(kind, getattr(limits, f"{kind}_calls")) for kind in Kind}
