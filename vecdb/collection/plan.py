"""Which segment to build next. A pure function of the segment list and the counters.

Size-tiered, as in log-structured stores: the tail becomes a segment, and FANIN neighbours of a tier
become one of the next, so that n points are in O(log n) segments and each was written O(log n)
times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vecdb.config import StorageConfig
from vecdb.storage.codec import SegmentEntry, State

FANIN = 8
DEAD_SHARE_MAX = 0.2


@dataclass(frozen=True, slots=True)
class Build:
    """A slot range to build one segment of, in place of those that lie inside it."""

    first: int
    end: int
    why: str


def next_build(
    entries: Sequence[SegmentEntry],
    state: State,
    dead: dict[int, int],
    broken: set[int],
    config: StorageConfig,
) -> Build | None:
    """Return the next segment to build, or None when all is well.

    dead: rows that have ended, by segment number. broken: numbers of segments that cannot be read.
    """
    for entry in entries:
        if entry.number in broken:
            return Build(entry.first, entry.end, "rebuild")
    tail = entries[-1].end if entries else 0
    if state.next_slot - tail >= config.tail_points:
        return Build(tail, min(state.next_slot, tail + config.segment_points), "tail")
    for entry in entries:
        if entry.rows and dead.get(entry.number, 0) > DEAD_SHARE_MAX * entry.rows:
            return Build(entry.first, entry.end, "dead")
    return _merge(entries, dead, config)


def _merge(
    entries: Sequence[SegmentEntry], dead: dict[int, int], config: StorageConfig
) -> Build | None:
    live = [entry.rows - dead.get(entry.number, 0) for entry in entries]
    tiers = [_tier(rows, config.tail_points) for rows in live]
    for tier in sorted(set(tiers)):
        # The newest segments up to this tier, whatever smaller ones lie between.
        start = len(entries)
        while start and tiers[start - 1] <= tier:
            start -= 1
        if sum(t == tier for t in tiers[start:]) < FANIN:
            continue
        for first in range(start, len(entries)):
            stop, rows = first, 0
            while stop < len(entries) and rows + live[stop] <= config.segment_points:
                rows += live[stop]
                stop += 1
            # Worth it when it empties a tier, or fills a segment that will not grow any more.
            if stop - first >= FANIN or (stop - first > 1 and rows > config.segment_points // 2):
                return Build(entries[first].first, entries[stop - 1].end, "merge")
    return None


def _tier(rows: int, unit: int) -> int:
    tier = 0
    while rows >= unit * FANIN:
        rows //= FANIN
        tier += 1
    return tier
