"""Messages that do not parse: the caller's mistake, and no traceback in the log."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import MakeServer
from tests.fuzz.mutation import HOSTILE, nested
from vecdb.rpc.pb import documents_pb2_grpc, retrieval_pb2
from vecdb_client import TextField

DEEP = nested(5_000)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_parse(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    with grpc.insecure_channel(server.address) as channel:
        bad = [("Points/Count", body) for body in (b"\xff", HOSTILE[4], HOSTILE[6], DEEP)]
        bad += [(path, b"\xff") for path in ("Points/Write", "Collections/List", "Search/Query")]
        for path, body in bad:
            with pytest.raises(grpc.RpcError, match="not one that this call takes") as caught:
                channel.unary_unary(f"/vecdb.v1.{path}")(body, timeout=20)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for path in ("vecdb.v1.Points/Watch", "grpc.health.v1.Health/Watch"):
            with pytest.raises(grpc.RpcError, match="not one that this call takes") as caught:
                list(channel.unary_stream(f"/{path}")(b"\xff", timeout=20))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        reflection = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        for path in ("vecdb.v1.Points/WriteStream", reflection):
            with pytest.raises(grpc.RpcError, match="not one that this call takes") as caught:
                list(channel.stream_stream(f"/{path}")(iter([b"\xff"]), timeout=20))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_numbers_that_no_enum_has(make_server: MakeServer) -> None:
    asked = [
        retrieval_pb2.ContextRequest(question="q", history=[{"speaker": 99, "text": "t"}]),
        retrieval_pb2.ContextRequest(question="q", retrieval={"mode": 99}),
    ]
    server = make_server()
    with server.client() as client, grpc.insecure_channel(server.address) as channel:
        client.create_collection("c", text_fields=[TextField("text")])
        documents = documents_pb2_grpc.DocumentsStub(channel)
        for request in asked:
            request.collection = "c"
            with pytest.raises(grpc.RpcError) as caught:
                documents.Context(request, timeout=20)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_health_of_all_services(make_server: MakeServer) -> None:
    with grpc.insecure_channel(make_server().address) as channel:
        found = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=20)
    assert found.statuses["vecdb.v1.Points"].status == health_pb2.HealthCheckResponse.SERVING
    assert found.statuses["vecdb.v1.Models"].status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_stream_that_its_caller_leaves(make_server: MakeServer) -> None:
    server = make_server()
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with grpc.insecure_channel(server.address) as channel:
        for _ in range(20):
            call = channel.stream_stream(path)(iter([b"\x3a\x01*"]), timeout=20)
            next(call)
            call.cancel()
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
