"""Backups of a real server: consistent, no more than what is new, restored as they were."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator, Set
from pathlib import Path

import numpy as np
import pytest

from tests.backup.conftest import Run
from tests.backup.shelf import (
    DIM,
    POINTS,
    SMALL,
    VECTORS,
    contents,
    fill,
    listed,
    manifest,
    nearest,
    objects,
    staged,
)
from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from vecdb_client import (
    NO_RETRIES,
    AlreadyExists,
    BackupCollection,
    BackupObject,
    Changes,
    Client,
    Collection,
    DataLoss,
    InvalidArgument,
    NotFound,
    Overloaded,
    VecdbError,
)

pytestmark = pytest.mark.takes_turns


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    settings: dict[str, object] = {key.replace("__", "."): value for key, value in SMALL.items()}
    settings |= {"embed.enabled": "false", "server.workers": request.param}
    live = LiveServer(tmp_path_factory.mktemp("backups") / "data", settings).start()
    with live.client() as client:
        fill(client)
        fill(client, "few", 3)
        client.create_collection("empty", dim=2)
        client.set_aliases({"library": "books"})
    yield live
    assert live.stop() == 0


def test_all_of_it_comes_back_in_a_new_data_directory(
    server: LiveServer, vecdb: Run, tmp_path: Path, make_server: MakeServer
) -> None:
    kept, data = tmp_path / "kept", tmp_path / "data"
    made = vecdb("backup", kept, server=server)
    assert made.returncode == 0
    assert f"of 3 collections, {POINTS + 2} points" in made.stdout
    assert vecdb("backups", kept, "--verify").returncode == 0
    back = vecdb("restore", kept, "--data", data)
    assert back.returncode == 0, back.stderr
    assert vecdb("check", "--data", data).returncode == 0
    other = make_server()
    with server.client() as client, other.client() as restored:
        assert restored.list_aliases() == client.list_aliases()
        for name in ("books", "few", "empty"):
            before, after = client.collection(name), restored.collection(name)
            assert contents(after) == contents(before)
            assert after.info() == before.info()
            assert after.stats().applied_seq == before.stats().applied_seq
        books = restored.collection("books")
        assert books.stats().segments[0].rows == client.collection("books").stats().segments[0].rows
        for n in (5, 100):
            assert nearest(books, n) == nearest(client.collection("books"), n)
        books.upsert([{"id": "more", "vector": VECTORS[1]}])
        assert books.count() == POINTS


def test_a_second_backup_sends_what_is_new(server: LiveServer, vecdb: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with server.client() as client:
        books = client.clone_collection("books", "growing")
        assert vecdb("backup", kept, "growing", server=server).returncode == 0
        first = manifest(kept)
        before = objects(kept)
        assert vecdb("backup", kept, "growing", server=server).returncode == 0
        assert objects(kept) == before  # nothing was written, so nothing is new
        books.upsert([{"id": "one more", "vector": VECTORS[3]}])
        assert vecdb("backup", kept, "growing", server=server).returncode == 0
        last = manifest(kept)
        client.delete_collection("growing")
    (then,), (now,) = first["collections"], last["collections"]
    assert now["segments"] == then["segments"]
    new = objects(kept).keys() - before.keys()
    assert new == {now["store"]["sha256"]}
    assert (now["seq"], now["points"]) == (then["seq"] + 1, then["points"] + 1)
    assert len(listed(kept)) == 3
    assert vecdb("backups", kept, "--verify").returncode == 0


def test_each_backup_is_one_moment_while_others_write(
    server: LiveServer, vecdb: Run, tmp_path: Path
) -> None:
    """Every write puts a pair, and moves a marker: a copy of half a write would lack one."""
    done = threading.Event()
    failures: list[VecdbError] = []

    def write(points: Collection) -> None:
        n = 0
        try:
            while not done.is_set():
                n += 1
                points.upsert(
                    [
                        {"id": f"a{n}", "vector": [n] * 2, "payload": {"n": n}},
                        {"id": f"b{n}", "vector": [n] * 2, "payload": {"n": n}},
                        {"id": "last", "vector": [n] * 2, "payload": {"n": n}},
                    ],
                )
        except VecdbError as error:
            failures.append(error)

    with server.client() as client, server.client() as other:
        client.create_collection("written", dim=2, metric="dot")
        thread = threading.Thread(target=write, args=(other.collection("written"),))
        thread.start()
        try:
            for n in range(4):
                wait_until(lambda n=n: client.collection("written").count() > 100 * n)
                assert vecdb("backup", tmp_path, "written", server=server).returncode == 0
        finally:
            done.set()
            thread.join()
        assert not failures
        points = []
        for n, identity in enumerate(listed(tmp_path)):
            name = f"back-{n}"
            given = ("--backup", identity, "--as", name)
            assert vecdb("restore", tmp_path, *given, server=server).returncode == 0
            found = contents(client.collection(name))
            (_, last, _) = found.pop("last")
            pairs = range(1, last["n"] + 1)
            assert found.keys() == {f"{of}{n}" for n in pairs for of in "ab"}
            assert [len(found), client.collection(name).count()] == [2 * last["n"], len(found) + 1]
            points.append(len(found))
            client.delete_collection(name)
        assert points == sorted(set(points))
        client.delete_collection("written")


def test_in_place_readers_see_one_or_the_other(
    server: LiveServer, vecdb: Run, tmp_path: Path
) -> None:
    archive = tmp_path / "books.tar"
    with server.client() as client, server.client() as other:
        books = client.clone_collection("books", "replaced")
        client.set_aliases({"shelf": "replaced"})
        assert vecdb("backup", archive, "replaced", server=server).returncode == 0
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        then = contents(books)
        books.delete([f"p{n}" for n in range(100)])
        books.upsert([{"id": "since", "vector": VECTORS[9], "payload": {"n": 9}}])
        seq = books.upsert([{"id": "since", "vector": VECTORS[8]}], idempotency_key="k").commit_seq
        stream = books.watch()
        next(stream)
        seen: set[int] = set()
        done, failures = threading.Event(), []

        def read() -> None:
            while not done.is_set():
                try:
                    seen.add(other.collection("shelf").count())
                except VecdbError as error:
                    failures.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            refused = vecdb("restore", archive, server=server)
            assert refused.returncode == 1
            assert "exists" in refused.stderr
            made = vecdb("restore", archive, "--replace", server=server)
            assert made.returncode == 0, made.stderr
            assert "replaced" in made.stdout
            wait_until(lambda: len(then) in seen)
        finally:
            done.set()
            thread.join()
        assert not failures
        assert seen <= {len(then), len(then) - 100 + 3}
        assert contents(books) == then
        assert nearest(books, 50) == nearest(client.collection("books"), 50)
        assert client.list_aliases()["shelf"] == "replaced"
        # Its log goes on: a seq that was given stays true, and what comes is past it.
        assert books.search(VECTORS[5], k=5, min_commit_seq=seq)
        assert books.upsert([{"id": "after", "vector": VECTORS[0]}]).commit_seq > seq
        again = books.upsert([{"id": "since", "vector": VECTORS[8]}], idempotency_key="k")
        assert again.commit_seq == seq  # what was answered once is answered again
        assert followed(stream, then.keys() | {"after"}) == then.keys() | {"after"}
        client.set_aliases({"shelf": None})
        client.delete_collection("replaced")
    assert staged(server) == []


def followed(stream: Iterator[Changes], ids: Set[str]) -> Set[str]:
    """Return what one who follows takes for the points, once that is as expected, or all there is.

    All that there were go at once, and then those of the backup come.
    """
    known: set[str] = set()
    begun = False
    for changes in stream:
        begun |= changes.truncated
        if changes.truncated:
            known.clear()
        known.difference_update(changes.deleted)
        known.update(point.id for point in changes.points)
        if begun and known == ids:
            break
    return known


def test_a_replaced_collection_is_as_it_was_after_a_restart(
    vecdb: Run, tmp_path: Path, make_server: MakeServer
) -> None:
    server = make_server(**SMALL)
    with server.client() as client:
        books = fill(client)
        assert vecdb("backup", tmp_path / "kept", server=server).returncode == 0
        then = contents(books)
        books.delete([f"p{n}" for n in range(200)])
        assert vecdb("restore", tmp_path / "kept", "--replace", server=server).returncode == 0
        books.upsert([{"id": "since", "vector": VECTORS[9]}])
    server.kill()
    assert vecdb("check", "--data", server.data).returncode == 0
    server.start()
    with server.client() as client:
        books = client.collection("books")
        found = contents(books)
        assert found.pop("since")
        assert found == then


def test_what_cannot_be_asked(server: LiveServer, vecdb: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert vecdb("backup", kept, "nobody", server=server).returncode == 1
    assert listed(kept) == []
    empty = vecdb("restore", kept, server=server)
    assert (empty.returncode, "there is no backup" in empty.stderr) == (1, True)
    assert vecdb("backup", kept, server=server).returncode == 0
    for words, said in (
        (("restore", kept, "nobody"), "no collection 'nobody'"),
        (("restore", kept, "--as", "one"), "cannot all be called"),
        (("restore", kept, "books", "--as", "library"), "'library' is an alias of 'books'"),
        (("restore", kept, "books", "--as", "-"), "a collection name has"),
        (("restore", kept, "--backup", "20260101T000000.000Z-00000000"), "there is no backup 2026"),
        (("restore", tmp_path / "nowhere"), "is no folder of backups"),
        (("restore", tmp_path / "nowhere.tar"), "cannot be read"),
        (("backup", "ftp://somewhere"), "ftp:// is not known"),
        (("restore", kept, "--data", tmp_path), "is not empty"),
    ):
        ended = vecdb(*words, server=server)
        assert (ended.returncode, said in ended.stderr) == (1, True), ended.stderr
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    ended = vecdb("backup", tmp_path / "photos", server=server)
    assert "neither empty nor a folder of backups" in ended.stderr
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
    vecdb("backup", tmp_path / "one.tar", "few", server=server)
    ended = vecdb("backup", tmp_path / "one.tar", "few", server=server)
    assert "exists" in ended.stderr
    assert vecdb("backup", tmp_path / "one.tar", "few", "--force", server=server).returncode == 0
    assert staged(server) == []


def test_they_are_listed(server: LiveServer, vecdb: Run, tmp_path: Path) -> None:
    for _ in range(3):
        assert vecdb("backup", tmp_path, "few", "library", server=server).returncode == 0
    ids = listed(tmp_path)
    table = vecdb("backups", tmp_path)
    assert table.returncode == 0
    assert all(f"{identity} " in table.stdout for identity in ids)  # whole, to be copied
    assert "books" in table.stdout
    lines = vecdb("backups", tmp_path, "--json").stdout
    assert [one["id"] for one in _json_lines(lines)] == ids
    assert {name: one["points"] for name, one in _json_lines(lines)[0]["collections"].items()} == {
        "few": 3,
        "books": POINTS - 1,
    }
    pruned = vecdb("backup", tmp_path, "few", "--keep", 2, server=server)
    assert "removed 2 older backups" in pruned.stderr
    assert listed(tmp_path)[0] == ids[2]
    assert len(listed(tmp_path)) == 2
    used = {one["store"]["sha256"] for one in manifest(tmp_path)["collections"]}
    assert used < objects(tmp_path).keys()
    # The newest two need the store of few alone, and the older one of them all of books.
    assert vecdb("backup", tmp_path, "few", "--keep", 1, server=server).returncode == 0
    assert objects(tmp_path).keys() == used
    assert vecdb("backups", tmp_path, "--verify").returncode == 0


def _json_lines(text: str) -> list[dict[str, object]]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        one, end = decoder.raw_decode(text, at)
        found.append(one)
        at = end + 1
    return found


def test_one_at_a_time(server: LiveServer) -> None:
    with server.client(retries=NO_RETRIES) as client:
        first = client.backup()
        next(first)
        with pytest.raises(Overloaded, match="another backup"):
            list(client.backup())
        first.close()
        wait_until(lambda: staged(server) == [])  # given up, and nothing is left
        assert _is_manifest(list(client.backup())[-2])


def _is_manifest(part: object) -> bool:
    return isinstance(part, BackupObject) and part.manifest


def test_what_is_sent_is_checked(server: LiveServer, client: Client) -> None:
    parts = [part for part in client.backup(["few"]) if not isinstance(part, BackupCollection)]
    first, chunk, last, encoded = parts
    assert isinstance(first, BackupObject)
    assert isinstance(chunk, bytes)
    assert isinstance(last, BackupObject)
    assert isinstance(encoded, bytes)
    before = {one.name for one in client.list_collections()}
    flipped = bytes([chunk[0] ^ 1]) + chunk[1:]
    other = BackupObject(last.sha256, last.size)
    for sent, error in (
        ([first, flipped, last, encoded], DataLoss),
        ([first, chunk[:-1], last, encoded], DataLoss),
        ([first, chunk + b"more", last, encoded], DataLoss),
        ([first, chunk, last, encoded[:-1]], DataLoss),
        ([first, chunk], DataLoss),
        ([last, encoded], DataLoss),
        ([first, chunk, other, encoded], DataLoss),
        ([], DataLoss),
        ([chunk], InvalidArgument),
        ([last, encoded, first, chunk], InvalidArgument),
        ([first, chunk, first, chunk], InvalidArgument),
        ([BackupObject("00" * 20, 1)], InvalidArgument),
    ):
        with pytest.raises(error):
            client.restore(sent, new_name="new")
    with pytest.raises(AlreadyExists):
        client.restore(parts)
    with pytest.raises(NotFound):
        client.restore(parts, ["nobody"])
    with pytest.raises(AlreadyExists):
        client.restore(parts, new_name="library", replace=True)
    assert {one.name for one in client.list_collections()} == before
    assert staged(server) == []
    (made,) = client.restore(parts, new_name="new")
    assert (made.name, made.source, made.points, made.replaced) == ("new", "few", 3, False)
    assert contents(client.collection("new")) == contents(client.collection("few"))
    client.delete_collection("new")


def test_the_caller_s_own_error_comes_back(client: Client) -> None:
    def parts() -> Iterator[bytes]:
        raise RuntimeError("the disk that was read from")
        yield b""

    with pytest.raises(RuntimeError, match="read from"):
        client.restore(parts(), new_name="new")


def test_many_collections_and_a_large_one(
    vecdb: Run, tmp_path: Path, make_server: MakeServer
) -> None:
    """A store that another process copies, and one whose chunks are many."""
    server = make_server(limits__message_bytes=64 << 10)
    with server.client() as client:
        large = client.create_collection("large", dim=1024, metric="dot")
        rows = np.random.default_rng(3).normal(size=(4_500, 1024)).astype(np.float32)
        for first in range(0, len(rows), 500):
            ids = [f"r{n}" for n in range(first, first + 500)]
            large.upsert(ids=ids, vectors=rows[first : first + 500])
        for n in range(9):
            client.create_collection(f"c{n}", dim=DIM)
        assert vecdb("backup", tmp_path / "all.tar", server=server).returncode == 0
        back = vecdb("restore", tmp_path / "all.tar", "large", "--as", "again", server=server)
        assert back.returncode == 0, back.stderr
        again = client.collection("again")
        assert again.count() == len(rows)
        assert again.get(["r77"], with_vectors=True).points[0].vector == pytest.approx(rows[77])
