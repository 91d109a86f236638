# Made from reembeds.py by scripts/make_async.py. Do not edit.
"""Moving a space of a collection to another model: asked for step by step, and waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from vecdb_client import requests
from vecdb_client.arguments import count
from vecdb_client.errors import InvalidArgument
from vecdb_client.pb import reembed_pb2 as pb
from vecdb_client.progress import Progress, shown
from vecdb_client.protocol import REEMBED
from vecdb_client.aio.transport import Transport

ReembedStep: TypeAlias = Literal["status", "start", "switch", "roll_back", "finish", "cancel"]
ReembedState: TypeAlias = Literal["none", "filling", "incomplete", "ready", "switched"]

POLL_S: Final = 0.2
_STATES: Final[dict[int, ReembedState]] = {
    pb.REEMBED_STATE_FILLING: "filling",
    pb.REEMBED_STATE_INCOMPLETE: "incomplete",
    pb.REEMBED_STATE_READY: "ready",
    pb.REEMBED_STATE_SWITCHED: "switched",
}


@dataclass(frozen=True, slots=True)
class ModelOverlap:
    """The mean share of the old model's 10 nearest that the new one finds, with 95 % bounds.

    queries: stored texts that were searched for; by_vectors: by their stored vectors, since one of
    the models cannot encode on that server.
    """

    share: float
    low: float
    high: float
    queries: int
    by_vectors: bool


@dataclass(frozen=True, slots=True)
class Reembedding:
    """Where the move of a space to another model stands.

    state: "none" where it is not moved; "incomplete" once all was tried, and some points have no
    text, or one that the new model refuses. model, dim: of the space as it is now. shadow: the name
    of the space with the other model's vectors, which can be searched as well. total: points with a
    vector in either, done: in both; missing_text, failed: those that cannot have both. error: why
    the last try failed, or "". overlap: found out once all is filled.
    """

    collection: str
    space: str
    state: ReembedState
    model: str
    dim: int
    shadow: str
    shadow_model: str
    shadow_dim: int
    total: int
    done: int
    missing_text: int
    failed: int
    error: str
    points_per_s: float
    eta_s: float | None
    overlap: ModelOverlap | None
    switch_when_ready: bool

    @property
    def is_settled(self) -> bool:
        """Whether no more comes by waiting."""
        if self.state == "switched":
            return self.total == self.done + self.missing_text + self.failed
        if self.state == "ready":
            return not self.switch_when_ready
        return self.state != "filling"


class ModelMoves:
    """The part of AsyncCollection that moves it to another model."""

    name: str
    _transport: Transport

    async def reembed(
        self,
        model: str | None = None,
        *,
        step: ReembedStep | None = None,
        space: str = "",
        dim: int | None = None,
        switch: bool = False,
        allow_missing: bool = False,
        measure: bool = False,
        wait: bool = False,
        progress: Progress | bool | None = None,
        timeout_s: float | None = None,
    ) -> Reembedding:
        """Return where the move of a space to another model stands, after a step of it.

        model: begins the move to it, with dim dimensions, None for its own: stored texts are
        encoded in the background, while the space is read and written. switch: by itself, as soon
        as it is ready.
        step: "switch" has the space stand for the new vectors, at once and for everybody,
        "roll_back" undoes that, "finish" drops the old vectors, "cancel" the new ones; without
        either, the status. A step that was done already is no error. allow_missing: switch, or roll
        back, although points without a text will have no vector then. measure: find out anew how
        much the models agree.
        wait: return once all that can be filled is, and it has switched where it is to. progress:
        meanwhile told of the points done and the total, or True for a bar.

        Raises NotFound, InvalidArgument, FailedPrecondition (NO_MODEL, SCHEMA_MISMATCH).
        """
        request = _request(model, step, dim, switch, allow_missing, measure)
        request.collection = self.name
        request.space = requests.checked_text(space, "a space's name")
        reply = await self._transport.call(REEMBED, request, timeout_s=timeout_s)
        status = _reembedding(reply)
        if not (wait or progress):
            return status
        asked = pb.ReembedRequest(collection=self.name, space=space, status=pb.ReembedStatus())
        with shown(progress, f"{self.name} to {_aim(status)}") as told:
            while True:
                if told:
                    told(status.done, status.total)
                if status.is_settled:
                    return status
                await self._transport.wait(POLL_S)
                reply = await self._transport.call(REEMBED, asked, timeout_s=timeout_s)
                status = _reembedding(reply)


def _request(
    model: str | None,
    step: ReembedStep | None,
    dim: int | None,
    switch: bool,
    allow_missing: bool,
    measure: bool,
) -> pb.ReembedRequest:
    """Return the request of a step, without collection and space. Raises InvalidArgument."""
    step = step or ("status" if model is None else "start")
    if (model is None) is (step == "start"):
        raise InvalidArgument("a model goes with the step that starts a move, and with no other")
    if step == "start":
        start = pb.StartReembed(
            model=requests.checked_text(model or "", "a model's name"),
            dim=count(dim, "dim") if dim else 0,
            switch_when_ready=switch,
        )
        return pb.ReembedRequest(start=start)
    if step == "switch":
        return pb.ReembedRequest(switch=pb.SwitchReembed(allow_missing=allow_missing))
    if step == "roll_back":
        return pb.ReembedRequest(roll_back=pb.RollBackReembed(allow_missing=allow_missing))
    if step == "finish":
        return pb.ReembedRequest(finish=pb.FinishReembed())
    if step == "cancel":
        return pb.ReembedRequest(cancel=pb.CancelReembed())
    if step == "status":
        return pb.ReembedRequest(status=pb.ReembedStatus(overlap=measure))
    raise InvalidArgument(f"no step {step!r}")


def _aim(status: Reembedding) -> str:
    return status.model if status.state == "switched" else status.shadow_model


def _reembedding(reply: pb.ReembedResponse) -> Reembedding:
    found = reply.overlap
    return Reembedding(
        collection=reply.collection,
        space=reply.space,
        state=_STATES.get(reply.state, "none"),
        model=reply.model,
        dim=reply.dim,
        shadow=reply.shadow,
        shadow_model=reply.shadow_model,
        shadow_dim=reply.shadow_dim,
        total=reply.total,
        done=reply.done,
        missing_text=reply.missing_text,
        failed=reply.failed,
        error=reply.error,
        points_per_s=reply.points_per_s,
        eta_s=reply.eta_s if reply.HasField("eta_s") else None,
        overlap=ModelOverlap(found.share, found.low, found.high, found.queries, found.by_vectors)
        if reply.HasField("overlap")
        else None,
        switch_when_ready=reply.switch_when_ready,
    )
