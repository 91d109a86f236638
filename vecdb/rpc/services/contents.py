"""The texts and images of operations into vectors, before the operations become a command.

What there is for a space that has a shadow gets the vector of that too, where it can be had: what
is written while a space is moved to another model is found before and after. Where it cannot, the
text is stored all the same, and the shadow's vector comes later; images are not stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

import grpc
import numpy as np

from vecdb.config import LimitsConfig
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.rpc.deadline import half_of
from vecdb.rpc.services.encode import IMAGE, TEXT, SpaceEncoder
from vecdb.storage.shadows import shadow_of, without_shadows
from vecdb.types import Delete, ModelBinding, Op, Patch, Put, Schema, Space, SparseSpace
from vecdb.write.prepare import KINDS

log = logging.getLogger(__name__)

SPARED_S = 5.0
"""Seconds for which a shadow's model that failed is not asked by writes."""

Truncated = dict[int, list[str]]
"""Position of an operation to the spaces whose text was cut."""

AnyBound = Space | SparseSpace
"""A space that may have a model."""

Row = tuple[int, Put | Patch]
"""An operation that holds content for a space, and where it stands."""


class ContentEncoder:
    """Encodes what puts and patches hold as text or image. Safe for any number of threads."""

    def __init__(self, encoder: SpaceEncoder, limits: LimitsConfig) -> None:
        self._encoder = encoder
        self._limits = limits
        self._spared_until: dict[ModelBinding | None, float] = {}

    def encode_one(self, schema: Schema, op: Op, context: grpc.ServicerContext) -> list[str]:
        """Give all content of an operation its vector; return the spaces whose text was cut."""
        refused: dict[int, VecdbError] = {}
        truncated = self.encode_ops(schema, [op], refused, context)
        if refused:
            raise refused[0]
        return truncated.get(0, [])

    def encode_ops(
        self,
        schema: Schema,
        ops: Sequence[Op],
        refused: dict[int, VecdbError],
        context: grpc.ServicerContext,
    ) -> Truncated:
        """Give all content of the operations its vector; say which texts were cut."""
        refused.update(_of_shadows(schema, ops, refused))
        truncated: Truncated = {}
        bound = [space for space in schema.sparse_spaces if space.model is not None]
        spaces: list[AnyBound] = [*without_shadows(schema).spaces, *bound]
        for space in spaces:
            for kind in (TEXT, IMAGE):  # a call of the model takes one of them
                rows = [
                    (position, op)
                    for position, op in enumerate(ops)
                    if not isinstance(op, Delete)
                    and space.name in _contents(op, kind)
                    and position not in refused
                ]
                if rows:
                    self._encode(schema, space, kind, rows, refused, truncated, context)
        known = {one.name for one in schema.spaces} | {one.name for one in bound}
        for one in ops:
            if not isinstance(one, Delete):
                # Content for a space that does not exist is refused with the vectors, by name.
                named = (*one.texts, *one.images)
                one.vectors.update({name: b"" for name in named if name not in known})
        return truncated

    def _encode(
        self,
        schema: Schema,
        space: AnyBound,
        kind: str,
        rows: list[Row],
        refused: dict[int, VecdbError],
        truncated: Truncated,
        context: grpc.ServicerContext,
    ) -> None:
        """Give the operations' texts, or images, for a space their vectors."""
        refused.update(self._wrong(space, kind, rows))
        rows = [(position, op) for position, op in rows if position not in refused]
        if not rows:
            return
        items = [_contents(op, kind)[space.name] for _, op in rows]
        encoded = self._encoder.encode_some(space, items, Role.DOCUMENT, context, patient=True)
        for row, (position, op) in enumerate(rows):
            if row in encoded.refused:
                refused[position] = error = encoded.refused[row]
                error.field = _field(space, op, kind)
                continue
            if isinstance(space, SparseSpace):
                op.sparse[space.name] = encoded.sparse[row]
            else:
                vector = encoded.vectors[row].astype("<f4", copy=False)
                op.vectors[space.name] = vector.tobytes()
            if encoded.truncated[row]:
                truncated.setdefault(position, []).append(space.name)
        shadow = shadow_of(schema, space.name)
        if shadow is not None:
            done = [op for position, op in rows if position not in refused]
            self._encode_too(shadow, done, space.name, kind, context)

    def _encode_too(
        self,
        shadow: Space,
        ops: Sequence[Put | Patch],
        name: str,
        kind: str,
        context: grpc.ServicerContext,
    ) -> None:
        """Give the content for the space of a name its vectors in its shadow, where that can be.

        A model that failed is spared for a while: writes are not to wait for it.
        """
        if not ops or time.monotonic() < self._spared_until.get(shadow.model, 0.0):
            return
        if kind not in self._encoder.takes(shadow):
            return
        items = [_contents(op, kind)[name] for op in ops]
        try:
            encoded = self._encoder.encode_some(shadow, items, Role.DOCUMENT, half_of(context))
        except VecdbError as error:
            log.info("shadow %r waits for its vectors: %s", shadow.name, error)
            self._spared_until[shadow.model] = time.monotonic() + SPARED_S
            return
        for row, op in enumerate(ops):
            vector = encoded.vectors[row].astype("<f4", copy=False)
            # One that could not be stored would have the content refused.
            if row not in encoded.refused and np.isfinite(vector).all() and vector.any():
                op.vectors[shadow.name] = vector.tobytes()
                if kind == TEXT:
                    op.texts[shadow.name] = op.texts[name]

    def _wrong(self, space: AnyBound, kind: str, rows: list[Row]) -> dict[int, VecdbError]:
        """Return what is wrong with the content for a space, by position."""
        try:
            self._encoder.check(space, kind)
        except VecdbError as error:
            error.field = error.field or _field(space, rows[0][1], kind)
            return {position: error for position, _ in rows}
        wrong: dict[int, VecdbError] = {}
        for position, op in rows:
            try:
                self._check(_contents(op, kind)[space.name])
            except VecdbError as error:
                error.field = _field(space, op, kind)
                wrong[position] = error
        return wrong

    def _check(self, item: str | bytes) -> None:
        kind = TEXT if isinstance(item, str) else IMAGE
        if not item:
            raise InvalidArgument(f"the {kind} is empty: there is nothing to encode")
        size = len(item.encode() if isinstance(item, str) else item)
        most = self._limits.text_bytes if kind == TEXT else self._limits.image_bytes
        if size > most:
            less = "split it into chunks" if kind == TEXT else "send a smaller copy"
            raise LimitExceeded(
                f"the {kind} has {size} bytes, the limit is {most}",
                hint=f"{less}, or raise limits.{kind}_bytes",
            )


def _of_shadows(
    schema: Schema, ops: Sequence[Op], refused: Mapping[int, VecdbError]
) -> dict[int, VecdbError]:
    """Return the errors of operations that name a shadow: it holds what its space does."""
    shadows = {space.name: space.shadow.of for space in schema.spaces if space.shadow}
    wrong: dict[int, VecdbError] = {}
    if not shadows:  # nearly always
        return wrong
    for position, op in enumerate(ops):
        if position in refused or isinstance(op, Delete):
            continue
        named = {*op.vectors, *op.texts, *op.images, *op.sparse, *op.multi}
        if isinstance(op, Patch):
            named.update(op.unset_vectors)
        for name in sorted(named & shadows.keys()):
            wrong[position] = InvalidArgument(
                f"space {name!r} is the shadow of {shadows[name]!r}, which is being moved to "
                "another model: the server writes to it",
                field=f"{KINDS[type(op)]}.vectors[{name!r}]",
                hint=f"write to space {shadows[name]!r}",
            )
            break
    return wrong


def _contents(op: Put | Patch, kind: str) -> Mapping[str, str | bytes]:
    return op.texts if kind == TEXT else op.images


def _field(space: AnyBound, op: Put | Patch, kind: str) -> str:
    return f"{KINDS[type(op)]}.vectors[{space.name!r}].{kind}"
