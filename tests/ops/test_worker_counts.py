"""What the embedding worker counts, as /metrics of its server has it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.conftest import MakeServer
from tests.live import START_S, LiveServer, embedding_workers, wait_until
from tests.rpc.nodes import metrics
from vecdb.embed.batcher import Counters
from vecdb.embed.channel import Description
from vecdb.errors import Unavailable
from vecdb.metrics import Family
from vecdb.ops.worker_counts import WorkerCounts
from vecdb_client import InvalidArgument

MODEL = "all-minilm-l6-v2"
REQUESTS = f'vecdb_embed_worker_requests_total{{model="{MODEL}",role="%s"}}'
FAILURES = f'vecdb_embed_worker_failures_total{{model="{MODEL}",reason="INVALID_ARGUMENT"}}'
TOKENS = f'vecdb_embed_worker_tokens_total{{model="{MODEL}",role="document"}}'
HITS = 'vecdb_embed_worker_cache_hits_total{role="document"}'


def families(count: float, waiting: float) -> list[Family]:
    return [
        ["c", "counter", "", [["c_total", {"model": "m"}, count]]],
        ["waiting", "gauge", "", [["waiting", {}, waiting]]],
    ]


def test_a_new_worker_adds_to_the_one_before_it() -> None:
    answers: list[Description | None] = []

    def describe() -> Description:
        answer = answers.pop(0)
        if answer is None:
            raise Unavailable("restarting", retry_after_s=1.0)
        return answer

    counts = WorkerCounts(describe)

    def scrape(instance: str, count: float = 0, waiting: float = 0) -> dict[str, float]:
        found = Description({}, Counters(), families(count, waiting), instance)
        answers.append(found if instance else None)
        return {
            sample.name: sample.value for metric in counts.collect() for sample in metric.samples
        }

    assert scrape("") == {}
    assert scrape("a", 3, 7) == {"c_total": 3, "waiting": 7}
    assert scrape("a", 5, 1) == {"c_total": 5, "waiting": 1}
    assert scrape("") == {"c_total": 5, "waiting": 1}
    assert scrape("b", 1, 2) == {"c_total": 6, "waiting": 2}
    assert scrape("b", 1, 0) == {"c_total": 6, "waiting": 0}


def test_no_counter_goes_back_with_a_killed_worker(make_server: MakeServer) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    server: LiveServer = make_server(embed=True)
    with server.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        texts = ["one text", "another one"]
        client.embed(texts, role="document")
        client.embed(texts, role="document")
        client.embed("what is asked", role="query")
        with pytest.raises(InvalidArgument):
            client.embed(images=[b"no image"], role="document")
        first = metrics(server)
        assert first[REQUESTS % "document"] == 3
        assert first[FAILURES] == 1
        assert first[REQUESTS % "query"] == 1
        assert first[HITS] == 2
        assert first[TOKENS] > 8
        assert first["vecdb_embed_worker_batch_items_count"] == 2
        assert first["vecdb_embed_worker_queue_seconds_count"] == 2
        assert first[f'vecdb_embed_worker_loads_total{{model="{MODEL}"}}'] == 1
        assert first["vecdb_embed_worker_waiting_items"] == 0
        assert first["vecdb_embed_worker_loaded_models"] == 1

        (worker,) = embedding_workers(server)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not metrics(server)["vecdb_embed_ready"])
        assert counted(metrics(server)) == counted(first)
        client.wait_ready(START_S, service="vecdb.v1.Models")
        client.embed(texts, role="document")
        last = metrics(server)
        assert last[REQUESTS % "document"] == 4
        assert last[f'vecdb_embed_worker_loads_total{{model="{MODEL}"}}'] == 2
        assert all(last[name] >= value for name, value in counted(first).items())
        assert last["vecdb_embed_worker_loaded_models"] == 1


def counted(now: dict[str, float]) -> dict[str, float]:
    return {
        name: value
        for name, value in now.items()
        if name.startswith("vecdb_embed_worker_") and ("_total{" in name or "_count" in name)
    }
