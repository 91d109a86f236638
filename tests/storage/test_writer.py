"""The thread that writes: how much may wait for it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.stores import store_at
from vecdb.errors import Overloaded
from vecdb.storage.writer import Writer


def test_at_the_limit_of_waiting_writes_and_past_it(tmp_path: Path) -> None:
    store, writer, go_on = store_at(tmp_path / "store"), Writer(queue_jobs_max=3), threading.Event()
    try:
        held = [writer.submit(store, lambda _, at=at: go_on.wait(30) and at) for at in range(3)]
        with pytest.raises(Overloaded, match=r"3 writes .* limits\.queued_writes") as caught:
            writer.submit(store, lambda _: None)
        assert caught.value.retry_after_s > 0
        go_on.set()
        assert [future.result(30) for future in held] == [0, 1, 2]
        assert writer.submit(store, lambda _: "again").result(30) == "again"
    finally:
        go_on.set()
        writer.close()
        store.close()


def test_work_between_transactions_runs_while_nothing_is_written(tmp_path: Path) -> None:
    store, writer = store_at(tmp_path / "store"), Writer(queue_jobs_max=8)

    def alone() -> str:
        with store.environment.env.begin(write=True):  # would wait for ever beside another one
            return threading.current_thread().name

    def failing() -> None:
        raise OSError("no")

    try:
        before = writer.submit(store, lambda _: "written")
        work, failed = writer.between(alone), writer.between(failing)
        assert before.result(30) == "written"
        assert work.result(30) == "vecdb-writer"
        with pytest.raises(OSError, match="no"):
            failed.result(30)
        assert writer.waiting == 0
        assert writer.submit(store, lambda _: "again").result(30) == "again"
    finally:
        writer.close()
        store.close()
