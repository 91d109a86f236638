"""How a node is: what Admin.Status answers, put together from the parts of a process.

Where a node has several processes, the supervisor tells what it alone knows: addresses, processes,
since when. The writer answers; while it is away, a query worker does, as far as it knows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vecdb import __version__
from vecdb.conditions import Condition, ranked
from vecdb.config import Config
from vecdb.database import Database
from vecdb.embed.channel import WorkerState
from vecdb.memory import resident_bytes
from vecdb.node_status import (
    BuildStatus,
    CollectionStatus,
    DataStatus,
    EmbeddingStatus,
    NodeStatus,
    ProcessStatus,
)
from vecdb.storage.codec import FORMAT_VERSION


class Node:
    """What is known of the node as a whole. Threads may share it: each attribute is replaced."""

    def __init__(self) -> None:
        """Begin with one process, this one. addresses: see NodeStatus."""
        self._begun = time.monotonic()
        self.addresses: dict[str, str] = {}
        self.processes: tuple[ProcessStatus, ...] = (ProcessStatus("node", os.getpid(), True),)
        self.conditions: tuple[Condition, ...] = ()
        """Those that the supervisor tells."""

    def pids(self) -> set[int]:
        """Return the processes that are known; what they have started is not among them."""
        return {one.pid for one in self.processes if one.pid}

    @property
    def uptime_s(self) -> float:
        """Seconds since the node was started."""
        return time.monotonic() - self._begun

    def take(self, told: Mapping[str, Any] | None) -> None:
        """Take what the supervisor tells, if it has: see told_node."""
        if not told:
            return
        # One clock for all processes of a machine.
        self._begun = told["begun"]
        self.addresses = told["addresses"]
        self.processes = tuple(ProcessStatus(**one) for one in told["processes"])
        self.conditions = tuple(Condition(**one) for one in told["conditions"])


def status_of(
    node: Node,
    config: Config,
    database: Database,
    conditions: Iterable[Condition],
    embedding: EmbeddingStatus,
    *,
    embedding_pid: int | None = None,
) -> NodeStatus:
    """Return how a node is. conditions: of this process. embedding_pid: of the worker, if any."""
    processes = node.processes
    if embedding_pid is not None:
        worker = ProcessStatus(
            "embedding", embedding_pid, embedding.ready, restarts=embedding.restarts
        )
        processes = (*processes, worker)
    processes = tuple(replace(one, memory_bytes=resident_bytes(one.pid)) for one in processes)
    sizes = sorted(database.opened.sizes(), key=_rank)
    gauges = database.gauges(sizes)
    return NodeStatus(
        version=__version__,
        uptime_s=node.uptime_s,
        addresses=node.addresses,
        processes=processes,
        conditions=tuple(ranked([*node.conditions, *conditions])),
        data=_data(gauges, Path(config.server.data)),
        collections=tuple(sizes),
        embedding=embedding,
        builds=BuildStatus(
            int(gauges["vecdb_builds"]),
            int(gauges["vecdb_built_segments_total"]),
            gauges["vecdb_build_seconds_total"],
            int(gauges["vecdb_build_failures_total"]),
        ),
        memory_bytes=sum(one.memory_bytes for one in processes),
    )


def _rank(one: CollectionStatus) -> tuple[bool, bool, int, str]:
    return one.state != "quarantined", one.state != "degraded", -one.points, one.name


def embedding_status(state: WorkerState, *, enabled: bool, restarts: int) -> EmbeddingStatus:
    """Return how the embedding worker is."""
    return EmbeddingStatus(enabled, state.ready, state.reason, restarts, dict(state.models))


def _data(gauges: Mapping[str, float], directory: Path) -> DataStatus:
    disk = os.statvfs(directory)
    names = (
        "collections",
        "collections_open",
        "collections_quarantined",
        "points",
        "tail_points",
        "segments",
        "segments_quarantined",
        "store_bytes",
        "segment_bytes",
        "writes_waiting",
    )
    return DataStatus(
        directory=str(directory.absolute()),
        format_version=FORMAT_VERSION,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        disk_bytes=disk.f_blocks * disk.f_frsize,
        **{name: int(gauges[f"vecdb_{name}"]) for name in names},
    )
