"""Backups that were damaged, or made to do harm: refused by name, and nothing is touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.backup.conftest import Run
from tests.backup.shelf import SMALL, contents, fill, manifest, nearest, staged
from tests.live import LiveServer, wait_until

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    settings: dict[str, object] = {key.replace("__", "."): value for key, value in SMALL.items()}
    settings["embed.enabled"] = "false"
    live = LiveServer(tmp_path_factory.mktemp("hostile") / "data", settings).start()
    with live.client() as client:
        fill(client)
    yield live
    assert live.stop() == 0


@pytest.fixture
def kept(server: LiveServer, vecdb: Run, tmp_path: Path) -> Path:
    """A folder with a backup, to be damaged."""
    assert vecdb("backup", tmp_path / "kept", server=server).returncode == 0
    return tmp_path / "kept"


def archive(kept: Path) -> Path:
    """Return the same backup as an archive, by another hand."""
    path = kept.with_name("kept.tar")
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as made:
        for file in sorted(kept.glob("objects/*/*")):
            made.add(file, f"objects/{file.name}")
        (listed,) = kept.glob("backups/*.json")
        made.add(listed, "manifest.json")
    return path


def path_of(kept: Path, sha256: str) -> Path:
    return kept / "objects" / sha256[:2] / sha256


def file_of(kept: Path, name: str) -> Path:
    """Return where a segment's file is."""
    return path_of(kept, book(kept)["segments"][0]["files"][name]["sha256"])


def book(kept: Path) -> Manifest:
    """Return what the newest manifest says of the one collection."""
    one: Manifest
    (one,) = manifest(kept)["collections"]
    return one


def refused(vecdb: Run, place: Path, server: LiveServer, *says: str) -> None:
    """Neither a new name nor the place of what is there is taken, and nothing is left behind."""
    with server.client() as client:
        before = contents(client.collection("books"))
        for words in (("books", "--as", "new"), ("books", "--replace")):
            ended = vecdb("restore", place, *words, server=server)
            assert ended.returncode == 1
            for each in says:
                assert each in ended.stderr, ended.stderr
        assert [one.name for one in client.list_collections()] == ["books"]
        assert contents(client.collection("books")) == before
    data = place.with_name("data")
    assert vecdb("restore", place, "--data", data).returncode == 1
    assert not data.exists()
    assert not data.with_name("data.restoring").exists()
    assert staged(server) == []


def flip(path: Path, at: int = 1_000) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_names_the_file(server: LiveServer, vecdb: Run, kept: Path) -> None:
    damaged = file_of(kept, "links0-0.npy")
    flip(damaged)
    refused(vecdb, kept, server, damaged.name, "fails its checksum")
    listing = vecdb("backups", kept)
    assert listing.returncode == 0  # sizes alone are looked at
    listing = vecdb("backups", kept, "--verify", "--json")
    assert listing.returncode == 1
    assert f"{damaged.name} fails its checksum" in listing.stdout


def test_what_is_missing_or_cut_is_named(server: LiveServer, vecdb: Run, kept: Path) -> None:
    damaged = file_of(kept, "vectors-0.npy")
    with damaged.open("r+b") as file:
        file.truncate(100)
    refused(vecdb, kept, server, damaged.name, "has 100 bytes, not ")
    assert vecdb("backups", kept).returncode == 1
    damaged.unlink()
    refused(vecdb, kept, server, damaged.name, "is missing")
    # The next backup sends it again, and all of them are whole.
    assert vecdb("backup", kept, server=server).returncode == 0
    assert vecdb("backups", kept, "--verify").returncode == 0


def test_a_link_is_not_followed(server: LiveServer, vecdb: Run, kept: Path, tmp_path: Path) -> None:
    linked = file_of(kept, "vectors-0.npy")
    outside = tmp_path / "outside"
    linked.rename(outside)
    linked.symlink_to(outside)
    refused(vecdb, kept, server, "bytes, not ")  # a link has another size
    content = outside.read_bytes()
    linked.unlink()
    linked.write_bytes(content)
    (listed,) = kept.glob("backups/*.json")
    listed.rename(tmp_path / "manifest")
    listed.symlink_to(tmp_path / "manifest")
    refused(vecdb, kept, server, "is a link")


def change(kept: Path, edit: Callable[[Manifest], object]) -> None:
    """Change a backup's manifest."""
    (listed,) = kept.glob("backups/*.json")
    found = json.loads(listed.read_text())
    edit(found)
    listed.write_text(json.dumps(found))


def first_file(found: Manifest) -> Manifest:
    files: Manifest = found["collections"][0]["segments"][0]["files"]
    return files


def rename_file(name: str) -> Callable[[Manifest], object]:
    def edit(found: Manifest) -> None:
        files = first_file(found)
        files[name] = files.pop("vectors-0.npy")

    return edit


def _set_store(found: Manifest, store: Manifest) -> None:
    found["collections"][0]["store"] = store


HARM: dict[str, tuple[Callable[[Manifest], object], str]] = {
    "up": (rename_file("../../../../evil.npy"), "no file of a segment"),
    "absolute": (rename_file("/etc/evil.npy"), "no file of a segment"),
    "hidden": (rename_file(".npy"), "no file of a segment"),
    "nul": (rename_file("a\0.npy"), "no file of a segment"),
    "program": (rename_file("evil.py"), "no file of a segment"),
    "object": (
        lambda found: first_file(found)["vectors-0.npy"].update(sha256="../" * 21 + "x"),
        "the sha256 is none",
    ),
    "number": (
        lambda found: found["collections"][0]["segments"][0].update(number="../1"),
        "number: expected int",
    ),
    "negative": (
        lambda found: found["collections"][0]["segments"][0].update(number=-1),
        "out of bounds",
    ),
    "huge": (
        lambda found: first_file(found)["vectors-0.npy"].update(size=1 << 60),
        "more than there can be",
    ),
    "name": (lambda found: found["collections"][0].update(name="../evil"), "no collection's name"),
    "uuid": (lambda found: found["collections"][0].update(uuid="../evil"), "the uuid is none"),
    "schema": (lambda found: found["collections"][0].update(schema={}), "cannot be read"),
    "twice": (lambda found: found["collections"].append(found["collections"][0]), "stands twice"),
    "alias": (lambda found: found["aliases"].update({"../a": "books"}), "cannot be"),
    "id": (lambda found: found.update(id="../../evil"), "is none"),
    "newer": (lambda found: found.update(format=99), "this vecdb reads up to 1"),
    "newer data": (lambda found: found.update(data_format=99), "this vecdb reads up to"),
    "no list": (lambda found: found.update(collections="all"), "expected list"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_manifest_that_means_harm(server: LiveServer, vecdb: Run, kept: Path, harm: str) -> None:
    edit, says = HARM[harm]
    change(kept, edit)
    before = sorted(server.data.parent.rglob("*evil*"))
    ended = vecdb("restore", kept, "books", "--as", "new", server=server)
    assert (ended.returncode, says in ended.stderr) == (1, True), ended.stderr
    assert sorted(server.data.parent.rglob("*evil*")) == before == []
    assert vecdb("backups", kept).returncode == 1
    assert staged(server) == []


def test_the_server_judges_a_manifest_itself(server: LiveServer, kept: Path) -> None:
    """Not by what the command line has seen: a client of another kind may send anything."""
    from vecdb_client import BackupObject, DataLoss

    encoded = json.dumps(
        {**manifest(kept), "collections": [{**manifest(kept)["collections"][0], "name": "../x"}]}
    ).encode()
    one = BackupObject(hashlib.sha256(encoded).hexdigest(), len(encoded), manifest=True)
    with server.client() as client, pytest.raises(DataLoss, match="no collection's name"):
        client.restore([one, encoded])


def test_manifests_that_are_no_json(server: LiveServer, vecdb: Run, kept: Path) -> None:
    (listed,) = kept.glob("backups/*.json")
    for content in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"[]"):
        listed.write_bytes(content)
        ended = vecdb("restore", kept, server=server)
        assert (ended.returncode, "manifest.json is damaged" in ended.stderr) == (1, True)
        assert vecdb("backups", kept).returncode == 1


def test_a_segment_that_is_not_its_store_s_is_built_again(
    server: LiveServer, vecdb: Run, kept: Path
) -> None:
    """Its files are as they were sent, so it is no damage of the backup: but nothing trusts it."""
    damaged = file_of(kept, "vectors-0.npy")
    content = bytearray(damaged.read_bytes())
    content[-4:] = b"\0\0\x80\x3f"
    sha256 = hashlib.sha256(content).hexdigest()
    path_of(kept, sha256).parent.mkdir(exist_ok=True)
    path_of(kept, sha256).write_bytes(content)
    change(kept, lambda found: first_file(found)["vectors-0.npy"].update(sha256=sha256))
    made = vecdb("restore", kept, "books", "--as", "rebuilt", server=server)
    assert made.returncode == 0, made.stderr
    assert "1 segments are not of its points" in made.stderr
    with server.client() as client:
        books, rebuilt = client.collection("books"), client.collection("rebuilt")
        assert nearest(rebuilt, 5) == nearest(books, 5)  # from the store, meanwhile
        wait_until(lambda: rebuilt.stats().segments and rebuilt.stats().segments[0].rows > 200)
        assert nearest(rebuilt, 5) == nearest(books, 5)
        assert contents(rebuilt) == contents(books)
        client.delete_collection("rebuilt")
    assert vecdb("check", "--data", server.data).returncode == 0


def test_files_that_no_segment_has_are_not_taken(
    server: LiveServer, vecdb: Run, kept: Path
) -> None:
    """A name that could be one, of no array that the segment's own manifest knows."""
    evil = b"evil" * 100
    sha256 = hashlib.sha256(evil).hexdigest()
    path_of(kept, sha256).parent.mkdir(exist_ok=True)
    path_of(kept, sha256).write_bytes(evil)
    change(
        kept,
        lambda found: first_file(found).update({"evil.npy": {"sha256": sha256, "size": len(evil)}}),
    )
    made = vecdb("restore", kept, "books", "--as", "more", server=server)
    assert made.returncode == 0, made.stderr
    assert list(server.data.rglob("evil*")) == []
    with server.client() as client:
        client.delete_collection("more")


@pytest.mark.parametrize(
    "content", [b"", b"not LMDB at all" * 1_000, bytes(1 << 16)], ids=["empty", "text", "zeros"]
)
def test_a_store_that_is_none(server: LiveServer, vecdb: Run, kept: Path, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    path_of(kept, sha256).parent.mkdir(exist_ok=True)
    path_of(kept, sha256).write_bytes(content)
    change(kept, partial(_set_store, store={"sha256": sha256, "size": len(content)}))
    refused(vecdb, kept, server)


def test_a_store_with_pages_of_noise(server: LiveServer, vecdb: Run, kept: Path) -> None:
    """LMDB trusts what it reads: it may end the process that does, but not the server."""
    store = path_of(kept, book(kept)["store"]["sha256"]).read_bytes()
    for seed in range(3):
        noise = hashlib.shake_256(bytes([seed])).digest(len(store) - 16_384)
        content = store[:16_384] + noise
        sha256 = hashlib.sha256(content).hexdigest()
        path_of(kept, sha256).parent.mkdir(exist_ok=True)
        path_of(kept, sha256).write_bytes(content)
        store_is = {"sha256": sha256, "size": len(content)}
        change(kept, partial(_set_store, store=store_is))
        refused(vecdb, kept, server)
    with server.client() as client:
        assert client.health() == "SERVING"


def members(path: Path, edit: Callable[[tarfile.TarInfo], tarfile.TarInfo | None]) -> Path:
    """Return an archive whose first member is another."""
    edited = path.with_name("edited.tar")
    with tarfile.open(path) as old, tarfile.open(edited, "w", format=tarfile.GNU_FORMAT) as new:
        for at, member in enumerate(old):
            content = old.extractfile(member)
            assert content is not None
            held = content.read()
            changed = edit(member) if at == 0 else member
            if changed is not None:
                changed.size = len(held) if changed.isreg() else 0
                new.addfile(changed, BytesIO(held) if changed.isreg() else None)
    return edited


def as_link(kind: bytes) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def edit(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.type, member.linkname = kind, "/etc/passwd"
        return member

    return edit


def named(name: str) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def edit(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.name = name
        return member

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (as_link(tarfile.SYMTYPE), "is a link"),
        (as_link(tarfile.LNKTYPE), "is a link"),
        (as_link(tarfile.FIFOTYPE), "another kind than a file"),
        (named("../../evil"), "is no file of a backup"),
        (named("/tmp/evil"), "is no file of a backup"),
        (named("objects/../evil"), "is no file of a backup"),
        (named("objects/" + "0" * 64), "is missing"),
        (lambda member: None, "is missing"),
    ],
)
def test_an_archive_that_means_harm(
    server: LiveServer,
    vecdb: Run,
    kept: Path,
    edit: Callable[[tarfile.TarInfo], tarfile.TarInfo | None],
    says: str,
) -> None:
    whole = archive(kept)
    assert vecdb("backups", whole, "--verify").returncode == 0
    edited = members(whole, edit)
    ended = vecdb("restore", edited, "books", "--as", "new", server=server)
    assert (ended.returncode, says in ended.stderr) == (1, True), ended.stderr
    assert vecdb("backups", edited).returncode == 1
    assert not Path("/tmp/evil").exists()
    assert staged(server) == []


def test_an_archive_that_is_cut_anywhere(server: LiveServer, vecdb: Run, kept: Path) -> None:
    whole = archive(kept)
    content = whole.read_bytes()
    cut = whole.with_name("cut.tar")
    for size in (0, 1, 511, 512, 5_000, len(content) // 2, len(content) - 20_000):
        cut.write_bytes(content[:size])
        ended = vecdb("restore", cut, "books", "--as", "new", server=server)
        assert ended.returncode == 1, size
        assert "error: " in ended.stderr
    with server.client() as client:
        assert [one.name for one in client.list_collections()] == ["books"]


def test_folders_of_others_are_left_alone(
    server: LiveServer, vecdb: Run, kept: Path, tmp_path: Path
) -> None:
    """What stands beside the backups, by names that are none of theirs, is not even looked at."""
    (kept / "backups" / "notes.json").write_text("mine")
    (kept / "objects" / "ab").mkdir(exist_ok=True)
    (kept / "objects" / "ab" / "readme").write_text("mine")
    os.mkfifo(kept / "objects" / "pipe")
    assert vecdb("backup", kept, "--keep", 1, server=server).returncode == 0
    assert vecdb("backups", kept, "--verify").returncode == 0
    assert (kept / "backups" / "notes.json").exists()
    assert (kept / "objects" / "ab" / "readme").exists()
    shutil.rmtree(kept)
