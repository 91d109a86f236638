"""What became of a write: a result per operation. Data only, as in ``types``."""

from __future__ import annotations

from dataclasses import dataclass


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
