"""A large import of texts while what encodes them fails: nothing is lost in silence."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.embed.providers import DIM, MODEL, OPENAI, Provider, serving, status
from tests.live import LiveServer, embedding_workers
from vecdb_client import Collection

pytestmark = pytest.mark.takes_turns

TEXTS = 400
ENTRY = """
[models.elsewhere]
kind = "openai"
dim = {dim}
metric = "cosine"
max_tokens = 512
pooling = "service"
normalize = true
license = ""
source = "{model}"
options = {{ endpoint = "{endpoint}", key_env = "VECDB_TEST_KEY", batch_items = 16 }}
"""


@pytest.fixture
def service() -> Iterator[Provider]:
    with serving() as running:
        yield running


@pytest.fixture
def live(tmp_path, service: Provider) -> Iterator[LiveServer]:
    catalog = tmp_path / "models.toml"
    catalog.write_text(ENTRY.format(dim=DIM, model=MODEL, endpoint=service.url + OPENAI.base))
    server = LiveServer(
        tmp_path / "data",
        {"embed.catalog": catalog, "embed.models": "elsewhere"},
        {"VECDB_TEST_KEY": service.key},
    ).start()
    with server.client() as db:
        db.wait_ready(60, service="vecdb.v1.Models")
    yield server
    server.stop()


def texts(n: int = TEXTS) -> list[dict[str, object]]:
    return [{"id": f"{i}", "text": f"text number {i}"} for i in range(n)]


def ingested(live: LiveServer, model: str, n: int = TEXTS, timeout_s: float = 60.0) -> Collection:
    with live.client(timeout_s=timeout_s) as db:
        notes = db.create_collection("notes", model=model)
        report = notes.upsert(texts(n), batch_size=100, on_error="collect")
        assert not report.failures
        assert notes.count() == n
    return notes


def test_a_worker_that_is_killed_twice_costs_time_and_no_text(live: LiveServer) -> None:
    ended = threading.Event()
    killed = 0

    def kill() -> None:
        nonlocal killed
        while not ended.wait(0.4) and killed < 2:
            for pid in embedding_workers(live):
                os.kill(pid, signal.SIGKILL)
                killed += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        ingested(live, "all-minilm-l6-v2")
    finally:
        ended.set()
        killer.join()
    assert killed


def test_a_service_that_says_429_and_500_costs_time_and_no_text(
    live: LiveServer, service: Provider
) -> None:
    service.faults += [status(429, Retry_After="1"), status(500), status(503)]
    ingested(live, "elsewhere")
    assert not service.faults


def test_what_could_not_be_encoded_is_named_and_the_rest_is_stored(
    live: LiveServer, service: Provider
) -> None:
    with live.client(timeout_s=3.0) as db:
        notes = db.create_collection("notes", model="elsewhere")
        service.key = "another"  # from now on every request is refused
        points = [*texts(5), {"id": "numbers", "vector": [1.0] * DIM}]
        report = notes.upsert(points, on_error="collect")
        assert report.written == 1
        assert [one.id for one in report.failures] == ["0", "1", "2", "3", "4"]
        assert notes.get(["numbers", "0"]).missing == ["0"]


def test_an_outage_that_outlasts_the_deadline_is_said_of_each_text(
    live: LiveServer, service: Provider
) -> None:
    with live.client(timeout_s=4.0) as db:
        notes = db.create_collection("notes", model="elsewhere")
        service.faults += [status(503)] * 1000
        points = [*texts(5), {"id": "numbers", "vector": [1.0] * DIM}]
        report = notes.upsert(points, on_error="collect")
        assert report.written == 1
        assert {one.reason for one in report.failures} <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        assert [one.id for one in report.failures] == ["0", "1", "2", "3", "4"]
        service.faults.clear()
        assert not notes.upsert(texts(5), timeout_s=60.0).failures
        assert notes.count() == 6
