"""The steps of a move to another model: started, switched, rolled back, ended.

Each is one change of the schema, decided under the lock of names, so that it is done or not
whatever ends the process, and in force for the next call of every process. Asked for again, a step
that was done is no error.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import replace

from vecdb.collection.collection import Collection
from vecdb.config import LimitsConfig
from vecdb.database import Database
from vecdb.embed.client import Encoders
from vecdb.errors import FailedPrecondition, NoModel, SchemaMismatch
from vecdb.reembed.filler import Filler
from vecdb.reembed.models import SpaceModels
from vecdb.reembed.progress import Counts, State, Status
from vecdb.storage.numbered import SchemaChange
from vecdb.storage.shadows import exchanged, is_switched, shadow_of
from vecdb.types import ModelBinding, Schema, Shadow, Space
from vecdb.write.prepare import unknown_space

SETTLE_S = 5.0
"""Seconds that a switch waits at most for what was written just now."""
POLL_S = 0.05
NAME_BYTES_MAX = 100


class Moves:
    """The moves of a database's spaces to other models."""

    def __init__(self, database: Database, encoders: Encoders, limits: LimitsConfig) -> None:
        self._database = database
        self._models = SpaceModels(encoders)
        self._filler = Filler(database, self._models, limits, self._switch_ready)

    def begin(self) -> None:
        """Go on with what is under way."""
        self._filler.start()

    def close(self) -> None:
        """End; what is under way goes on with the next process."""
        self._filler.close()

    # --- steps

    def start(
        self, name: str, space: str, model: str, dim: int = 0, *, switch_when_ready: bool = False
    ) -> Status:
        """Begin to move a space to another model, or say how far that is.

        dim: 0 for the model's own. Raises NotFound, NoModel, SchemaMismatch, DimensionMismatch,
        FailedPrecondition while it is moved to another one.
        """
        with self._use(name) as collection:
            there = _space(collection.schema, space)
            _check_movable(there)
            found, dim = self._models.text_model(model, dim, there)
        binding = ModelBinding(found.name, found.fingerprint)

        def begun(schema: Schema) -> Schema:
            now = shadow_of(schema, space)
            if now is not None:
                raise FailedPrecondition(f"{_shown(space)} got a shadow just now; ask again")
            _check_other(_space(schema, space), binding, dim)
            return schema

        with self._use(name) as collection:
            schema = collection.schema
        shadow = shadow_of(schema, space)
        if shadow is not None:
            self._check_same_move(schema, space, shadow, binding, dim)
            if switch_when_ready and shadow.shadow != Shadow(space, True):
                self._database.update(name, change=lambda schema: _switching(schema, space))
        else:
            added = replace(
                there,
                name=_free_name(schema, space),
                dim=dim,
                metric=found.metric,
                model=binding,
                shadow=Shadow(space, switch_when_ready),
            )
            self._database.update(name, change=begun, alter=SchemaChange(add_spaces=(added,)))
        self._filler.wake()
        return self.status(name, space)

    def switch(self, name: str, space: str, *, allow_missing: bool = False) -> Status:
        """Have the space stand for the new model's vectors, and its shadow for the old one's.

        allow_missing: also where points without a text, or with one that the model refuses, will
        have no vector. Raises FailedPrecondition before it is ready.
        """
        return self._exchange(name, space, to_new=True, allow_missing=allow_missing)

    def roll_back(self, name: str, space: str, *, allow_missing: bool = False) -> Status:
        """Undo a switch: points that were written since are there as well."""
        return self._exchange(name, space, to_new=False, allow_missing=allow_missing)

    def finish(self, name: str, space: str) -> Status:
        """End a move that was switched: the old model's vectors go."""
        return self._drop(
            name,
            space,
            switched=True,
            hint="switch first, or cancel, which keeps the old model's vectors",
        )

    def cancel(self, name: str, space: str) -> Status:
        """End a move that was not switched, or was rolled back: the new model's vectors go."""
        return self._drop(
            name,
            space,
            switched=False,
            hint="roll back first, or finish, which keeps the new model's vectors",
        )

    def status(self, name: str, space: str, *, measure: bool = False) -> Status:
        """Return where a move stands. measure: how much the models agree is found out anew."""
        with self._use(name) as collection:
            schema = collection.schema
            there, shadow = _space(schema, space), shadow_of(schema, space)
            if shadow is None:
                return Status(self._database.info(name).name, there, State.NONE)
            if measure:
                self._filler.measure(collection, shadow)
            return self._filler.status(self._database.info(name).name, collection, shadow)

    # --- how

    def _use(self, name: str) -> AbstractContextManager[Collection]:
        return self._database.collection(name)

    def _switch_ready(self, name: str, space: str) -> None:
        self._exchange(name, space, to_new=True, allow_missing=False, wait_s=0.0)

    def _exchange(
        self, name: str, space: str, *, to_new: bool, allow_missing: bool, wait_s: float = SETTLE_S
    ) -> Status:
        status = self.status(name, space)
        if status.shadow is None:
            raise FailedPrecondition(
                f"{_shown(space)} is not being moved to another model",
                hint="start a move first",
            )
        if (status.state is State.SWITCHED) == to_new:
            return status
        until = time.monotonic() + wait_s
        while status.counts.left and time.monotonic() < until and not status.error:
            self._filler.wake()
            _wait()
            status = self.status(name, space)
        _check_complete(status, to_new=to_new, allow_missing=allow_missing)

        def turned(schema: Schema) -> Schema:
            shadow = _shadow(schema, space)
            return schema if is_switched(schema, shadow) == to_new else exchanged(schema, shadow)

        self._database.update(name, change=turned)
        self._filler.wake()
        return self.status(name, space)

    def _drop(self, name: str, space: str, *, switched: bool, hint: str) -> Status:
        with self._use(name) as collection:
            schema = collection.schema
        _space(schema, space)
        shadow = shadow_of(schema, space)
        if shadow is None:
            return self.status(name, space)

        def ended(schema: Schema) -> Schema:
            now = _shadow(schema, space)
            if now.name != shadow.name or is_switched(schema, now) != switched:
                to = "was switched" if is_switched(schema, now) else "was not switched"
                raise FailedPrecondition(f"the move of {_shown(space)} {to}", hint=hint)
            return schema

        self._database.update(name, change=ended, alter=SchemaChange(drop_spaces=(shadow.name,)))
        return self.status(name, space)

    def _check_same_move(
        self, schema: Schema, space: str, shadow: Space, binding: ModelBinding, dim: int
    ) -> None:
        """Raise FailedPrecondition unless a space is being moved to that model already."""
        new = _space(schema, space) if is_switched(schema, shadow) else shadow
        if (new.model, new.dim) != (binding, dim):
            raise FailedPrecondition(
                f"{_shown(space)} is being moved to {new.model.name if new.model else 'none'} "
                f"({new.dim} dimensions) already",
                hint="finish or cancel that first",
            )


def _check_movable(space: Space) -> None:
    """Raise FailedPrecondition unless a space can be moved to some model."""
    if space.shadow is not None:
        raise FailedPrecondition(
            f"{_shown(space.name)} is the shadow of {_shown(space.shadow.of)}, and moves with it",
            field="space",
        )
    if space.model is None:
        raise NoModel(
            f"{_shown(space.name)} has no model: its vectors were given as numbers, and there are "
            "no texts that another model could read",
            hint="add a space with the model, and write the texts to it",
        )


def _check_other(space: Space, binding: ModelBinding, dim: int) -> None:
    """Raise FailedPrecondition where a space has a model already."""
    if (space.model, space.dim) == (binding, dim):
        raise FailedPrecondition(
            f"{_shown(space.name)} is of {binding.name} with {dim} dimensions already",
            field="start.model",
        )


def _check_complete(status: Status, *, to_new: bool, allow_missing: bool) -> None:
    """Raise FailedPrecondition unless the space that is to take the name has what it can have."""
    counts: Counts = status.counts
    what = "switched" if to_new else "rolled back"
    if counts.left and not (allow_missing and status.error):
        raise FailedPrecondition(
            f"{_shown(status.space.name)} cannot be {what} yet: {counts.done:,} of "
            f"{counts.total:,} points have both vectors"
            + (f"; the last try failed: {status.error}" if status.error else ""),
            hint="ask for the status until it is ready",
        )
    if allow_missing or not (counts.missing_text or counts.failed):
        return
    raise FailedPrecondition(
        f"{counts.missing_text:,} points have no text and {counts.failed:,} a text that the model "
        f"refuses: they would have no vector once {_shown(status.space.name)} is {what}"
        + (f" ({status.error})" if status.error else ""),
        hint="write their texts, delete them, or allow_missing",
    )


def _space(schema: Schema, name: str) -> Space:
    """Return the dense space of a name. Raises InvalidArgument, SchemaMismatch for another kind."""
    space = schema.space(name)
    if space is not None:
        return space
    if name in {one.name for one in schema.all_spaces}:
        raise SchemaMismatch(
            f"{_shown(name)} is not dense: it has no model to be moved from", field="space"
        )
    raise unknown_space(name, schema, "space")


def _shadow(schema: Schema, space: str) -> Space:
    shadow = shadow_of(schema, space)
    if shadow is None:
        raise FailedPrecondition(f"{_shown(space)} is not being moved any more")
    return shadow


def _switching(schema: Schema, space: str) -> Schema:
    """Return a schema whose space switches to its shadow once that is ready."""
    marked = replace(_shadow(schema, space), shadow=Shadow(space, True))
    return replace(
        schema,
        spaces=tuple(marked if one.name == marked.name else one for one in schema.spaces),
    )


def _free_name(schema: Schema, space: str) -> str:
    """Return the name of a new shadow."""
    known = {one.name for one in schema.all_spaces}
    stem = space.encode()[:NAME_BYTES_MAX].decode(errors="ignore")
    name = wanted = f"{stem}-shadow" if stem else "shadow"
    at = 1
    while name in known:
        at += 1
        name = f"{wanted}-{at}"
    return name


def _shown(space: str) -> str:
    return f"space {space!r}"


def _wait() -> None:
    threading.Event().wait(POLL_S)
