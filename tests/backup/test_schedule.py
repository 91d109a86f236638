"""Backups that a node makes by itself: in time, no more than wanted, told when they fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backup.conftest import Run
from tests.conftest import MakeServer
from tests.live import wait_until
from vecdb.backup.location import repository_at
from vecdb.backup.making import Backups
from vecdb.backup.schedule import Schedule
from vecdb.config import BackupConfig, LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import InvalidArgument
from vecdb.types import Metric, Schema, Space
from vecdb_client import Point

OFTEN = BackupConfig(interval_s=0.2, keep=3)


@pytest.fixture
def backups(tmp_path: Path) -> Iterator[Backups]:
    database = Database(tmp_path / "data", StorageConfig(), LimitsConfig())
    database.create("books", Schema((Space("", 2, Metric.COSINE),)))
    yield Backups(database)
    database.close()


def ids(place: Path) -> list[str]:
    return repository_at(str(place), create=True).ids()


def test_the_newest_are_kept(backups: Backups, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    schedule = Schedule(backups, replace(OFTEN, place=str(place)))
    schedule.start()
    seen: set[str] = set()

    def several() -> bool:
        seen.update(ids(place))
        return len(seen) >= 5

    wait_until(several, 60)
    schedule.stop()
    left = ids(place)
    assert 1 <= len(left) <= 3
    assert left[-1] == max(seen | set(left))
    assert not list(schedule.conditions())
    assert not list(place.rglob("*.new*"))


def test_a_node_that_is_started_often_makes_none_too_many(backups: Backups, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    config = BackupConfig(place=str(place), interval_s=3_600)
    first = Schedule(backups, config)
    first.start()
    wait_until(lambda: ids(place), 60)
    first.stop()
    for _ in range(3):
        again = Schedule(backups, config)
        again.start()
        assert 3_000 < again._due_in_s() <= 3_600
        again.stop()
    assert len(ids(place)) == 1


def test_a_failure_is_told_and_tried_again(backups: Backups, tmp_path: Path) -> None:
    place = tmp_path / "a" / "kept"
    (tmp_path / "a").write_text("no folder")
    schedule = Schedule(backups, BackupConfig(place=str(place), interval_s=3_600), retry_s=0.1)
    schedule.start()
    wait_until(lambda: [one.state for one in schedule.conditions()] == ["warning"], 30)
    (tmp_path / "a").unlink()
    (tmp_path / "a").mkdir()
    wait_until(lambda: not list(schedule.conditions()), 30)
    assert len(ids(place)) == 1
    schedule.stop()


def test_backups_that_are_too_old_are_an_error(backups: Backups, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no folder")
    schedule = Schedule(backups, BackupConfig(place=str(tmp_path / "a" / "b"), interval_s=0.1))
    schedule.start()
    wait_until(lambda: [one.state for one in schedule.conditions()] == ["error"], 30)
    schedule.stop()


def test_one_file_is_no_place_for_several(backups: Backups, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"backup\.place"):
        Schedule(backups, BackupConfig(place=str(tmp_path / "one.tar")))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_node_makes_them_and_they_can_be_restored(
    make_server: MakeServer, tmp_path: Path, vecdb: Run, workers: int
) -> None:
    place = tmp_path / "kept"
    server = make_server(server__workers=workers)
    with server.client() as client:
        client.create_collection("books", dim=2).upsert([Point("a", [1.0, 0.0], {"n": 1})])
    assert server.stop() == 0
    server.settings["backup.place"] = place
    server.start()
    wait_until(lambda: ids(place), 60)
    with server.client() as client:
        assert not [one for one in client.status().conditions if one.name == "backup"]
    restored = vecdb("restore", place, "books", "--as", "again", server=server)
    assert restored.returncode == 0, restored.stderr
    with server.client() as client:
        assert client.collection("again").get(["a"]).points[0].payload == {"n": 1}
