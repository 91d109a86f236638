"""What a node says of itself to its operators: the answer of Admin.Status, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vecdb.conditions import Condition

CollectionState = Literal["ok", "building", "degraded", "quarantined"]


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """A collection that is open, or cannot be.

    state: "degraded" where segments' files are not used, or builds fail; "quarantined" where the
    store cannot be opened. reason: why, or "". readers: slots of its store that are taken.
    reader_lag_txns: how far the oldest read under way is behind.
    """

    name: str
    state: CollectionState = "ok"
    reason: str = ""
    points: int = 0
    tail_points: int = 0
    segments: int = 0
    segments_quarantined: int = 0
    builds: int = 0
    store_bytes: int = 0
    map_bytes: int = 0
    segment_bytes: int = 0
    readers: int = 0
    readers_max: int = 0
    reader_lag_txns: int = 0


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process of the node. name: such as "worker 1". restarts: times it was started again.

    memory_bytes: resident, those shared with others included; 0 where it cannot be told.
    """

    name: str
    pid: int
    ready: bool
    restarts: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EmbeddingStatus:
    """The embedding worker. reason: why it does not answer, or "". models: name to what ails it."""

    enabled: bool = False
    ready: bool = False
    reason: str = ""
    restarts: int = 0
    models: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """The builder. running: segments being made; the rest counts since the start."""

    running: int = 0
    segments: int = 0
    seconds: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class DataStatus:
    """Sizes and counts. points, tail_points, segments and bytes: of the open collections."""

    directory: str = ""
    format_version: int = 0
    collections: int = 0
    collections_open: int = 0
    collections_quarantined: int = 0
    points: int = 0
    tail_points: int = 0
    segments: int = 0
    segments_quarantined: int = 0
    store_bytes: int = 0
    segment_bytes: int = 0
    disk_free_bytes: int = 0
    disk_bytes: int = 0
    writes_waiting: int = 0


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node. addresses: by what is served there: grpc, metrics, embeddings; "" for none.

    collections: those that are not well first, then the largest.
    """

    version: str
    uptime_s: float
    addresses: dict[str, str]
    processes: tuple[ProcessStatus, ...]
    conditions: tuple[Condition, ...]
    data: DataStatus
    collections: tuple[CollectionStatus, ...]
    embedding: EmbeddingStatus
    builds: BuildStatus
    memory_bytes: int
