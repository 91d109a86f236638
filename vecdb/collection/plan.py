"""Which segment to build next. A pure function of the segment list and the counters.

Log-structured: the tail becomes a flat segment, and neighbours become one larger segment once what
came after the first of them is a quarter of it. So sizes fall off geometrically: n points are in
O(log n) segments, and each was written O(log n) times. From `graph_points` rows on a segment has
graphs, and it grows from the first of those that it replaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vecdb.config import StorageConfig
from vecdb.storage.codec import SegmentEntry, State

FANIN = 8
GROWTH = 0.25
DEAD_SHARE_MAX = 0.2
IDLE_POINTS = 256
IDLE_GROWTH = 64
"""When nothing is written: points that are worth a build, and how many times as many a graph may
have that is to grow by them."""


@dataclass(frozen=True, slots=True)
class Build:
    """A slot range to build one segment of, in place of those that lie inside it.

    base: the segment that its graphs grow from, or None. graph: whether it gets graphs.
    """

    first: int
    end: int
    why: str
    graph: bool = False
    base: SegmentEntry | None = None

    def overlaps(self, entry: SegmentEntry) -> bool:
        """Return whether a segment lies inside the range."""
        return self.first < entry.end and entry.first < self.end


def next_build(
    entries: Sequence[SegmentEntry],
    state: State,
    ended: dict[int, int],
    broken: set[int],
    config: StorageConfig,
    busy: Build | None = None,
    *,
    idle: bool = False,
    texts: frozenset[int] = frozenset(),
) -> Build | None:
    """Return the next segment to build, or None when all is well.

    ended: tombstones inside each segment, by its number. broken: numbers of segments that cannot be
    read. busy: a build under way, whose slots are not looked at. idle: nothing was written for a
    while, so that what is scanned may go into a graph before there is as much as would pay else.
    texts: numbers of the text fields that every segment is to know.
    """
    tail = entries[-1].end if entries else 0
    if state.next_slot - tail >= (IDLE_POINTS if idle else config.tail_points):
        return Build(tail, min(state.next_slot, tail + config.segment_points), "tail")
    for run in _free_runs(entries, busy):
        due = _alone(run, ended, broken, texts, config) or _together(run, ended, config)
        if due is not None:
            return due
    return _absorbing(entries, ended, config) if idle and busy is None else None


def _absorbing(
    entries: Sequence[SegmentEntry], ended: dict[int, int], config: StorageConfig
) -> Build | None:
    """Return the build that takes what lies behind the last graph into it, if that is worth it."""
    last = max((at for at, entry in enumerate(entries) if entry.graph), default=None)
    if last is None:
        return None
    group = next(_groups(entries[last:], ended, config.segment_points))
    scanned = sum(_live(entry, ended) for entry in group[1:])
    if scanned < max(IDLE_POINTS, _live(group[0], ended) / IDLE_GROWTH):
        return None
    return _merged(group, ended, "idle", config)


def compacting_builds(
    entries: Sequence[SegmentEntry], ended: dict[int, int], config: StorageConfig
) -> list[Build]:
    """Return the builds that leave as few segments as can be, without ended rows."""
    builds: list[Build] = []
    for group in _groups(entries, ended, config.segment_points):
        dead = sum(ended.get(e.number, 0) + e.dead for e in group)
        rows = sum(_live(e, ended) for e in group)
        flat = any(not e.graph for e in group) and rows >= config.graph_points
        if len(group) > 1 or dead or flat:
            builds.append(_merged(group, ended, "compact", config))
    return builds


def erasing_builds(
    entries: Sequence[SegmentEntry], ended: dict[int, int], config: StorageConfig
) -> list[Build]:
    """Return the builds that make every segment with an ended row anew, without it."""
    return [
        Build(
            entry.first,
            entry.end,
            "erase",
            entry.graph and _live(entry, ended) >= config.graph_points,
        )
        for entry in entries
        if entry.rows > _live(entry, ended)
    ]


def lacks_texts(entry: SegmentEntry, texts: frozenset[int]) -> bool:
    """Return whether a segment was made before a text field was added. texts: of the schema."""
    return entry.rows > 0 and not texts.issubset(entry.texts)


def _free_runs(
    entries: Sequence[SegmentEntry], busy: Build | None
) -> Iterator[Sequence[SegmentEntry]]:
    """Yield the segments before and after those that are being replaced."""
    if busy is None:
        yield entries
        return
    yield [entry for entry in entries if entry.end <= busy.first]
    yield [entry for entry in entries if entry.first >= busy.end]


def _alone(
    run: Sequence[SegmentEntry],
    ended: dict[int, int],
    broken: set[int],
    texts: frozenset[int],
    config: StorageConfig,
) -> Build | None:
    """Return the build that makes one segment anew."""
    for entry in run:
        if entry.number in broken:
            return Build(
                entry.first, entry.end, "rebuild", _live(entry, ended) >= config.graph_points
            )
    for entry in run:
        dead = entry.rows - _live(entry, ended)
        if entry.rows and dead > DEAD_SHARE_MAX * entry.rows:
            return _merged([entry], ended, "dead", config)
    for entry in run:
        if lacks_texts(entry, texts):
            return _merged([entry], ended, "text", config)
    return None


def _together(
    run: Sequence[SegmentEntry], ended: dict[int, int], config: StorageConfig
) -> Build | None:
    """Return the build that merges neighbours, or gives one a graph."""
    for first in range(len(run)):
        group = next(_groups(run[first:], ended, config.segment_points))
        total = sum(_live(entry, ended) for entry in group)
        added = total - _live(group[0], ended)
        grown = len(group) > 1 and added >= GROWTH * (total - added)
        if total < config.graph_points:
            if grown and len(group) >= FANIN:
                return _merged(group, ended, "merge", config)
        elif grown or not group[0].graph:
            return _merged(group, ended, "graph", config)
    return None


def _groups(
    entries: Sequence[SegmentEntry], ended: dict[int, int], rows_max: int
) -> Iterator[list[SegmentEntry]]:
    """Yield neighbours, in order, together as long as they fit one segment; at least one each."""
    group: list[SegmentEntry] = []
    rows = 0
    for entry in entries:
        live = _live(entry, ended)
        if group and rows + live > rows_max:
            yield group
            group, rows = [], 0
        group.append(entry)
        rows += live
    if group:
        yield group


def _merged(
    group: list[SegmentEntry], ended: dict[int, int], why: str, config: StorageConfig
) -> Build:
    """Return the build that replaces neighbours; its graphs grow from the first where that pays."""
    total = sum(_live(entry, ended) for entry in group)
    first = group[0]
    live = _live(first, ended)
    dead = first.rows - live
    dead_max = 0.0 if why == "compact" else DEAD_SHARE_MAX / 2 * first.rows
    grows = first.graph and 2 * live >= total and dead <= dead_max
    return Build(
        first.first,
        group[-1].end,
        why,
        total >= config.graph_points,
        first if grows else None,
    )


def _live(entry: SegmentEntry, ended: dict[int, int]) -> int:
    return entry.rows - entry.dead - ended.get(entry.number, 0)
