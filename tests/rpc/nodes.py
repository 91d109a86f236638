"""Looking at a server of several processes: which they are, what each says, what they count."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.live import LiveServer, nodes_of
from vecdb.auth.authenticator import Authenticator
from vecdb.config import AuthConfig
from vecdb.rpc.guard import Guard

WORKERS = 2


@contextmanager
def connections(server: LiveServer, service: str = "") -> Iterator[dict[str, grpc.Channel]]:
    """Yield a connection to each worker, by the name that the worker gives itself."""
    found: dict[str, grpc.Channel] = {}
    try:
        for _ in range(100):
            channel = grpc.insecure_channel(
                server.address, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            name, count = worker_of(channel)
            assert count == WORKERS
            if name in found:
                channel.close()
            found.setdefault(name, channel)
            if len(found) == WORKERS:
                break
        yield found
    finally:
        for channel in found.values():
            channel.close()


def worker_of(channel: grpc.Channel) -> tuple[str, int]:
    check = health_pb2_grpc.HealthStub(channel).Check
    _, call = check.with_call(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
    said = dict(call.trailing_metadata())
    return said["vecdb-worker"], int(said["vecdb-workers"])


def health(channel: grpc.Channel, service: str = "") -> str:
    request = health_pb2.HealthCheckRequest(service=service)
    reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def ask(server: LiveServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.metrics, timeout=30)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def metrics(server: LiveServer) -> dict[str, float]:
    _, body = ask(server, "/metrics")
    lines = (line.rpartition(" ") for line in body.splitlines() if line[0] != "#")
    return {name: float(value) for name, _, value in lines}


def calls(server: LiveServer, method: str, code: str = "OK") -> float:
    labels = f'grpc_code="{code}",grpc_method="{method}"'
    found = [
        value
        for name, value in metrics(server).items()
        if name.startswith(f"grpc_server_handled_total{{{labels},")
    ]
    return sum(found)


def processes(server: LiveServer) -> tuple[int, list[int]]:
    """Return the pids of the writer and of the workers: those started first, and later ones."""
    found = set(nodes_of(server))
    (writer,) = [pid for pid in found if holds_lock(pid, server.data)]
    return writer, sorted(found - {writer})


def holds_lock(pid: int, data: Path) -> bool:
    links = Path(f"/proc/{pid}/fd")
    try:
        return any(os.readlink(link) == str(data / "LOCK") for link in links.iterdir())
    except OSError:
        return False


def whole(server: LiveServer) -> bool:
    """Whether all processes are there and serve."""
    now = metrics(server)
    return now['vecdb_processes{role="worker"}'] == WORKERS and ask(server, "/readyz")[0] == 200


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def open_guard() -> Guard:
    """Return the guard of a server that has no keys."""
    return Guard(Authenticator(AuthConfig(), lambda: None))
