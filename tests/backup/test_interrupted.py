"""Backups and restores that are cut off, by kill -9 of either end, or a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.backup.conftest import Run
from tests.backup.shelf import DIM, SMALL, contents, fill, listed, objects, staged
from tests.conftest import MakeServer
from tests.live import START_S, LiveServer, wait_until
from vecdb_client import NO_RETRIES, BackupObject, BackupPart, VecdbError

pytestmark = pytest.mark.takes_turns

MIB = 1 << 20


def begun(server: LiveServer, *words: object) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "vecdb", *map(str, words), "--address", server.address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def large(server: LiveServer) -> None:
    """Have a collection whose backup takes a moment."""
    with server.client() as client:
        points = client.create_collection("large", dim=1024, metric="dot")
        rows = np.random.default_rng(1).normal(size=(4_500, 1024)).astype(np.float32)
        for first in range(0, len(rows), 500):
            ids = [f"r{n}" for n in range(first, first + 500)]
            points.upsert(ids=ids, vectors=rows[first : first + 500])


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_of_the_server(
    make_server: MakeServer, vecdb: Run, tmp_path: Path, workers: int
) -> None:
    server = make_server(server__workers=workers)
    large(server)
    kept = tmp_path / "kept"
    assert vecdb("backup", kept, server=server).returncode == 0
    (whole,) = listed(kept)
    chosen = random.Random(workers)
    for _ in range(3):
        with server.client() as client:
            client.collection("large").upsert([{"id": "new", "vector": [chosen.random()] * 1024}])
        backing_up = begun(server, "backup", kept)
        wait_until(lambda: any(staged(server)), START_S)
        server.kill()
        ended = backing_up.wait(60)
        ids = listed(kept)
        assert (ended == 0) == (len(ids) > 1)
        if ended == 0:  # it was done before
            assert vecdb("backups", kept, "--verify").returncode == 0
            (kept / "backups" / f"{ids[-1]}.json").unlink()
        assert listed(kept) == [whole]
        assert vecdb("backups", kept, "--verify").returncode == 0
        server.start()
        assert staged(server) == []  # swept
    assert vecdb("backup", kept, server=server).returncode == 0
    assert vecdb("backups", kept, "--verify").returncode == 0


def test_kill_9_of_who_keeps_it(make_server: MakeServer, vecdb: Run, tmp_path: Path) -> None:
    server = make_server()
    large(server)
    kept, archive = tmp_path / "kept", tmp_path / "kept.tar"
    for place in (kept, archive):
        backing_up = begun(server, "backup", place)
        wait_until(lambda: any(staged(server)), START_S)
        backing_up.kill()
        assert backing_up.wait() == -signal.SIGKILL
        assert not archive.exists()
        if kept.exists():
            assert listed(kept) == []
        wait_until(lambda: staged(server) == [])
    assert vecdb("backup", kept, server=server).returncode == 0
    assert vecdb("backup", archive, server=server).returncode == 0
    for place in (kept, archive):
        assert vecdb("backups", place, "--verify").returncode == 0
    assert list(tmp_path.rglob(".new*")) == []
    assert list(tmp_path.glob("*.new")) == []


def test_kill_9_during_a_restore(make_server: MakeServer, tmp_path: Path) -> None:
    """What was received is swept; what was to be replaced is as it was, or is replaced."""
    server = make_server(**SMALL)
    with server.client(retries=NO_RETRIES) as client:
        books = fill(client)
        parts = [part for part in client.backup() if isinstance(part, bytes | BackupObject)]
        then = contents(books)
        books.delete([f"p{n}" for n in range(100)])
        now = contents(books)

    def cut(upto: int) -> Iterator[BackupPart]:
        yield from parts[:upto]
        server.kill()
        yield from parts[upto:]

    for upto in (1, len(parts) // 2, len(parts) - 1, len(parts)):
        with server.client(retries=NO_RETRIES) as client, pytest.raises(VecdbError):
            client.restore(cut(upto), replace=True)
        server.start()
        assert staged(server) == []
        with server.client() as client:
            assert contents(client.collection("books")) in (now, then)
    with server.client() as client:
        client.restore(parts, replace=True)
        assert contents(client.collection("books")) == then


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={8 * MIB}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_where_it_is_kept(
    make_server: MakeServer, vecdb: Run, small_disk: Path
) -> None:
    server = make_server()
    with server.client() as client:
        fill(client, "few", 100)
    kept = small_disk / "kept"
    assert vecdb("backup", kept, server=server).returncode == 0
    (first,) = listed(kept)
    large(server)
    for place in (kept, small_disk / "one.tar"):
        before = objects(kept)
        ended = vecdb("backup", place, server=server)
        assert ended.returncode == 1
        assert "is full: the backup was not finished, and is not listed" in ended.stderr
        assert listed(kept) == [first]
        assert not (small_disk / "one.tar").exists()
        assert list(small_disk.rglob("*.new*")) == []
        assert before.keys() <= objects(kept).keys()
        wait_until(lambda: staged(server) == [])  # the server has heard that nobody listens
    assert vecdb("backups", kept, "--verify").returncode == 0
    # Room comes back, and what a failed one has left is of use to the next, or goes.
    assert vecdb("backup", kept, "few", "--keep", 1, server=server).returncode == 0
    assert vecdb("backups", kept, "--verify").returncode == 0


def test_a_full_disk_of_the_server(make_server: MakeServer, vecdb: Run, small_disk: Path) -> None:
    """It has no room for a second copy of a store: it says so, and goes on."""
    server = make_server("disk/data", storage__disk_reserve_bytes=MIB)
    kept = small_disk.with_name("kept")
    try:
        with server.client() as client:
            points = client.create_collection("c", dim=DIM, metric="dot")
            ids = [f"r{n}" for n in range(5_000)]
            rows = np.random.default_rng(1).normal(size=(5_000, DIM)).astype(np.float32)
            payloads = [{"text": "x" * 500}] * len(ids)
            points.upsert(ids=ids, vectors=rows, payloads=payloads)
            ended = vecdb("backup", kept, server=server)
            assert ended.returncode == 1
            assert "disk is full" in ended.stderr
            assert listed(kept) == []
            assert staged(server) == []
            assert points.count() == len(ids)
            points.delete(ids[:10])
    finally:
        server.stop()
