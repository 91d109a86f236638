"""Tables of pyarrow, pandas and Polars in, and points out as tables."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from vecdb_client import F, InvalidArgument, Space, SparseSpace, WriteFailed
from vecdb_client.tables import table_points
from vecdb_client.vectors import f32_bytes

arrow = pytest.importorskip("pyarrow")
VECTORS = np.arange(30, dtype="f4").reshape(10, 3) / 7
IDS = [f"p{i}" for i in range(10)]
LISTS = [
    arrow.list_(arrow.float32()),
    arrow.large_list(arrow.float64()),
    arrow.list_(arrow.float32(), 3),
]


def stored(server):
    """Return what the server has: id to vectors' bytes by space, and payload."""
    return {
        id: ({name: one.f32 for name, one in put.vectors.items()}, json.loads(put.payload or "{}"))
        for id, put in server.points.items()
    }


WANT = {id: ({"": f32_bytes(VECTORS[i])}, {"n": i}) for i, id in enumerate(IDS)}


@pytest.mark.parametrize("kind", LISTS, ids=str)
@pytest.mark.parametrize("form", ["table", "batch", "reader", "sliced"])
def test_arrow_goes_in(books, server, kind, form):
    vectors = arrow.array([list(map(float, row)) for row in VECTORS], kind)
    table = arrow.table({"id": IDS, "vector": vectors, "n": range(10)})
    if form == "batch":
        table = table.to_batches()[0]
    elif form == "reader":
        table = table.to_reader(max_chunksize=3)
    elif form == "sliced":
        table = arrow.concat_tables([table, table.slice(2)]).slice(7, 9)
    want = {id: WANT[id] for id in IDS[7:] + IDS[2:8]} if form == "sliced" else WANT
    totals = []
    report = books.upsert(table, batch_size=4, progress=lambda done, total: totals.append(total))
    assert report.written == (9 if form == "sliced" else 10)
    assert stored(server) == want
    known = {"table": 10, "batch": 10, "reader": None, "sliced": 9}
    assert set(totals) == {known[form]}


def test_what_is_null_is_left_out(books, server):
    table = arrow.table(
        {
            "id": ["a", "b", "c"],
            "vector": arrow.array([None, [1.0, 2.0, 3.0], None], LISTS[2]),
            "vectors.other": arrow.array([[3.0, 2.0, 1.0], None, None], LISTS[0]),
            "n": [None, 1, 2],
            "if_version": [0, None, 0],
        }
    )
    assert books.upsert(table).written == 3
    assert stored(server) == {
        "a": ({"other": f32_bytes([3, 2, 1])}, {}),
        "b": ({"": f32_bytes([1, 2, 3])}, {"n": 1}),
        "c": ({}, {"n": 2}),
    }
    assert [op.HasField("if_version") for op in server.writes[0].ops] == [True, False, True]


def test_columns_of_every_kind(books, server):
    moment = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    table = arrow.table(
        {
            "id": [1, 2],
            "text": ["one", None],
            "vectors.s": [{"indices": [3, 7], "values": [0.5, 1.0]}, None],
            "when": arrow.array([moment.replace(tzinfo=None)] * 2, arrow.timestamp("ns")),
            "day": [moment.date()] * 2,
            "tags": [["a"], []],
            "author": [{"name": "x", "born": None}, None],
            "flag": [True, False],
        }
    )
    assert books.upsert(table).written == 2
    put = server.points["1"]
    assert (put.vectors[""].text, list(put.vectors["s"].sparse.indices)) == ("one", [3, 7])
    assert json.loads(put.payload) == {
        "when": "2024-05-01T12:30:00+00:00",
        "day": "2024-05-01",
        "tags": ["a"],
        "author": {"name": "x", "born": None},
        "flag": True,
    }
    payloads = arrow.table({"id": ["a"], "payload": ['{"n": 1}']})
    books.upsert(payloads)
    assert server.points["a"].payload == b'{"n": 1}'


def test_when_points_expire(books, server, db):
    db.create_collection("books", dim=3)
    moment = datetime(2044, 5, 1, tzinfo=UTC)
    when = arrow.array([moment, None], arrow.timestamp("ms", "UTC"))
    books.upsert(arrow.table({"id": ["a", "b"], "expires_at": when, "ttl_s": [None, 60.0]}))
    assert server.points["a"].expires_at_ms == int(moment.timestamp() * 1000)
    assert server.points["b"].ttl_ms == 60_000
    assert books.to_arrow()["expires_at"].to_pylist() == [moment, None]


def test_frames_go_in(books, server):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": IDS, "vector": list(VECTORS), "n": range(10)})
    assert books.upsert(frame).written == 10
    assert stored(server) == WANT
    server.points.clear()
    assert books.upsert(frame[frame.n >= 4]).written == 6  # whose index is no count any more
    assert stored(server) == {id: WANT[id] for id in IDS[4:]}
    server.points.clear()
    books.upsert(frame.set_index("id").assign(n=[None, 1.5, *[float("nan")] * 8]))
    assert [payload for _, payload in stored(server).values()] == [{}, {"n": 1.5}, *[{}] * 8]


def test_polars_goes_in(books, server):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"id": IDS, "vector": VECTORS.tolist(), "n": range(10)})
    assert books.upsert(frame).written == 10
    assert stored(server) == WANT


def test_tables_that_are_none(books, server):
    for table, why in [
        (arrow.table({"name": ["a"], "n": [1]}), "no column 'id': it has name, n"),
        (arrow.table({"id": ["a"], "payload": ["{}"], "n": [1]}), "and others: n"),
    ]:
        with pytest.raises(InvalidArgument, match=why):
            books.upsert(table)
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InvalidArgument, match="Arrow cannot read"):
        books.upsert(pandas.DataFrame({"id": ["a", "b"], "x": [1, {"y": 2}]}))
    assert not server.calls


def test_rows_that_cannot_be_stored_are_named(books):
    table = arrow.table(
        {
            "id": ["a", None, "c", "d", "e"],
            "vector": [[1.0, 2.0, 3.0]] * 3 + [[1.0, None, 3.0], [1.0]],
            "raw": [None, None, b"x", None, None],
        }
    )
    with pytest.raises(WriteFailed) as caught:
        books.upsert(table)
    assert [(one.index, one.reason) for one in caught.value.report.failures] == [
        (1, "BAD_POINT"),
        (2, "BAD_PAYLOAD"),
        (3, "BAD_VECTOR"),
        (4, "DIMENSION_MISMATCH"),
    ]


def test_a_table_is_read_in_step(server):
    ahead = []

    def batches():
        for i in range(50):
            ahead.append(i)
            yield arrow.record_batch({"id": [f"p{i}"] * 2})

    reader = arrow.RecordBatchReader.from_batches(arrow.schema([("id", arrow.string())]), batches())
    points = table_points(reader)
    assert [next(points)["id"] for _ in range(4)] == ["p0", "p0", "p1", "p1"]
    assert len(ahead) <= 4


@pytest.fixture
def full(db, books, server):
    spaces = {"": Space(3), "s": SparseSpace(), "b": Space(2)}
    db.create_collection("books", spaces=spaces)
    books.upsert(
        {"id": id, "vector": VECTORS[i], "payload": {"n": i, "a": {"b": f"x{i}"}, "id": 7}}
        for i, id in enumerate(IDS)
    )
    books.upsert([{"id": "bare"}, {"id": "s", "vectors": {"s": {3: 0.5, 9: 1.0}}}])
    return books


def test_batches_come_out(full, server):
    batches = list(full.to_batches(page_size=5))
    assert [batch.num_rows for batch in batches] == [5, 5, 2]
    assert [batch.num_rows for batch in full.to_batches(page_size=6)] == [6, 6]
    table = full.to_arrow(page_size=5)
    assert table.schema.names == ["id", "payload", "expires_at", "vector", "vectors.b", "vectors.s"]
    assert table.schema.field("vector").type == arrow.list_(arrow.float32(), 3)
    assert table["id"].to_pylist() == sorted([*IDS, "bare", "s"])
    assert json.loads(table["payload"][1].as_py()) == {"n": 0, "a": {"b": "x0"}, "id": 7}
    assert table["payload"][10:].to_pylist() == ['{"n":9,"a":{"b":"x9"},"id":7}', "{}"]
    assert table["vector"].null_count == 2
    assert table["vector"][1].as_py() == VECTORS[0].tolist()
    assert table["vectors.s"][11].as_py() == {"indices": [3, 9], "values": [0.5, 1.0]}
    assert table["vectors.b"].null_count == 12


def test_what_comes_out_goes_in(full, server):
    before = {id: put.SerializeToString() for id, put in server.points.items()}
    table = full.to_arrow()
    for put in server.points.values():
        put.version = 0
    before = {id: put.SerializeToString(deterministic=True) for id, put in server.points.items()}
    server.points.clear()
    full.upsert(table)
    for put in server.points.values():
        put.version = 0
        put.payload = b"" if put.payload == b"{}" else put.payload
    after = {id: put.SerializeToString(deterministic=True) for id, put in server.points.items()}
    assert after == before


def test_fields_are_columns(full, server):
    fields = {"n": arrow.int32(), "a.b": "string", "nobody": "float64"}
    table = full.to_arrow(fields=fields, with_vectors=False)
    assert table.schema.names == ["id", *fields, "expires_at"]
    assert table.schema.field("n").type == arrow.int32()
    assert table["n"].to_pylist() == [None, *range(10), None]
    assert table["a.b"][1].as_py() == "x0"
    assert table["nobody"].null_count == 12
    server.points["p3"].payload = b'{"n": "three"}'
    with pytest.raises(InvalidArgument, match="'n' does not fit int32") as caught:
        full.to_arrow(fields=fields)
    assert caught.value.reason == "PAYLOAD_MISMATCH"
    with pytest.raises(InvalidArgument, match="name of another column"):
        full.to_arrow(fields={"id": "string"})


def test_times_are_columns(books, db, server):
    db.create_collection("books", dim=3)
    books.upsert([{"id": "a", "payload": {"when": datetime(2024, 5, 1, tzinfo=UTC)}}, {"id": "b"}])
    table = books.to_arrow(fields={"when": arrow.timestamp("us", "UTC")})
    assert table["when"].to_pylist() == [datetime(2024, 5, 1, tzinfo=UTC), None]


def test_an_empty_collection_has_columns(books, db):
    db.create_collection("books", dim=3)
    assert books.to_arrow().schema.names == ["id", "payload", "expires_at", "vector"]
    assert len(books.to_arrow()) == 0
    pytest.importorskip("pandas")
    assert list(books.to_pandas()) == ["id", "expires_at", "vector"]


def test_frames_come_out(full):
    pytest.importorskip("pandas")
    frame = full.to_pandas()
    assert list(frame) == [
        "id",
        "n",
        "a",
        "payload.id",
        "expires_at",
        "vector",
        "vectors.b",
        "vectors.s",
    ]
    assert frame.n.tolist()[1:11] == list(range(10))
    assert np.array_equal(np.stack(frame.vector[1:11]), VECTORS)
    assert frame.vector[0] is None
    typed = full.to_pandas(fields={"n": "int64"}, with_vectors=False)
    assert list(typed) == ["id", "n", "expires_at"]


def test_lists_are_asked_for_as_listed(full, server):
    server.lists.clear()
    list(full.to_batches(order_by="n", descending=True, page_size=7))
    assert {one.page_size for one in server.lists} == {7}
    assert all(one.order_by.descending and one.with_vectors for one in server.lists)
    assert not server.exports


def test_all_points_are_exported(full, server):
    server.lists.clear()
    batches = list(full.to_batches(F("n") >= 0, slice=(1, 4), page_size=7))
    assert [len(batch) for batch in batches] == [7] * (len(server.points) // 7) + [
        len(server.points) % 7
    ]
    (asked,) = server.exports
    assert (asked.slice.index, asked.filter) == (1, (F("n") >= 0).message)
    assert asked.with_vectors
    assert not server.lists
    for arguments, why in (
        ({"order_by": "n", "slice": (1, 4)}, "slices go with the order of ids"),
        ({"page_size": 0}, "page_size"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            list(full.to_batches(**arguments))


def test_the_client_imports_neither():
    code = "import sys, vecdb_client; print({'pyarrow', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_pyarrow_the_way_out_is_named(books, monkeypatch):
    class Frame:
        def __arrow_c_stream__(self, requested_schema=None): ...

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'vecdb-client\[arrow\]'"):
        books.upsert(Frame())
