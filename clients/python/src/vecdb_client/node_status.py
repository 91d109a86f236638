"""How a node is, as it says so itself. Data, and how it is read from a reply; no transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from vecdb_client.pb import admin_pb2

State = Literal["ok", "warning", "error"]
CollectionState = Literal["ok", "building", "degraded", "quarantined"]

_STATES: Final[dict[int, State]] = {
    admin_pb2.CONDITION_STATE_OK: "ok",
    admin_pb2.CONDITION_STATE_WARNING: "warning",
}
_COLLECTION_STATES: Final[dict[int, CollectionState]] = {
    admin_pb2.COLLECTION_STATE_OK: "ok",
    admin_pb2.COLLECTION_STATE_BUILDING: "building",
    admin_pb2.COLLECTION_STATE_QUARANTINED: "quarantined",
}


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """A part of a node that is not as it should be: which, why, and what to do ("" for nothing)."""

    name: str
    state: State
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process of a node. name: "node" where there is one; else such as "writer", "worker 1".

    memory_bytes: resident, with what it shares. restarts: times it was started again.
    """

    name: str
    pid: int
    ready: bool
    restarts: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """A collection that is open, or cannot be.

    state: "degraded" where files of segments are not used, or builds fail: it answers all the same.
    reason: why, or "". tail_points: in no segment yet. builds: segments being made. readers: slots
    for readers of its store that are taken, of readers_max. reader_lag_txns: transactions by which
    the oldest read under way is behind.
    """

    name: str
    state: CollectionState
    reason: str
    points: int
    tail_points: int
    segments: int
    segments_quarantined: int
    builds: int
    store_bytes: int
    map_bytes: int
    segment_bytes: int
    readers: int
    readers_max: int
    reader_lag_txns: int


@dataclass(frozen=True, slots=True)
class DataStatus:
    """A node's data. points, segments and bytes are those of the open collections.

    collections_open: others are opened when they are first used. writes_waiting: for the disk.
    """

    directory: str
    format_version: int
    collections: int
    collections_open: int
    collections_quarantined: int
    points: int
    tail_points: int
    segments: int
    segments_quarantined: int
    store_bytes: int
    segment_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    writes_waiting: int


@dataclass(frozen=True, slots=True)
class EmbeddingStatus:
    """What encodes texts and images. models: by name, with why one cannot be used, or ""."""

    enabled: bool
    ready: bool
    reason: str
    restarts: int
    models: dict[str, str]


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """Segments: being made now, and made since the start, in so many seconds."""

    running: int
    segments: int
    seconds: float
    failures: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node. state: the worst of its conditions, of which only those that are not ok are listed.

    addresses: by what is served there: "grpc", "metrics", "embeddings". memory_bytes: of all
    processes. collections: those that are not well first, then the largest.
    """

    version: str
    uptime_s: float
    state: State
    conditions: tuple[NodeCondition, ...]
    addresses: dict[str, str]
    processes: tuple[ProcessStatus, ...]
    memory_bytes: int
    data: DataStatus
    embedding: EmbeddingStatus
    builds: BuildStatus
    collections: tuple[CollectionStatus, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a request to a node may ask. value: bytes or a count, as the name says.

    meaning: what is limited. least, most: what those who run the node may set it to.
    """

    name: str
    value: int
    meaning: str
    least: int
    most: int


def limits(reply: admin_pb2.LimitsResponse) -> dict[str, Limit]:
    """Return the limits of a node by name."""
    return {
        one.name: Limit(one.name, one.value, one.meaning, one.least, one.most)
        for one in reply.limits
    }


def node_status(reply: admin_pb2.StatusResponse) -> NodeStatus:
    """Return how a node is."""
    data, embedding, builds = reply.data, reply.embedding, reply.builds
    return NodeStatus(
        version=reply.version,
        uptime_s=reply.uptime_s,
        state=_STATES.get(reply.state, "error"),
        conditions=tuple(
            NodeCondition(one.name, _STATES.get(one.state, "error"), one.reason, one.advice)
            for one in reply.conditions
        ),
        addresses=dict(reply.addresses),
        processes=tuple(
            ProcessStatus(one.name, one.pid, one.ready, one.restarts, one.memory_bytes)
            for one in reply.processes
        ),
        memory_bytes=reply.memory_bytes,
        data=DataStatus(
            directory=data.directory,
            format_version=data.format_version,
            collections=data.collections,
            collections_open=data.collections_open,
            collections_quarantined=data.collections_quarantined,
            points=data.points,
            tail_points=data.tail_points,
            segments=data.segments,
            segments_quarantined=data.segments_quarantined,
            store_bytes=data.store_bytes,
            segment_bytes=data.segment_bytes,
            disk_free_bytes=data.disk_free_bytes,
            disk_bytes=data.disk_bytes,
            writes_waiting=data.writes_waiting,
        ),
        embedding=EmbeddingStatus(
            embedding.enabled,
            embedding.ready,
            embedding.reason,
            embedding.restarts,
            dict(embedding.models),
        ),
        builds=BuildStatus(builds.running, builds.segments, builds.seconds, builds.failures),
        collections=tuple(_collection(one) for one in reply.collections),
    )


def _collection(one: admin_pb2.CollectionStatus) -> CollectionStatus:
    return CollectionStatus(
        name=one.name,
        state=_COLLECTION_STATES.get(one.state, "degraded"),
        reason=one.reason,
        points=one.points,
        tail_points=one.tail_points,
        segments=one.segments,
        segments_quarantined=one.segments_quarantined,
        builds=one.builds,
        store_bytes=one.store_bytes,
        map_bytes=one.map_bytes,
        segment_bytes=one.segment_bytes,
        readers=one.readers,
        readers_max=one.readers_max,
        reader_lag_txns=one.reader_lag_txns,
    )
