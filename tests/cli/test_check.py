"""`vecdb check`: says nothing of a sound directory, and names what is damaged in another."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.live import LiveServer, run_vecdb, wait_until
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.storage import codec
from vecdb.storage.store import Store
from vecdb.types import Delete, Metric, Op, Put, Schema, Space
from vecdb.write.prepare import prepare

MARK = "payload-of-%05d-here"
POINTS = 60


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that a server wrote, with a segment, a tail, and deleted points."""
    folder = tmp_path_factory.mktemp("check")
    settings = {"embed.enabled": "false", "storage.tail_points": 16}
    live = LiveServer(folder / "data", settings).start()
    with live.client() as client:
        points = client.create_collection("books", dim=3)
        for first in range(0, POINTS, 20):
            points.upsert(
                {"id": f"p{n}", "vector": [1, n, 2], "payload": {"mark": MARK % n, "n": n}}
                for n in range(first, first + 20)
            )
        points.delete(["p0", "p1"])
        client.create_collection("empty", dim=2, metric="dot")
        deadline = time.monotonic() + 60
        while not points.stats().segments:  # built beside the writes
            assert time.monotonic() < deadline
    assert live.stop() == 0
    return live.data


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def check(data: Path) -> tuple[int, str, str]:
    ended = run_vecdb("check", "--data", data)
    assert "Traceback" not in ended.stderr
    return ended.returncode, " ".join(ended.stdout.split()), " ".join(ended.stderr.split())


def store_of(data: Path) -> Path:
    """Return the file of the largest store: that of the points."""
    return max(data.glob("collections/*/store/data.mdb"), key=lambda path: path.stat().st_size)


def flip(file: Path, mark: bytes) -> int:
    """Flip a bit in every copy of some bytes; return how many there were."""
    content = bytearray(file.read_bytes())
    at, found = content.find(mark), 0
    while at >= 0:
        content[at] ^= 1
        found += 1
        at = content.find(mark, at + 1)
    file.write_bytes(content)
    return found


def bytes_of(data: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.name != "lock.mdb"
    }


def test_a_sound_directory(data: Path) -> None:
    before = bytes_of(data)
    status, said, complaints = check(data)
    assert (status, said) == (0, f"nothing wrong in {POINTS - 2} points")
    assert "p0" not in complaints
    assert bytes_of(data) == before


def test_a_directory_in_use(sound: Path, tmp_path: Path) -> None:
    live = LiveServer(
        Path(shutil.copytree(sound, tmp_path / "data")), {"embed.enabled": "false"}
    ).start()
    try:
        with live.client() as client:
            client.collection("books").upsert([{"id": "new", "vector": [1, 2, 3]}])
            status, said, _ = check(live.data)
            assert (status, said) == (0, f"nothing wrong in {POINTS - 1} points")
            assert client.collection("books").count() == POINTS - 1
    finally:
        assert live.stop() == 0


def test_a_flipped_byte_names_the_record(data: Path) -> None:
    assert flip(store_of(data), (MARK % 7).encode()) >= 1
    status, said, complaints = check(data)
    assert (status, said) == (1, "")
    assert "books: record points/7 fails its checksum" in complaints
    assert f"1 findings in {POINTS - 2} points" in complaints


def test_every_flipped_byte_is_named(data: Path) -> None:
    for n in (5, 30, 59):
        assert flip(store_of(data), (MARK % n).encode()) >= 1
    status, _, complaints = check(data)
    assert status == 1
    for n in (5, 30, 59):
        assert f"record points/{n} fails its checksum" in complaints


def test_the_damaged_point_is_named_by_the_server_too(data: Path) -> None:
    flip(store_of(data), (MARK % 7).encode())
    live = LiveServer(data, {"embed.enabled": "false"}).start()
    try:
        with live.client() as client:
            books = client.collection("books")
            found = books.get(["p6", "p7", "p8"])
            assert [point.id for point in found.points] == ["p6", "p8"]
            assert found.damaged == ["p7"]
            damaged: list[str] = []
            assert len(list(books.list(on_damaged=damaged.append))) == POINTS - 3
            assert damaged == ["p7"]
    finally:
        assert live.stop() == 0


def test_a_damaged_segment_is_named(data: Path) -> None:
    (file, *_) = sorted(data.glob("collections/*/segments/*/vectors-0.npy"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    status, _, complaints = check(data)
    assert status == 1
    assert f"segment {file.parent.name}: vectors-0.npy fails its checksum" in complaints


def test_a_lost_store_is_named(data: Path) -> None:
    store_of(data).unlink()
    status, _, complaints = check(data)
    assert status == 1
    assert "books: " in complaints
    assert "empty: " not in complaints


def test_a_cut_store_is_named(data: Path) -> None:
    file = store_of(data)
    with file.open("r+b") as cut:
        cut.truncate(5_000)
    status, _, complaints = check(data)
    assert status == 1
    assert "books: " in complaints


def test_a_damaged_catalog_is_named(data: Path) -> None:
    assert flip(data / "catalog" / "data.mdb", b'"metric":1') >= 1
    status, _, complaints = check(data)
    assert status == 1
    assert "books" in complaints
    assert "checksum" in complaints


def test_what_is_no_data_directory(tmp_path: Path) -> None:
    status, _, complaints = check(tmp_path)
    assert status == 1
    assert complaints.startswith("error: ")
    assert "no data directory" in complaints
    assert list(tmp_path.iterdir()) == []
    assert check(tmp_path / "nowhere")[0] == 2


def test_a_catalog_beside_the_server_stays_usable(data: Path) -> None:
    assert check(data)[0] == 0
    database = Database(data, StorageConfig(), LimitsConfig())
    assert [info.name for info in database.infos()] == ["books", "empty"]
    database.close()


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A data directory with a graph that grew and holds rows that have ended."""
    storage = StorageConfig(tail_points=100, graph_points=300)
    schema = Schema((Space("", 4, Metric.DOT),))
    database = Database(tmp_path / "data", storage, LimitsConfig())
    database.create("books", schema)

    def write(ops: list[Op]) -> None:
        opened.write(prepare(ops, schema, LimitsConfig())).result()

    with database.collection("books") as opened:
        vectors = np.random.default_rng(1).normal(size=(600, 4)).astype("<f4")
        puts: list[Op] = [Put(f"p{n}", b"", {"": row.tobytes()}) for n, row in enumerate(vectors)]
        write(puts[:400])
        wait_until(lambda: any(segment.graph for segment in opened.stats().segments))
        write([Delete(f"p{n}") for n in range(10)])
        write(puts[400:])
        wait_until(lambda: [s.rows for s in opened.stats().segments] == [600])
        assert opened.stats().segments[0].dead == 10
    database.close()
    return tmp_path / "data"


def test_a_graph_that_grew_over_ended_rows(grown: Path) -> None:
    status, said, complaints = check(grown)
    assert (status, said) == (0, "nothing wrong in 590 points"), complaints


def test_a_record_that_no_search_finds_is_named(grown: Path) -> None:
    (path,) = grown.glob("collections/*/store")
    store = Store(path, read_only=False, map_bytes=1 << 20)
    with store.environment.begin(write=True) as txn:
        sealed = codec.seal(b"tombstones", codec.slot_key(77), codec.u64(1))
        txn.put(codec.slot_key(77), sealed, db=store.environment.databases[b"tombstones"])
    store.close()
    status, _, complaints = check(grown)
    assert status == 1
    assert "takes slot 77 for ended, which has a record" in complaints


def test_a_list_of_segments_that_is_not_theirs_is_named(grown: Path) -> None:
    (path,) = grown.glob("collections/*/store")
    store = Store(path, read_only=False, map_bytes=1 << 20)
    with store.write() as txn:
        txn.put_segments([replace(entry, dead=9) for entry in txn.segments()])
    store.close()
    status, _, complaints = check(grown)
    assert status == 1
    assert "other slots, rows or dead rows than the store lists" in complaints


def test_expiries_that_are_not_those_of_the_records_are_named(grown: Path) -> None:
    (path,) = grown.glob("collections/*/store")
    store = Store(path, read_only=False, map_bytes=1 << 20)
    with store.write() as txn:
        txn.expiries.add([(1 << 42, 77)])
        record = txn.record(78)
        assert record is not None
        cells = [(number, cell, b"") for number, cell in record.vector_bytes().items()]
        key, sealed = codec.encode_point(78, record.id.encode(), b"", record.version, cells, 5)
        txn._txn.put(key, sealed, db=store.environment.databases[b"points"])
    store.close()
    status, _, complaints = check(grown)
    assert status == 1
    assert f"the index of expiries has slot 77 at {1 << 42}" in complaints
    assert "record points/78 expires, and the index of expiries lacks it" in complaints
