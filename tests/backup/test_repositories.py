"""Places that keep backups: each does what the others do, whatever it is made of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backup.conftest import Run
from tests.backup.shelf import SMALL, contents, fill, nearest
from tests.conftest import MakeServer
from vecdb.backup.files import PIECE_BYTES, Files, FolderFiles
from vecdb.backup.repository import Repository
from vecdb.backup.s3_files import S3Files
from vecdb.errors import Conflict, Corrupt, InvalidArgument, NotFound, Unavailable

LARGE = 3 * PIECE_BYTES + 17
BUCKET = "backups"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Return the URL of a service that speaks S3, with a bucket."""
    moto = pytest.importorskip("moto.server", reason="needs moto")
    pytest.importorskip("obstore", reason="needs the s3 extra")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="key",
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    yield url
    server.stop()


@pytest.fixture
def account(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the environment say who we are at the service."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (
        ("ENDPOINT_URL", s3),
        ("ACCESS_KEY_ID", "id"),
        ("SECRET_ACCESS_KEY", "hidden-key"),
        ("REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture(params=["folder", "bucket", "prefix"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "folder":
        return FolderFiles(tmp_path / "kept", create=True)
    request.getfixturevalue("account")
    # A bucket is shared by the tests; what one leaves is in the way of the next.
    made = S3Files(f"s3://{BUCKET}" + ("/some/where" if request.param == "prefix" else ""))
    for name, _ in list(made.listed("")):
        made.delete(name)
    return made


def pieces(size: int) -> Iterator[bytes]:
    content = hashlib.shake_256(b"x").digest(size)
    for at in range(0, size, 100_000):
        yield content[at : at + 100_000]


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_a_file_comes_back(files: Files, size: int) -> None:
    files.put("objects/ab/cd", pieces(size))
    assert b"".join(files.read("objects/ab/cd")) == b"".join(pieces(size))
    assert list(files.listed("objects")) == [("objects/ab/cd", size)]
    assert list(files.listed("backups")) == []


def test_what_raises_leaves_no_file(files: Files) -> None:
    def cut() -> Iterator[bytes]:
        yield b"x" * LARGE
        raise Corrupt("the source is damaged")

    with pytest.raises(Corrupt, match="the source is damaged"):
        files.put("objects/ab/cd", cut())
    assert list(files.listed("")) == []
    with pytest.raises(NotFound):
        list(files.read("objects/ab/cd"))


def test_what_is_deleted_is_gone(files: Files) -> None:
    files.put("objects/ab/cd", [b"x"])
    files.delete("objects/ab/cd")
    files.delete("objects/ab/cd")  # as good
    assert list(files.listed("objects")) == []


def test_a_file_may_be_put_again(files: Files) -> None:
    files.put("objects/ab/cd", [b"x"])
    files.put("objects/ab/cd", [b"other"])
    assert b"".join(files.read("objects/ab/cd")) == b"other"


def test_a_whole_life(files: Files, vecdb: Run, make_server: MakeServer) -> None:
    """Backed up, added to, listed, pruned, restored: by the command line against a server."""
    place = files.where
    repository = Repository(files)
    server = make_server(**SMALL)
    with server.client() as client:
        books = fill(client)
        assert vecdb("backup", place, server=server).returncode == 0
        first = set(repository.held())
        books.upsert([{"id": "more", "vector": [1] * 8}])
        then = contents(books)
        made = vecdb("backup", place, "--keep", 1, server=server)
        assert made.returncode == 0, made.stderr
        (identity,) = repository.ids()
        assert vecdb("backups", place, "--verify").returncode == 0
        assert len(set(repository.held()) & first) > 5  # the segment's files stay
        assert first - set(repository.held())  # the first backup's store went
        books.delete([f"p{n}" for n in range(200)])
        back = vecdb("restore", place, "--replace", server=server)
        assert back.returncode == 0, back.stderr
        assert identity in back.stdout
        assert contents(books) == then
        assert len(nearest(books, 5)) == 5


def test_a_folder_is_written_by_one(tmp_path: Path) -> None:
    first, second = (FolderFiles(tmp_path, create=True) for _ in range(2))
    with first.locked(), pytest.raises(Conflict, match="another backup"), second.locked():
        pass
    with second.locked():
        pass


@pytest.mark.usefixtures("account")
def test_a_bucket_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="nowhere"):
        list(S3Files("s3://nowhere/at/all").listed(""))


@pytest.mark.usefixtures("account")
def test_a_service_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said soon, and without what is secret."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(Unavailable) as caught:
        list(S3Files(f"s3://{BUCKET}").listed(""))
    assert "hidden-key" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///prefix", "s3://id:key@bucket", "s3://bucket/?x=1", "s3://bucket/#x"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(InvalidArgument, match="expected s3://bucket/prefix"):
        S3Files(url)
