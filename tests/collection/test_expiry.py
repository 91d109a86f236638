"""Points that expire, by a clock that is moved: unseen from their time on, then removed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.live import wait_until
from tests.pages import points_of
from vecdb.collection.expiry import POINTS_MAX, Expiry
from vecdb.collection.paging import Listing, Slice
from vecdb.collection.reader import Reader
from vecdb.collection.snapshot import Snapshot
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import NotFound
from vecdb.outcomes import WriteOutcome
from vecdb.query.aggregate import FacetCounts, Facets
from vecdb.query.order import OrderBy
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.types import (
    Delete,
    Equals,
    Exists,
    Filter,
    KeywordQuery,
    Metric,
    Not,
    Op,
    Patch,
    PayloadEdits,
    Put,
    Query,
    Schema,
    Space,
    SparseQuery,
    SparseSpace,
    SparseVector,
    TextField,
    Wanted,
)
from vecdb.write.prepare import prepare

pytestmark = pytest.mark.takes_turns

LIMITS = LimitsConfig()
STORAGE = StorageConfig(tail_points=16, segment_points=64, changes_retained=32)
SCHEMA = Schema((Space("", 2, Metric.DOT),), (SparseSpace("s"),), (TextField("text"),))
FIRST = SparseVector(np.array([1], np.uint32), np.array([1], np.float32))
EVERY = Exists("n")
BYTES = 1 << 30
START = 1_700_000_000_000


@dataclass
class Clock:
    now: int = START

    def __call__(self) -> int:
        return self.now


class Node:
    """A database with a collection, and its clock."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.path = path
        self.database = Database(path, STORAGE, LIMITS, clock=self.clock)

    def create(self, ttl_ms: int = 0) -> None:
        self.database.create("c", SCHEMA, ttl_ms=ttl_ms)

    def restart(self) -> None:
        self.database.close()
        self.database = Database(self.path, STORAGE, LIMITS, clock=self.clock)

    def close(self) -> None:
        self.database.close()

    def write(self, *ops: Op, **options) -> WriteOutcome:
        with self.database.collection("c") as collection:
            command = prepare(
                ops,
                SCHEMA,
                LIMITS,
                now_ms=collection.clock(),
                ttl_ms=collection.ttl_ms,
                **options,
            )
            return collection.write(command).result()

    def stored(self) -> int:
        """Return how many points have a record, expired or not."""
        with self.database.collection("c") as collection:
            return collection.stats().points

    def entries(self) -> list[tuple[int, int]]:
        """Return the times and slots of the index."""
        with self.database.collection("c") as collection, collection._store.read() as txn:
            return list(txn.expiries.due(1 << 62))

    def seen(self) -> dict[str, int]:
        """Return ids and expiries, once every way to read has told the same.

        To those who have kept up with the collection, and to those who come to it now.
        """
        with self.database.collection("c") as collection:
            folder = collection.folder / "segments"
            new = Reader(folder, collection.uuid, collection._store, self.clock)
            with new.snapshot() as snapshot:
                came = seen(snapshot)
            with collection.snapshot() as snapshot:
                kept_up = seen(snapshot)
            assert came == kept_up or self.clock.now < collection._reader.view.time_ms
            return kept_up


def seen(snapshot: Snapshot) -> dict[str, int]:
    listed = [
        points_of(snapshot.page(listing, 1 << 20, "", Wanted(), BYTES))
        for listing in (
            Listing(),
            Listing(EVERY),
            Listing(order=OrderBy("n")),
            Listing(Not(Equals("n", -1)), OrderBy("n", True)),
        )
    ]
    for points in listed[1:]:
        assert sorted(one.id for one in points) == sorted(one.id for one in listed[0])
    held = {one.id: one.expires_at_ms for one in listed[0]}
    paged: list[str] = []
    token = ""
    while True:
        page = snapshot.page(Listing(), 3, token, Wanted(), BYTES)
        paged += [one.id for one in points_of(page)]
        assert len(points_of(page)) == 3 or not page.next_token
        token = page.next_token
        if not token:
            break
    assert paged == list(held)
    halves = [
        snapshot.page(Listing(slice=Slice(i, 2)), 1 << 20, "", Wanted(), BYTES) for i in (0, 1)
    ]
    assert sorted(one.id for half in halves for one in points_of(half)) == sorted(held)
    assert [snapshot.count(chosen) for chosen in (None, EVERY)] == [len(held)] * 2
    found = snapshot.aggregate([Facets("n", 1_000)], None)
    assert found.points == len(held)
    facets = found.results[0]
    assert isinstance(facets, FacetCounts)
    assert sum(count for _, count in facets.values) == len(held)
    for k in (3, 1_000):
        vector = np.array([1, 0], np.float32)
        for query in (
            Query(vector, k),
            Query(vector, k, exact=True),
            Query(vector, k, filter=EVERY),
            SparseQuery(FIRST, k, "s"),
            KeywordQuery("word", k),
        ):
            hits = hits_of(snapshot, query)
            assert len(hits) == min(k, len(held)), query
            assert all(held[one] == at for one, at in hits.items()), query
    return held


def hits_of(snapshot: Snapshot, query: Query | SparseQuery | KeywordQuery) -> dict[str, int]:
    result = snapshot.query(query, Wanted(), BYTES)
    assert result.complete
    assert result.matched == snapshot.count(query.filter)
    return {hit.id: hit.expires_at_ms for hit in QueryResponse.FromString(result.hits).hits}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "data")
    yield made
    made.close()


@contextmanager
def nothing_removed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what has expired in the store."""
    with monkeypatch.context() as patched:
        patched.setattr(Expiry, "remove", lambda self, write: False)
        yield


def put(name: str, ttl_ms: int | None = None, **options) -> Put:
    n = sum(name.encode())
    vector = np.array([n % 7, 1], "<f4").tobytes()
    payload = b'{"n": %d, "text": "word w%d"}' % (n, n % 5)
    return Put(name, payload, {"": vector}, sparse={"s": FIRST}, ttl_ms=ttl_ms, **options)


def ids(n: int, what: str = "p") -> list[str]:
    return [f"{what}{number}" for number in range(n)]


def test_no_read_sees_a_point_from_its_time_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.create()
    with nothing_removed(monkeypatch):
        node.write(*(put(name, 1_000 + at) for at, name in enumerate(ids(40))))
        node.write(*(put(name) for name in ids(30, "stays")))
        with node.database.collection("c") as collection:
            while collection.maintain(None):  # some in segments, some in memory
                pass
        node.write(*(put(name, 1_010) for name in ids(5, "late")))
        assert len(node.seen()) == 75
        for passed, left in ((999, 75), (1_000, 74), (1_009, 65), (1_010, 59), (5_000, 30)):
            node.clock.now = START + passed
            assert len(node.seen()) == left, passed
        assert node.stored() == 75
        with node.database.collection("c") as collection, collection.snapshot() as snapshot:
            found = snapshot.get(["p1", "stays1", "late1"], Wanted(), BYTES)
            assert [one.id for one in found.points] == ["stays1"]
            assert found.missing == ["p1", "late1"]
            with pytest.raises(NotFound):
                snapshot.vector_of("p1", "", "vector")
        node.restart()  # a view that is made afresh
        assert len(node.seen()) == 30
        assert node.stored() == 75
    wait_until(lambda: node.stored() == 30)
    assert len(node.seen()) == 30
    assert not node.entries()


def test_one_read_sees_one_time(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.create()
    with nothing_removed(monkeypatch):
        node.write(put("a", 1_000))
        with node.database.collection("c") as collection, collection.snapshot() as snapshot:
            node.clock.now += 5_000
            assert snapshot.count(None) == 1
            assert snapshot.get(["a"], Wanted(), BYTES).missing == []
        assert node.seen() == {}
        node.clock.now -= 4_500  # set back: what was seen to expire has
        assert node.seen() == {}
        node.write(put("b", 100))
        assert node.seen() == {}  # by the time that was seen, it has as well
        node.write(put("c"))
        assert node.seen() == {"c": 0}


def model_apply(points: dict[str, int], op: Op, now: int, ttl_ms: int) -> tuple[bool, str]:
    """Change a model, id to expiry; return found and reason."""
    there = op.id in points and not 0 < points[op.id] <= now
    if isinstance(op, Delete):
        points.pop(op.id, None)
        return there, ""
    said = op.expires_at_ms
    if said is None and op.ttl_ms is not None:
        said = now + op.ttl_ms
    if isinstance(op, Patch):
        if not there:
            return False, "POINT_NOT_FOUND"
        points[op.id] = points[op.id] if said is None else said
        return True, ""
    if op.if_version == 0 and there:
        return True, "VERSION_MISMATCH"
    points[op.id] = (now + ttl_ms if ttl_ms else 0) if said is None else said
    return there, ""


def random_op(chosen: random.Random, now: int) -> Op:
    name = f"p{chosen.randrange(60)}"
    kind = chosen.random()
    if kind < 0.15:
        return Delete(name)
    ttl_ms = chosen.choice([None, 1, 50, 200])
    expires_at_ms = None
    if ttl_ms is None and chosen.random() < 0.3:
        expires_at_ms = chosen.choice([0, 1, now, now + 30])
    if kind < 0.35:
        edits = PayloadEdits(set=b'{"changed": %d}' % now)
        return Patch(name, edits, ttl_ms=ttl_ms, expires_at_ms=expires_at_ms)
    made = put(name, ttl_ms, expires_at_ms=expires_at_ms)
    return replace(made, if_version=0) if chosen.random() < 0.2 else made


@pytest.mark.parametrize(("seed", "removed"), [(1, True), (2, False), (3, True), (4, False)])
def test_writes_reads_and_time_agree_with_a_model(
    node: Node, monkeypatch: pytest.MonkeyPatch, seed: int, removed: bool
) -> None:
    monkeypatch.setattr("vecdb.collection.expiry.INTERVAL_S", 0.0)
    if not removed:
        monkeypatch.setattr(Expiry, "remove", lambda self, write: False)
    node.create()
    chosen = random.Random(seed)
    model: dict[str, int] = {}
    ttl_ms = 0
    for step in range(60):
        if step % 20 == 10:
            ttl_ms = chosen.choice([0, 80])
            node.database.update("c", ttl_ms=ttl_ms)
        ops = [random_op(chosen, node.clock.now) for _ in range(chosen.randrange(1, 12))]
        outcome = node.write(*ops)
        expected = [model_apply(model, op, node.clock.now, ttl_ms) for op in ops]
        assert [(one.found, one.reason) for one in outcome.results] == expected
        for _ in range(2):
            now = node.clock.now
            left = {name: at for name, at in model.items() if not 0 < at <= now}
            assert node.seen() == left
            node.clock.now += chosen.choice([0, 1, 20, 60])
        if step % 25 == 24:
            node.restart()
    if removed:
        node.clock.now += 1_000
        wait_until(lambda: not node.entries())
        assert node.stored() == sum(at == 0 for at in model.values())


def test_what_was_written_again_meanwhile_is_not_removed(node: Node) -> None:
    node.create()
    node.write(put("a", 100), put("b", 100), put("c", 100))
    with node.database.collection("c") as collection:
        expiry = collection._expiry
        assert expiry is not None
        remove = expiry.remove

        def overtaken(command):
            """Put "a" between the look and the removal; "b" lives longer from now on."""
            node.clock.now -= 150
            node.write(put("a", 5_000), Patch("b", PayloadEdits(), ttl_ms=5_000))
            node.clock.now += 150
            return collection.write(command)

        expiry.remove = lambda write: remove(overtaken)
        node.clock.now += 150
        wait_until(lambda: node.stored() == 2)
    assert sorted(node.seen()) == ["a", "b"]
    assert len(node.entries()) == 2


def test_many_go_in_pieces_that_watchers_are_told_of(node: Node) -> None:
    node.create()
    names = ids(2 * POINTS_MAX + 500)
    seq = node.write(*(put(name, 100) for name in names)).commit_seq
    node.write(put("stays"))
    with node.database.collection("c") as collection:
        watcher = collection.watch(seq)
        node.clock.now += 100
        wait_until(lambda: node.stored() == 1)
        told: list[str] = []
        while (changed := watcher.take(Wanted(), BYTES)) is not None:
            told += changed.deleted
            assert [one.id for one in changed.points] in ([], ["stays"])
        assert sorted(told) == sorted(names)
        assert collection.stats().applied_seq <= seq + 1 + 4
        while collection.maintain(None):
            pass
        assert sum(segment.rows - segment.dead for segment in collection.stats().segments) <= 1


def test_watch_leaves_out_what_has_expired(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.create()
    with nothing_removed(monkeypatch):
        node.write(put("a", 100), put("b"))
        node.clock.now += 100
        with node.database.collection("c") as collection:
            changed = collection.watch(0).take(Wanted(), BYTES)
            assert changed is not None
            assert [one.id for one in changed.points] == ["b"]


def test_a_collection_that_is_opened_removes_what_expired_before(node: Node) -> None:
    node.create()
    node.write(*(put(name, 100) for name in ids(30)))
    node.clock.now += 1_000
    node.restart()
    assert node.seen() == {}
    wait_until(lambda: node.stored() == 0)


def test_damage_stops_nobody(node: Node) -> None:
    """Of a damaged record the entry alone goes: nobody knows what it was of."""
    node.create()
    node.write(*(put(name, 100) for name in ids(10)))
    with node.database.collection("c") as collection:
        store = collection._store
        with store.environment.begin(write=True) as txn:
            db = store.environment.databases[b"points"]
            key = (3).to_bytes(8, "big")
            record = bytearray(txn.get(key, db=db))
            record[30] ^= 1
            txn.put(key, bytes(record), db=db)
        node.clock.now += 100
        wait_until(lambda: node.stored() == 1)
        wait_until(lambda: not node.entries())
        with collection.snapshot() as snapshot:
            assert snapshot.get(["p3"], Wanted(), BYTES).damaged == ["p3"]


def test_a_damaged_id_keeps_no_other_point(node: Node) -> None:
    node.create()
    node.write(*(put(name, 100) for name in ids(10)))
    with node.database.collection("c") as collection:
        store = collection._store
        with store.environment.begin(write=True) as txn:
            txn.put(b"p3", bytes(12), db=store.environment.databases[b"ids"])
        node.clock.now += 100
        wait_until(lambda: node.stored() == 1)
        wait_until(lambda: not node.entries())


def test_filters_that_are_kept_are_none_the_wiser(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.create()
    chosen: Filter = Equals("n", sum(b"p1"))
    with nothing_removed(monkeypatch):
        node.write(*(put(name, 100) for name in ids(40)))
        with node.database.collection("c") as collection:
            while collection.maintain(None):
                pass
        for passed, count in ((0, 1), (99, 1), (100, 0)):
            node.clock.now = START + passed
            with node.database.collection("c") as collection, collection.snapshot() as snapshot:
                assert snapshot.count(chosen) == count


def test_clones_and_truncations_keep_the_ttl(node: Node) -> None:
    node.create(ttl_ms=100)
    node.write(put("a"), put("b", 300))
    node.database.clone("c", "d")
    node.database.truncate("c")
    assert [info.ttl_ms for info in node.database.infos()] == [100, 100]
    assert node.entries() == []
    node.write(put("a"))
    assert node.seen() == {"a": START + 100}
    for passed, left in ((99, {"a": 100, "b": 300}), (100, {"b": 300}), (300, {})):
        node.clock.now = START + passed
        with node.database.collection("d") as clone, clone.snapshot() as snapshot:
            assert seen(snapshot) == {name: START + ttl_ms for name, ttl_ms in left.items()}
    assert node.seen() == {}


def test_a_truncation_counts_what_was_there(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Expiry, "remove", lambda self, write: False)
    node.create()
    node.write(put("a", 100), put("b", 300), put("c"))
    node.clock.now += 100
    assert node.stored() == 3
    assert node.database.truncate("c").points == 2
