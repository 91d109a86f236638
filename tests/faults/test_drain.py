"""SIGTERM: health says so at once, what is under way is finished, what comes is UNAVAILABLE."""

from __future__ import annotations

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import MakeServer
from vecdb.rpc.pb import points_pb2, points_pb2_grpc

State = health_pb2.HealthCheckResponse


@pytest.mark.parametrize("workers", [1, 2])
def test_health_says_that_the_node_stops(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    with server.client() as client:
        client.create_collection("c", dim=2)
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="vecdb.v1.Points"), timeout=60
        )
        assert next(watch).status == State.SERVING
        ended: list[int] = []
        stopping = threading.Thread(target=lambda: ended.append(server.stop()))
        stopping.start()
        assert next(watch).status == State.NOT_SERVING
        count = points_pb2_grpc.PointsStub(channel).Count
        with pytest.raises(grpc.RpcError) as caught:
            count(points_pb2.CountRequest(collection="c"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        stopping.join(60)
    assert ended == [0]
    assert "Traceback" not in server.log.read_text()
