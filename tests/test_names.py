"""What the catalog says of collections: aliases, metadata, and where an emptied one goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.live import wait_until
from tests.pages import points_of
from vecdb.collection.collection import Collection
from vecdb.collection.paging import Listing
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import (
    AlreadyExists,
    BadPayload,
    FailedPrecondition,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    SchemaMismatch,
    StorageFull,
    Unavailable,
    VecdbError,
)
from vecdb.ops.check import check_database
from vecdb.outcomes import WriteOutcome
from vecdb.storage import catalog, codec
from vecdb.storage.catalog import Catalog
from vecdb.storage.catalog_command import Truncate
from vecdb.types import Metric, Put, Query, Schema, Space, Wanted
from vecdb.write.prepare import prepare

LIMITS = LimitsConfig(aliases=3, metadata_bytes=64)
STORAGE = StorageConfig(map_bytes=1 << 20, tail_points=16, changes_retained=64)
SCHEMA = Schema((Space("", 4, Metric.DOT),))
OTHER = Schema((Space("", 5, Metric.DOT),))
WANTED = Wanted()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "data", STORAGE, LIMITS)
    made.create("a", SCHEMA)
    made.create("b", OTHER)
    yield made
    made.close()


def write(
    database: Database, collection: str, names: list[str], key: str = "", schema: Schema = SCHEMA
) -> WriteOutcome:
    vector = np.ones(schema.spaces[0].dim, "<f4").tobytes()
    command = prepare(
        [Put(name, b"", {"": vector}) for name in names],
        schema,
        LIMITS,
        idempotency_key=key,
        request_digest=b"d" * 32,
    )
    with database.collection(collection) as opened:
        return opened.write(command).result()


def listed(database: Database, collection: str) -> list[str]:
    with database.collection(collection) as opened, opened.snapshot() as snapshot:
        return [
            point.id for point in points_of(snapshot.page(Listing(), 1000, "", WANTED, 1 << 20))
        ]


def folders(database: Database) -> set[str]:
    return {path.name for path in (database.path / "collections").iterdir()}


# --- aliases


def test_an_alias_is_as_good_as_the_name(database: Database) -> None:
    write(database, "a", ["x"])
    database.set_aliases([("live", "a"), ("again", "live")])
    assert database.info("live").name == "a"
    assert database.info("a").aliases == ("again", "live")
    assert listed(database, "again") == ["x"]
    assert database.aliases() == {"live": "a", "again": "a"}
    assert database.aliases("b") == {}
    assert database.aliases("live") == {"live": "a", "again": "a"}
    write(database, "live", ["y"])
    assert listed(database, "a") == ["x", "y"]
    database.set_aliases([("live", "b"), ("again", None)])
    assert database.info("live").name == "b"
    assert listed(database, "live") == []
    assert [info.aliases for info in database.infos()] == [(), ("live",)]
    with pytest.raises(NotFound):
        database.info("again")


def test_names_and_aliases_exclude_each_other(database: Database) -> None:
    database.set_aliases([("live", "a")])
    with pytest.raises(AlreadyExists, match="alias of 'a'"):
        database.create("live", SCHEMA)
    info, created = database.create("live", SCHEMA, if_not_exists=True)
    assert (info.name, created) == ("a", False)
    with pytest.raises(SchemaMismatch):
        database.create("live", OTHER, if_not_exists=True)
    with pytest.raises(AlreadyExists):
        database.set_aliases([("b", "a")])
    database.set_aliases([("live", None)])
    assert database.create("live", SCHEMA)[1]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (("b", "a"), AlreadyExists),
        (("new", "nobody"), NotFound),
        (("new", ""), NotFound),
        (("new", "x" * 600), NotFound),
        (("nobody", None), NotFound),
        (("", None), InvalidArgument),
        (("-bad", "a"), InvalidArgument),
        (("x" * 129, "a"), InvalidArgument),
    ],
)
def test_all_actions_or_none(
    database: Database, wrong: tuple[str, str | None], error: type[VecdbError]
) -> None:
    database.set_aliases([("live", "a")])
    with pytest.raises(error):
        database.set_aliases([("live", "b"), ("more", "a"), wrong])
    assert database.aliases() == {"live": "a"}


def test_as_many_aliases_as_may_be(database: Database) -> None:
    database.set_aliases([("x", "a"), ("y", "a"), ("z", "b")])
    with pytest.raises(LimitExceeded, match=r"limits\.aliases"):
        database.set_aliases([("w", "a")])
    database.set_aliases([("w", "a"), ("x", None)])
    assert database.aliases("a") == {"w": "a", "y": "a"}


def test_what_has_aliases_is_not_deleted(database: Database) -> None:
    database.set_aliases([("live", "a")])
    with pytest.raises(FailedPrecondition, match="'a' has aliases: live"):
        database.drop("a")
    with pytest.raises(FailedPrecondition, match="'live' is an alias of collection 'a'"):
        database.drop("live")
    assert database.info("live").name == "a"
    database.set_aliases([("live", "b")])
    database.drop("a")
    assert database.info("live").name == "b"


def test_the_catalog_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_MAP_BYTES", 1 << 16)
    limits = LimitsConfig()
    database = Database(tmp_path / "data", STORAGE, limits)
    metadata = b'{"long":"%s"}' % (b"x" * 60_000)
    database.create("a", SCHEMA, metadata=metadata)
    database.set_aliases([(f"alias-{n}", "a") for n in range(2_000)])
    assert len(database.aliases()) == 2_000
    assert database.info("alias-7").metadata == metadata
    database.close()


# --- what can be changed


def test_metadata_comes_back_as_it_was_sent(database: Database) -> None:
    sent = '{ "b": 1.0, "a": 12345678901234567890, "ü": [1e5]}'.encode()
    database.create("c", SCHEMA, metadata=sent)
    assert database.info("c").metadata == sent
    assert database.update("c", metadata=b'{"x":1}').metadata == b'{"x":1}'
    assert database.info("c").metadata == b'{"x":1}'
    database.update("c")
    assert database.info("c").metadata == b'{"x":1}'
    database.update("c", metadata=b"")
    assert [info.metadata for info in database.infos()] == [b"", b"", b""]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (b"[1]", BadPayload),
        (b"{", BadPayload),
        (b'{"a": NaN}', BadPayload),
        (b'{"\xff": 1}', BadPayload),
        (b'{"a":"%s"}' % (b"x" * 57), LimitExceeded),
    ],
)
def test_metadata_that_is_none(database: Database, wrong: bytes, error: type[VecdbError]) -> None:
    with pytest.raises(error):
        database.create("c", SCHEMA, metadata=wrong)
    with pytest.raises(error):
        database.update("a", metadata=wrong)
    assert [info.name for info in database.infos()] == ["a", "b"]
    database.update("a", metadata=b'{"a":"%s"}' % (b"x" * 56))  # at the limit


def test_another_target_recall_is_in_force_at_once(database: Database) -> None:
    def change(schema: Schema) -> Schema:
        return replace(schema, spaces=(replace(schema.spaces[0], target_recall=0.8),))

    def target() -> list[float]:
        with database.collection("a") as opened, opened.snapshot() as snapshot:
            space = snapshot.space("")
            assert space is not None
            return [space.target_recall, opened.schema.spaces[0].target_recall]

    assert target() == [0.95, 0.95]
    database.update("a", change=change)
    assert target() == [0.8, 0.8]
    database.truncate("a")
    assert target() == [0.8, 0.8]


def test_check_knows_what_can_be_changed(tmp_path: Path) -> None:
    def change(schema: Schema) -> Schema:
        return replace(schema, spaces=(replace(schema.spaces[0], target_recall=0.8),))

    data = tmp_path / "data"
    database = Database(data, STORAGE, LIMITS)
    for name in ("a", "b"):
        database.create(name, SCHEMA)
        write(database, name, ["x"])
        database.update(name, change=change)
    database.truncate("b")
    database.close()
    reports = list(check_database(data, lambda *_: None))
    assert [(report.points, report.findings) for report in reports] == [(1, []), (0, [])]


# --- truncation


def test_all_points_go_and_the_rest_stays(database: Database) -> None:
    database.set_aliases([("live", "a")])
    database.update("a", metadata=b'{"x":1}')
    for number in range(40):
        last = write(database, "a", [f"p{number}", "q"])
    with database.collection("a") as opened:
        wait_until(lambda: opened.stats().segments)
    assert len(listed(database, "a")) == 41
    before = database.info("a")
    done = database.truncate("live")
    assert (done.points, done.seq) == (41, last.commit_seq + 1)
    assert database.info("a") == before
    assert listed(database, "live") == []
    with database.collection("a") as opened, opened.snapshot() as snapshot:
        snapshot.require_seq(done.seq)
        assert snapshot.query(Query(np.ones(4, np.float32), 3), WANTED, 1 << 20).found == 0
        assert opened.stats().segments == ()
    assert write(database, "a", ["new"]).commit_seq == done.seq + 1
    assert listed(database, "a") == ["new"]
    wait_until(lambda: len(folders(database)) == 2)  # the space of the old points is given back
    again = database.truncate("a")
    assert (again.points, again.seq) == (1, done.seq + 2)
    assert database.truncate("a").points == 0


def test_the_log_goes_on(database: Database) -> None:
    write(database, "a", ["x"])
    with database.collection("a") as opened, opened._store.read() as txn:
        before, uuid = txn.state, opened.uuid
    done = database.truncate("a")
    with database.collection("a") as opened, opened._store.read() as txn:
        command = Truncate("a", uuid, done.seq).encode()
        digest = codec.hashlib.sha256(command).digest()
        assert txn.state.chain == codec.next_chain(before.chain, done.seq, digest)
        assert txn.state.applied_seq == done.seq


def test_answers_are_replayed_and_forgotten_in_their_time(database: Database) -> None:
    first = write(database, "a", ["x"], key="k")
    write(database, "a", ["y"])
    database.truncate("a")
    replayed = write(database, "a", ["x"], key="k")
    assert replayed.replayed
    assert replayed.commit_seq == first.commit_seq
    assert listed(database, "a") == []
    for _ in range(STORAGE.changes_retained):
        write(database, "a", ["z"])
    assert not write(database, "a", ["x"], key="k").replayed
    assert listed(database, "a") == ["x", "z"]


def test_readers_under_way_finish_and_page_tokens_go_on(database: Database) -> None:
    write(database, "a", ["p1", "p2", "p3"])
    with database.collection("a") as opened, opened.snapshot() as snapshot:
        token = snapshot.page(Listing(), 1, "", WANTED, 1 << 20).next_token
        done = database.truncate("a")
        assert snapshot.count(None) == 3
        assert [point.id for point in snapshot.get(["p2"], WANTED, 1 << 20).points] == ["p2"]
        with pytest.raises(Unavailable, match="truncated"):
            opened.write(prepare([Put("x", b"", {})], SCHEMA, LIMITS)).result()
    write(database, "a", ["p0", "p9"])
    with database.collection("a") as opened, opened.snapshot() as snapshot:
        found = snapshot.page(Listing(), 5, token, WANTED, 1 << 20)
        assert [point.id for point in points_of(found)] == ["p9"]
        assert snapshot.seq == done.seq + 1


def test_a_write_is_before_or_after_or_sent_again(database: Database) -> None:
    seqs: list[int] = []
    stop = threading.Event()

    def churn(number: int) -> None:
        at = 0
        while not stop.is_set():
            try:
                outcome = write(database, "a", [f"w{number}-{at}"], key=f"{number}-{at}")
            except Unavailable:
                continue
            seqs.append(outcome.commit_seq)
            at += 1

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    truncated = []
    for number in range(20):
        wait_until(lambda n=number: len(seqs) > 10 * n)
        truncated.append(database.truncate("a"))
    stop.set()
    for thread in threads:
        thread.join(30)
    every = sorted(seqs + [each.seq for each in truncated])
    assert every == list(range(1, len(every) + 1)), "a number for each, none of them twice"
    after = sum(seq > truncated[-1].seq for seq in seqs)
    assert len(listed(database, "a")) == after
    assert sum(each.points for each in truncated) + after == len(seqs)


def test_a_reader_that_opens_meanwhile_finds_it(database: Database) -> None:
    """It read the name just before, and comes to open the folder once that is gone."""
    write(database, "a", ["x"])
    use = database.collection("a")
    database.truncate("a")
    with use as opened, opened.snapshot() as snapshot:
        assert snapshot.count(None) == 0
    use = database.collection("a")
    database.drop("a")
    with pytest.raises(NotFound), use:
        pass


def test_a_truncation_that_fails_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path / "data", STORAGE, LIMITS)
    database.create("a", SCHEMA)
    write(database, "a", ["x"])

    def fail(self: Catalog, command: object) -> None:
        raise StorageFull("no")

    monkeypatch.setattr(Catalog, "apply", fail)
    for _ in range(2):
        with pytest.raises(StorageFull):
            database.truncate("a")
    monkeypatch.undo()
    assert write(database, "a", ["y"]).commit_seq == 2
    assert listed(database, "a") == ["x", "y"]
    database.close()
    database = Database(tmp_path / "data", STORAGE, LIMITS)
    assert len(folders(database)) == 1, "what was begun is swept"
    assert listed(database, "a") == ["x", "y"]
    assert database.truncate("a").points == 2
    database.close()


def test_a_truncation_that_died_is_undone_or_done(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", STORAGE, LIMITS)
    database.create("a", SCHEMA)
    write(database, "a", ["x"])
    with database.collection("a") as opened:
        uuid = opened.uuid
    database.close()
    (tmp_path / "data" / "collections" / f"{uuid}-2" / "store").mkdir(parents=True)
    strange = tmp_path / "data" / "collections" / "feed-3"
    strange.mkdir()
    database = Database(tmp_path / "data", STORAGE, LIMITS)
    assert folders(database) == {uuid, "feed-3"}
    assert listed(database, "a") == ["x"]
    # Died between the catalog's commit and the removal of the files.
    database._remove_dropped = lambda: None  # type: ignore[method-assign]
    database.truncate("a")
    assert folders(database) == {uuid, f"{uuid}-2", "feed-3"}
    database.close()
    database = Database(tmp_path / "data", STORAGE, LIMITS)
    assert folders(database) == {f"{uuid}-2", "feed-3"}
    assert listed(database, "a") == []
    database.close()


def test_a_collection_that_is_read_elsewhere_is_named_once(database: Database) -> None:
    database.set_aliases([("live", "a")])
    with database.collection("live") as one, database.collection("a") as other:
        assert one is other
        assert isinstance(one, Collection)
    assert list(database.in_use()) == ["a"]


def test_names_that_are_gone_leave_nothing_in_memory(tmp_path: Path) -> None:
    database = Database(tmp_path / "data", StorageConfig(), LimitsConfig())
    schema = Schema((Space("", 2, Metric.DOT),))
    for number in range(20):
        database.create(f"c{number}", schema)
        with database.collection(f"c{number}"):
            database.drop(f"c{number}")
    database.create("there", schema)
    with database.collection("there"):
        pass
    assert list(database._catalog._known[1]) == ["there"]
    database.close()
