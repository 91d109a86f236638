"""Traces, as a real receiver of OpenTelemetry's protocol gets them from a real node."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.conftest import MakeServer
from tests.live import START_S, LiveServer, wait_until
from tests.rpc.nodes import ask
from vecdb.rpc.pb import collections_pb2, points_pb2, search_pb2

pytest.importorskip("opentelemetry.sdk", reason="needs the otel extra")
pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="needs the otel extra")

from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)

WAYS = pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
UNSAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-00"),)
SECRETS = ("zebra", "spice", "dune", "an-id")


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent, each with the process that sent it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the next
        self._spans: list[tuple[str, Any]] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: grpc.ServicerContext,
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        with self._lock:
            for resource in request.resource_spans:
                about = {one.key: one.value.string_value for one in resource.resource.attributes}
                assert about["service.name"] == "vecdb"
                for scope in resource.scope_spans:
                    self._spans += [(about["vecdb.process"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self) -> list[tuple[str, Any]]:
        with self._lock:
            return list(self._spans)

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()


class Caller:
    """Calls with metadata of its own, as a client that traces does."""

    def __init__(self, server: LiveServer) -> None:
        self.channel = grpc.insecure_channel(server.address)

    def call(self, name: str, request: Any, reply: Any, metadata: Any = SAMPLED) -> Any:
        invoke = self.channel.unary_unary(
            f"/vecdb.v1.{name}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        return invoke(request, timeout=60, metadata=metadata)


def fill(server: LiveServer, **options: Any) -> None:
    with server.client() as client:
        books = client.create_collection("books", **options)
        books.upsert([{"id": "an-id", "vector": [1, 2], "payload": {"animal": "zebra"}}])


def query(**near: Any) -> search_pb2.QueryRequest:
    request = search_pb2.QueryRequest(collection="books", k=3)
    request.legs.add().near.vector.floats.values.extend(near["floats"])
    return request


def value_of(one: Any) -> str:
    return str(getattr(one.value, one.value.WhichOneof("value")))


@WAYS
def test_a_query_is_a_tree_of_spans(
    make_server: MakeServer, collector: Collector, workers: int
) -> None:
    server = make_server(server__workers=workers, traces__endpoint=collector.endpoint)
    fill(server, dim=2)
    caller = Caller(server)
    found = caller.call("Search/Query", query(floats=[1, 2]), search_pb2.QueryResponse)
    assert len(found.hits) == 1
    caller.call(
        "Points/Write",
        points_pb2.WriteRequest(collection="books", ops=[{"delete": {"id": "spice"}}]),
        points_pb2.WriteResponse,
    )
    caller.channel.close()
    assert server.stop() == 0  # which sends what was not sent yet
    ours = [(process, span) for process, span in collector.spans() if span.trace_id.hex() == TRACE]
    roots = {
        span.name: (process, span) for process, span in ours if span.parent_span_id.hex() == PARENT
    }
    assert roots.keys() == {"vecdb.v1.Search/Query", "vecdb.v1.Points/Write"}
    process, root = roots["vecdb.v1.Search/Query"]
    assert process == ("node" if workers == 1 else "worker")
    told = {one.key: value_of(one) for one in root.attributes}
    assert told == {
        "rpc.system": "grpc",
        "rpc.service": "vecdb.v1.Search",
        "rpc.method": "Query",
        "rpc.grpc.status_code": "0",
    }
    parts = [span for _, span in ours if span.parent_span_id == root.span_id]
    assert {"wait", "leg", "kernel", "fetch"} <= {span.name for span in parts}
    for span in parts:
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    if workers == 2:  # the writer's part of a write hangs on the worker's
        _, write = roots["vecdb.v1.Points/Write"]
        (passed,) = [
            (process, span)
            for process, span in ours
            if span.parent_span_id == write.span_id and span.kind == write.kind
        ]
        assert passed[0] == "writer"
    text = str(collector.spans())
    for secret in SECRETS:
        assert secret not in text


def test_texts_plans_and_failures(make_server: MakeServer, collector: Collector) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    server = make_server(embed=True, traces__endpoint=collector.endpoint)
    with server.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        client.create_collection("books", model="all-minilm-l6-v2")
        client.collection("books").upsert([{"id": "an-id", "text": "sand and spice"}])
    caller = Caller(server)
    request = search_pb2.QueryRequest(collection="books", k=3)
    request.legs.add().near.vector.text = "dune"
    caller.call("Search/Query", request, search_pb2.QueryResponse)
    with pytest.raises(grpc.RpcError):
        caller.call("Search/Query", query(floats=[1]), search_pb2.QueryResponse)
    caller.channel.close()
    assert server.stop() == 0
    ours = [span for _, span in collector.spans() if span.trace_id.hex() == TRACE]
    assert {"plan", "embed", "leg", "kernel", "fetch"} <= {span.name for span in ours}
    (embed,) = [span for span in ours if span.name == "embed"]
    told = {one.key: value_of(one) for one in embed.attributes}
    assert told["model"] == "all-minilm-l6-v2"
    assert int(told["tokens"]) > 0
    codes = [
        value_of(one)
        for span in ours
        for one in span.attributes
        if one.key == "rpc.grpc.status_code"
    ]
    assert sorted(codes) == ["0", "3"]
    for secret in SECRETS:
        assert secret not in str(ours)


def test_what_is_not_sampled_is_not_sent(make_server: MakeServer, collector: Collector) -> None:
    server = make_server(traces__endpoint=collector.endpoint, traces__sample_ratio=0)
    caller = Caller(server)
    for metadata in (UNSAMPLED, ()):
        caller.call(
            "Collections/List",
            collections_pb2.ListCollectionsRequest(),
            collections_pb2.ListCollectionsResponse,
            metadata,
        )
    caller.call(
        "Collections/List",
        collections_pb2.ListCollectionsRequest(),
        collections_pb2.ListCollectionsResponse,
    )
    caller.channel.close()
    assert server.stop() == 0
    assert {span.parent_span_id.hex() for _, span in collector.spans()} == {
        PARENT,
        *[span.span_id.hex() for _, span in collector.spans() if span.name.startswith("vecdb.v1.")],
    }
    calls = [span for _, span in collector.spans() if span.name.startswith("vecdb.v1.")]
    assert [span.trace_id.hex() for span in calls] == [TRACE]


def test_a_collector_that_is_away_hurts_nobody(make_server: MakeServer) -> None:
    server = make_server(traces__endpoint="http://127.0.0.1:9")
    fill(server, dim=2)
    with server.client() as client:
        assert len(client.collection("books").search([1, 1])) == 1
    wait_until(lambda: ask(server, "/readyz")[0] == 200)
    assert server.stop() == 0


def test_nothing_of_it_is_imported_without_the_setting() -> None:
    code = "import sys, vecdb.server, vecdb.node, vecdb.rpc.server; print([m for m in sys.modules "
    code += "if m.startswith('opentelemetry')])"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.strip() == "[]"
