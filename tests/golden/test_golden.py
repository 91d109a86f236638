"""Data of every format version so far is read as it was written."""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.pages import points_of
from vecdb.collection.paging import Listing
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import FormatTooNew, NotFound
from vecdb.multi import MultiQuery
from vecdb.ops.check import check_database
from vecdb.rpc.pb.search_pb2 import QueryResponse
from vecdb.storage import codec
from vecdb.types import Delete, Equals, KeywordQuery, Query, SparseQuery, Wanted

HERE = Path(__file__).parent
MIB = 1 << 20
EVERYTHING = Wanted(vectors=True, texts=True)


def load_make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", HERE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=sorted(HERE.glob("format-*.tar.xz")), ids=lambda path: path.name)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "data"


def test_golden_directory_is_read_as_written(data: Path) -> None:
    make = load_make()
    expected = {put.id: put for put in [*make.points(0), *make.points(1)]}
    for name in make.ENDED:
        del expected[name]
    assert all(not report.findings for report in check_database(data, lambda *_: None))
    database = Database(data, StorageConfig(), LimitsConfig())
    assert [(info.name, info.aliases, info.metadata) for info in database.infos()] == [
        ("emptied", (), b""),
        ("empty", (), b""),
        ("golden", ("live",), make.METADATA),
    ]
    assert database.info("live").name == "golden"
    assert [info.ttl_ms for info in database.infos()] == [make.EXPIRES_AT_MS, 0, 0]
    with database.collection("emptied") as collection, collection.snapshot() as snapshot:
        assert [p.id for p in points_of(snapshot.page(Listing(), 9, "", EVERYTHING, MIB))] == [
            "after"
        ]
        assert snapshot.seq == 3
        stored = collection.replay("before", b"d" * 32)
        assert stored is not None
        assert stored.commit_seq == 1
    with database.collection("golden") as collection, collection.snapshot() as snapshot:
        assert collection.schema == make.SCHEMA
        found = snapshot.get(list(expected), EVERYTHING, MIB)
        assert [point.id for point in found.points] == list(expected)
        for point in found.points:
            put = expected[point.id]
            assert point.payload == put.payload
            assert point.texts == put.texts
            assert point.expires_at_ms == (put.expires_at_ms or 0)
            held = put.vectors | {name: multi.f32 for name, multi in put.multi.items()}
            assert {name: v.tobytes() for name, v in point.vectors.items()} == held
        assert snapshot.get(list(make.ENDED), EVERYTHING, MIB).missing == list(make.ENDED)
        assert snapshot.count(Equals("tag", "t1")) == sum(
            b'"t1"' in put.payload for put in expected.values()
        )
        nearest = snapshot.query(Query(np.frombuffer(make.vector(8, 4), "<f4"), 1), EVERYTHING, MIB)
        assert QueryResponse.FromString(nearest.hits).hits[0].score == pytest.approx(1.0)
        (found_sparse,) = snapshot.get(["sparse"], EVERYTHING, MIB).points
        indices, values = found_sparse.sparse["words"]
        assert (indices.tolist(), values.tolist()) == ([3, 7], [-2, 0.5])
        query = SparseQuery(found_sparse.sparse["words"], 5, "words")
        (hit,) = QueryResponse.FromString(snapshot.query(query, EVERYTHING, MIB).hits).hits
        assert (hit.id, hit.score, list(hit.vectors["words"].sparse.values)) == (
            "sparse",
            4.25,
            [-2, 0.5],
        )
        vectors = np.frombuffer(make.vector(2, 3), "<f4").reshape(1, 3)
        found_multi = snapshot.query(MultiQuery(vectors, 5, "tokens"), EVERYTHING, MIB)
        (hit,) = QueryResponse.FromString(found_multi.hits).hits
        assert (hit.id, hit.score, hit.vectors["tokens"].multi.dim) == (
            "several",
            pytest.approx(1.0),
            3,
        )
        for text in ("tree", "wood, trees", "森"):
            hits = snapshot.query(KeywordQuery(text, 5), EVERYTHING, MIB).hits
            assert [hit.id for hit in QueryResponse.FromString(hits).hits] == ["sparse"]
        stored = collection.replay("key-1", b"d" * 32)
        assert stored is not None
        assert stored.commit_seq == 2
    with database.collection("golden") as collection:
        # And it can be written to.
        command = load_make().prepare([Delete("p1")], make.SCHEMA, LimitsConfig())
        assert collection.write(command).result().results[0].found
    database.close()


def test_the_present_format_has_a_golden_directory() -> None:
    assert (HERE / f"format-{codec.FORMAT_VERSION}.tar.xz").exists(), (
        "a new format version: make its directory with tests/golden/make.py, and keep the old ones"
    )


def test_what_a_later_vecdb_wrote_is_refused_and_left_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in data.rglob("data.mdb")}
    monkeypatch.setattr(codec, "FORMAT_VERSION", 0)
    with pytest.raises(FormatTooNew, match="format 1"):
        Database(data, StorageConfig(), LimitsConfig())
    assert {path: path.read_bytes() for path in data.rglob("data.mdb")} == before


def test_a_folder_that_is_no_data_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no data directory"):
        list(check_database(tmp_path, lambda *_: None))
