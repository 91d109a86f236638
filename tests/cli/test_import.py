"""`vecdb import`: JSON lines and tables, what a bad row says, and going on after kill -9."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tests.live import LiveServer
from vecdb.cli import main
from vecdb_client import Client, Collection

pytestmark = pytest.mark.takes_turns


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]
NAME = "rows"


@pytest.fixture
def run(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that imports a file into `rows`, in this process."""
    monkeypatch.setenv("VECDB_ADDRESS", server.address)

    def call(file: Path, *words: str) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["vecdb", "import", str(file), NAME, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code or 0
        assert isinstance(status, int)
        return Ended(status, *capsys.readouterr())

    return call


@pytest.fixture
def rows(client: Client) -> Iterator[Collection]:
    """The collection that is imported into; it is made by the import, and gone afterwards."""
    yield client.collection(NAME)
    client.delete_collection(NAME, if_exists=True)


def state_of(file: Path) -> Path:
    return file.with_name(file.name + ".vecdb-import")


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def lines(folder: Path, *objects: object, name: str = "rows.jsonl") -> Path:
    return written(folder, name, "".join(json.dumps(one) + "\n" for one in objects))


def done(ended: Ended, file: Path, points: int) -> None:
    assert ended.status == 0, ended.stderr
    assert f"{points:,} points imported" in ended.stdout
    assert not state_of(file).exists()


def failed(ended: Ended, *words: str) -> None:
    assert ended.status == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    said = "".join(ended.stderr.split())  # a line may be broken anywhere, in a path say
    assert "error:" in said
    for word in words:
        assert "".join(word.split()) in said


def stored(rows: Collection) -> dict[str, dict[str, object]]:
    return {point.id: point.payload for point in rows.list()}


# --- JSON lines


def test_json_lines(run: Run, rows: Collection, tmp_path: Path) -> None:
    file = lines(
        tmp_path,
        {"id": "a", "vector": [1, 0, 0], "payload": {"n": 1}},
        {"id": "b", "vector": [0, 1, 0], "n": 2, "tags": ["x", "y"], "deep": {"é": None}},
        {"id": 3, "vector": [0, 0, 1]},
        {"vector": [1, 1, 1], "n": 4},
    )
    done(run(file, "--metric", "dot"), file, 4)
    assert stored(rows) == {
        "a": {"n": 1},
        "b": {"n": 2, "tags": ["x", "y"], "deep": {"é": None}},
        "3": {},
        "4": {"n": 4},  # the row's number, where there is no id
    }
    space = rows.info().spaces[""]
    assert (space.dim, space.metric) == (3, "dot")
    assert rows.search([2, 0, 0], k=1)[0].id in ("a", "4")


def test_what_is_there_is_replaced(run: Run, rows: Collection, tmp_path: Path) -> None:
    file = lines(tmp_path, {"id": "a", "vector": [1, 0], "n": 1})
    done(run(file), file, 1)
    file = lines(tmp_path, {"id": "a", "vector": [0, 1], "m": 2}, {"id": "b", "vector": [1, 1]})
    done(run(file), file, 2)
    assert stored(rows) == {"a": {"m": 2}, "b": {}}


def test_blank_lines_and_a_byte_order_mark(run: Run, rows: Collection, tmp_path: Path) -> None:
    file = written(tmp_path, "r.jsonl", '\ufeff{"id":"a","vector":[1]}\n\n  \n{"vector":[2]}')
    done(run(file), file, 2)
    assert set(stored(rows)) == {"a", "2"}


def test_another_field_is_the_id(run: Run, rows: Collection, tmp_path: Path) -> None:
    file = lines(tmp_path, {"sku": "s-1", "id": 7, "vector": [1, 2], "n": 1})
    done(run(file, "--id", "sku"), file, 1)
    assert stored(rows) == {"s-1": {"id": 7, "n": 1}}  # `id` is a field as any other then


def test_vectors_of_several_spaces(run: Run, rows: Collection, client: Client, tmp_path) -> None:
    from vecdb_client import Space

    client.create_collection(NAME, spaces={"a": Space(2), "b": Space(3)})
    file = lines(tmp_path, {"id": "x", "vectors": {"a": [1, 2], "b": [1, 2, 3]}, "n": 1})
    done(run(file), file, 1)
    assert stored(rows) == {"x": {"n": 1}}
    assert set(rows.get("x", with_vectors=True).points[0].vectors) == {"a", "b"}


def test_refused_rows_are_named_and_the_others_stored(run, rows, tmp_path: Path) -> None:
    file = lines(
        tmp_path,
        {"id": "a", "vector": [1, 0]},
        {"id": "short", "vector": [1]},
        {"id": "zero", "vector": [0, 0]},
        {"id": "b", "vector": [0, 1]},
    )
    ended = run(file)
    assert ended.status == 1
    said = " ".join(ended.stderr.split())
    for word in ("row 2 (short)", "got 1", "row 3 (zero)", "2 rows were not stored"):
        assert word in said
    assert "2 points imported" in ended.stdout
    assert set(stored(rows)) == {"a", "b"}
    assert not state_of(file).exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id":"a","vector":[1]}\n{"id":\n', ["line 2", "not JSON"]),
        ('{"id":"a","vector":[1]}\n\n\n[1, 2]\n', ["line 4", "expected an object", "list"]),
        ('{"id":"a","vector":[1]}\n{"a":%s}\n' % ("[" * 9_000), ["line 2"]),
    ],
)
def test_a_bad_line_is_named(run: Run, rows: Collection, tmp_path: Path, text, words) -> None:
    file = written(tmp_path, "bad.jsonl", text)
    failed(run(file), "bad.jsonl", *words)


def test_bytes_that_are_no_text_are_named(run: Run, rows: Collection, tmp_path: Path) -> None:
    for name in ("bad.jsonl", "bad.csv"):
        file = tmp_path / name
        file.write_bytes(b'{"id":"a","vector":[1]}\n\xff\xfe\x00\n')
        failed(run(file), name, "UTF-8")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.xml", "<a/>", [".jsonl", ".csv"]),
        ("a.jsonl", "", ["'rows'", "no vector"]),
        ("a.jsonl", '{"id": "a"}\n', ["'rows'", "no vector", "--text"]),
        ("a.csv", "id,n\na,1\n", ["'rows'", "no vector"]),
    ],
)
def test_a_file_that_makes_no_collection(run, rows, client, tmp_path, name, text, words) -> None:
    failed(run(written(tmp_path, name, text)), *words)
    assert NAME not in [one.name for one in client.list_collections()]


def test_text_without_a_worker_says_why(run: Run, rows: Collection, tmp_path: Path) -> None:
    file = lines(tmp_path, {"id": "a", "body": "hello"})
    failed(run(file, "--text", "body"), "embed.enabled")


# --- tables


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t")])
def test_a_table(run: Run, rows: Collection, tmp_path: Path, suffix: str, mark: str) -> None:
    text = (
        '"id","vector","n","price","name","note"\n'
        '"a","[1, 0.5]","7","1.5","007","two\nlines, ""quoted"""\n'
        '"b","[0, 1]","-3","1.50","1_000",""\n'
        '"c","[1, 1]","12345678901234567890","nan","inf","é"\n'
    ).replace('","', f'"{mark}"')
    file = written(tmp_path, f"rows.{suffix}", text)
    done(run(file), file, 3)
    found = stored(rows)
    assert found["a"] == {"n": 7, "price": 1.5, "name": "007", "note": 'two\nlines, "quoted"'}
    assert found["b"]["n"] == -3
    assert found["b"]["name"] == "1_000"
    assert found["c"] == {"n": 12345678901234567890, "price": "nan", "name": "inf", "note": "é"}
    assert list(rows.get("a", with_vectors=True).points[0].vector) == [1, 0.5]


def test_prices_are_numbers_however_many_noughts(run, rows, tmp_path: Path) -> None:
    file = written(tmp_path, "p.csv", 'id,vector,price\na,"[1]",1.50\nb,"[1]",2.00\nc,"[1]",1e3\n')
    done(run(file), file, 3)
    assert {id: payload["price"] for id, payload in stored(rows).items()} == {
        "a": 1.5,
        "b": 2.0,
        "c": 1000.0,
    }


def test_a_row_of_too_many_columns_is_named(run: Run, rows: Collection, tmp_path: Path) -> None:
    file = written(tmp_path, "wide.csv", 'id,vector\na,"[1]"\nb,"[1]",surplus\n')
    failed(run(file), "wide.csv", "line 3", "columns")


def test_a_cell_may_be_long(run: Run, rows: Collection, tmp_path: Path) -> None:
    vector = json.dumps([0.123456789012345] * 9_000)  # more than csv's own limit of 128 KiB
    file = written(tmp_path, "long.csv", f'id,vector\na,"{vector}"\n')
    done(run(file), file, 1)
    assert rows.info().spaces[""].dim == 9_000


# --- going on


def test_a_parquet_table_of_anybody(run: Run, rows: Collection, tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    columns = {
        "id": ["a", "b", None],
        "vector": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        "at": [datetime(2024, 2, 29, 12), None, datetime(2024, 3, 1, tzinfo=UTC)],
        "day": [date(2024, 2, 29), None, None],
        "tags": [["x"], [], None],
        "count": [2**53 + 1, None, 0],
    }
    columns["at"] = [moment and moment.replace(tzinfo=None) for moment in columns["at"]]
    parquet.write_table(pyarrow.table(columns), file)
    done(run(file), file, 3)
    assert stored(rows) == {
        "a": {"at": "2024-02-29T12:00:00Z", "day": "2024-02-29", "tags": ["x"], "count": 2**53 + 1},
        "b": {"tags": []},
        "3": {"at": "2024-03-01T00:00:00Z", "count": 0},
    }
    parquet.write_table(pyarrow.table({"id": ["a"], "raw": [b"x"]}), file)
    failed(run(file), "raw", "bytes")
    file.write_bytes(b"PAR1 no PAR1")
    failed(run(file), "table.parquet", "Parquet")


def test_an_npy_array(run: Run, rows: Collection, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "vectors.npy"
    vectors = np.arange(12, dtype=np.float64).reshape(4, 3) + 0.5
    np.save(file, vectors)
    done(run(file, "--metric", "dot"), file, 4)
    assert [(p.id, list(p.vector)) for p in rows.list(with_vectors=True)] == [
        (str(n + 1), list(vector)) for n, vector in enumerate(vectors.tolist())
    ]
    lines(tmp_path, {"id": "a", "payload": {"n": 1}}, {"n": 2}, name="vectors.jsonl")
    failed(run(file), "vectors.jsonl has 2 rows", "4")
    lines(tmp_path, *[{"id": str(n)} for n in range(5)], name="vectors.jsonl")
    failed(run(file, "--restart"), "vectors.jsonl", "more than the 4")
    for wrong in (np.zeros(3), np.array([["a", "b"]]), np.array([{}])):
        np.save(file, wrong)
        failed(run(file, "--restart"), "vectors.npy")
    file.write_text("no array")
    failed(run(file, "--restart"), "vectors.npy")


def test_a_state_of_another_import_is_refused(run: Run, rows, tmp_path: Path) -> None:
    file = lines(tmp_path, {"id": "a", "vector": [1, 0]}, {"id": "b", "vector": [0, 1]})
    stat = file.stat()
    state = {"collection": NAME, "size": stat.st_size, "modified_ns": stat.st_mtime_ns, "rows": 1}
    for other in ({"collection": "other"}, {"size": 1}, {"modified_ns": 1}):
        state_of(file).write_text(json.dumps({**state, **other}))
        failed(run(file), state_of(file).name, "--restart")
    for broken in ("", "{", '{"rows": 1}', "[]"):
        state_of(file).write_text(broken)
        failed(run(file), state_of(file).name, "--restart")
    done(run(file, "--restart"), file, 2)
    assert set(stored(rows)) == {"a", "b"}
    rows.delete(["a", "b"])
    state_of(file).write_text(json.dumps(state))
    ended = run(file)
    assert "going on after row 1" in ended.stderr
    assert set(stored(rows)) == {"b"}


def test_killed_half_way_it_goes_on(server: LiveServer, rows, run: Run, tmp_path: Path) -> None:
    count = 40_000
    file = tmp_path / "many.jsonl"
    with file.open("w") as out:
        for n in range(count):
            # Every other row has no id: its number stands for it, before and after the kill.
            name = f'"id":"r{n}",' if n % 2 else ""
            out.write(f'{{{name}"vector":[1,{n}],"n":{n}}}\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "vecdb", "import", str(file), NAME],
        env={**os.environ, "VECDB_ADDRESS": server.address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    while not state_of(file).exists():
        assert process.poll() is None, process.stderr.read()
        os.sched_yield()
    process.kill()
    process.communicate()
    before = json.loads(state_of(file).read_text())
    assert 0 < before["rows"] < count
    assert before["rows"] <= rows.count() <= count
    ended = run(file)
    assert f"going on after row {before['rows']:,}" in ended.stderr
    done(ended, file, count)
    found = {point.id: point.payload["n"] for point in rows.list(page_size=10_000)}
    assert found == {(f"r{n}" if n % 2 else str(n + 1)): n for n in range(count)}
    assert rows.count() == count


# --- texts


def test_texts_are_encoded(text_server: LiveServer, monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("VECDB_ADDRESS", text_server.address)
    file = written(tmp_path, "t.csv", "id,body,n\na,a cat sleeps,1\nb,ships sail at dawn,2\nc,,3\n")
    monkeypatch.setattr("sys.argv", ["vecdb", "import", str(file), NAME, "--text", "body"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    with text_server.client() as client:
        rows = client.collection(NAME)
        assert rows.info().spaces[""].model == "all-minilm-l6-v2"
        hit = rows.search("a resting pet", k=1, with_texts=True)[0]
        assert (hit.id, hit.texts[""]) == ("a", "a cat sleeps")
        assert hit.payload == {"body": "a cat sleeps", "n": 1}
        assert rows.count() == 3  # without a text there is no vector, but there is the point
        client.delete_collection(NAME)
