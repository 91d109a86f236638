"""`vecdb import --from`: exports of Qdrant, Chroma and pgvector, in the forms they document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.live import LiveServer
from vecdb.cli import foreign_rows, main
from vecdb.cli.foreign_rows import foreign_reader, json_values
from vecdb.errors import InvalidArgument
from vecdb_client import Client, Space, SparseSpace

Import = Callable[..., str]

# As in Qdrant's reference of scroll, Chroma's of Collection.get and pgvector's README.
UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
SCROLL = [
    {
        "time": 0.002,
        "status": "ok",
        "result": {
            "points": [
                {
                    "id": 40,
                    "payload": {"city": "London", "color": "green"},
                    "vector": [0.875, 0.140625, 0.897599995136261],
                    "shard_key": "region_1",
                },
                {"id": UUID, "payload": None, "vector": [1, 0, 0]},
            ],
            "next_page_offset": 42,
        },
    },
    {"status": "ok", "result": {"points": [{"id": 42}], "next_page_offset": None}, "time": 0.1},
]
GOT = {
    "ids": ["id1", "id2", "id3"],
    "embeddings": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
    "documents": ["one", None, "three"],
    "metadatas": [{"chapter": 3}, None, {"chapter": 4, "flag": True}],
    "uris": None,
    "data": None,
    "included": ["embeddings", "documents", "metadatas"],
}
COPIED = (
    "id,content,embedding,terms,category_id\n"
    '1,"Hello, ""you""","[1,2,3]","{1:0.5,3:2}/5",7\n'
    '2,,"[4.5,-5e-05,6]",{}/5,\n'
    "3,[draft],,,8\n"
)


@pytest.fixture
def load(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Import:
    monkeypatch.setenv("VECDB_ADDRESS", server.address)

    def call(file: Path, *words: str, status: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["vecdb", "import", str(file), "foreign", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == status, said.err
        return said.out + said.err

    return call


def stored(client: Client) -> dict[str, tuple[list[float] | None, object]]:
    points = client.collection("foreign").list(with_vectors=True)
    found = {one.id: (one.vector and [*one.vector], one.payload) for one in points}
    client.delete_collection("foreign")
    return found


@pytest.mark.parametrize("between", ["\n", "", ",", "lines"])
def test_qdrant(load: Import, client: Client, tmp_path: Path, between: str) -> None:
    file = tmp_path / "scroll.json"
    if between == ",":
        file.write_text(json.dumps([point for one in SCROLL for point in one["result"]["points"]]))
    elif between == "lines":
        points = [point for one in SCROLL for point in one["result"]["points"]]
        file.write_text("\n".join(map(json.dumps, points)))
    else:
        file.write_text(between.join(map(json.dumps, SCROLL)))
    load(file, "--from", "qdrant", "--metric", "dot")
    assert stored(client) == {
        "40": (
            pytest.approx([0.875, 0.140625, 0.897599995136261]),
            {"city": "London", "color": "green"},
        ),
        UUID: ([1, 0, 0], {}),
        "42": (None, {}),
    }


def test_named_and_sparse_vectors_of_qdrant(load: Import, client: Client, tmp_path: Path) -> None:
    vector = {"image": [1.0, 0.0], "text": {"indices": [6, 7], "values": [1.0, 2.0]}}
    file = tmp_path / "scroll.json"
    file.write_text(json.dumps({"result": {"points": [{"id": 1, "vector": vector}]}}))
    assert "does not exist" in load(file, "--from", "qdrant", status=1)
    spaces = {"image": Space(2, "dot"), "text": SparseSpace()}
    foreign = client.create_collection("foreign", spaces=spaces)
    load(file, "--from", "qdrant")
    (point,) = foreign.get("1", with_vectors=True).points
    assert [*point.vectors["image"]] == [1, 0]
    assert [*point.sparse["text"].indices] == [6, 7]
    client.delete_collection("foreign")


def test_chroma(load: Import, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "got.json"
    file.write_text(json.dumps(GOT, indent=2))
    load(file, "--from", "chroma", "--metric", "euclid")
    assert stored(client) == {
        "id1": ([1, 2, 3], {"chapter": 3, "document": "one"}),
        "id2": ([4, 5, 6], {}),
        "id3": ([7, 8, 9], {"chapter": 4, "flag": True, "document": "three"}),
    }


def test_pgvector(load: Import, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text(COPIED)
    spaces = {"": Space(3, "dot"), "terms": SparseSpace()}
    foreign = client.create_collection("foreign", spaces=spaces)
    load(file, "--from", "pgvector")
    (point,) = foreign.get("1", with_vectors=True).points
    assert [*point.sparse["terms"].indices] == [0, 2]
    assert [*point.sparse["terms"].values] == [0.5, 2]
    assert stored(client) == {
        "1": ([1, 2, 3], {"content": 'Hello, "you"', "category_id": 7}),
        "2": (pytest.approx([4.5, -5e-05, 6]), {}),
        "3": (None, {"content": "[draft]", "category_id": 8}),
    }


WALKED = b"3 2\n17 0.5 -1\n4 2e-1 0.25\n\xe8\x8a\x82 1 0\n"
BINARY = b"2 2\n17 " + np.array([0.5, -1], "<f4").tobytes() + b"\n4 " + bytes(8) + b"\n"


@pytest.mark.parametrize(
    ("origin", "content", "expected"),
    [
        ("node2vec", WALKED, {"17": [0.5, -1], "4": [0.2, 0.25], "节": [1, 0]}),
        ("glove", WALKED.partition(b"\n")[2], {"17": [0.5, -1], "4": [0.2, 0.25], "节": [1, 0]}),
        ("word2vec-binary", BINARY, {"17": [0.5, -1], "4": [0, 0]}),
    ],
)
def test_words_and_nodes_are_points(
    load: Import, client: Client, tmp_path: Path, origin: str, content: bytes, expected: object
) -> None:
    file = tmp_path / "graph.emb"
    file.write_bytes(content)
    load(file, "--from", origin, "--metric", "dot")
    found = {id: [round(x, 6) for x in vector or ()] for id, (vector, _) in stored(client).items()}
    assert found == expected


@pytest.mark.parametrize(
    ("origin", "text", "why"),
    [
        ("qdrant", "{", "not JSON"),
        ("qdrant", "3", "expected replies of scroll, got 3"),
        ("qdrant", '{"result": {"points": 1}}', "expected replies of scroll"),
        ("qdrant", '[{"vector": [1]}]', "expected a point"),
        ("qdrant", '{"status": {"error": "no such collection"}}', "expected a point"),
        ("chroma", '{"ids": [["a"]]}', r"expected results of get\(\)"),
        ("chroma", "[]", r"expected results of get\(\)"),
        ("chroma", '{"ids": ["a"], "embeddings": [[1], [2]]}', "1 ids and 2 embeddings"),
        ("pgvector", "id,embedding\n1,{1:2}/3\n", "rename the column"),
        ("pgvector", "id,embedding\n1,[1],3\n", "more columns than the header"),
        ("milvus", "", "expected qdrant, chroma, pgvector"),
        ("node2vec", "17 0.5 -1\n", "first line does not say how long"),
        ("node2vec", "", "first line does not say how long"),
        ("word2vec", "2 2\na 1 2\n", "says that it has 2 words, and is too short"),
        ("glove", "a 1 2\nb 1\n", "line 2"),
    ],
)
def test_what_is_none_of_theirs_is_named(tmp_path: Path, origin: str, text: str, why: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=why):
        list(foreign_reader(file, origin))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_values_are_read_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(foreign_rows, "READ_BYTES", size)
    values = [{"a": ["ü" * 50, {"}{": '"'}]}, [], 12345, {}, "text", [1.5, None, True], 7]
    file = tmp_path / "file"
    for between in (" ", "\n\n", "\r\n"):
        file.write_text(between.join(json.dumps(one, ensure_ascii=False) for one in values))
        assert list(json_values(file)) == values
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        list(json_values(file))
