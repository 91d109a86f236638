"""Models.Reembed: the steps of a move to another model, and where it stands."""

from __future__ import annotations

from vecdb.errors import InvalidArgument
from vecdb.reembed.moves import Moves
from vecdb.reembed.progress import State, Status
from vecdb.rpc.pb import reembed_pb2 as pb

_STATES = {
    State.NONE: pb.REEMBED_STATE_NONE,
    State.FILLING: pb.REEMBED_STATE_FILLING,
    State.INCOMPLETE: pb.REEMBED_STATE_INCOMPLETE,
    State.READY: pb.REEMBED_STATE_READY,
    State.SWITCHED: pb.REEMBED_STATE_SWITCHED,
}


def reembed(moves: Moves, request: pb.ReembedRequest) -> pb.ReembedResponse:
    """Do a step of a move; return where it stands."""
    name, space, step = request.collection, request.space, request.WhichOneof("step")
    if step == "start":
        start = request.start
        status = moves.start(
            name, space, start.model, start.dim, switch_when_ready=start.switch_when_ready
        )
    elif step == "switch":
        status = moves.switch(name, space, allow_missing=request.switch.allow_missing)
    elif step == "roll_back":
        status = moves.roll_back(name, space, allow_missing=request.roll_back.allow_missing)
    elif step == "finish":
        status = moves.finish(name, space)
    elif step == "cancel":
        status = moves.cancel(name, space)
    elif step == "status":
        status = moves.status(name, space, measure=request.status.overlap)
    else:
        raise InvalidArgument(
            "no step is set: expected start, switch, roll_back, finish, cancel or status",
            field="step",
        )
    return _response(status)


def _response(status: Status) -> pb.ReembedResponse:
    space, shadow, counts, found = status.space, status.shadow, status.counts, status.overlap
    reply = pb.ReembedResponse(
        collection=status.collection,
        space=space.name,
        state=_STATES[status.state],
        model=space.model.name if space.model else "",
        dim=space.dim,
        total=counts.total,
        done=counts.done,
        missing_text=counts.missing_text,
        failed=counts.failed,
        error=status.error,
        points_per_s=status.filled_per_s,
        eta_s=status.eta_s,
    )
    if shadow is not None and shadow.shadow is not None:
        reply.shadow = shadow.name
        reply.shadow_model = shadow.model.name if shadow.model else ""
        reply.shadow_dim = shadow.dim
        reply.switch_when_ready = shadow.shadow.switch_when_ready
    if found is not None:
        reply.overlap.CopyFrom(
            pb.ReembedOverlap(
                share=found.share,
                low=found.low,
                high=found.high,
                queries=found.queries,
                by_vectors=found.by_vectors,
            )
        )
    return reply
