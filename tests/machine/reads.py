"""Rules that read points: by id, in order, in sum, and as they change."""

from __future__ import annotations

from contextlib import closing

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from tests import read_model
from tests.machine.base import Machine, wired
from tests.machine.coverage import exercises
from tests.machine.draw import FILTERS, MASKS, NAMES, VECTORS
from tests.machine.model import as_held
from tests.model import time_of
from tests.write.test_mask import NOTHING, cut
from vecdb.types import Filter
from vecdb_client import Changes, Mask, OutOfRange

CHANGES_RETAINED = 16


def masked(payload: dict, mask: Mask | bool) -> dict:
    if isinstance(mask, bool):
        return payload if mask else {}
    kept = cut(payload, list(mask.include) or None, list(mask.exclude))
    return {} if kept is NOTHING else kept


class Reads(Machine):
    """What reads points without looking for the best."""

    def __init__(self) -> None:
        super().__init__()
        self.copy: dict[str, tuple[int, dict]] = {}  # what one who follows the changes knows
        self.followed = 0
        self.recreated = False  # since changes were followed: by a clone

    @rule(names=st.lists(st.sampled_from([*NAMES, "?"]), min_size=1, unique=True), mask=MASKS)
    @exercises("Points.Get")
    def get(self, names: list[str], mask: Mask | bool) -> None:
        found = self.collection.get(names, with_payload=mask)
        there = [name for name in names if name in self.model.points]
        assert [point.id for point in found.points] == there
        assert found.missing == [name for name in names if name not in there]
        for point in found.points:
            assert point.payload == masked(self.model.points[point.id].payload, mask)

    @rule(filter=FILTERS, size=st.integers(1, 7), slices=st.integers(1, 3), mask=MASKS)
    @exercises("Points.List", "Points.Count", "Points.Export")
    def list_pages(self, filter: Filter | None, size: int, slices: int, mask: Mask | bool) -> None:
        """Exported in slices: each in order, and every point in one."""
        expected = sorted(self.model.matching(filter), key=lambda name: name.encode())
        assert self.collection.count(wired(filter)) == len(expected)
        every = self.collection.list(wired(filter), page_size=size)
        assert [point.id for point in every] == expected
        found: list[str] = []
        for at in range(slices):
            slice = (at, slices) if slices > 1 else None
            listed = list(self.collection.export(wired(filter), slice=slice, with_payload=mask))
            names = [point.id for point in listed]
            assert names == sorted(names, key=lambda name: name.encode())
            found += names
            for point in listed:
                assert point.payload == masked(self.model.points[point.id].payload, mask)
        assert sorted(found, key=lambda name: name.encode()) == expected

    @rule(filter=FILTERS, path=st.sampled_from(["a", "b", "a.b"]), descending=st.booleans())
    @exercises(
        "Points.Aggregate",
        "Points.List",
        "Aggregation.facets",
        "Aggregation.numbers",
        "Aggregation.times",
    )
    def aggregate_and_order(self, filter: Filter | None, path: str, descending: bool) -> None:
        chosen = {name: one.payload for name, one in self.model.matching(filter).items()}
        found = self.collection.aggregate(
            wired(filter), facets={path: 1_000}, numbers=path, times=path
        )
        assert found.points == len(chosen)
        expected = read_model.facets(chosen, path)
        assert [one.points for one in found.facets[path]] == [count for _, count in expected]
        numbers = read_model.numbers(chosen, path)
        assert found.numbers[path].count == numbers["count"]
        assert found.numbers[path].points == numbers["points"]
        times = read_model.times(chosen, path)
        assert found.times[path].points == len(times)
        assert found.times[path].count == sum(map(len, times))
        first = found.times[path].min
        assert (first and time_of(first)) == min((min(some) for some in times), default=None)
        listed = list(
            self.collection.list(wired(filter), order_by=path, descending=descending, page_size=3)
        )
        # Of equal values, which came first is the batches' business.
        ranks = read_model.ranks(chosen, path, descending)
        assert sorted(point.id for point in listed) == sorted(ranks)
        order = [ranks[point.id] for point in listed]
        assert order == sorted(order, reverse=descending)

    @precondition(lambda self: self.model.points)
    @rule(vector=VECTORS)
    @exercises("Points.Watch")
    def catch_up(self, vector: list[float]) -> None:
        """Follow what was written since the last time, or hear that it is too much."""
        name = next(iter(self.model.points))
        report = self.collection.patch(name, vectors={"": vector})  # so that there is an end
        self.model.points[name].version = report.commit_seq
        self.model.points[name].vectors[""] = as_held(vector)
        try:
            with closing(self.collection.watch(self.followed, with_vectors=True)) as stream:
                for changes in stream:
                    self.take(changes)
                    if changes.commit_seq >= report.commit_seq and changes.complete:
                        break
        except OutOfRange:
            assert self.recreated or report.commit_seq - self.followed > CHANGES_RETAINED
            page = self.collection.page(with_vectors=True)
            self.copy = {one.id: (one.version, one.payload) for one in page.points}
            for point in page.points:
                self.check_point(point)
        self.followed, self.recreated = report.commit_seq, False
        expected = {name: (one.version, one.payload) for name, one in self.model.points.items()}
        known = {one: held for one, held in self.copy.items() if one not in self.expired}
        assert known == expected

    def take(self, changes: Changes) -> None:
        assert not changes.warnings
        if changes.truncated:
            self.copy.clear()
        for name in changes.deleted:
            self.copy.pop(name, None)
        for point in changes.points:
            self.check_point(point)
            self.copy[point.id] = (point.version, point.payload)
