"""Clones: all of a collection at one moment, under another name, or nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.live import wait_until
from tests.test_names import folders, listed
from vecdb import database as names
from vecdb.collection import collection as collections
from vecdb.collection.build import Builders
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    StorageFull,
    VecdbError,
)
from vecdb.ops.check import check_database
from vecdb.storage.catalog_command import CloneCollection
from vecdb.storage.numbered import SchemaChange
from vecdb.types import Metric, Put, Query, Schema, Space, TextField, Wanted
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig(collections=3)
STORAGE = StorageConfig(map_bytes=1 << 20, tail_points=16)
SCHEMA = Schema((Space("", 4, Metric.DOT), Space("b", 2, Metric.DOT)))
ALL = Wanted(vectors=True)


@pytest.fixture(params=[False, True], ids=["in this process", "beside"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    builders = Builders() if request.param else None
    made = Database(tmp_path / "data", STORAGE, LIMITS, builders=builders)
    made.create("a", SCHEMA, metadata=b'{"of": "a"}')
    yield made
    made.close()
    assert sound(made.path)


def write(database: Database, collection: str, first: int, end: int) -> None:
    rng = np.random.default_rng(first)
    with database.collection(collection) as opened:
        ops = [
            Put(f"p{n:04}", b"{}", {"": rng.normal(size=4).astype("<f4").tobytes()})
            for n in range(first, end)
        ]
        opened.write(prepare(ops, opened.schema, LIMITS)).result()


def found(database: Database, collection: str) -> bytes:
    with database.collection(collection) as opened, opened.snapshot() as snapshot:
        return snapshot.query(Query(np.ones(4, "f4"), 2_000), ALL, 1 << 22).hits


def settled(database: Database, collection: str) -> bool:
    with database.collection(collection) as opened:
        stats = opened.stats()
    return not (stats.tail_points >= STORAGE.tail_points or stats.text_pending_points)


def sound(path: Path) -> bool:
    return not [report for report in check_database(path, lambda *_: None) if report.findings]


def test_a_clone_holds_all_and_goes_its_own_way(database: Database) -> None:
    write(database, "a", 0, 100)
    database.truncate("a")
    write(database, "a", 0, 200)
    write(database, "a", 50, 60)
    added = SchemaChange(("b",), (), (Space("c", 3, Metric.DOT),), (), (TextField("t"),))
    database.update("a", alter=added)
    wait_until(lambda: settled(database, "a"))
    database.set_aliases([("live", "a")])
    info, copied = database.clone("live", "b")
    assert (info.name, info.aliases, info.metadata) == ("b", (), b'{"of": "a"}')
    assert info.schema == database.info("a").schema
    assert copied.points == 200
    with database.collection("a") as source, database.collection("b") as clone:
        assert copied.seq == source.stats().applied_seq == clone.stats().applied_seq
        assert clone.schema.numbers == source.schema.numbers == (0, 2)
        segments = clone.stats().segments
        assert segments
        for one in segments:
            name = Path("segments", str(one.number), "vectors-0.npy")
            assert (clone.folder / name).samefile(source.folder / name)
    assert found(database, "b") == found(database, "a")
    write(database, "b", 300, 400)
    database.set_aliases([("live", "b")])
    database.drop("a")
    assert len(listed(database, "b")) == 300
    wait_until(lambda: settled(database, "b"))


def test_a_clone_is_of_one_moment(database: Database) -> None:
    """Writes replace ten points at a time, all of one version: so does each that is copied."""
    write(database, "a", 0, 10)
    stop = threading.Event()

    def overwrite() -> None:
        while not stop.is_set():
            with database.collection("a") as opened:
                vector = np.ones(4, "<f4").tobytes()
                ops = [Put(f"p{n:04}", b"{}", {"": vector}) for n in range(10)]
                opened.write(prepare(ops, opened.schema, LIMITS)).result()

    thread = threading.Thread(target=overwrite)
    thread.start()
    try:
        for _ in range(3):
            _, copied = database.clone("a", "b")
            with database.collection("b") as opened, opened.snapshot() as snapshot:
                ids = [f"p{n:04}" for n in range(10)]
                versions = {p.version for p in snapshot.get(ids, ALL, 1 << 20).points}
            assert versions == {copied.seq}
            database.drop("b")
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("name", "new_name", "error"),
    [
        ("nobody", "b", NotFound),
        ("a", "a", AlreadyExists),
        ("a", "live", AlreadyExists),
        ("a", "", InvalidArgument),
        ("a", "../b", InvalidArgument),
    ],
)
def test_what_cannot_be_cloned(
    database: Database, name: str, new_name: str, error: type[VecdbError]
) -> None:
    database.set_aliases([("live", "a")])
    before = folders(database)
    with pytest.raises(error):
        database.clone(name, new_name)
    assert folders(database) == before


def test_a_clone_that_fails_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, "a", 0, 100)
    before = folders(database)
    with monkeypatch.context() as full:
        full.setattr(collections, "free_bytes", lambda path: STORAGE.disk_reserve_bytes + 4096)
        with pytest.raises(StorageFull):
            database.clone("a", "b")
    # The name is taken, and then the last place, while files are copied.
    for made, new_name, error in (("b", "b", AlreadyExists), ("c", "d", LimitExceeded)):
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(names.folders, "sync", partial(_make, database, meanwhile, made))
            with pytest.raises(error):
                database.clone("a", new_name)
    assert len(folders(database)) == len(before) + 2
    assert not [name for name in folders(database) if name.endswith(names.folders.NEW)]


def _make(database: Database, patch: pytest.MonkeyPatch, name: str, fresh: Path) -> None:
    patch.undo()
    names.folders.sync(fresh)
    database.create(name, SCHEMA)


def test_a_clone_that_died_is_swept_or_done(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", STORAGE, LIMITS)
    database.create("a", SCHEMA)
    write(database, "a", 0, 100)
    with database.collection("a") as opened:
        uuid = opened.uuid
        for key in ("01" * 16, "02" * 16):
            opened.copy(database.path / "collections" / f"{key}{names.folders.NEW}", None)
    database._catalog.apply(CloneCollection("b", "02" * 16, 1, "a", uuid, 1))
    database.close()
    database = Database(tmp_path / "data", STORAGE, LIMITS)
    assert folders(database) == {uuid, "02" * 16}
    assert listed(database, "b") == listed(database, "a")
    database.close()
    assert sound(database.path)


def test_a_clone_that_nobody_waits_for_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path / "data", STORAGE, LIMITS, builders=Builders())
    database.create("a", SCHEMA)
    before = folders(database)
    asked = iter([True, False])
    monkeypatch.setattr("vecdb.collection.clone.ASK_S", 0.001)
    with pytest.raises(DeadlineExceeded):
        database.clone("a", "b", lambda: next(asked))
    assert folders(database) == before
    assert [info.name for info in database.infos()] == ["a"]
    database.close()
