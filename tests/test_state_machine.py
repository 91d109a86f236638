"""Random operations on a real server beside a dict, restarts and kill -9 included.

After every step: the count, every point, and a search agree. Small segments, so that flushes,
merges and rebuilds happen all the time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import read_model
from tests.filters import OBJECTS, filters, to_client
from tests.live import LiveServer
from tests.model import TEXT_FIELDS, ModelCollection
from vecdb.types import Equals, Filter, Not, Range
from vecdb_client import (
    Boost,
    Client,
    Collection,
    Delete,
    Mmr,
    OrderBy,
    Patch,
    Point,
    PointId,
    Prefer,
    Recommend,
    Space,
    TextField,
)
from vecdb_client import Filter as ClientFilter

DIM = 5
NAMES = [f"p{i}" for i in range(12)] + ["ключ", "🙂", "a/b", "A"]
IDS = st.sampled_from(NAMES)
NUMBERS = st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
VECTORS = st.lists(NUMBERS, min_size=DIM, max_size=DIM).filter(lambda v: any(v))
SCALARS = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.5]), st.sampled_from(["x", "y"]), st.booleans()
)
SIMPLE = st.dictionaries(
    st.sampled_from(["a", "b"]), st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.none())
)
PAYLOADS = st.one_of(SIMPLE, SIMPLE, OBJECTS)
NUMBERED = st.builds(Range, st.sampled_from(["a", "b"]), gte=st.integers(-3, 0), lte=st.just(1.5))
EQUAL = st.builds(Equals, st.sampled_from(["a", "b", "c"]), SCALARS)
SOME = st.one_of(EQUAL, NUMBERED, st.builds(Not, EQUAL), filters(NAMES, [""], list(TEXT_FIELDS)))
FILTERS = st.one_of(st.none(), SOME)
FEW = st.integers(1, 20)
POINTS = st.lists(st.tuples(IDS, VECTORS, PAYLOADS), min_size=1, max_size=30)

PATHS = st.sampled_from(["a", "b", "c", "a.b", "c.d"])
ARRAYS = st.dictionaries(PATHS, st.lists(SCALARS, max_size=2), max_size=2)
EDITS = st.fixed_dictionaries(
    {"set": st.dictionaries(PATHS, st.one_of(SCALARS, st.lists(SCALARS, max_size=2)), max_size=2)},
    optional={"unset": st.lists(PATHS, max_size=2), "append": ARRAYS, "remove": ARRAYS},
)
EXPECTED = st.sampled_from(["any", "any", "actual", "absent", "other"])
KINDS = st.sampled_from(["put", "patch", "patch", "delete"])
CHANGES = st.lists(
    st.tuples(KINDS, IDS, VECTORS, PAYLOADS, EDITS, EXPECTED), min_size=1, max_size=12
)

# In one run: Hypothesis leaves rules out by turns, and would else spend runs on restarts alone.
RESTARTS_MAX = 4
PAST = datetime(1999, 12, 31, tzinfo=UTC)


def wired(filter: Filter | None) -> ClientFilter | None:
    return None if filter is None else to_client(filter)


class ServerMachine(RuleBasedStateMachine):
    """One collection of each metric in turn, on one server."""

    metric = "cosine"
    server: LiveServer
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.name = f"c{type(self).runs}"
        self.restarts = 0
        self.truncated = False
        self.cloned = False
        self.more = False  # whether there is another space, and a text field
        self.model = ModelCollection(DIM, self.metric)
        self.connect()

    def connect(self) -> None:
        self.client = Client(self.server.address)
        self.collection: Collection = self.client.collection(self.name)

    def teardown(self) -> None:
        self.client.delete_collection(self.name, if_exists=True)
        self.client.close()

    @initialize()
    def create(self) -> None:
        fields = [TextField(path, language) for path, language in TEXT_FIELDS.items()]
        self.client.create_collection(self.name, dim=DIM, metric=self.metric, text_fields=fields)

    @rule(points=POINTS)
    def upsert(self, points: list[tuple[str, list[float], dict]]) -> None:
        before = set(self.model.points)
        report = self.collection.upsert(
            [{"id": i, "vector": v, "payload": p} for i, v, p in points], batch_size=16
        )
        assert report.written == len(points)
        for name, vector, payload in points:
            self.model.put(name, vector, payload, report.commit_seq)
        assert set(self.model.points) >= before
        if len(points) > 16:  # several requests, each with a seq of its own
            for point in self.collection.get([name for name, _, _ in points]).points:
                assert report.commit_seq - len(points) // 16 <= point.version <= report.commit_seq
                self.model.points[point.id].version = point.version

    @rule(name=IDS, vector=VECTORS, payload=PAYLOADS, past=st.booleans())
    def upsert_for_a_while(self, name: str, vector: list[float], payload: dict, past: bool) -> None:
        """Of a time that has passed: stored, not there, and removed while others write."""
        point = Point(name, vector, payload, expires_at=PAST if past else None)
        report = self.collection.upsert([point], ttl_s=3_600)
        assert report.found == (name in self.model.points)
        self.model.delete(name)
        if not past:
            self.model.put(name, vector, payload, report.commit_seq)

    @rule(names=st.lists(IDS, min_size=1, max_size=8))
    def delete(self, names: list[str]) -> None:
        report = self.collection.delete(names)
        assert report.found == sum(self.model.delete(name) for name in names)

    @precondition(lambda self: self.model.points and not self.truncated)
    @rule()
    def truncate(self) -> None:
        self.truncated = True  # once in a run: it is about what has grown
        assert self.client.truncate_collection(self.name).points == len(self.model.points)
        self.model.points.clear()

    @precondition(lambda self: self.model.points and not self.cloned)
    @rule()
    def go_on_with_a_clone(self) -> None:
        self.cloned = True
        before, self.name = self.name, f"{self.name}-cloned"
        self.collection = self.client.clone_collection(before, self.name)
        self.client.delete_collection(before)

    @rule()
    def change_schema(self) -> None:
        self.more = not self.more
        if self.more:
            space = {"more": Space(dim=2, metric="dot")}
            self.client.update_collection(
                self.name, add_spaces=space, add_text_fields=[TextField("c")]
            )
        else:
            self.client.update_collection(self.name, drop_spaces=["more"], drop_text_fields=["c"])

    @precondition(lambda self: self.model.points and self.more)
    @rule(data=st.data())
    def fill_another_space(self, data: st.DataObject) -> None:
        for name in data.draw(st.sets(st.sampled_from(sorted(self.model.points)), max_size=3)):
            report = self.collection.patch(name, vectors={"more": [len(name), 1.0]})
            self.model.points[name].version = report.commit_seq
        found = self.collection.get(list(self.model.points), with_vectors=True).points
        held = {point.id for point in found if "more" in point.vectors}
        assert {hit.id for hit in self.collection.search([1, 1], space="more", k=500)} == held
        assert self.collection.search(keyword="nothing").matched == len(self.model.points)

    @rule(changes=CHANGES)
    def write(self, changes: list[tuple]) -> None:
        """Puts, patches and deletes in one request, some of them at a version that they name.

        "actual" is the one that the point had before the request: wrong once it was changed in it.
        """
        before = {name: self.model.version(name) for name in NAMES}
        operations: list[Point | Patch | Delete] = []
        for kind, name, vector, payload, edits, expected in changes:
            versions = {"any": None, "actual": before[name], "absent": 0, "other": 1 << 40}
            version = versions[expected]
            if kind == "put":
                operations.append(Point(name, vector, payload, if_version=version))
            elif kind == "delete":
                operations.append(Delete(name, version))
            else:
                version = version or None  # a patch of what must not exist is refused
                moved = vector if len(edits) > 2 else None
                operations.append(Patch(name, **edits, vector=moved, if_version=version))
        report = self.collection.write(operations, on_error="collect")
        failures = {one.index: (one.reason, one.version) for one in report.failures}
        for at, operation in enumerate(operations):
            assert failures.get(at) == self.model.apply(operation, report.commit_seq), operation

    @rule(filter=SOME)
    def delete_where(self, filter: Filter) -> None:
        expected = list(self.model.matching(filter))
        report = self.collection.delete_where(to_client(filter))
        assert (report.written, report.skipped) == (len(expected), 0)
        assert sum(self.model.delete(name) for name in expected) == len(expected)

    @rule(filter=SOME, edits=EDITS, moved=st.one_of(st.none(), VECTORS))
    def patch_where(self, filter: Filter, edits: dict, moved: list[float] | None) -> None:
        expected = list(self.model.matching(filter))
        report = self.collection.patch_where(
            to_client(filter), **edits, vector=moved, on_error="collect"
        )
        failures = {one.id: (one.reason, one.version) for one in report.failures}
        for name in expected:
            patch = Patch(name, **edits, vector=moved)
            assert failures.get(name) == self.model.apply(patch, report.commit_seq)
        assert report.written == len(expected) - len(failures)
        assert report.skipped == 0

    @rule(query=VECTORS, filter=FILTERS, k=st.integers(1, 20))
    def search(self, query: list[float], filter: Filter | None, k: int) -> None:
        expected = self.model.search(query, filter)
        result = self.collection.search(query, k=k, filter=wired(filter))
        assert result.complete
        assert result.matched == len(expected)
        assert len(result) == min(k, len(expected))
        tolerance = 1e-5 * (1 + max((abs(score) for score, _ in expected), default=0))
        scores = {name: score for score, name in expected}
        for hit, (score, _) in zip(result, expected, strict=False):
            assert hit.score == pytest.approx(score, abs=tolerance)
            assert hit.score == pytest.approx(scores[hit.id], abs=tolerance)
            assert hit.payload == self.model.points[hit.id].payload

    @rule(query=VECTORS, filter=FILTERS, by=FILTERS, weight=st.sampled_from([50.0, -1.0]), k=FEW)
    def boost(self, query: list[float], filter: Filter, by: Filter, weight: float, k: int) -> None:
        if by is None:
            return
        preferred = self.model.matching(by)
        expected = {
            name: score + weight * (name in preferred)
            for score, name in self.model.search(query, filter)
        }
        boost = Boost([Prefer(wired(by), weight)], candidates=100)  # more than there are points
        result = self.collection.search(query, k=k, filter=wired(filter), boost=boost)
        tolerance = 1e-5 * (50 + max(map(abs, expected.values()), default=0))
        best = sorted(expected.values(), reverse=True)[:k]
        assert [hit.score for hit in result] == pytest.approx(best, abs=tolerance)
        for hit in result:
            assert hit.score == pytest.approx(expected[hit.id], abs=tolerance)
        one_by_one = self.collection.search(query, k=k, filter=wired(filter), mmr=Mmr(1.0))
        plain = self.collection.search(query, k=k, filter=wired(filter))
        assert [hit.id for hit in one_by_one] == [hit.id for hit in plain]

    @precondition(lambda self: self.model.points)
    @rule(data=st.data(), filter=FILTERS, k=FEW, path=st.sampled_from(["a", "b"]))
    def other_legs(self, data: st.DataObject, filter: Filter | None, k: int, path: str) -> None:
        names = st.sampled_from(sorted(self.model.points))
        positive = data.draw(st.lists(names, min_size=1, max_size=2))
        negative = data.draw(st.lists(names, max_size=2))
        leg = Recommend(map(PointId, positive), map(PointId, negative), "best_score")
        found = self.collection.search(legs=[leg], k=k, filter=wired(filter))
        expected = self.model.recommend(positive, negative, filter)
        assert len(found) == min(k, len(expected))
        # The very sign may be up to rounding where a positive and a negative are as near.
        sizes = {name: abs(score) for score, name in expected}
        assert all(hit.score**2 == pytest.approx(sizes[hit.id] ** 2, abs=1e-4) for hit in found)
        leg = OrderBy(path)
        listed = self.collection.list(wired(filter), order_by=path)
        assert [
            hit.id for hit in self.collection.search(legs=[leg], k=100, filter=wired(filter))
        ] == [point.id for point in listed]

    @rule(filter=FILTERS, size=st.integers(1, 7))
    def list_pages(self, filter: Filter | None, size: int) -> None:
        listed = list(self.collection.list(wired(filter), page_size=size))
        expected = sorted(self.model.matching(filter), key=lambda name: name.encode())
        assert [point.id for point in listed] == expected
        assert self.collection.count(wired(filter)) == len(expected)

    @rule(filter=FILTERS, path=st.sampled_from(["a", "b", "a.b"]), descending=st.booleans())
    def aggregate_and_order(self, filter: Filter | None, path: str, descending: bool) -> None:
        chosen = {name: one.payload for name, one in self.model.matching(filter).items()}
        found = self.collection.aggregate(wired(filter), facets={path: 1_000}, numbers=path)
        assert found.points == len(chosen)
        expected = read_model.facets(chosen, path)
        assert [one.points for one in found.facets[path]] == [count for _, count in expected]
        numbers = read_model.numbers(chosen, path)
        assert found.numbers[path].count == numbers["count"]
        listed = list(self.collection.list(wired(filter), order_by=path, descending=descending))
        # Of equal values, which came first is the batches' business.
        ranks = read_model.ranks(chosen, path, descending)
        assert sorted(point.id for point in listed) == sorted(ranks)
        order = [ranks[point.id] for point in listed]
        assert order == sorted(order, reverse=descending)

    @precondition(lambda self: self.model.points)
    @rule(data=st.data())
    def search_near_point(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.points)))
        best = self.model.search(self.model.points[name].vector.tolist(), None)[0][0]
        hit = self.collection.search(PointId(name), k=1)[0]
        assert hit.score == pytest.approx(best, rel=1e-5, abs=1e-5)

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        if self.restarts == RESTARTS_MAX:
            return
        self.restarts += 1
        self.client.close()
        if kill:
            self.server.kill()
        else:
            assert self.server.stop() == 0
        self.server.start()
        self.connect()

    @invariant()
    def same_points(self) -> None:
        if not hasattr(self, "collection") or not self.model.points:
            return
        found = self.collection.get(list(self.model.points), with_vectors=True)
        assert not found.missing
        assert not found.damaged
        for point in found.points:
            stored = self.model.points[point.id]
            assert point.payload == stored.payload
            assert list(point.vector or []) == stored.vector.tolist()
            assert point.version == stored.version
        assert self.collection.count() == len(self.model.points)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclid", "manhattan"])
def test_server_agrees_with_the_model(metric: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="vecdb-machine-"))
    live = LiveServer(
        folder / "data",
        {
            "embed.enabled": "false",
            "storage.tail_points": 16,
            "storage.segment_points": 1024,
            "storage.changes_retained": 16,
        },
    ).start()
    machine = type(f"{metric}Machine", (ServerMachine,), {"metric": metric, "server": live})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=int(os.environ.get("VECDB_EXAMPLES", "5")),
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except BaseException:
        live.stop()
        raise
    assert live.stop() == 0
    shutil.rmtree(folder)
