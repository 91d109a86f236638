"""Which segment is built next: sizes fall off geometrically, and nothing is built for ever."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vecdb.collection.plan import Build, compacting_builds, next_build
from vecdb.config import StorageConfig
from vecdb.storage.codec import SegmentEntry, State

CONFIG = StorageConfig(tail_points=100, graph_points=1_000, segment_points=50_000)


class Simulated:
    """The segment list of a store, and what building did to it."""

    def __init__(self, config: StorageConfig = CONFIG) -> None:
        self.config = config
        self.state = State()
        self.entries: list[SegmentEntry] = []
        self.ended: dict[int, int] = {}
        self.inserted = 0  # rows put into a graph, each time

    def settle(self, *, idle: bool = False) -> int:
        builds = 0
        while True:
            due = next_build(self.entries, self.state, self.ended, set(), self.config, idle=idle)
            if due is None:
                return builds
            self.build(due)
            builds += 1
            assert builds < 10_000

    def build(self, due: Build) -> None:
        inside = [e for e in self.entries if due.overlaps(e)]
        assert all(due.first <= e.first and e.end <= due.end for e in inside)
        covered = due.end - (inside[-1].end if inside else due.first)
        live = sum(e.rows - e.dead - self.ended.pop(e.number, 0) for e in inside) + covered
        kept = 0
        if due.base is not None:
            assert due.base.graph
            assert inside[0] == due.base
            kept = due.base.rows
        dead = 0
        if due.base is not None:
            dead = due.base.rows - (live - sum(e.rows for e in inside[1:]) - covered)
            dead = max(dead, 0)
        if due.graph:
            self.inserted += live + dead - kept
        self.state.next_segment += 1
        entry = SegmentEntry(
            self.state.next_segment, due.first, due.end, live + dead, 1, dead, due.graph
        )
        before = [e for e in self.entries if e.end <= due.first]
        after = [e for e in self.entries if e.first >= due.end]
        self.entries = [*before, entry, *after]

    def add(self, n: int) -> None:
        self.state.next_slot += n


def test_points_trickle_in() -> None:
    simulated = Simulated()
    n = 40_000
    for _ in range(n // 50):
        simulated.add(50)
        simulated.settle()
    graphs = [e.rows for e in simulated.entries if e.graph]
    assert len(graphs) <= 5
    assert len(simulated.entries) <= 5 + 16
    for larger, smaller in pairwise(graphs):
        assert smaller < larger / 2
    assert simulated.inserted <= 5 * n, "each row is inserted O(log n) times"


def test_what_is_left_when_nothing_is_written_goes_into_the_graph() -> None:
    simulated = Simulated()
    simulated.add(20_000)
    simulated.settle()
    simulated.add(99)
    simulated.settle()
    simulated.add(300)
    simulated.settle()
    assert [e.graph for e in simulated.entries] == [True, False]
    simulated.settle(idle=True)
    (entry,) = simulated.entries
    assert (entry.rows, entry.graph) == (20_399, True)
    simulated.add(99)
    assert simulated.settle(idle=True) == 0, "too few to be worth it"


def test_large_load_is_one_graph() -> None:
    simulated = Simulated()
    simulated.add(40_000)
    assert simulated.settle() == 2
    assert [(e.rows, e.graph) for e in simulated.entries] == [(40_000, True)]


def test_segments_do_not_outgrow_their_limit() -> None:
    simulated = Simulated()
    for _ in range(300):
        simulated.add(1_000)
        simulated.settle()
    assert all(e.rows <= CONFIG.segment_points for e in simulated.entries)
    assert len(simulated.entries) <= 15


def test_build_under_way_is_left_alone() -> None:
    entries = [SegmentEntry(n, n * 1_000, (n + 1) * 1_000, 1_000, 1) for n in range(4)]
    state = State(next_slot=4_150)
    busy = Build(0, 2_000, "graph", True)
    due = next_build(entries, state, {}, set(), CONFIG, busy)
    assert due == Build(4_000, 4_150, "tail")
    state.next_slot = 4_010
    due = next_build(entries, state, {}, set(), CONFIG, busy)
    assert due is not None
    assert (due.first, due.end) == (2_000, 4_000)


def test_what_cannot_be_read_and_what_is_mostly_dead_is_built_again() -> None:
    entries = [
        SegmentEntry(1, 0, 5_000, 5_000, 1, graph=True),
        SegmentEntry(2, 5_000, 6_000, 1_000, 1, graph=True),
    ]
    state = State(next_slot=6_000)
    assert next_build(entries, state, {}, {2}, CONFIG) == Build(5_000, 6_000, "rebuild", True)
    due = next_build(entries, state, {1: 1_100}, set(), CONFIG)
    assert due == Build(0, 5_000, "dead", True)
    entries[0] = replace(entries[0], dead=600)
    assert next_build(entries, state, {1: 500}, set(), CONFIG) == due


def test_compaction_leaves_one_segment_without_ended_rows() -> None:
    simulated = Simulated()
    for _ in range(300):
        simulated.add(50)
        simulated.settle()
    simulated.build(Build(simulated.entries[-1].end, simulated.state.next_slot + 1, "compact"))
    simulated.ended = {simulated.entries[0].number: 5}
    for due in compacting_builds(simulated.entries, simulated.ended, CONFIG):
        simulated.build(due)
    (entry,) = simulated.entries
    assert entry.dead == 0
    assert entry.graph
    assert not compacting_builds(simulated.entries, {}, CONFIG)


@given(st.lists(st.tuples(st.integers(0, 3_000), st.floats(0, 0.5)), max_size=40))
def test_it_always_ends(steps: list[tuple[int, float]]) -> None:
    simulated = Simulated()
    for added, share in steps:
        simulated.add(added)
        simulated.settle()
        simulated.ended = {
            e.number: int(share * (e.rows - e.dead)) for e in simulated.entries if e.rows
        }
        simulated.settle()
        simulated.settle(idle=True)
        first = 0
        for entry in simulated.entries:
            assert entry.first == first
            first = entry.end
