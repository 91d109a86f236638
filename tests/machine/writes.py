"""Rules that write points: one by one, many at once, by filter, all or nothing, over a stream."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from itertools import islice

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import initialize, precondition, rule

from tests.filters import to_client
from tests.machine.base import Machine
from tests.machine.coverage import exercises
from tests.machine.draw import BY_SPACE, CHANGES, EDITS, IDS, MOVED, NAMES, PAYLOADS, POINTS, SOME
from vecdb.types import Filter, HasId, Or
from vecdb_client import Delete, Patch, Point, VecdbError, WriteReport

PAST = datetime(1999, 12, 31, tzinfo=UTC)
Points = list[tuple[str, dict, dict]]
Changes = list[tuple]


class Writes(Machine):
    """What changes points."""

    keys = 0

    @initialize(points=POINTS)
    @exercises("Collections.Create")
    def begin(self, points: Points) -> None:
        """With some points: Hypothesis leaves rules out by turns, that which puts them too."""
        self.create()
        self.put(points)

    @rule(points=POINTS)
    @exercises("Points.Write", "WriteOp.put")
    def upsert(self, points: Points) -> None:
        self.put(points)

    def put(self, points: Points) -> None:
        before = set(self.model.points)
        report = self.collection.upsert(
            [{"id": i, "vectors": v, "payload": p} for i, v, p in points], batch_size=16
        )
        assert report.written == len(points)
        for name, vectors, payload in points:
            self.model.put(name, vectors, payload, report.commit_seq)
            self.expired.discard(name)
        assert set(self.model.points) >= before
        if len(points) > 16:  # several requests, each with a seq of its own
            for point in self.collection.get([name for name, _, _ in points]).points:
                assert report.commit_seq - len(points) // 16 <= point.version <= report.commit_seq
                self.model.points[point.id].version = point.version

    @rule(name=IDS, vectors=BY_SPACE, payload=PAYLOADS, past=st.booleans())
    @exercises("Points.Write")
    def upsert_for_a_while(self, name: str, vectors: dict, payload: dict, past: bool) -> None:
        """Of a time that has passed: stored, not there, and removed while others write."""
        point = Point(name, None, payload, vectors=vectors, expires_at=PAST if past else None)
        report = self.collection.upsert([point], ttl_s=3_600)
        assert report.found == (name in self.model.points)
        self.model.delete(name)
        if past:
            self.expired.add(name)
        else:
            self.expired.discard(name)
            self.model.put(name, vectors, payload, report.commit_seq, expires=True)

    @rule(names=st.lists(IDS, min_size=1, max_size=8))
    @exercises("Points.Write", "WriteOp.delete")
    def delete(self, names: list[str]) -> None:
        report = self.collection.delete(names)
        assert report.found == sum(self.model.delete(name) for name in names)

    @precondition(lambda self: self.model.points)
    @rule(data=st.data(), vectors=MOVED, forever=st.booleans())
    @exercises("Points.Write", "WriteOp.patch")
    def patch(self, data: st.DataObject, vectors: dict, forever: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.points)))
        ttl_s = float("inf") if forever else 7_200
        report = self.collection.patch(name, vectors=vectors, ttl_s=ttl_s)
        assert self.model.apply(Patch(name, vectors=vectors), report.commit_seq) is None
        self.model.points[name].expires = not forever

    @rule(changes=CHANGES)
    @exercises("Points.Write")
    def write(self, changes: Changes) -> None:
        """Puts, patches and deletes in one request, some of them at a version that they name.

        Sent once more under the same key it is answered again, and nothing is done.
        """
        operations = self.operations(changes)
        type(self).keys += 1
        key = f"key {type(self).keys}"
        report, again = (
            self.collection.write(operations, on_error="collect", idempotency_key=key)
            for _ in range(2)
        )
        self.applied(operations, report)
        assert (again.written, again.found, again.failures) == (
            report.written,
            report.found,
            report.failures,
        )

    @rule(changes=CHANGES)
    @exercises("Points.Write")
    def write_all_or_nothing(self, changes: Changes) -> None:
        operations = self.operations(changes)
        trial = copy.deepcopy(self.model)
        reasons = [trial.apply(operation, 1 << 50) for operation in operations]
        reason = next((found[0] for found in reasons if found is not None), None)
        if reason is None:
            self.applied(operations, self.collection.write(operations, atomic=True))
            return
        with pytest.raises(VecdbError) as caught:
            self.collection.write(operations, atomic=True)
        assert caught.value.reason == reason

    @rule(changes=CHANGES, size=st.integers(1, 4))
    @exercises("Points.WriteStream")
    def write_over_a_stream(self, changes: Changes, size: int) -> None:
        operations = self.operations(changes)
        left, settled = iter(operations), 0
        for report in self.collection.write_stream(operations, batch_size=size):
            batch = list(islice(left, report.settled - settled))
            self.applied(batch, report, settled)
            settled = report.settled
        assert settled == len(operations)

    def operations(self, changes: Changes) -> list[Point | Patch | Delete]:
        """Return what to write. "actual" is the version before: wrong once it was changed."""
        before = {name: self.model.version(name) for name in NAMES}
        operations: list[Point | Patch | Delete] = []
        for kind, name, vectors, payload, edits, expected in changes:
            versions = {"any": None, "actual": before[name], "absent": 0, "other": 1 << 40}
            version = versions[expected]
            if kind == "put":
                operations.append(Point(name, None, payload, vectors=vectors, if_version=version))
            elif kind == "delete":
                operations.append(Delete(name, version))
            else:
                version = version or None  # a patch of what must not exist is refused
                operations.append(Patch(name, **edits, if_version=version))
        return operations

    def applied(self, operations: list, report: WriteReport, first: int = 0) -> None:
        """Do a request's operations in the model too, the first of them at that position."""
        failures = {one.index: (one.reason, one.version) for one in report.failures}
        for at, operation in enumerate(operations, first):
            assert failures.get(at) == self.model.apply(operation, report.commit_seq), operation
            if isinstance(operation, Point) and at not in failures:
                self.expired.discard(operation.id)

    @precondition(lambda self: self.model.points)
    @rule(filter=SOME, data=st.data())
    @exercises("Points.DeleteWhere")
    def delete_where(self, filter: Filter, data: st.DataObject) -> None:
        filter = self.at_least_one(filter, data)
        expected = list(self.model.matching(filter))
        report = self.collection.delete_where(to_client(filter))
        assert (report.written, report.skipped) == (len(expected), 0)
        assert sum(self.model.delete(name) for name in expected) == len(expected)

    @precondition(lambda self: self.model.points)
    @rule(filter=SOME, edits=EDITS, data=st.data())
    @exercises("Points.PatchWhere")
    def patch_where(self, filter: Filter, edits: dict, data: st.DataObject) -> None:
        filter = self.at_least_one(filter, data)
        expected = list(self.model.matching(filter))
        report = self.collection.patch_where(to_client(filter), **edits, on_error="collect")
        failures = {one.id: (one.reason, one.version) for one in report.failures}
        for name in expected:
            patch = Patch(name, **edits)
            assert failures.get(name) == self.model.apply(patch, report.commit_seq)
        assert report.written == len(expected) - len(failures)
        assert report.skipped == 0

    def at_least_one(self, filter: Filter, data: st.DataObject) -> Filter:
        """Return a filter that a point matches too: the client asks for nothing where none does."""
        return Or((filter, HasId((data.draw(st.sampled_from(sorted(self.model.points))),))))
