"""What a process of a node says on its line to the supervisor."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from vecdb.collection.collection import Collection, CollectionStats
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.errors import Corrupt
from vecdb.line import Line, Message
from vecdb.node import Post
from vecdb.types import Metric, Schema, Space


def test_a_report_that_fails_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, child = map(Line, socket.socketpair())
    ended = threading.Event()

    def end() -> None:
        ended.set()
        threading.Event().wait()  # or this thread would go on, and end the process

    def fail(gauges: bool) -> Message:
        if gauges:
            raise Corrupt("a page is damaged")
        return {}

    Post(child, child.receive(), end).attach(fail, lambda told: None)
    answers = supervisor.receive()
    supervisor.send({"ask": 7, "gauges": True})
    supervisor.send({"ask": 8, "gauges": False})
    said = next(answers)
    assert said["answer"] == 7
    assert "a page is damaged" in said["ailment"]
    assert next(answers) == {"answer": 8}
    supervisor.close()
    assert ended.wait(10)
    child.close()


def test_one_collection_that_cannot_be_measured_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path, StorageConfig(), LimitsConfig())
    broken: list[str] = []
    measure = Collection.stats

    def stats(self: Collection) -> CollectionStats:
        if self.uuid in broken:
            raise Corrupt("record meta/segments is damaged")
        return measure(self)

    monkeypatch.setattr(Collection, "stats", stats)
    for name in ("sound", "broken"):
        database.create(name, Schema((Space("", 2, Metric.DOT),)))
        with database.collection(name) as collection:
            broken[:] = [collection.uuid]
    gauges = database.gauges()
    assert (gauges["vecdb_collections"], gauges["vecdb_collections_open"]) == (2, 1)
    assert "meta/segments is damaged" in caplog.text
    database.close()
