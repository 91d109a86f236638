"""Erasing what was deleted: no file of a data directory has a byte of it, the rest is as it was."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from tests.collection.ranked import ask
from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import HorizonPassed, Unavailable
from vecdb.ops.check import check_database
from vecdb.types import (
    Delete,
    Equals,
    Match,
    MatchesText,
    Metric,
    Op,
    Put,
    Query,
    Schema,
    Space,
    SparseSpace,
    SparseVector,
    TextField,
    Wanted,
)
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig()
CONFIG = StorageConfig(map_bytes=1 << 20, tail_points=64, graph_points=200, segment_points=1_024)
SCHEMA = Schema((Space("", 4, Metric.EUCLID),), (SparseSpace("s"),), (TextField("title"),))
MIB = 1 << 20
LONG = 700
"""Repeats of a marker that a leaf of the store has no room for."""


def marker(number: int, version: int = 0) -> str:
    return f"zq{number:04}v{version}x"


def vector(number: int, version: int = 0) -> bytes:
    """Return four numbers below 1, no byte sequence of which any other point has."""
    return b"".join(
        b"%c%c%c?" % (65 + at + 4 * version, number // 94 + 33, number % 94 + 33) for at in range(4)
    )


def put(number: int, version: int = 0) -> Put:
    mark = marker(number, version)
    payload = {
        "title": f"all about {mark}",
        "tag": f"tag-{mark}",
        "of": {mark: [mark, 1.5]},
        "long": mark * (LONG if number % 5 == 0 else 1),
        "even": number % 2 == 0,
    }
    sparse = SparseVector(np.array([number], np.uint32), np.array([1.0], np.float32))
    return Put(
        f"id-{marker(number)}",
        json.dumps(payload).encode(),
        {"": vector(number, version)},
        sparse={"s": sparse},
    )


def delete(number: int) -> Delete:
    return Delete(f"id-{marker(number)}")


def write(collection: Collection, ops: Iterable[Op], **options: str) -> int:
    command = prepare(list(ops), SCHEMA, LIMITS, **options)
    return collection.write(command).result().commit_seq


def erase(collection: Collection, within_s: float = 60.0) -> None:
    collection.erase(time.monotonic() + within_s)


def left(data: Path, gone: Iterable[bytes]) -> set[bytes]:
    """Return what of some byte strings stands in any file below a folder, or in a file's name."""
    held = b""
    for path in data.rglob("*"):
        with suppress(FileNotFoundError):  # a build has just ended
            held += str(path).encode() + (path.read_bytes() if path.is_file() else b"")
    return {one for one in gone if one in held}


def marks(numbers: Iterable[int], version: int = 0) -> list[bytes]:
    return [
        one
        for number in numbers
        for one in (marker(number, version).encode(), vector(number, version))
    ]


def is_there(collection: Collection, number: int, version: int = 0) -> bool:
    """Return whether a point is whole, and found in every way."""
    name = put(number).id
    with collection.snapshot() as snapshot:
        found = snapshot.get([name], Wanted(vectors=True), MIB).points
    hits, _ = ask(collection, Query(np.frombuffer(vector(number, version), "<f4"), 1))
    words = MatchesText("title", marker(number, version), Match.ALL)
    with collection.snapshot() as snapshot:
        counts = [
            snapshot.count(filter)
            for filter in (Equals("tag", f"tag-{marker(number, version)}"), words)
        ]
    return (
        [point.payload for point in found] == [put(number, version).payload]
        and found[0].vectors[""].tobytes() == vector(number, version)
        and [hit.id for hit in hits] == [name]
        and counts == [1, 1]
    )


def findings(data: Path) -> list[str]:
    return [one for report in check_database(data, lambda *seen: None) for one in report.findings]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "data", CONFIG, LIMITS)
    made.create("c", SCHEMA)
    yield made
    made.close()
    assert findings(tmp_path / "data") == []


@pytest.fixture
def collection(database: Database) -> Iterator[Collection]:
    with database.collection("c") as opened:
        yield opened


def settle(collection: Collection, *, graphs: bool) -> None:
    """Wait until what was written is in segments."""
    deadline = time.monotonic() + 60
    collection.compact()
    while time.monotonic() < deadline:
        stats = collection.stats()
        if not stats.compacting and not stats.tail_points:
            assert any(one.graph for one in stats.segments) == graphs
            return
        time.sleep(0.05)
    raise AssertionError("no segments were built in time")


def test_nothing_of_what_was_deleted_is_in_any_file(
    database: Database, collection: Collection
) -> None:
    """In a graph, in flat segments and in the tail; of old versions too."""
    data = database.path
    write(collection, map(put, range(300)))
    settle(collection, graphs=True)
    write(collection, map(put, range(300, 400)))
    write(collection, map(put, range(400, 430)))
    write(collection, [put(number, 1) for number in (*range(0, 300, 30), 350, 420)])
    assert len(left(data, marks(range(430)))) == 2 * 430
    gone = [*range(1, 300, 7), *range(301, 400, 9), *range(401, 430, 4)]
    gone = [number for number in gone if number % 30 and number not in (350, 420)]
    before = write(collection, map(delete, gone))
    assert left(data, marks(gone))

    erased = collection.erase(time.monotonic() + 60)

    assert erased.pages > 0
    assert erased.segments >= 2
    updated = {*range(0, 300, 30), 350, 420}
    old = [mark for mark in marks(updated) if not mark.startswith(b"zq")]
    old += [f"about {marker(number)}".encode() for number in updated]
    assert left(data, [*marks(gone), *old]) == set()
    for number in range(0, 430, 13):
        if number not in gone:
            assert is_there(collection, number, int(number in updated))
    with collection.snapshot() as snapshot:
        assert snapshot.seq == before
        assert snapshot.count(None) == 430 - len(gone)
        assert snapshot.count(Equals("even", True)) == sum(
            number % 2 == 0 for number in set(range(430)) - set(gone)
        )
    assert not any(one.dead for one in collection.stats().segments)
    write(collection, map(put, range(500, 700)))
    write(collection, map(delete, range(500, 600)))
    assert left(data, [*marks(gone), *old]) == set()


def test_ids_do_not_stay_as_signposts_to_others(database: Database, collection: Collection) -> None:
    """A key leads to the leaf that it once began, also when it is deleted itself."""
    write(collection, map(put, range(900)))
    gone = range(0, 900, 2)
    write(collection, map(delete, gone))
    erase(collection)
    assert left(database.path, marks(gone)) == set()
    assert is_there(collection, 451)


def test_erasing_again_finds_nothing(collection: Collection) -> None:
    write(collection, map(put, range(150)))
    write(collection, map(delete, range(20)))
    first = collection.erase(time.monotonic() + 60)
    again = collection.erase(time.monotonic() + 60)
    assert again.segments == 0
    assert again.pages < first.pages  # of the transactions that it makes itself


def test_segments_without_a_dead_row_stay(collection: Collection) -> None:
    write(collection, map(put, range(100)))
    settle(collection, graphs=False)
    write(collection, map(put, range(100, 164)))
    deadline = time.monotonic() + 60
    while len(collection.stats().segments) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first, second = collection.stats().segments
    write(collection, [delete(120)])
    erase(collection)
    after = collection.stats().segments
    assert after[0] == first
    assert after[1].number != second.number


def test_a_whole_segment_of_deleted_rows_goes(database: Database, collection: Collection) -> None:
    write(collection, map(put, range(100)))
    settle(collection, graphs=False)
    write(collection, map(delete, range(100)))
    erase(collection)
    assert left(database.path, marks(range(100))) == set()
    assert collection.stats().points == 0


def test_quarantined_segments_go_too(database: Database, collection: Collection) -> None:
    write(collection, map(put, range(100)))
    settle(collection, graphs=False)
    (segment,) = collection.stats().segments
    shelf = collection.folder / "quarantine" / "7-1"
    shelf.mkdir(parents=True)
    held = (collection.folder / "segments" / str(segment.number) / "text-words.npy").read_bytes()
    (shelf / "text-words.npy").write_bytes(held)
    write(collection, [delete(5)])
    erase(collection)
    assert left(database.path, marks([5])) == set()


def test_who_follows_lists_anew_only_where_names_were_erased(collection: Collection) -> None:
    write(collection, map(put, range(5)))
    before = write(collection, [delete(1)])
    after = write(collection, [put(2, 1)])
    late, current = collection.watch(before - 1), collection.watch(before)
    erase(collection)
    with pytest.raises(HorizonPassed, match="erased"):
        late.take(Wanted(), MIB)
    changed = current.take(Wanted(), MIB)
    assert changed is not None
    assert (changed.seq, [point.id for point in changed.points]) == (after, [put(2).id])


def test_an_id_that_was_put_again_stays_in_the_changes(collection: Collection) -> None:
    before = write(collection, map(put, range(3)))
    write(collection, [delete(1)])
    write(collection, [put(1, 1)])
    watcher = collection.watch(before)
    erase(collection)
    changed = watcher.take(Wanted(), MIB)
    assert changed is not None
    assert changed.deleted == [put(1).id]


def test_a_write_that_is_sent_again_is_answered_without_its_messages(
    database: Database, collection: Collection
) -> None:
    write(collection, [put(1)])
    ops: list[Op] = [Delete(put(1).id, if_version=77), put(2)]
    command = prepare(ops, SCHEMA, LIMITS, idempotency_key="once")
    command = replace(command, request_digest=bytes(range(32)))
    first = collection.write(command).result()
    assert marker(1) in first.results[0].message
    write(collection, [delete(1)])
    erase(collection)
    again = collection.write(command).result()
    assert again.replayed
    assert again.results[0].reason == first.results[0].reason
    assert again.results[0].message == ""
    assert left(database.path, marks([1])) == set()


def read_old(data: Path, wire: Connection) -> None:
    database = Database(data, CONFIG, LIMITS, read_only=True)
    with database.collection("c") as collection, collection.snapshot() as snapshot:
        wire.send(snapshot.count(None))
        wire.recv()
        found = snapshot.get([put(n).id for n in range(100)], Wanted(), MIB)
        wire.send([point.payload for point in found.points])
    database.close()


def test_a_snapshot_of_another_process_is_waited_for(
    database: Database, collection: Collection
) -> None:
    write(collection, map(put, range(100)))
    settle(collection, graphs=False)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=read_old, args=(database.path, there))
    process.start()
    there.close()
    try:
        assert here.recv() == 100
        write(collection, map(delete, range(0, 100, 3)))
        with pytest.raises(Unavailable, match="reads an older state") as refused:
            erase(collection, within_s=3.0)
        assert refused.value.retry_after_s
        write(collection, [put(200)])  # nobody else waits for the reader
        here.send("go on")
        assert here.recv() == [put(n).payload for n in range(100)]
        erase(collection)
    finally:
        here.close()
        process.join(30)
    assert process.exitcode == 0
    process.close()
    assert left(database.path, marks(range(0, 100, 3))) == set()


def test_no_time_left_is_told(collection: Collection) -> None:
    write(collection, map(put, range(100)))
    settle(collection, graphs=False)
    write(collection, [delete(1)])
    with pytest.raises(Unavailable, match="not all erased in time"):
        erase(collection, within_s=0.0)
    erase(collection)


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    database = Database(data, CONFIG, LIMITS)
    database.create("c", SCHEMA)
    with database.collection("c") as collection:
        write(collection, map(put, range(100)))
        settle(collection, graphs=False)
        write(collection, map(delete, range(30)))
    database.close()
    database = Database(data, CONFIG, LIMITS)
    with database.collection("c") as collection:
        erase(collection)
        assert left(data, marks(range(30))) == set()
        assert is_there(collection, 31)
    database.close()
