"""What became of a write, a result per operation, and of a query. Data only, as in ``types``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vecdb.types import Scalar


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one operation of a write.

    version: the point's version after it, which is the write's commit_seq when it was applied; 0
    when it is gone, and for what was refused before the store was asked.
    found: whether the id existed before. reason and message: "" when it was applied.
    truncated: spaces whose text was longer than their model reads.
    """

    version: int = 0
    found: bool = False
    reason: str = ""
    message: str = ""
    truncated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """A result per operation, in order, and the sequence number at which all became visible."""

    commit_seq: int
    results: tuple[ItemResult, ...]
    replayed: bool = False


class GroupHits(NamedTuple):
    """The hits of one group, best first, as QueryResult has them, and the value they share."""

    value: Scalar
    hits: bytes
    found: int


class QueryResult(NamedTuple):
    """What a query found, and how.

    hits: as many as were found, best first, as the wire has them: see kernel.encode_hits.
    plan: which way each segment was searched, such as ``exact(segments=3, tail=120)``.
    matched: points that the filter lets through (all points without one).
    groups: of a query that is grouped, in place of hits; found counts all of them.
    complete: False when something had to be left out; warnings then says what.
    tokens: that models read of the query's texts.
    next_token: of a query by pages, what the next one goes on with; "" on the last.
    """

    hits: bytes
    found: int
    plan: str
    matched: int
    commit_seq: int
    complete: bool = True
    warnings: tuple[str, ...] = ()
    timings_us: dict[str, int] = {}  # noqa: RUF012 - never changed
    groups: tuple[GroupHits, ...] = ()
    tokens: int = 0
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class Truncated:
    """What a truncation did: how many points it removed, and the seq at which it did."""

    points: int
    seq: int
