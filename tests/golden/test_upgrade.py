"""`vecdb upgrade`, and data of formats that this program does not read.

Format 1 is the first: until there is a second one, a step from a format 0 that never was stands in
for those to come. The data is golden.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.live import LiveServer, run_vecdb
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import FailedPrecondition, FormatTooNew, FormatTooOld, NotFound
from vecdb.ops.check import check_database
from vecdb.storage import codec, upgrade
from vecdb.storage.environment import Environment
from vecdb.storage.format import format_of

HERE = Path(__file__).parent
SEED = b"which a step left here"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with tarfile.open(HERE / "format-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "data"


def stores(data: Path) -> list[Path]:
    return [*sorted((data / "collections").glob("*/store")), data / "catalog"]


def stamp(path: Path, version: int) -> None:
    """Have an environment say that it is of another format."""
    environment = Environment(path, (b"meta",), read_only=False, map_bytes=1 << 24)
    with environment.begin(write=True) as txn:
        sealed = codec.seal(b"meta", b"format", codec.u32(version))
        txn.put(b"format", sealed, db=environment.databases[b"meta"])
    environment.close()


def files(data: Path) -> dict[Path, bytes]:
    """Return all files but LMDB's tables of readers, which are no data."""
    found = (path for path in data.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if path.name != "lock.mdb"}


def vecdb(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_vecdb(*arguments)


def test_there_is_a_step_from_every_format() -> None:
    versions = set(range(1, codec.FORMAT_VERSION))
    assert set(upgrade.STORE_STEPS) == set(upgrade.CATALOG_STEPS) == versions


def test_nothing_to_do(data: Path) -> None:
    before = files(data)
    done = vecdb("upgrade", "--data", data)
    assert done.returncode == 0, done.stderr
    assert "format 1: 4 stores, nothing to do" in done.stdout
    assert {**files(data), data / "LOCK": b""} == {**before, data / "LOCK": b""}


def test_not_beside_a_node(data: Path) -> None:
    server = LiveServer(data, {"embed.enabled": "false"}).start()
    refused = vecdb("upgrade", "--data", data)
    assert refused.returncode == 1
    assert "another process writes to" in refused.stderr
    assert server.stop() == 0


def test_not_a_data_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no data directory"):
        list(upgrade.upgrade(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("newer", [0, -1], ids=["a collection", "the catalog"])
def test_what_a_later_vecdb_wrote_is_left_alone(data: Path, newer: int) -> None:
    stamp(stores(data)[newer], codec.FORMAT_VERSION + 1)
    (data / "LOCK").touch()
    before = files(data)
    refused = vecdb("upgrade", "--data", data)
    assert refused.returncode == 1
    assert f"is of format {codec.FORMAT_VERSION + 1}" in refused.stderr
    assert files(data) == before


def test_a_node_does_not_start_on_what_a_later_vecdb_wrote(data: Path) -> None:
    stamp(data / "catalog", codec.FORMAT_VERSION + 1)
    before = files(data)
    refused = vecdb("serve", "--data", data, "--listen", "127.0.0.1:0", "--metrics", "")
    assert refused.returncode == 1
    assert "run the vecdb that wrote it, or a later one" in refused.stderr
    assert {path: held for path, held in files(data).items() if path.name != "LOCK"} == {
        path: held for path, held in before.items() if path.name != "LOCK"
    }


def test_one_collection_of_a_later_vecdb(data: Path) -> None:
    """The others serve, and nobody touches it."""
    newer = stores(data)[0]
    stamp(newer, codec.FORMAT_VERSION + 1)
    before = (newer / "data.mdb").read_bytes()
    database = Database(data, StorageConfig(), LimitsConfig())
    refused = served = 0
    for info in database.infos():
        try:
            with database.collection(info.name) as collection, collection.snapshot():
                served += 1
        except FormatTooNew:
            refused += 1
    database.close()
    assert (refused, served) == (1, 2)
    assert (newer / "data.mdb").read_bytes() == before


class Killed(Exception):
    """What ends an upgrade half-way."""


def step(txn: Any, databases: Mapping[bytes, Any]) -> None:
    txn.put(SEED, b"", db=databases[b"meta"])


def test_an_upgrade_goes_on_where_it_was_ended(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = stores(data)
    for path in every:
        stamp(path, 0)
    refused = vecdb("serve", "--data", data, "--listen", "127.0.0.1:0", "--metrics", "")
    assert refused.returncode == 1
    assert "run: vecdb upgrade" in refused.stderr

    def killed(txn: Any, databases: Mapping[bytes, Any]) -> None:
        step(txn, databases)
        raise Killed

    monkeypatch.setitem(upgrade.STORE_STEPS, 0, step)
    monkeypatch.setitem(upgrade.CATALOG_STEPS, 0, killed)
    with pytest.raises(Killed):
        list(upgrade.upgrade(data))
    assert [format_of(path) for path in every] == [1] * (len(every) - 1) + [0]
    with pytest.raises(FormatTooOld):
        Database(data, StorageConfig(), LimitsConfig(), read_only=True)

    monkeypatch.setitem(upgrade.CATALOG_STEPS, 0, step)
    assert [one.was for one in upgrade.upgrade(data)] == [1] * (len(every) - 1) + [0]
    for path in every:
        environment = Environment(path, (b"meta",), read_only=True, map_bytes=1 << 24)
        with environment.begin() as txn:
            assert txn.get(SEED, db=environment.databases[b"meta"]) is not None
        environment.close()
    assert all(not report.findings for report in check_database(data, lambda *_: None))
    Database(data, StorageConfig(), LimitsConfig()).close()


def test_a_damaged_store_is_left_as_it_is(data: Path) -> None:
    broken = stores(data)[0] / "data.mdb"
    broken.write_bytes(b"no pages of LMDB" * 512)
    done = vecdb("upgrade", "--data", data)
    assert done.returncode == 1
    assert "left as it is" in done.stderr
    assert broken.read_bytes() == b"no pages of LMDB" * 512


def test_two_do_not_upgrade_at_once(data: Path) -> None:
    running = upgrade.upgrade(data)
    next(running)
    with pytest.raises(FailedPrecondition, match="another process writes"):
        list(upgrade.upgrade(data))
    running.close()
    assert len(list(upgrade.upgrade(data))) == len(stores(data))
