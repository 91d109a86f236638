"""One change to all points that a filter matches: each once, whoever else writes meanwhile."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collection.test_filters import (
    IDS,
    LEFT_OUT,
    LIMITS,
    ROWS,
    SCHEMA,
    SPACES,
    Stored,
    batches,
    expected_of,
    fill,
    write,
)
from tests.examples import examples
from tests.filters import filters
from vecdb.collection import sweep
from vecdb.collection.collection import Collection
from vecdb.collection.sweep import Sweep, Swept
from vecdb.config import StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded, Overloaded, PathClash
from vecdb.storage.codec import slot_key
from vecdb.types import Delete, Equals, Exists, Filter, Not, Op, Patch, PayloadEdits, Put, Wanted
from vecdb.write.prepare import prepare

EVERY = Not(Exists("nothing"))
MARK = Patch("", PayloadEdits(append=b'{"swept": [1]}'))
MARKED = {"swept": [1]}

OpOf = Callable[[str, int], Op]


def mark(name: str, version: int) -> Op:
    return replace(MARK, id=name, if_version=version)


def delete(name: str, version: int) -> Op:
    return Delete(name, version)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    storage = StorageConfig(map_bytes=1 << 20, tail_points=16)
    made = Database(tmp_path_factory.mktemp("sweeps") / "data", storage, LIMITS)
    yield made
    made.close()


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    made = Database(tmp_path / "data", StorageConfig(map_bytes=1 << 20, tail_points=16), LIMITS)
    made.create("c", SCHEMA)
    with made.collection("c") as opened:
        yield opened
    made.close()


def put(collection: Collection, *points: tuple[str, dict]) -> None:
    ops: list[Op] = [Put(name, json.dumps(payload).encode(), {}) for name, payload in points]
    collection.write(prepare(ops, SCHEMA, LIMITS)).result()


def payloads(collection: Collection) -> dict[str, dict]:
    with collection.snapshot() as snapshot:
        found = snapshot.get(IDS, Wanted(), 1 << 30).points
    return {point.id: json.loads(point.payload or b"{}") for point in found}


def swept(
    collection: Collection,
    op_of: OpOf,
    filter: Filter = EVERY,
    after: int = 0,
    upto: int | None = None,
    deadline: float = math.inf,
) -> Swept:
    return Sweep(collection, op_of, 64, LIMITS, deadline, lambda: True).run(filter, after, upto)


def swept_through(collection: Collection, op_of: OpOf, filter: Filter = EVERY) -> list[Swept]:
    """All parts of a sweep."""
    parts = [swept(collection, op_of, filter)]
    while not parts[-1].complete:
        last = parts[-1]
        parts.append(swept(collection, op_of, filter, last.after, last.upto))
        assert parts[-1].upto == last.upto
        assert parts[-1].after > last.after
    return parts


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "COMMAND_POINTS", 3)
    monkeypatch.setattr(sweep, "SWEEP_S", -math.inf)


@settings(deadline=None, max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(
    st.lists(batches(), min_size=1, max_size=4),
    filters(IDS, SPACES),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(IDS), st.booleans()), max_size=6),
    st.booleans(),
    st.booleans(),
)
@pytest.mark.usefixtures("in_small_parts")
def test_what_matched_is_changed_once_unless_others_wrote_it(
    database: Database,
    written: list[list[Op]],
    filter: Filter,
    meddling: list[tuple[int, str, bool]],
    patched: bool,
    maintained: bool,
) -> None:
    """meddling: while the n-th point is being swept, another writer puts or deletes a point."""
    database.create("c", SCHEMA)
    stored: Stored = {}
    try:
        with database.collection("c") as collection:
            for ops in written:
                write(collection, ops, stored)
                while maintained and collection.maintain(None):
                    pass
            chosen, others, turns = expected_of(filter, stored), {}, 0

            def op_of(name: str, version: int) -> Op:
                nonlocal turns
                for turn, other, is_put in meddling:
                    if turn == turns:
                        others[other] = {"other": turn} if is_put else None
                        if is_put:
                            put(collection, (other, {"other": turn}))
                        else:
                            collection.write(prepare([Delete(other)], SCHEMA, LIMITS)).result()
                turns += 1
                return mark(name, version) if patched else delete(name, version)

            parts = swept_through(collection, op_of, filter)
            expected = {name: payload for name, (payload, _) in stored.items()}
            for name in chosen:
                if patched:
                    expected[name] = {**expected[name], **MARKED}
                else:
                    del expected[name]
            expected = {**expected, **others}
            assert payloads(collection) == {n: p for n, p in expected.items() if p is not None}
            assert parts[0].found == len(chosen)
            assert sum(len(part.failed) + part.damaged for part in parts) == 0
            changed = sum(part.changed for part in parts)
            assert len(set(chosen) - set(others)) <= changed <= len(chosen)
            assert changed + sum(part.skipped for part in parts) <= len(chosen)
    finally:
        database.drop("c")


@pytest.mark.usefixtures("in_small_parts")
def test_a_sweep_sent_again_goes_on_where_it_was(collection: Collection) -> None:
    for name in IDS:
        put(collection, (name, {}))
    first = swept(collection, mark)
    assert (first.found, first.complete) == (len(IDS), False)
    assert 0 < first.changed < len(IDS)
    put(collection, ("later", {}))

    again = swept(collection, mark, upto=first.upto)  # the reply was lost on its way
    assert again.found == len(IDS) - first.changed
    rest = swept(collection, mark, EVERY, again.after, again.upto)
    while not rest.complete:
        rest = swept(collection, mark, EVERY, rest.after, rest.upto)
    assert payloads(collection) == dict.fromkeys(IDS, MARKED)
    assert swept(collection, mark, upto=first.upto).found == 0
    with collection.snapshot() as snapshot:
        assert snapshot.count(Exists("swept")) == len(IDS)


def test_versions_bound_what_is_swept(collection: Collection) -> None:
    for at in range(0, len(IDS), 4):
        put(collection, *((name, {"at": at}) for name in IDS[at : at + 4]))
        while at == 8 and collection.maintain(None):
            pass
    put(collection, (IDS[0], {"at": 24}))
    collection.write(prepare([Delete(IDS[5])], SCHEMA, LIMITS)).result()
    with collection.snapshot() as snapshot:
        points = snapshot.get(IDS, Wanted(), 1 << 30).points
        assert snapshot.seq == 8
    for after in range(10):
        for upto in range(10):
            found = collection.matches(EVERY, after, upto)
            taken = [(match.version, match.id) for match in found.take(100, 1 << 30)]
            inside = [(p.version, p.id) for p in points if after < p.version <= upto]
            assert sorted(taken) == sorted(inside)
            assert [version for version, _ in taken] == sorted(version for version, _ in inside)
            assert (len(found), found.settled) == (len(inside), True)
    assert swept(collection, delete, upto=0).found == 0


@pytest.mark.usefixtures("in_small_parts")
def test_points_that_cannot_be_changed_are_named_once(collection: Collection) -> None:
    """Ten points of one version: a part ends between versions, so that none is met again."""
    put(collection, *((name, {"swept": 1}) for name in IDS[:10]))
    put(collection, *((name, {}) for name in IDS[10:12]))
    put(collection, *((name, {"swept": 1}) for name in IDS[12:]))
    parts = swept_through(collection, mark)
    assert len(parts[0].failed) == 10
    failed = [failure for part in parts for failure in part.failed]
    assert [name for name, _ in failed] == IDS[:10] + IDS[12:]
    assert {result.reason for _, result in failed} == {PathClash.reason}
    assert sum(part.changed for part in parts) == 2


def test_large_points_go_in_several_commands(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "COMMAND_BYTES", 4_000)
    put(collection, *((name, {"text": "x" * 1_000}) for name in IDS))
    with collection.snapshot() as snapshot:
        before = snapshot.seq
    done = swept(collection, mark)
    assert (done.changed, done.complete) == (len(IDS), True)
    assert done.commit_seq - before == len(IDS) // 4


def test_damaged_records_are_left_and_counted(collection: Collection) -> None:
    put(collection, *((name, {}) for name in IDS))
    with collection.snapshot() as snapshot:  # in time: damaged rows of the tail are not loaded
        assert snapshot.count(EVERY) == len(IDS)
    with collection._store.environment.begin(write=True) as txn:
        txn.put(slot_key(3), b"rubbish", db=collection._store.environment.databases[b"points"])
    for expected in ((len(IDS), len(IDS) - 1, 1), (1, 0, 1)):
        done = swept(collection, delete)
        assert (done.found, done.changed, done.damaged) == expected
        assert done.complete


def test_a_deadline_ends_it_and_leaves_what_is_done(collection: Collection) -> None:
    fill(collection, ROWS)
    with pytest.raises(DeadlineExceeded, match="payloads were read"):
        swept(collection, delete, Equals(LEFT_OUT, 999), deadline=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded, match="the same max_version"):
        swept(collection, delete, Exists("n"), deadline=time.monotonic() - 1)
    assert swept(collection, delete, Equals(LEFT_OUT, 999)).found <= 1


def test_a_queue_that_is_full_is_waited_for(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(collection, *((name, {}) for name in IDS))
    real, refusals = collection.write, [Overloaded("full", retry_after_s=0.001)] * 3

    def write(command: object, **options: object) -> object:
        if refusals:
            raise refusals.pop()
        return real(command, **options)

    monkeypatch.setattr(collection, "write", write)
    assert swept(collection, delete).changed == len(IDS)
    refusals += [Overloaded("full", retry_after_s=60.0)]
    put_again = prepare([Put("p1", b"{}", {})], SCHEMA, LIMITS)
    real(put_again).result()
    with pytest.raises(Overloaded):
        swept(collection, delete, deadline=time.monotonic() + 5)
