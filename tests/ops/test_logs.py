"""What a node writes on standard error: as lines and as JSON, and which queries were slow."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from vecdb import logs
from vecdb_client import F, TextField

WAYS = pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])

SECRETS = ("zebra", "point-", "0.3333", "1234567")


def ask_slowly(server: LiveServer) -> None:
    """Ask what takes longer than a millisecond, with what a log must not have."""
    points = [
        {"id": f"point-{number}", "vector": [number, 0.3333], "payload": {"animal": "zebra"}}
        for number in range(4_000)
    ]
    with server.client() as client:
        books = client.create_collection("books", dim=2, text_fields=[TextField("animal")])
        books.upsert(points)
        found = books.search([1234567, 0.3333], k=4_000, filter=F("animal") == "zebra", exact=True)
        assert len(found) == 4_000
        books.search(keyword="zebra", k=4_000)
        books.search_batch([{"query": [1234567, 1], "k": 500}] * 50)


def objects(server: LiveServer) -> list[dict[str, object]]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]


@WAYS
def test_every_line_is_an_object(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers, log__format="json")
    assert server.stop() == 0
    told = objects(server)
    for one in told:
        assert datetime.datetime.fromisoformat(str(one["time"])).tzinfo is not None
        assert one["level"] in ("info", "warning")
        assert one["logger"]
        assert one["message"]
    assert any(str(one["message"]).startswith("serving gRPC on") for one in told)
    processes = {one.get("process") for one in told}
    assert ("writer" in processes) == (workers == 2)


@WAYS
def test_slow_queries_are_written_down(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers, log__format="json", log__slow_query_ms=1)
    ask_slowly(server)

    def slow() -> list[dict[str, object]]:
        told = [one for one in objects(server) if str(one["message"]).startswith("slow query")]
        return told if len(told) >= 3 else []

    wait_until(slow)
    near, keyword, batch = slow()[:3]
    assert near["collection"] == "books"
    assert len({one["request_id"] for one in slow()}) == 3
    assert near["legs"] == {"near": 1}
    assert near["options"] == ["filter"]
    assert (near["k"], near["hits"], near["matched"]) == (4_000, 4_000, 4_000)
    stages = [near[f"{name}_ms"] for name in ("embed", "snapshot", "filter", "search", "fetch")]
    assert 1 <= sum(map(float, stages)) <= float(near["total_ms"]) * 1.01  # type: ignore[arg-type]
    assert keyword["legs"] == {"keyword": 1}
    assert (batch["queries"], batch["legs"]) == (50, {"near": 50})
    text = server.log.read_text()
    for secret in SECRETS:
        assert secret not in text
    assert "plan" in near


def test_slow_queries_as_text_and_none_without_the_setting(make_server: MakeServer) -> None:
    server = make_server(log__slow_query_ms=1)
    ask_slowly(server)
    wait_until(lambda: "slow query of books: " in server.log.read_text())
    said = next(line for line in server.log.read_text().splitlines() if "slow query" in line)
    assert "legs 1xnear, k 4000, options filter, hits 4000" in said
    for secret in SECRETS:
        assert secret not in said
    assert server.stop() == 0
    server.settings.pop("log.slow_query_ms")
    before = server.log.read_text().count("slow query")
    server.start()
    with server.client() as client:
        client.collection("books").search([1, 1], k=4_000, exact=True)
    assert server.stop() == 0
    assert server.log.read_text().count("slow query") == before


@pytest.fixture
def kept() -> Iterator[None]:
    """The handlers of the tests' own logging, put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_line_has_the_id_of_its_call(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.start("info", shape, "worker 1", lambda: "r-1")
    log = logging.getLogger("test")
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception("it failed")
    log.warning("request r-1 is odd")
    said = capsys.readouterr().err
    if shape == "json":
        failed, odd = map(json.loads, said.splitlines())
        assert failed["request_id"] == odd["request_id"] == "r-1"
        assert failed["process"] == "worker 1"
        assert failed["error"].endswith("ValueError: a\nb")
    else:
        lines = said.splitlines()
        assert lines[0].endswith("ERROR worker 1: test: it failed [request r-1]")
        assert lines[-1].endswith("WARNING worker 1: test: request r-1 is odd")
