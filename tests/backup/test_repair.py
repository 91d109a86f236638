"""`vecdb check --repair`: what can be derived is, what is lost goes, and all of it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.backup.conftest import Run
from tests.live import LiveServer, wait_until
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.storage import codec
from vecdb.storage.store import Store, WriteTxn
from vecdb.types import Delete, Metric, Op, Put, Schema, Space
from vecdb.write.prepare import prepare

DIM, POINTS = 4, 600
VECTORS = np.random.default_rng(1).normal(size=(POINTS, DIM)).astype("<f4")
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
MARK = "payload-of-%05d-here"
Check = Callable[..., tuple[int, str, str]]
Damage = Callable[[WriteTxn, Store], object]


@pytest.fixture
def check(vecdb: Run) -> Check:
    def run(data: Path, *words: str) -> tuple[int, str, str]:
        ended = vecdb("check", "--data", data, *words)
        return ended.returncode, ended.stdout, ended.stderr

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a graph, a tail, points that expire, and some that were deleted."""
    storage = StorageConfig(tail_points=100, graph_points=300)
    schema = Schema((Space("", DIM, Metric.DOT),))
    database = Database(tmp_path / "data", storage, LimitsConfig())
    database.create("books", schema)
    database.create("others", schema)

    def write(ops: list[Op]) -> None:
        opened.write(prepare(ops, schema, LimitsConfig(), now_ms=1)).result()

    with database.collection("books") as opened:
        puts: list[Op] = [
            Put(
                f"p{n}",
                f'{{"mark":"{MARK % n}"}}'.encode(),
                {"": row.tobytes()},
                expires_at_ms=(1 << 42) if n % 100 == 0 else None,
            )
            for n, row in enumerate(VECTORS)
        ]
        write(puts[:550])
        wait_until(lambda: any(segment.graph for segment in opened.stats().segments))
        write(puts[550:])
        write([Delete(f"p{n}") for n in range(1, 10)])
    database.close()
    return tmp_path / "data"


def damage(data: Path, how: Damage) -> None:
    """Change a store behind the back of everybody."""
    (path,) = {each.parent.parent / "store" for each in data.glob("collections/*/segments/*")}
    store = Store(path, read_only=False, map_bytes=1 << 20)
    with store.write() as txn:
        how(txn, store)
    store.close()


def raw(database: bytes, key: bytes, value: bytes) -> Damage:
    return lambda txn, store: txn._txn.put(key, value, db=store.environment.databases[database])


def gone(database: bytes, key: bytes) -> Damage:
    return lambda txn, store: txn._txn.delete(key, db=store.environment.databases[database])


def sealed(database: bytes, key: bytes, value: bytes) -> Damage:
    return raw(database, key, codec.seal(database, key, value))


def set_points(txn: WriteTxn, store: Store) -> None:
    txn.state.points = 7


def set_next_slot(txn: WriteTxn, store: Store) -> None:
    txn.state.next_slot = 100


SLOT = codec.slot_key(77)
LIVE = POINTS - 9
DERIVED: dict[str, tuple[Damage, str]] = {
    "an id that is gone": (gone(b"ids", b"p77"), "1 ids name their records again"),
    "an id of another": (sealed(b"ids", b"p77", codec.u64(78)), "1 ids name their records again"),
    "an id that is damaged": (raw(b"ids", b"p77", b"noise"), "1 ids name their records again"),
    "an id of nothing": (sealed(b"ids", b"ghost", codec.u64(5_000)), "ids without a record"),
    "a tombstone of a record": (
        sealed(b"tombstones", SLOT, codec.u64(1)),
        "tombstones of slots that have not ended were removed",
    ),
    "a tombstone past the end": (
        sealed(b"tombstones", codec.slot_key(9_000), codec.u64(1)),
        "tombstones of slots that have not ended were removed",
    ),
    "a damaged tombstone": (
        raw(b"tombstones", codec.slot_key(5), b"noise"),
        "1 tombstones were written again",
    ),
    "a lost expiry": (
        gone(b"expiries", codec.slot_key(1 << 42) + codec.slot_key(100)),
        "1 expiries of records were noted again",
    ),
    "an expiry of nobody": (
        lambda txn, store: txn.expiries.add([(1 << 41, 77)]),
        "1 expiries of no record were removed",
    ),
    "a count": (set_points, f"the count of points was 7, not {LIVE}"),
    "the next slot": (set_next_slot, "the next slot was 100, not past the last"),
}


@pytest.mark.parametrize("case", DERIVED)
def test_what_can_be_derived_is(check: Check, data: Path, case: str) -> None:
    how, said = DERIVED[case]
    damage(data, how)
    assert check(data)[0] == 1
    status, summary, done = check(data, "--repair")
    assert status == 0, done
    assert said in done
    assert summary == "1 of 1 repaired, 0 points lost"
    assert check(data)[:2] == (0, f"nothing wrong in {LIVE} points")
    if case in ("an id of another", "the next slot"):
        serves(data, LIVE)


def serves(data: Path, count: int) -> None:
    """A server has all of the points, and finds them."""
    live = LiveServer(data, {"embed.enabled": "false"}).start()
    try:
        with live.client() as client:
            books = client.collection("books")
            assert books.count() == count
            assert sum(1 for _ in books.list()) == count
            (hit,) = books.search(VECTORS[500], k=1)
            assert hit.id == "p500"
            books.upsert([{"id": "new", "vector": VECTORS[0]}])
            assert books.count() == count + 1
    finally:
        assert live.stop() == 0


def test_records_that_cannot_be_read_go(check: Check, data: Path) -> None:
    """Of ids that are known by an ordinary delete; and one that nothing leads to."""
    damage(data, raw(b"points", SLOT, b"noise"))
    damage(data, raw(b"points", codec.slot_key(200), b"noise"))
    damage(data, gone(b"ids", b"p200"))
    assert check(data)[0] == 1
    status, summary, done = check(data, "--repair")
    assert status == 0, done
    assert summary == "1 of 1 repaired, 1 points lost"
    assert "books: point 'p77' was lost: removed" in done
    assert "1 records that cannot be read, nor whose ids, were removed" in done
    assert check(data)[:2] == (0, f"nothing wrong in {LIVE - 2} points")
    serves(data, LIVE - 2)


def newest(data: Path, name: str = "vectors-0.npy") -> Path:
    """Return the folder of the last segment that has a file."""
    folders = {file.parent for file in data.glob(f"collections/*/segments/*/{name}")}
    return max(folders, key=lambda folder: int(folder.name))


def test_segments_are_built_again(check: Check, data: Path) -> None:
    for name in ("links0-0.npy", "vectors-0.npy"):
        file = newest(data, name) / name
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        assert check(data)[0] == 1
        status, summary, done = check(data, "--repair")
        assert status == 0, done
        assert "segments were built again" in done
        assert summary == "1 of 1 repaired, 0 points lost"
        assert check(data)[0] == 0
    assert list(data.glob("collections/*/quarantine/*"))  # kept for a look
    serves(data, LIVE)


def test_what_is_missing_or_too_much_in_a_segment(check: Check, data: Path) -> None:
    folder = newest(data)
    (folder / "stray.npy").write_bytes(b"x")
    status, _, complaints = check(data)
    assert (status, "stray.npy is no file of it" in complaints) == (1, True)
    assert check(data, "--repair")[0] == 0
    folder = newest(data)
    (folder / "manifest.json").unlink()
    assert check(data)[0] == 1
    assert check(data, "--repair")[0] == 0
    assert check(data)[0] == 0


def test_what_cannot_be_repaired_says_so(check: Check, data: Path) -> None:
    """A store that is none, and a folder of nobody: the rest is repaired all the same."""
    (data / "collections" / "someone").mkdir()
    (small,) = [
        path
        for path in data.glob("collections/*/store/data.mdb")
        if not (path.parent.parent / "segments").exists()
    ]
    small.write_bytes(b"not LMDB at all" * 1_000)
    damage(data, gone(b"ids", b"p77"))
    status, summary, done = check(data, "--repair")
    assert status == 1
    assert "others: still wrong, restore it from a backup" in done
    assert "what belongs to no collection was left alone" in done
    assert summary == "1 of 3 repaired, 0 points lost"
    assert (data / "collections" / "someone").exists()
    status, _, complaints = check(data)
    assert (status, "books: " in complaints) == (1, False)


def test_not_while_a_server_has_it(check: Check, data: Path) -> None:
    live = LiveServer(data, {"embed.enabled": "false"}).start()
    try:
        (data / "collections" / "someone").mkdir()
        status, _, complaints = check(data, "--repair")
        assert status == 1
        assert "another process writes to" in complaints
    finally:
        assert live.stop() == 0


def test_a_sound_directory_is_left_as_it_is(check: Check, data: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*.npy")}
    assert check(data, "--repair")[:2] == (0, f"nothing wrong in {LIVE} points")
    assert {path: path.read_bytes() for path in data.rglob("*.npy")} == before
