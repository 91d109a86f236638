"""Vectors of every kind, and points as parallel columns."""

from __future__ import annotations

import subprocess
import sys
from array import array

import numpy as np
import pytest

from vecdb_client import InvalidArgument
from vecdb_client.vectors import f32_bytes, floats_of, matrix_rows

WANT = np.array([1.5, -2.0, 3.25], "<f4").tobytes()


@pytest.mark.parametrize(
    "numbers",
    [
        [1.5, -2.0, 3.25],
        (1.5, -2, 3.25),
        array("f", [1.5, -2.0, 3.25]),
        array("d", [1.5, -2.0, 3.25]),
        memoryview(array("f", [1.5, -2.0, 3.25])),
        np.array([1.5, -2.0, 3.25], "f4"),
        np.array([1.5, -2.0, 3.25], ">f4"),
        np.array([1.5, -2.0, 3.25], "f8"),
        np.array([1.5, -2.0, 3.25], "f2"),
        np.array([[1.5, 0], [-2.0, 0], [3.25, 0]], "f4")[:, 0],
        list(np.array([1.5, -2.0, 3.25], "f4")),
    ],
)
def test_numbers(numbers):
    assert f32_bytes(numbers) == WANT
    assert list(floats_of(WANT)) == [1.5, -2.0, 3.25]


def test_integers():
    assert f32_bytes(np.array([1, 2], "i8")) == f32_bytes([1, 2]) == f32_bytes(range(1, 3))


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ([], "no numbers"),
        (np.zeros(0, "f4"), "no numbers"),
        (np.zeros((1, 3), "f4"), r"shape \(1, 3\)"),
        (np.zeros((1, 3), "f8"), r"shape \(1, 3\)"),
        (np.float32(1), r"shape \(\)|no sequence"),
        ([[1.0, 2.0]], "real number"),
        (["1.0"], "real number"),
        ([None], "real number"),
        (b"1234", "bytes could be"),
        (None, "no sequence"),
        ({"a": 1}, "no sequence"),
        (np.array(["a"]), "not real numbers"),
        (np.array([1j]), "not real numbers"),
    ],
)
def test_what_is_no_vector(numbers, why):
    with pytest.raises(InvalidArgument, match=why) as caught:
        f32_bytes(numbers)
    assert caught.value.reason == "BAD_VECTOR"


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_matrix(dtype, order):
    matrix = np.asarray(np.arange(2_600 * 3).reshape(2_600, 3) % 1_000, dtype=dtype, order=order)
    rows = list(matrix_rows(matrix))
    assert b"".join(rows) == matrix.astype("<f4").tobytes()
    assert {len(row) for row in rows} == {12}
    assert list(matrix_rows(matrix[::2]))[1] == matrix[2].astype("<f4").tobytes()


def test_matrix_without_numpy():
    view = memoryview(array("f", range(6))).cast("B").cast("f", (2, 3))
    assert list(matrix_rows(view)) == [f32_bytes([0, 1, 2]), f32_bytes([3, 4, 5])]


def test_client_does_not_load_numpy():
    code = "import vecdb_client, sys; raise SystemExit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_columns(books, server):
    matrix = np.arange(2_500 * 3, dtype="f4").reshape(2_500, 3)
    ids = [f"p{i}" for i in range(2_500)]
    report = books.upsert(ids=ids, vectors=matrix, payloads=[{"n": i} for i in range(2_500)])
    assert report.written == 2_500
    assert server.points["p2400"].vectors[""].f32 == matrix[2_400].tobytes()
    assert server.points["p2400"].payload == b'{"n":2400}'


def test_columns_of_spaces_texts_and_generators(books, server):
    books.upsert(
        ids=(f"p{i}" for i in range(3)),
        vectors={"image": np.ones((3, 3)), "other": [[1, 2, 3], "text", None or [4, 5, 6]]},
        texts=["a", "b", "c"],
        payloads=[None, "{}", b'{"a": 1}'],
    )
    point = server.points["p1"]
    assert point.vectors[""].text == "b"
    assert point.vectors["other"].text == "text"
    assert point.vectors["image"].f32 == f32_bytes([1, 1, 1])
    assert [server.points[f"p{i}"].payload for i in range(3)] == [b"", b"{}", b'{"a": 1}']


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"ids": ["a", "b"], "vectors": np.zeros((3, 3), "f4")}, "ids has 2, vectors has 3"),
        ({"ids": ["a", "b"], "texts": ["x"]}, "differ in length"),
        ({"ids": lambda: iter(["a", "b"]), "payloads": lambda: iter([{}])}, "differ in length"),
        ({"ids": "ab", "texts": ["x", "y"]}, "ids is a list"),
        ({"ids": ["a"], "vectors": [[1, 2, 3]], "texts": ["x"]}, "fills already"),
        ({"ids": ["a"], "vectors": 7}, r"\(n, dim\)"),
        ({"ids": ["a"], "vectors": np.zeros((1, 0), "f4")}, "no numbers"),
    ],
)
def test_columns_that_do_not_fit(books, server, columns, why):
    columns = {name: column() if callable(column) else column for name, column in columns.items()}
    with pytest.raises(InvalidArgument, match=why):
        books.upsert(**columns)


def test_bad_row_does_not_sink_the_column(books, server):
    report = books.upsert(ids=["a", "b"], vectors=[[1, 2, 3], [[1]]], on_error="collect")
    assert report.written == 1
    assert (report.failures[0].index, report.failures[0].id) == (1, "b")
