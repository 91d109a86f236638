"""The gRPC server: services, health and reflection on one port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vecdb.certificates import Certificates
from vecdb.config import Config
from vecdb.database import Database
from vecdb.embed.client import Encoders
from vecdb.errors import Unavailable
from vecdb.metrics import Metrics
from vecdb.node_status import NodeStatus
from vecdb.otel import tracing_of
from vecdb.reembed.moves import Moves
from vecdb.rpc.dispatch import Dispatcher
from vecdb.rpc.forward import LOGGED, READS, Forwarder
from vecdb.rpc.guard import Guard
from vecdb.rpc.health import Health
from vecdb.rpc.intercept import CallInterceptor
from vecdb.rpc.pb import (
    admin_pb2,
    admin_pb2_grpc,
    collections_pb2,
    collections_pb2_grpc,
    documents_pb2,
    documents_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from vecdb.rpc.services.admin import AdminService
from vecdb.rpc.services.collections import CollectionsService
from vecdb.rpc.services.documents import DocumentsService
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.rpc.services.models import ModelsService
from vecdb.rpc.services.points import PointsService
from vecdb.rpc.services.search import SearchService
from vecdb.rpc.services.slow import SlowQueries
from vecdb.rpc.shares import Kind, shares_of
from vecdb.rpc.tls import credentials
from vecdb.rpc.trace import TraceInterceptor

_SERVICES = {
    "data": (
        collections_pb2.DESCRIPTOR.services_by_name["Collections"].full_name,
        points_pb2.DESCRIPTOR.services_by_name["Points"].full_name,
        admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name,
    ),
    "search": (
        search_pb2.DESCRIPTOR.services_by_name["Search"].full_name,
        documents_pb2.DESCRIPTOR.services_by_name["Documents"].full_name,
    ),
    "models": (models_pb2.DESCRIPTOR.services_by_name["Models"].full_name,),
}
STREAM_BYTES = 4 << 20
NOTICE_S = 0.5
HEALTH_WATCHES = 128
"""Watches of health at once, each of which holds a thread; more are refused."""
SPARE_CALLS = 64
"""Calls that may be open beside those that have a limit of their own: health, reflection."""


class RpcServer:
    """Serves from start() to stop(). Health says NOT_SERVING until it is told otherwise."""

    def __init__(
        self,
        config: Config,
        database: Database,
        encoders: Encoders,
        metrics: Metrics,
        guard: Guard,
        *,
        forwarder: Forwarder | None = None,
        counted: bool = True,
        certificates: Certificates | None = None,
        status: Callable[[], NodeStatus],
    ) -> None:
        """Bind the address. Raises Unavailable when it cannot be had. status: how the node is.

        guard: see CallInterceptor.
        forwarder: of a query worker, which listens beside others. counted: see CallInterceptor.
        certificates: what TLS shows on a TCP address; Unix sockets, and None, are plain.
        """
        limits = config.limits
        self.shares = shares_of(limits)
        self._calls = CallInterceptor(
            metrics,
            guard,
            config.server.threads,
            limits.streams,
            reads=READS - LOGGED if config.documents.query_log else READS,
            forwarder=forwarder,
            counted=counted,
            shares=self.shares,
        )
        calls = sum(share.most for share in self.shares.values()) + limits.streams
        calls += HEALTH_WATCHES + SPARE_CALLS
        self._server = grpc.server(
            Dispatcher(calls, config.server.threads),
            maximum_concurrent_rpcs=calls,
            interceptors=[*self._traced(config, forwarder is not None, counted), self._calls],
            options=_options(limits.message_bytes, shared=forwarder is not None),
        )
        encoder = SpaceEncoder(encoders, metrics)
        collections = CollectionsService(database, encoders, limits)
        collections_pb2_grpc.add_CollectionsServicer_to_server(collections, self._server)
        points_pb2_grpc.add_PointsServicer_to_server(
            PointsService(database, encoder, limits, metrics), self._server
        )
        search = SearchService(
            database, encoder, limits, metrics, SlowQueries(config.log.slow_query_ms)
        )
        search_pb2_grpc.add_SearchServicer_to_server(search, self._server)
        self._documents = DocumentsService(config, database, encoders, encoder, search, metrics)
        documents_pb2_grpc.add_DocumentsServicer_to_server(self._documents, self._server)
        admin = AdminService(database, limits, status, guard, self._is_asked)
        self.backups = admin.backups
        admin_pb2_grpc.add_AdminServicer_to_server(admin, self._server)
        self._moves = None if forwarder else Moves(database, encoders, limits)
        models_pb2_grpc.add_ModelsServicer_to_server(
            ModelsService(encoders, encoder, limits, self._moves), self._server
        )
        self._health = Health(
            is_worker=forwarder is not None,
            workers=config.server.workers,
            watches_max=HEALTH_WATCHES,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [name for group in _SERVICES.values() for name in group]
        names += [health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)
        for group in _SERVICES:
            self.set_health(group, serving=False)
        self.address = self._bind(config.server.listen, certificates)

    def _bind(self, listen: str, certificates: Certificates | None) -> str:
        """Return the address that is listened on. Raises Unavailable."""
        unix = listen.startswith("unix:")
        try:
            if certificates is None or unix:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, credentials(certificates))
        except RuntimeError:
            port = 0
        if not port:
            raise Unavailable(
                f"cannot listen on {listen}: in use, or not an address of this machine",
                hint="choose another with --listen; port 0 picks a free one",
            )
        return listen if unix else f"{listen.rpartition(':')[0]}:{port}"

    def _traced(
        self, config: Config, is_worker: bool, counted: bool
    ) -> Iterator[grpc.ServerInterceptor]:
        name = "worker" if is_worker else "node" if counted else "writer"
        self._tracing = tracing_of(config.traces, name)
        if self._tracing is not None:
            yield TraceInterceptor(self._tracing)

    def set_health(self, group: str, *, serving: bool) -> None:
        """Say whether a group of services serves: "data", which "" follows, "search", "models"."""
        for name in (*_SERVICES[group], *([""] if group == "data" else [])):
            self._health.set(name, serving=serving)

    def _is_asked(self) -> bool:
        return self.shares[Kind.QUERY].open > 0

    def start(self) -> None:
        """Begin to take calls, and go on with moves to other models that were under way."""
        self._server.start()
        if self._moves is not None:
            self._moves.begin()

    def stop(self, grace_s: float) -> None:
        """Refuse new calls, give those under way some time, and end."""
        self._health.stop()
        # gRPC cancels a call that arrives between its shutdown and its GOAWAY. Those who are about
        # to call hear UNAVAILABLE first, which says to go elsewhere or to come back.
        self._calls.drain()
        threading.Event().wait(min(NOTICE_S, grace_s))
        self._server.stop(grace_s).wait()
        self._documents.close()
        if self._tracing is not None:
            self._tracing.close()
        if self._moves is not None:
            self._moves.close()


def _options(message_bytes: int, *, shared: bool) -> list[tuple[str, int]]:
    """Return the options of gRPC. shared: whether other processes of the node have the port too."""
    return [
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        # A second server on the port of a first must fail, not share its clients; the workers of
        # one share a port that their supervisor holds.
        ("grpc.so_reuseport", int(shared)),
        ("grpc.http2.lookahead_bytes", STREAM_BYTES),
        # Clients may ask whether we are alive while they wait for a long write.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A peer that is gone without a word gives its calls back.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
