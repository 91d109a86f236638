"""One node, from start to stop: which parts there are and in which order they come and go."""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vecdb import heap, stop
from vecdb.auth.door import Door
from vecdb.auth.scopes import METRICS, MODELS
from vecdb.backup.schedule import Schedule
from vecdb.collection.build import Builders
from vecdb.conditions import Conditions, ready_text
from vecdb.config import Config
from vecdb.database import Database
from vecdb.embed.channel import WorkerState
from vecdb.embed.client import Encoders
from vecdb.embed.elsewhere import WorkerElsewhere
from vecdb.embed.process import WorkerProcess
from vecdb.metrics import Gauges, Metrics
from vecdb.node_status import NodeStatus
from vecdb.opened import Sizes
from vecdb.ops.condition_metric import ConditionMetric
from vecdb.ops.conditions import data_conditions, embedding_conditions
from vecdb.ops.data_metric import DataMetric
from vecdb.ops.embeddings_http import EmbeddingsPort
from vecdb.ops.host import allow_files, certificates_of, check_exposure, write_addresses
from vecdb.ops.http import HttpPort
from vecdb.ops.status import Node, embedding_status, status_of
from vecdb.ops.worker_counts import WorkerCounts
from vecdb.room import room_of
from vecdb.rpc.guard import guard_of
from vecdb.rpc.server import RpcServer

log = logging.getLogger(__name__)

HEALTH_INTERVAL_S = 1.0
SCRAPE_S = 1.0
EXPIRY = "vecdb_tls_certificate_expiry_timestamp_seconds"

_GAUGES = {
    "vecdb_memory_taken_bytes": "Memory of all processes, mapped files left out.",
    "vecdb_memory_limit_bytes": "What they may take: limits.memory_bytes, or what there is.",
    "vecdb_embed_ready": "1 when the embedding worker answers.",
    "vecdb_embed_restarts_total": "Times that the embedding worker was started again.",
    EXPIRY: "Until when the certificate of TLS is good; absent without.",
}


class Server:
    """A node. `start` returns when it serves; `stop` when all that was acknowledged is safe."""

    def __init__(
        self,
        config: Config,
        *,
        counted: bool = True,
        on_embed: Callable[[WorkerState], object] = lambda state: None,
    ) -> None:
        """Open the data directory and bind the ports. Raises VecdbError with what to do.

        counted: see RpcServer. on_embed: called with every new state of the embedding worker.
        """
        self._config = config
        self._on_embed = on_embed
        self._stopping = threading.Event()
        self.metrics = Metrics()
        self.node = Node()
        self.conditions = Conditions()
        self._certificates = certificates_of(config.tls)
        if self._certificates:
            self.conditions.add(self._certificates.conditions)
        builders = Builders()
        self.database = Database(
            Path(config.server.data),
            config.storage,
            config.limits,
            builders=builders,
            judged=self.metrics.recall.observe,
            room=room_of(Path(config.server.data), config.storage, config.limits, self.node.pids),
        )
        try:
            limits = config.limits
            self.worker = _worker(config, self._worker_changed)
            self._encoders = Encoders(
                config.embed,
                self.worker,
                text_bytes=limits.text_bytes,
                image_bytes=limits.image_bytes,
                patient_calls=max(1, config.server.threads // 2),
            )
            self.guard = guard_of(config, self.database.keys, is_behind=not counted)
            self._rpc = RpcServer(
                config,
                self.database,
                self._encoders,
                self.metrics,
                self.guard,
                counted=counted,
                certificates=self._certificates,
                status=self._status,
            )
            self._http = self._metrics_port()
            self._embeddings = self._embeddings_port()
            self._schedule = (
                Schedule(self._rpc.backups, config.backup) if config.backup.place else None
            )
        except BaseException:
            self.database.close()
            raise
        self._embeds = config.embed.enabled or bool(config.embed.worker)
        self.node.addresses = {
            "grpc": self.address,
            "metrics": self.metrics_address,
            "embeddings": self.embeddings_address,
        }
        self._tell()

    def _tell(self) -> None:
        """Have what there is to know of the node be known: by metrics and by conditions."""
        config = self._config
        self.metrics.observe(self._gauges, _GAUGES)
        self.metrics.add(
            DataMetric(self._sizes, Path(config.server.data), config.metrics.collections)
        )
        self.metrics.registry.register(ConditionMetric(self.conditions.now))
        self.conditions.add(lambda: data_conditions(self.database))
        if self._schedule:
            self.conditions.add(self._schedule.conditions)
        self.conditions.add(lambda: embedding_conditions(self.worker.state, enabled=self._embeds))
        if not config.embed.worker:  # one elsewhere may have several nodes, and tells for itself
            self.metrics.add(WorkerCounts(lambda: self._encoders.describe(SCRAPE_S, metrics=True)))

    def _embeddings_port(self) -> EmbeddingsPort | None:
        config, guard = self._config, self.guard
        if not config.embed.http:
            return None
        return EmbeddingsPort(
            config.embed.http,
            self._encoders,
            self.metrics,
            config.limits,
            self._certificates,
            Door(guard.authenticator, MODELS, guard.usage, guard.audit),
        )

    def _metrics_port(self) -> HttpPort | None:
        config = self._config
        if not config.server.metrics:
            return None
        return HttpPort(
            config.server.metrics,
            self.metrics.registry,
            self.not_ready,
            more=lambda: ready_text(self.conditions.now()),
            certificates=self._certificates if config.tls.metrics else None,
            door=Door(self.guard.authenticator, METRICS),
        )

    @property
    def address(self) -> str:
        """Where gRPC is served."""
        return self._rpc.address

    @property
    def metrics_address(self) -> str:
        """Where HTTP is served, or ""."""
        return self._http.address if self._http else ""

    @property
    def embeddings_address(self) -> str:
        """Where /v1/embeddings is served, or ""."""
        return self._embeddings.address if self._embeddings else ""

    def start(self) -> None:
        """Serve. Text is served once the embedding worker is ready; vectors at once."""
        if self._certificates:
            self._certificates.start()
        self.worker.start()
        self._rpc.start()
        if self._http:
            self._http.start()
        if self._embeddings:
            self._embeddings.start()
        if self._schedule:
            self._schedule.start()
        for group in ("data", "search"):
            self._rpc.set_health(group, serving=True)
        threading.Thread(target=self._watch_health, name="vecdb-health", daemon=True).start()
        log.info(
            "serving gRPC on %s, metrics on %s, embeddings over HTTP on %s",
            self.address,
            self.metrics_address or "none",
            self.embeddings_address or "none",
        )

    def stop(self) -> None:
        """Drain: refuse new calls, finish those under way, close the files."""
        log.info("stopping: calls under way get %g s", self._config.server.drain_s)
        self._stopping.set()
        until = time.monotonic() + self._config.server.drain_s
        if self._embeddings:
            self._embeddings.drain()
        if self._schedule:
            self._schedule.stop()
        self._rpc.stop(self._config.server.drain_s)
        if self._embeddings:
            self._embeddings.stop(until - time.monotonic())
        self._encoders.close()
        self.worker.stop()
        self.database.close()
        if self._http:
            self._http.stop()
        if self._certificates:
            self._certificates.stop()
        log.info("stopped")

    def not_ready(self) -> str:
        """Return why vectors are not served, or ""."""
        if self._stopping.is_set():
            return "stopping"
        return self.database.ailment()

    def _worker_changed(self, state: WorkerState) -> None:
        if not self._stopping.is_set():
            self._rpc.set_health("models", serving=state.ready)
            self._on_embed(state)

    def _watch_health(self) -> None:
        serving = True
        while not self._stopping.wait(HEALTH_INTERVAL_S):
            self.database.room.relieve()
            now = not self.database.ailment()
            if now != serving:
                log.error("health: %s", self.database.ailment() or "serving again")
                for group in ("data", "search"):
                    self._rpc.set_health(group, serving=now)
                serving = now

    def _status(self) -> NodeStatus:
        return status_of(
            self.node,
            self._config,
            self.database,
            self.conditions.now(),
            embedding_status(
                self.worker.state, enabled=self._embeds, restarts=self.worker.restarts
            ),
            embedding_pid=self.worker.pid,
        )

    def _sizes(self) -> tuple[Sizes, Gauges]:
        sizes = self.database.opened.sizes()
        return sizes, self.database.gauges(sizes)

    def _gauges(self) -> Gauges:
        shown = self._certificates and self._certificates.shown
        expiry = {EXPIRY: shown.expires_at} if shown else {}
        use = self.database.room.memory()
        memory = {
            "vecdb_memory_taken_bytes": float(use.taken if use else 0),
            "vecdb_memory_limit_bytes": float(use.limit if use else 0),
        }
        return {
            **expiry,
            **memory,
            "vecdb_embed_ready": float(self.worker.state.ready),
            "vecdb_embed_restarts_total": float(self.worker.restarts),
        }


def _worker(
    config: Config, on_change: Callable[[WorkerState], object]
) -> WorkerProcess | WorkerElsewhere:
    """Return the embedding worker of a node: a child of this process, or one elsewhere."""
    text_bytes = config.limits.text_bytes + config.limits.image_bytes
    if config.embed.worker:
        return WorkerElsewhere(config.embed, text_bytes=text_bytes, on_change=on_change)
    return WorkerProcess(
        config.embed,
        text_bytes=text_bytes,
        on_change=on_change,
        log_level=config.server.log_level,
        log_format=config.log.format,
    )


def run(config: Config, address_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; return when stopped.

    address_file: see write_addresses.
    """
    check_exposure(config)
    allow_files()
    heap.use_one_heap()
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    stop.on_signals(asked.put)
    server = Server(config)
    server.start()
    if address_file is not None:
        write_addresses(
            address_file,
            grpc=server.address,
            metrics=server.metrics_address,
            embeddings=server.embeddings_address,
            worker_pid=server.worker.pid,
        )
    log.info("asked to stop by %s", signal.Signals(stop.wait(asked)).name)
    server.stop()
