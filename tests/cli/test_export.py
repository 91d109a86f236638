"""`vecdb export`, and `vecdb import` of what it wrote: the same points, after kill -9 as well."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer
from vecdb.cli import main
from vecdb_client import (
    Client,
    Collection,
    MultiDenseSpace,
    Space,
    Sparse,
    SparseSpace,
    StoredPoint,
)

pytestmark = pytest.mark.takes_turns

Run = Callable[..., tuple[int, str]]

# Numbers that need all their digits, and the smallest.
ODD = [0.1, -1.1754945e-38, 1e-45, 3.4028235e16, 1 / 3]
MOMENT = datetime(2100, 1, 1, tzinfo=UTC)
PAYLOADS = [{}, {"n": 1}, {"text": '北京\n🙂 "quoted"', "deep": {"a": [1.5, None, True]}}]


@pytest.fixture
def run(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that runs a command here and returns its status and what it said."""
    monkeypatch.setenv("VECDB_ADDRESS", server.address)

    def call(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["vecdb", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), " ".join((said.out + said.err).split())

    return call


def make(client: Client, name: str) -> Collection:
    spaces = {
        "": Space(5, "dot"),
        "ti/tle": Space(2, "euclid"),
        "words": SparseSpace(),
        "tokens": MultiDenseSpace(5, "dot"),
    }
    return client.create_collection(name, spaces=spaces)


@pytest.fixture
def source(client: Client) -> Iterator[Collection]:
    yield filled(client)
    for name in ("source", "target"):
        client.delete_collection(name, if_exists=True)


def filled(client: Client) -> Collection:
    """Return a collection of 2,500 points, of all kinds there are."""
    made = make(client, "source")
    points = []
    for n in range(2_500):
        vectors = {}
        if n % 7:
            vectors[""] = np.roll(ODD, n).astype(np.float32) if n % 5 else [n, 0, 1, 2, 3]
        if n % 3 == 0:
            vectors["ti/tle"] = [n, -n]
        if n % 11 == 0:
            vectors["words"] = Sparse([n, 2**32 - 1], [0.1, -2])
        if n % 13 == 0:
            vectors["tokens"] = np.array([np.roll(ODD, n + i) / 1e3 for i in range(1 + n % 4)])
        points.append({"id": f"{n:04}\u2028é", "vectors": vectors, "payload": PAYLOADS[n % 3]})
        if n % 13 == 0:
            points[-1]["expires_at"] = MOMENT + n * timedelta(milliseconds=1)
    made.upsert(points)
    return made


def content(points: Iterator[StoredPoint] | Collection) -> list[tuple[object, ...]]:
    listed = points.list(with_vectors=True) if isinstance(points, Collection) else points
    return [
        (
            point.id,
            point.payload,
            point.expires_at,
            {name: vector.tobytes() for name, vector in point.vectors.items()},
            {n: (list(s.indices), list(s.values)) for n, s in point.sparse.items()},
            {n: several.tolist() for n, several in point.multi.items()},
        )
        for point in listed
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_collection_comes_back_as_it_was(
    client: Client, source: Collection, run: Run, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"points.{suffix}"
    target = make(client, "target")
    assert run("export", "source", file)[0] == 0
    status, said = run("import", file, "target")
    assert (status, "2,500 points imported" in said) == (0, True), said
    assert content(target) == content(source)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_an_npy_file_has_the_vectors_and_its_lines_the_rest(
    client: Client, source: Collection, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "vectors.npy"
    status, said = run("export", "source", file)
    assert status == 0
    held = [point for point in source.list(with_vectors=True) if point.vector is not None]
    assert f"{2_500 - len(held)} points have no vector" in said
    vectors = np.load(file)
    assert vectors.dtype == np.float32
    assert vectors.tobytes() == b"".join(point.vector.tobytes() for point in held)
    assert run("import", file, "target")[0] == 0
    target = client.collection("target")
    assert [(p.id, p.payload, p.vector, p.expires_at) for p in target.list(with_vectors=True)] == [
        (p.id, p.payload, p.vector, p.expires_at) for p in held
    ]


def test_what_expires_is_a_field_of_the_payload_where_there_is_none(
    client: Client, source: Collection, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [
        {"id": "a", "vector": [1, 2], "expires_at": "2001-01-01T00:00:00Z"},
        {"id": "b", "vector": [1, 2], "expires_at": "2100-01-01T00:00:00.5Z", "payload": {}},
        {"id": "c", "vector": [1, 2], "expires_at": "soon", "payload": {}},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, said = run("import", file, "target")
    assert (status, "row 3 (c): expires_at is a datetime" in said) == (1, True), said
    first, second = client.collection("target").list()
    assert (first.payload, first.expires_at) == ({"expires_at": "2001-01-01T00:00:00Z"}, None)
    assert second.expires_at == MOMENT + timedelta(seconds=0.5)


def test_a_filter_and_another_space(source: Collection, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "two.npy"
    assert run("export", "source", file, "--space", "ti/tle", "--where", "n=1")[0] == 0
    assert np.load(file).shape == (0, 2)  # no point has both
    assert run("export", "source", file, "--space", "ti/tle", "--restart")[0] == 0
    assert np.load(file).shape == (834, 2)


@pytest.mark.parametrize("suffix", ["jsonl", "npy"])
def test_killed_half_way_it_goes_on(
    make_server: MakeServer,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    tmp_path: Path,
    suffix: str,
) -> None:
    server = make_server(limits__message_bytes=64 << 10)  # many small pages
    monkeypatch.setenv("VECDB_ADDRESS", server.address)
    with server.client() as client:
        filled(client)
    whole, file = tmp_path / f"whole.{suffix}", tmp_path / f"killed.{suffix}"
    assert run("export", "source", whole)[0] == 0
    state = file.with_name(file.name + ".vecdb-export")
    kills = 0
    while not file.exists() or state.exists():
        process = subprocess.Popen(
            [sys.executable, "-m", "vecdb", "export", "source", str(file)],
            stderr=subprocess.PIPE,
        )
        before = state.read_text() if state.exists() else ""
        while process.poll() is None and kills < 3:
            if state.exists() and state.read_text() not in ("", before):
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), said
    assert kills == 3
    assert file.read_bytes() == whole.read_bytes()
    lines = file.with_suffix(".jsonl").read_bytes()
    assert lines == whole.with_suffix(".jsonl").read_bytes()


def test_slices_together_are_the_whole(source: Collection, run: Run, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.jsonl", [tmp_path / f"{i}.jsonl" for i in range(3)]
    assert run("export", "source", whole)[0] == 0
    for i, part in enumerate(parts):
        assert run("export", "source", part, "--slice", f"{i}/3")[0] == 0
    lines = [part.read_text().splitlines() for part in parts]
    assert min(map(len, lines)) > 500
    together = sorted(line for part in lines for line in part)
    assert together == sorted(whole.read_text().splitlines())


def test_what_cannot_be_exported_is_said(source: Collection, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    for words, expected in (
        (("nowhere", file), "nowhere"),
        (("source", tmp_path / "points.xlsx"), "expected .jsonl"),
        (("source", tmp_path / "points.npy", "--space", "words"), "expected one of"),
        (("source", file, "--where", "n"), "--where"),
        (("source", file, "--slice", "4/4"), "expected I/N"),
        (("source", file, "--slice", "1"), "expected I/N"),
    ):
        status, said = run("export", *words)
        assert (status, expected in said) == (1, True), said
        assert not list(tmp_path.iterdir())
    file.write_text("mine")
    status, said = run("export", "source", file)
    assert (status, "--restart" in said) == (1, True), said
    assert file.read_text() == "mine"
    state = file.with_name(file.name + ".vecdb-export")
    kept = {
        "collection": "source",
        "where": [],
        "part": "0/1",
        "points": 9,
        "sizes": [999_999],
        "token": "x",
    }
    others = ({"collection": "other"}, {"part": "0/2"})
    for text in (json.dumps(kept), *(json.dumps({**kept, **other}) for other in others), "{", "[]"):
        state.write_text(text)
        status, said = run("export", "source", file)
        assert (status, "--restart" in said) == (1, True), said
    assert file.read_text() == "mine"
