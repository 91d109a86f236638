"""How a node is, as a message."""

from __future__ import annotations

from dataclasses import asdict

from vecdb.conditions import Condition, State, worst
from vecdb.node_status import CollectionState, NodeStatus
from vecdb.rpc.pb import admin_pb2 as pb

_STATES: dict[State, pb.ConditionState] = {
    "ok": pb.CONDITION_STATE_OK,
    "warning": pb.CONDITION_STATE_WARNING,
    "error": pb.CONDITION_STATE_ERROR,
}

_COLLECTION_STATES: dict[CollectionState, pb.CollectionState] = {
    "ok": pb.COLLECTION_STATE_OK,
    "building": pb.COLLECTION_STATE_BUILDING,
    "degraded": pb.COLLECTION_STATE_DEGRADED,
    "quarantined": pb.COLLECTION_STATE_QUARANTINED,
}


def status_message(status: NodeStatus, collections: int) -> pb.StatusResponse:
    """Return a node's status as the protocol has it, with so many of its collections."""
    return pb.StatusResponse(
        version=status.version,
        uptime_s=status.uptime_s,
        state=_STATES[worst(status.conditions)],
        conditions=[_condition(one) for one in status.conditions],
        addresses={name: address for name, address in status.addresses.items() if address},
        processes=[pb.Process(**asdict(one)) for one in status.processes],
        memory_bytes=status.memory_bytes,
        data=pb.DataStatus(**asdict(status.data)),
        embedding=pb.EmbeddingStatus(**asdict(status.embedding)),
        builds=pb.BuildStatus(**asdict(status.builds)),
        collections=[
            pb.CollectionStatus(**{**asdict(one), "state": _COLLECTION_STATES[one.state]})
            for one in status.collections[:collections]
        ],
    )


def _condition(one: Condition) -> pb.Condition:
    return pb.Condition(
        name=one.name, state=_STATES[one.state], reason=one.reason, advice=one.advice
    )
