"""Health.Watch: clients that come and go, that do not read, that are many."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import MakeServer
from vecdb.metrics import Metrics
from vecdb.rpc.dispatch import Dispatcher
from vecdb.rpc.health import Health
from vecdb.rpc.intercept import CallInterceptor

SECONDS = 10.0
State = health_pb2.HealthCheckResponse


def asked(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


@contextmanager
def connected(address: str) -> Iterator[health_pb2_grpc.HealthStub]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as channel:
        yield health_pb2_grpc.HealthStub(channel)


@contextmanager
def serving(
    watches_max: int = 4, calls: CallInterceptor | None = None
) -> Iterator[tuple[Health, str]]:
    health = Health(is_worker=False, workers=1, watches_max=watches_max)
    health.set("", serving=True)
    server = grpc.server(
        Dispatcher(16, 2), maximum_concurrent_rpcs=16, interceptors=[calls] if calls else []
    )
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield health, address
    finally:
        server.stop(0).wait()


def test_clients_that_watch_and_go_do_not_end_the_server(make_server: MakeServer) -> None:
    server = make_server()
    started = threading.Barrier(4)
    failed: list[grpc.RpcError] = []

    def come_and_go() -> None:
        with connected(server.address) as stub:
            started.wait(SECONDS)
            for _ in range(25):
                try:
                    watch = stub.Watch(asked(), timeout=SECONDS)
                    assert next(watch).status == State.SERVING
                except grpc.RpcError as error:
                    failed.append(error)
                    return
                watch.cancel()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with connected(server.address) as stub, connected(server.address) as other:
        watch = stub.Watch(asked(), timeout=60)
        assert next(watch).status == State.SERVING
        assert other.Check(asked(), timeout=SECONDS).status == State.SERVING
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < SECONDS, "nobody waits for one who watches"
        assert next(watch).status == State.NOT_SERVING


def test_each_change_is_told_and_the_last_one_ends_it() -> None:
    with serving() as (health, address), connected(address) as stub:
        watch = stub.Watch(asked(), timeout=SECONDS)
        for serves in (True, False, True):
            health.set("", serving=serves)
            assert next(watch).status == (State.SERVING if serves else State.NOT_SERVING)
        health.stop()
        health.set("", serving=True)
        assert [reply.status for reply in watch] == [State.NOT_SERVING]
        assert stub.Check(asked(), timeout=SECONDS).status == State.NOT_SERVING


def test_a_server_that_drains_says_that_it_does_not_serve() -> None:
    calls = CallInterceptor(Metrics(), 2)
    with serving(calls=calls) as (health, address), connected(address) as stub:
        health.stop()
        calls.drain()
        assert stub.Check(asked(), timeout=SECONDS).status == State.NOT_SERVING


def test_a_service_that_nobody_knows() -> None:
    with serving() as (health, address), connected(address) as stub:
        watch = stub.Watch(asked("later"), timeout=SECONDS)
        assert next(watch).status == State.SERVICE_UNKNOWN
        with pytest.raises(grpc.RpcError) as raised:
            stub.Check(asked("later"), timeout=SECONDS)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        health.set("later", serving=True)
        assert next(watch).status == State.SERVING


def test_too_many_are_refused_and_others_answered() -> None:
    with serving(watches_max=3) as (_, address), connected(address) as stub:
        watches = [stub.Watch(asked(), timeout=SECONDS) for _ in range(3)]
        assert [next(watch).status for watch in watches] == [State.SERVING] * 3
        with pytest.raises(grpc.RpcError) as raised:
            next(stub.Watch(asked(), timeout=SECONDS))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Check(asked(), timeout=SECONDS).status == State.SERVING
        for watch in watches:
            watch.cancel()
        assert stays_open(stub), "those who have gone make room"


def stays_open(stub: health_pb2_grpc.HealthStub) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            return bool(next(stub.Watch(asked(), timeout=SECONDS)).status == State.SERVING)
        except grpc.RpcError:
            threading.Event().wait(0.02)
    return False


def test_those_who_do_not_read_keep_nobody_waiting() -> None:
    with serving() as (health, address), connected(address) as stub, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(deaf(address))
        watch = stub.Watch(asked(), timeout=SECONDS)
        for serves in (True, False) * 3:
            health.set("", serving=serves)
            assert next(watch).status == (State.SERVING if serves else State.NOT_SERVING)
        assert stub.Check(asked(), timeout=SECONDS).status == State.NOT_SERVING


@contextmanager
def deaf(address: str) -> Iterator[None]:
    """Watch by a connection of HTTP/2 that allows no byte of a reply to be sent."""

    def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
        return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body

    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Watch",
        ":authority": "a",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    headers = b"".join(  # literals that are not indexed
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
        raw.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, struct.pack(">HI", 4, 0))  # SETTINGS: a window of nothing
            + frame(1, 4, 1, headers)
            + frame(0, 1, 1, b"\0" * 5)  # an empty request, and the end
        )
        assert raw.recv(1024)
        yield
