"""What a server says of itself: health that tells the truth, reflection, the HTTP port."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.live import LiveServer, embedding_workers
from vecdb import __version__
from vecdb_client import Client

DATA = ("", "vecdb.v1.Collections", "vecdb.v1.Points", "vecdb.v1.Search", "vecdb.v1.Admin")
MODELS = "vecdb.v1.Models"
DOCUMENTS = "vecdb.v1.Documents"
State = health_pb2.HealthCheckResponse


def health(channel: grpc.Channel, service: str) -> str:
    reply = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(service=service), timeout=30
    )
    return State.ServingStatus.Name(reply.status)


@pytest.fixture
def channel(server: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as made:
        yield made


# --- without a worker


@pytest.mark.parametrize("service", DATA)
def test_data_is_served_without_a_worker(channel: grpc.Channel, service: str) -> None:
    assert health(channel, service) == "SERVING"


def test_models_are_not(channel: grpc.Channel) -> None:
    assert health(channel, MODELS) == "NOT_SERVING"


def test_a_service_that_nobody_knows(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health(channel, "vecdb.v1.Nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def reflect(channel: grpc.Channel, **asked: object):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(**asked)
    (reply,) = stub.ServerReflectionInfo(iter([request]), timeout=30)
    return reply


def test_reflection_names_every_service(channel: grpc.Channel) -> None:
    reply = reflect(channel, list_services="")
    assert {one.name for one in reply.list_services_response.service} == {
        *DATA[1:],
        MODELS,
        DOCUMENTS,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("symbol", [*DATA[1:], MODELS, DOCUMENTS, "vecdb.v1.Filter"])
def test_reflection_shows_the_protocol(channel: grpc.Channel, symbol: str) -> None:
    reply = reflect(channel, file_containing_symbol=symbol)
    assert reply.file_descriptor_response.file_descriptor_proto


# --- the HTTP port


def ask(server: LiveServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.metrics, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/livez?verbose", "/readyz?"])
def test_alive_and_ready(server: LiveServer, path: str) -> None:
    assert ask(server, path) == (200, "ok\n")


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/livez/..", "/%2e/livez", "/LIVEZ"])
def test_nothing_else_is_there(server: LiveServer, path: str) -> None:
    status, body = ask(server, path)
    assert status == 404
    assert "/metrics" in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/metrics", "/livez", "/"])
def test_only_get(server: LiveServer, method: str, path: str) -> None:
    status, _ = ask(server, path, method)
    assert status in (405, 501)
    assert ask(server, "/livez") == (200, "ok\n")


def test_a_request_that_is_none(server: LiveServer) -> None:
    import socket

    host, _, port = server.metrics.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(b"\x16\x03\x01\x00\xff" * 20 + b"\r\n\r\n")
        raw.recv(4096)
    assert ask(server, "/livez") == (200, "ok\n")


METRICS = """
grpc_server_started_total grpc_server_handled_total grpc_server_handling_seconds_bucket
grpc_server_msg_received_total grpc_server_msg_sent_total vecdb_calls_open vecdb_calls_open_max
vecdb_write_operations_total vecdb_query_stage_seconds_bucket vecdb_query_hits_total
vecdb_query_incomplete_total vecdb_embed_texts_total vecdb_embed_tokens_total
vecdb_embed_queue_seconds_bucket vecdb_embed_inference_seconds_bucket vecdb_collections
vecdb_collections_open vecdb_collections_quarantined vecdb_points vecdb_tail_points vecdb_segments
vecdb_segments_quarantined vecdb_store_bytes vecdb_store_map_bytes vecdb_writes_waiting
vecdb_commits_total vecdb_memory_taken_bytes vecdb_memory_limit_bytes vecdb_embed_ready
vecdb_embed_restarts_total vecdb_build_info
process_cpu_seconds_total process_resident_memory_bytes process_open_fds python_info
""".split()


def test_metrics_count_what_happened(server: LiveServer, client: Client) -> None:
    points = client.create_collection("counted", dim=2)
    points.upsert([{"id": "a", "vector": [1, 2]}, {"id": "b", "vector": [3, 4]}])
    points.upsert([{"id": "c", "vector": [1]}], on_error="collect")
    points.delete("a")
    assert len(points.search([1, 2])) == 1
    with pytest.raises(Exception, match="DIMENSION_MISMATCH"):
        points.search([1])
    status, body = ask(server, "/metrics")
    assert status == 200
    lines = dict(line.rpartition(" ")[::2] for line in body.splitlines() if line[0] != "#")
    names = {line.partition("{")[0] for line in lines}
    # Those with labels are there once something was counted: no text was encoded here.
    unlabelled = set(METRICS) - {"vecdb_embed_texts_total", "vecdb_embed_tokens_total"}
    assert unlabelled - names == set()
    for metric in METRICS:
        assert f"# TYPE {metric.removesuffix('_bucket')} " in body
    handled = "grpc_server_handled_total"
    call = 'grpc_method="Query",grpc_service="vecdb.v1.Search",grpc_type="unary"'
    for code in ("OK", "INVALID_ARGUMENT"):
        assert lines[f'{handled}{{grpc_code="{code}",{call}}}'] == "1.0"
    operations = "vecdb_write_operations_total"
    assert lines[f'{operations}{{kind="put",result="applied"}}'] == "2.0"
    assert lines[f'{operations}{{kind="put",result="refused"}}'] == "1.0"
    assert lines[f'{operations}{{kind="delete",result="applied"}}'] == "1.0"
    assert lines["vecdb_points"] == "1.0"
    assert lines["vecdb_embed_ready"] == "0.0"
    assert lines[f'vecdb_build_info{{version="{__version__}"}}'] == "1.0"
    points_of = 'vecdb_collection_points{collection="counted"}'
    assert lines[points_of] == "1.0"
    client.delete_collection("counted")


def test_metrics_in_the_form_asked_for(server: LiveServer) -> None:
    status, body = ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert body.endswith("# EOF\n")


# --- with a worker


@pytest.fixture(scope="module")
def with_worker(text_server: LiveServer) -> LiveServer:
    return text_server


def test_a_killed_worker_comes_back_and_searches_go_on(with_worker: LiveServer) -> None:
    with grpc.insecure_channel(with_worker.address) as channel, with_worker.client() as client:
        points = client.create_collection("numbers", dim=2)
        points.upsert([{"id": "a", "vector": [1, 2]}])
        for service in (*DATA, MODELS):
            assert health(channel, service) == "SERVING"
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=MODELS), timeout=120
        )
        assert next(watch).status == State.SERVING
        (worker,) = embedding_workers(with_worker)
        os.kill(worker, signal.SIGKILL)
        assert next(watch).status == State.NOT_SERVING
        for service in DATA:
            assert health(channel, service) == "SERVING"
        assert [hit.id for hit in points.search([1, 2])] == ["a"]
        points.upsert([{"id": "b", "vector": [2, 1]}])
        assert ask(with_worker, "/readyz")[0] == 200
        assert next(one.status for one in watch if one.status != State.NOT_SERVING) == State.SERVING
        watch.cancel()
        assert len(client.embed("hello, again")[0].vector) == 384
        assert [hit.id for hit in points.search([2, 1], k=1)] == ["b"]
    (again,) = embedding_workers(with_worker)
    assert again != worker
    _, body = ask(with_worker, "/metrics")
    assert "vecdb_embed_restarts_total 1.0" in body
    assert "vecdb_embed_ready 1.0" in body
    assert 'vecdb_embed_texts_total{role="document"} 1.0' in body
