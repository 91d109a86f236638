"""Collections by name: made and dropped whole, opened when asked for, quarantined alone."""

from __future__ import annotations

import errno
import gc
import os
import resource
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.live import wait_until
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import (
    AlreadyExists,
    Corrupt,
    LimitExceeded,
    NotFound,
    Overloaded,
    SchemaMismatch,
    Unavailable,
)
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.storage.environment import Environment
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import Store, WriteTxn
from vecdb.storage.writer import Writer
from vecdb.types import Metric, Put, Query, Schema, Space, Wanted
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig()
STORAGE = StorageConfig(map_bytes=1 << 20)
SCHEMA = Schema((Space("", 4, Metric.DOT),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    made = Database(path, STORAGE, LIMITS)
    yield made
    made.close()


def put_one(database: Database, collection: str, name: str = "a") -> None:
    vector = np.ones(4, "<f4").tobytes()
    with database.collection(collection) as opened:
        opened.write(prepare([Put(name, b"", {"": vector})], SCHEMA, LIMITS)).result()


def count(database: Database, collection: str) -> int:
    with database.collection(collection) as opened, opened.snapshot() as snapshot:
        return snapshot.count(None)


def test_create_get_drop(database: Database, path: Path) -> None:
    info, created = database.create("a", SCHEMA)
    assert created
    assert database.info("a") == info
    assert database.create("a", SCHEMA, if_not_exists=True) == (info, False)
    with pytest.raises(AlreadyExists):
        database.create("a", SCHEMA)
    with pytest.raises(SchemaMismatch):
        database.create("a", Schema((Space("", 5, Metric.DOT),)), if_not_exists=True)
    put_one(database, "a")
    database.drop("a")
    with pytest.raises(NotFound):
        database.info("a")
    with pytest.raises(NotFound), database.collection("a"):
        pass
    assert not list((path / "collections").iterdir())
    database.create("a", SCHEMA)
    assert count(database, "a") == 0


def test_a_reader_under_way_finishes_when_its_collection_is_dropped(database: Database) -> None:
    database.create("a", SCHEMA)
    put_one(database, "a")
    with database.collection("a") as opened, opened.snapshot() as snapshot:
        database.drop("a")
        query = Query(np.ones(4, np.float32), 1)
        found = snapshot.query(query, Wanted(), 1 << 20)
        assert [hit.id for hit in QueryResponse.FromString(found.hits).hits] == ["a"]
    wait_until(lambda: not list((database.path / "collections").iterdir()))


def test_creation_that_died_is_swept_or_finished(path: Path) -> None:
    database = Database(path, STORAGE, LIMITS)
    database.create("named", SCHEMA)
    put_one(database, "named")
    database.close()
    (folder,) = (path / "collections").iterdir()
    folder.rename(folder.with_name(folder.name + ".new"))  # died between commit and rename
    Store.create(
        path / "collections" / "feed.new" / "store", NumberedSchema.of(SCHEMA), map_bytes=1 << 20
    )  # died before the commit
    stranger = path / "collections" / "0123"
    stranger.mkdir()
    database = Database(path, STORAGE, LIMITS)
    assert count(database, "named") == 1
    assert not (path / "collections" / "feed.new").exists()
    assert stranger.exists(), "what the catalog does not know is left alone"
    database.close()


def test_deletion_that_died_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(path, STORAGE, LIMITS)
    database.create("a", SCHEMA)
    (folder,) = (path / "collections").iterdir()
    # Died between the catalog's commit and the removal of the files.
    monkeypatch.setattr(database, "_remove_dropped", lambda: None)
    database.drop("a")
    database.close()
    assert folder.exists()
    database = Database(path, STORAGE, LIMITS)
    assert database.infos() == []
    assert not folder.exists()
    database.close()


def test_an_unreadable_collection_does_not_stop_the_others(path: Path) -> None:
    database = Database(path, STORAGE, LIMITS)
    for name in ("good", "bad"):
        database.create(name, SCHEMA)
        put_one(database, name)
    with database.collection("bad") as opened:
        victim = opened.folder / "store" / "data.mdb"
    database.close()
    victim.write_bytes(os.urandom(victim.stat().st_size))
    database = Database(path, STORAGE, LIMITS)
    assert count(database, "good") == 1
    with pytest.raises(Corrupt, match="'bad' is quarantined"), database.collection("bad"):
        pass
    assert count(database, "good") == 1
    assert [bool(info.quarantined) for info in database.infos()] == [True, False]
    assert database.gauges()["vecdb_collections_quarantined"] == 1
    database.drop("bad")
    assert [info.name for info in database.infos()] == ["good"]
    database.close()


def test_a_lost_store_is_not_taken_for_an_empty_one(path: Path) -> None:
    database = Database(path, STORAGE, LIMITS)
    database.create("a", SCHEMA)
    (folder,) = (path / "collections").iterdir()
    database.close()
    shutil.rmtree(folder)
    database = Database(path, STORAGE, LIMITS)
    with pytest.raises(Corrupt, match="quarantined"), database.collection("a"):
        pass
    database.close()


def test_open_collections_stay_within_their_budget(path: Path) -> None:
    storage = StorageConfig(map_bytes=1 << 20, open_collections=5)
    database = Database(path, storage, LIMITS)
    for number in range(40):
        database.create(f"c{number}", SCHEMA)
        put_one(database, f"c{number}")
    assert database.gauges()["vecdb_collections_open"] <= 5
    assert database.gauges()["vecdb_collections"] == 40
    assert [count(database, f"c{number}") for number in range(40)] == [1] * 40
    database.close()


@pytest.mark.parametrize("how", ["dropped", "closed for others"])
def test_a_collection_leaves_memory_at_once_when_nobody_has_it_open(path: Path, how: str) -> None:
    """Its tail may be most of what the node has taken: no time for a search for cycles."""
    database = Database(path, StorageConfig(map_bytes=1 << 20, open_collections=1), LIMITS)
    database.create("a", SCHEMA)
    put_one(database, "a")
    with database.collection("a") as opened, opened.snapshot() as snapshot:
        snapshot.query(Query(np.ones(4, np.float32), 1), Wanted(), 1 << 20)
        held = weakref.ref(opened)
    del opened, snapshot
    gc.collect()
    assert held() is not None
    gc.disable()
    try:
        if how == "dropped":
            database.drop("a")
        else:
            database.create("b", SCHEMA)
            put_one(database, "b")
        wait_until(lambda: held() is None)
    finally:
        gc.enable()
    database.close()


def test_collections_limit(path: Path) -> None:
    database = Database(path, STORAGE, LimitsConfig(collections=2))
    database.create("a", SCHEMA)
    database.create("b", SCHEMA)
    with pytest.raises(LimitExceeded, match=r"limits\.collections"):
        database.create("c", SCHEMA)
    database.close()


def test_a_first_start_that_died_is_begun_again(path: Path) -> None:
    Environment(
        path / "catalog",
        (b"meta", b"collections", b"aliases", b"dropped"),
        read_only=False,
        map_bytes=1 << 20,
        create=True,
    ).close()  # the environment is there, and nothing in it says which format it has
    database = Database(path, STORAGE, LIMITS)
    database.create("a", SCHEMA)
    database.close()


def test_too_many_open_files_is_no_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = StorageConfig(map_bytes=1 << 20, tail_points=16)
    database = Database(path, storage, LIMITS)
    database.create("a", SCHEMA)
    for number in range(40):
        put_one(database, "a", f"p{number}")
    with database.collection("a") as opened:
        wait_until(lambda: opened.stats().segments)
    database.close()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(np, "load", refuse)
    database = Database(path, storage, LIMITS)
    with (
        pytest.raises(Unavailable, match="Too many open files"),
        database.collection("a") as opened,
        opened.snapshot(),
    ):
        pass
    monkeypatch.undo()
    assert count(database, "a") == 40
    assert not list(path.glob("collections/*/quarantine/*"))
    database.close()


def test_a_store_that_may_not_be_opened_now_is_not_quarantined(path: Path) -> None:
    storage = StorageConfig(map_bytes=1 << 20)
    database = Database(path, storage, LIMITS)
    database.create("a", SCHEMA)
    put_one(database, "a")
    database.close()
    database = Database(path, storage, LIMITS)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(path, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with (
            pytest.raises(Unavailable, match="Too many open files"),
            database.collection("a"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert count(database, "a") == 1
    assert database.info("a").quarantined == ""
    database.close()


def test_the_queue_is_empty_when_nothing_waits(path: Path) -> None:
    database = Database(path, StorageConfig(map_bytes=1 << 20, open_collections=1), LIMITS)
    names = [f"c{number}" for number in range(4)]
    for name in names:
        database.create(name, SCHEMA)

    def churn(name: str) -> None:
        for number in range(60):
            put_one(database, name, f"p{number}")

    threads = [threading.Thread(target=churn, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [count(database, name) for name in names] == [60] * 4
    assert database.gauges()["vecdb_writes_waiting"] == 0
    database.close()


# --- the writer


def make_store(folder: Path) -> Store:
    Store.create(folder, NumberedSchema.of(SCHEMA), map_bytes=1 << 20)
    return Store(folder, read_only=False, map_bytes=1 << 20)


def test_writes_that_wait_share_a_commit(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    writer = Writer(queue_jobs_max=100)
    entered, go_on = threading.Event(), threading.Event()

    def hold(txn: WriteTxn) -> int:
        entered.set()
        assert go_on.wait(30)
        return 0

    first = writer.submit(store, hold)
    assert entered.wait(30)
    rest = [writer.submit(store, lambda txn, n=n: n) for n in range(20)]
    go_on.set()
    assert first.result(30) == 0
    assert [job.result(30) for job in rest] == list(range(20))
    assert writer.commits == 2
    writer.close()
    store.close()


def test_a_writer_keeps_nothing_of_what_it_wrote(tmp_path: Path) -> None:
    class Large:
        def __call__(self, txn: WriteTxn) -> str:
            return "written"

    store, writer = make_store(tmp_path / "store"), Writer(queue_jobs_max=100)
    job = Large()
    held = weakref.ref(job)
    assert writer.submit(store, job).result(30) == "written"
    del job
    wait_until(lambda: held() is None)
    writer.close()
    store.close()


def test_a_full_queue_is_refused_and_a_stopped_writer_too(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    writer = Writer(queue_jobs_max=3)
    go_on = threading.Event()
    jobs = [writer.submit(store, lambda txn: go_on.wait(30)) for _ in range(3)]
    with pytest.raises(Overloaded) as refused:
        writer.submit(store, lambda txn: None)
    assert refused.value.retry_after_s
    go_on.set()
    for job in jobs:
        job.result(30)
    writer.close()
    with pytest.raises(Unavailable):
        writer.submit(store, lambda txn: None)
    store.close()


def test_a_job_that_fails_does_not_take_its_group_along(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    writer = Writer(queue_jobs_max=100)
    entered, go_on = threading.Event(), threading.Event()

    def hold(txn: WriteTxn) -> None:
        entered.set()
        assert go_on.wait(30)

    def count_up(txn: WriteTxn) -> int:
        txn.state.points += 1
        return txn.state.points

    def fail(txn: WriteTxn) -> None:
        txn.state.points += 1000
        raise ZeroDivisionError

    writer.submit(store, hold)
    assert entered.wait(30)
    good = [writer.submit(store, count_up) for _ in range(3)]
    bad = writer.submit(store, fail)
    unwanted = writer.submit(store, count_up, is_wanted=lambda: False)
    good.append(writer.submit(store, count_up))
    go_on.set()
    assert [job.result(30) for job in good] == [1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        bad.result(30)
    with pytest.raises(Unavailable):
        unwanted.result(30)
    with store.read() as txn:
        assert txn.state.points == 4
    writer.close()
    store.close()


def test_who_waits_for_an_erasure_hears_that_the_collection_is_gone(database: Database) -> None:
    def erase(name: str, begun: threading.Event) -> None:
        with database.collection(name) as opened:
            begun.set()
            with suppress(Unavailable):  # or it was done before
                opened.erase(time.monotonic() + 60)

    for number, end in enumerate((database.drop, database.truncate) * 3):
        name = f"c{number}"
        database.create(name, SCHEMA)
        put_one(database, name)
        begun = threading.Event()
        thread = threading.Thread(target=erase, args=(name, begun))
        thread.start()
        assert begun.wait(10)
        end(name)
        thread.join(20)
        assert not thread.is_alive()
