"""Lists in the order of a field, and in slices: complete, in order, and true under writes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import read_model
from tests.collection.test_filters import (
    IDS,
    LEFT_OUT,
    LIMITS,
    MIB,
    ROWS,
    SCHEMA,
    Stored,
    batches,
    fill,
)
from tests.collection.test_filters import write as write_ops
from tests.examples import examples
from tests.filters import PATHS, filters
from tests.model import holds
from tests.pages import points_of
from vecdb.collection.collection import Collection
from vecdb.collection.paging import CHUNK, Listing, Slice
from vecdb.collection.snapshot import Snapshot
from vecdb.config import StorageConfig
from vecdb.database import Database
from vecdb.errors import DeadlineExceeded, InvalidArgument
from vecdb.query.order import OrderBy
from vecdb.storage.store import ReadTxn
from vecdb.types import And, Delete, Equals, Filter, Nested, Op, Put, Range, Wanted

pytestmark = pytest.mark.takes_turns


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    storage = StorageConfig(map_bytes=1 << 20, tail_points=16)
    made = Database(tmp_path_factory.mktemp("paging") / "data", storage, LIMITS)
    yield made
    made.close()


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    made = Database(tmp_path / "data", StorageConfig(map_bytes=1 << 20, tail_points=16), LIMITS)
    made.create("c", SCHEMA)
    with made.collection("c") as opened:
        yield opened
    made.close()


def write(collection: Collection, ops: list[Op], stored: Stored) -> None:
    """Write; whatever is written again stands last."""
    for op in ops:
        stored.pop(op.id, None)
    write_ops(collection, ops, stored)


def pages(snapshot: Snapshot, listing: Listing, size: int) -> list[str]:
    token, listed = "", []
    while True:
        page = snapshot.page(listing, size, token, Wanted(False), MIB)
        assert len(points_of(page)) <= size
        listed += [point.id for point in points_of(page)]
        token = page.next_token
        if not token:
            return listed
        assert points_of(page)


def chosen(stored: Stored, filter: Filter | None) -> read_model.Payloads:
    return {
        name: payload
        for name, (payload, has) in stored.items()
        if filter is None or holds(filter, payload, name, has)
    }


@settings(deadline=None, max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(
    st.lists(batches(), min_size=1, max_size=6),
    st.lists(
        st.tuples(PATHS, st.booleans(), st.one_of(st.none(), filters(IDS, [""]))),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 7),
    st.booleans(),
)
def test_orders_agree_with_the_model(
    database: Database,
    written: list[list[Op]],
    asked: list[tuple[str, bool, Filter | None]],
    size: int,
    maintained: bool,
) -> None:
    database.create("c", SCHEMA)
    stored: Stored = {}
    try:
        with database.collection("c") as collection:
            for ops in written:
                write(collection, ops, stored)
                while maintained and collection.maintain(None):
                    pass
                with collection.snapshot() as snapshot:
                    for path, descending, filter in asked:
                        listing = Listing(filter, OrderBy(path, descending))
                        expected = read_model.in_order(chosen(stored, filter), path, descending)
                        assert pages(snapshot, listing, size) == expected
    finally:
        database.drop("c")


@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.lists(batches(), min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 5))
def test_slices_are_disjoint_and_complete(
    database: Database, written: list[list[Op]], count: int, size: int
) -> None:
    database.create("c", SCHEMA)
    stored: Stored = {}
    try:
        with database.collection("c") as collection:
            for ops in written:
                write(collection, ops, stored)
            with collection.snapshot() as snapshot:
                for filter in (None, Equals("a", 1)):
                    parts = [
                        pages(snapshot, Listing(filter, slice=Slice(at, count)), size)
                        for at in range(count)
                    ]
                    assert sorted(name for part in parts for name in part) == sorted(
                        chosen(stored, filter)
                    )
                    assert all(part == sorted(part) for part in parts)
    finally:
        database.drop("c")


def put(at: int, **payload: object) -> Put:
    return Put(f"p{at:05}", json.dumps(payload).encode(), {})


def test_orders_of_many_rows(collection: Collection) -> None:
    """Equal values in bitmaps, windows of rows, several values and kinds."""
    stored: Stored = {}
    ops: list[Op] = [
        put(
            n,
            n=(n * 7919) % 1_000,
            few="abc"[n % 3],
            mixed=[n % 5 / 2, n % 3] if n % 2 else ["x", "2024-01-01", True][n % 3],
            when=f"2024-01-{1 + n % 28:02}T00:00:00{'Z' if n % 2 else '+02:00'}",
        )
        for n in range(3_000)
    ]
    write(collection, ops, stored)
    for maintained in (False, True):
        while maintained and collection.maintain(None):
            pass
        write(collection, [Delete("p00007"), put(8, n=5, few="b"), put(9, few=None)], stored)
        with collection.snapshot() as snapshot:
            for path in ("n", "few", "mixed", "when"):
                for descending in (False, True):
                    for filter in (None, Range("n", gte=990), Equals("few", "b")):
                        listing = Listing(filter, OrderBy(path, descending))
                        expected = read_model.in_order(chosen(stored, filter), path, descending)
                        assert pages(snapshot, listing, 700) == expected


@pytest.mark.parametrize("descending", [False, True])
def test_pages_under_writes(collection: Collection, descending: bool) -> None:
    """Who is not written meanwhile is seen once, whatever happens around it and to its segment."""
    stored: Stored = {}
    write(collection, [put(n, n=n // 3, kept=n % 2) for n in range(400)], stored)
    token, listed = "", []
    listing = Listing(None, OrderBy("n", descending))
    for turn in range(100):
        with collection.snapshot() as snapshot:
            page = snapshot.page(listing, 10, token, Wanted(False), MIB)
        listed += [point.id for point in points_of(page)]
        token = page.next_token
        if not token:
            break
        write(collection, [put(2 * turn, n=turn, kept=0), Delete(f"p{398 - 2 * turn:05}")], stored)
        while turn % 5 == 0 and collection.maintain(None):
            pass
    still = [f"p{n:05}" for n in range(400) if n % 2]
    assert [name for name in listed if int(name[1:]) % 2] == (still[::-1] if descending else still)


def test_slices_under_writes(collection: Collection) -> None:
    stored: Stored = {}
    write(collection, [put(n, n=n) for n in range(0, 2_000, 2)], stored)
    listed = []
    for at in range(4):
        token, listing = "", Listing(None, slice=Slice(at, 4))
        while True:
            with collection.snapshot() as snapshot:
                page = snapshot.page(listing, 50, token, Wanted(False), MIB)
            listed += [point.id for point in points_of(page)]
            write(collection, [put(n, n=0) for n in range(len(listed), len(listed) + 3)], stored)
            token = page.next_token
            if not token:
                break
    assert len(listed) == len(set(listed))
    assert {f"p{n:05}" for n in range(0, 2_000, 2)} <= set(listed)
    share = sum(Slice(0, 4).holds(f"doc-{n}".encode()) for n in range(10_000))
    assert 2_300 < share < 2_700


def test_pages_end_early_where_few_match(collection: Collection) -> None:
    """A page that has looked long enough says how far it came, in every order of points."""
    stored: Stored = {}
    write(collection, [put(n, n=(n * 7919) % 5_000) for n in range(5_000)], stored)
    while collection.maintain(None):
        pass
    write(collection, [put(n, n=n) for n in range(0, 5_000, 50)], stored)
    for listing in (
        Listing(Range("n", lt=3)),
        Listing(Range("n", lt=0)),
        Listing(Range("n", lt=300), slice=Slice(1, 3)),
        Listing(None, slice=Slice(7, 1_000)),
    ):
        expected = [
            name
            for name in sorted(chosen(stored, listing.filter))
            if listing.slice is None or listing.slice.holds(name.encode())
        ]
        token, listed, count = "", [], 0
        while count == 0 or token:
            with collection.snapshot() as snapshot:
                page = snapshot.page(listing, 1_000, token, Wanted(), MIB, until=0.0)
            listed += [point.id for point in points_of(page)]
            token, count = page.next_token, count + 1
        assert listed == expected
        assert count == 6  # five chunks, and nothing behind the last
        with collection.snapshot() as snapshot:
            assert pages(snapshot, listing, 1_000) == expected


def test_a_filter_that_reads_records_reads_those_of_a_page(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = fill(collection, ROWS)
    filter = Nested("of", And((Equals("a", 1), Equals("b", 0))))
    looked: list[int] = []
    read = ReadTxn.record

    def counted(txn: ReadTxn, slot: int) -> object:
        looked.append(slot)
        return read(txn, slot)

    monkeypatch.setattr(ReadTxn, "record", counted)
    with collection.snapshot() as snapshot:
        page = snapshot.page(Listing(filter), 1_000, "", Wanted(), MIB, until=0.0)
        assert 0 < len(looked) <= CHUNK + len(points_of(page)) < ROWS
        assert page.next_token
        assert pages(snapshot, Listing(filter), 1_000) == sorted(chosen(stored, filter))


def test_a_page_ends_before_a_point_that_is_too_large(collection: Collection) -> None:
    stored: Stored = {}
    sizes = [10, 500, 10, 3_000, 10, 900, 900]
    write(collection, [put(n, x="x" * size) for n, size in enumerate(sizes)], stored)
    token, parts = "", []
    with collection.snapshot() as snapshot:
        while not parts or token:
            page = snapshot.page(Listing(), 1_000, token, Wanted(), 1_200)
            parts.append([int(point.id[1:]) for point in points_of(page)])
            token = page.next_token
    assert parts == [[0, 1, 2], [3], [4, 5], [6]]


def test_records_tell_what_indexes_cannot(collection: Collection) -> None:
    stored = fill(collection, ROWS)
    write(collection, [put(4, own999=1), put(5, own999="x")], stored)
    with collection.snapshot() as snapshot:
        for descending in (False, True):
            listing = Listing(None, OrderBy(LEFT_OUT, descending))
            expected = read_model.in_order(chosen(stored, None), LEFT_OUT, descending)
            assert pages(snapshot, listing, 2) == expected
            assert len(expected) == 3
    with collection.snapshot(time.monotonic() - 1) as snapshot:
        for listing, words in (
            (Listing(None, OrderBy(LEFT_OUT)), "payloads were read"),
            (Listing(None, slice=Slice(0, 2)), "ids were looked through"),
        ):
            with pytest.raises(DeadlineExceeded, match=words):
                snapshot.page(listing, 10, "", Wanted(), MIB)


def test_tokens_of_another_list(collection: Collection) -> None:
    stored: Stored = {}
    write(collection, [put(n, n=n, m=-n) for n in range(20)], stored)
    listings = [
        Listing(),
        Listing(Equals("n", 3)),
        Listing(None, OrderBy("n")),
        Listing(None, OrderBy("n", True)),
        Listing(None, OrderBy("m")),
        Listing(Range("n", gte=0), OrderBy("n")),
        Listing(None, slice=Slice(0, 2)),
        Listing(None, slice=Slice(1, 2)),
        Listing(None, slice=Slice(0, 3)),
    ]

    def ask(snapshot: Snapshot, listing: Listing, token: str) -> str:
        return snapshot.page(listing, 1, token, Wanted(), MIB).next_token

    with collection.snapshot() as snapshot:
        for own in listings:
            token = ask(snapshot, own, "")
            for other in listings:
                if other is not own and token:
                    with pytest.raises(InvalidArgument, match="not of this list") as caught:
                        ask(snapshot, other, token)
                    assert caught.value.field == "page_token"
        # One whose beginning is right, and the rest made up.
        ordered = Listing(None, OrderBy("n"))
        bound = base64.urlsafe_b64decode(ask(snapshot, ordered, ""))[:8]
        for mark in (
            b"x", b"[]", b"1", b"[1,2]", b"[9,1,1]", b'[1,"a",1]', b"[3,1,1]", b"[1,1,1.5]",
            b"[" * 100_000, b"\xff", b"[1,1,null]", b'["a",1,1]', b'[3,"\\u0100",1]',
        ):  # fmt: skip
            with pytest.raises(InvalidArgument, match="not of this list"):
                ask(snapshot, ordered, base64.urlsafe_b64encode(bound + mark).decode())
