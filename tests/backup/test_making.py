"""Backups of a database in this process, while its names change."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from vecdb.backup.making import REST_MAX_S, Backups, CopiedCollection, hashed
from vecdb.collection.clone import Copied
from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.storage.catalog import CatalogEntry
from vecdb.types import Metric, Schema, Space

SCHEMA = Schema((Space("", 4, Metric.DOT),))


def test_what_is_dropped_while_it_is_copied_does_not_end_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path / "data", StorageConfig(map_bytes=1 << 20), LimitsConfig())
    for name in ("a", "b", "c"):
        database.create(name, SCHEMA)
    copies = database.copies
    entry_of = copies._entry_of
    copied: list[Path] = []

    def copy(collection: Collection, into: Path, *_: object) -> Copied:
        copied.append(into)
        return real(collection, into, None)

    def entry_of_what_is_dropped(name: str) -> CatalogEntry:
        if len(copied) == 2 and name == "b":
            monkeypatch.setattr(copies, "_entry_of", entry_of)
            database.drop("b")
        return entry_of(name)

    real = Collection.copy
    monkeypatch.setattr(Collection, "copy", copy)
    monkeypatch.setattr(copies, "_entry_of", entry_of_what_is_dropped)
    parts = list(Backups(database).take([], ()))
    assert [part.name for part in parts if isinstance(part, CopiedCollection)] == ["a", "c"]
    assert not list(copies.staging.iterdir())
    database.close()


def test_it_rests_as_long_as_it_works_while_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1_000))
    one, rested = hashed(file), list[float]()
    with closing(Database(tmp_path / "data", StorageConfig(), LimitsConfig())) as database:
        busy = iter([True, False, True, True])
        backups = Backups(database, 250, lambda: next(busy))
        monkeypatch.setattr(backups._resting, "wait", rested.append)
        assert b"".join(backups.sent(one, file, lambda: True)) == bytes(1_000)
        assert len(rested) == 3
        assert all(0 <= one <= REST_MAX_S for one in rested)
        list(Backups(database, 250).sent(one, file, lambda: True))
        assert len(rested) == 3
