"""The texts of operations into vectors, before the operations become a command.

A text for a space that has a shadow gets the vector of that too, where it can be had: what is
written while a space is moved to another model is found before and after. Where it cannot, the text
is stored all the same, and the shadow's vector comes later.
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
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.storage.shadows import shadow_of, without_shadows
from vecdb.types import Delete, ModelBinding, Op, Patch, Put, Schema, Space
from vecdb.write.prepare import KINDS

log = logging.getLogger(__name__)

SPARED_S = 5.0
"""Seconds for which a shadow's model that failed is not asked by writes."""

Truncated = dict[int, list[str]]
"""Position of an operation to the spaces whose text was cut."""


class TextEncoder:
    """Encodes what puts and patches hold as text. Safe for any number of threads."""

    def __init__(self, encoder: SpaceEncoder, limits: LimitsConfig) -> None:
        self._encoder = encoder
        self._limits = limits
        self._spared_until: dict[ModelBinding | None, float] = {}

    def encode_one(self, schema: Schema, op: Op, context: grpc.ServicerContext) -> list[str]:
        """Give every text of an operation its vector; return the spaces whose text was cut."""
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
        """Give every text of the operations its vector; say which were cut."""
        refused.update(_of_shadows(schema, ops, refused))
        truncated: Truncated = {}
        for space in without_shadows(schema).spaces:
            rows = [
                (position, op)
                for position, op in enumerate(ops)
                if position not in refused and not isinstance(op, Delete) and space.name in op.texts
            ]
            if rows:
                refused.update(self._wrong_texts(space, rows))
                rows = [(position, op) for position, op in rows if position not in refused]
            if not rows:
                continue
            texts = [op.texts[space.name] for _, op in rows]
            encoded = self._encoder.encode_some(space, texts, Role.DOCUMENT, context, patient=True)
            for row, (position, op) in enumerate(rows):
                if row in encoded.refused:
                    refused[position] = error = encoded.refused[row]
                    error.field = _field(space, op)
                    continue
                op.vectors[space.name] = encoded.vectors[row].astype("<f4", copy=False).tobytes()
                if encoded.truncated[row]:
                    truncated.setdefault(position, []).append(space.name)
            shadow = shadow_of(schema, space.name)
            if shadow is not None:
                done = [op for position, op in rows if position not in refused]
                self._encode_too(shadow, done, space.name, context)
        known = {space.name for space in schema.spaces}
        for one in ops:
            if not isinstance(one, Delete):
                # A text for a space that does not exist is refused with the vectors, by name.
                one.vectors.update({name: b"" for name in one.texts if name not in known})
        return truncated

    def _encode_too(
        self,
        shadow: Space,
        ops: Sequence[Put | Patch],
        name: str,
        context: grpc.ServicerContext,
    ) -> None:
        """Give the texts for the space of a name their vectors in its shadow, where that can be.

        A model that failed is spared for a while: writes are not to wait for it.
        """
        if not ops or time.monotonic() < self._spared_until.get(shadow.model, 0.0):
            return
        texts = [op.texts[name] for op in ops]
        try:
            encoded = self._encoder.encode_some(shadow, texts, Role.DOCUMENT, half_of(context))
        except VecdbError as error:
            log.info("shadow %r waits for its vectors: %s", shadow.name, error)
            self._spared_until[shadow.model] = time.monotonic() + SPARED_S
            return
        for row, op in enumerate(ops):
            vector = encoded.vectors[row].astype("<f4", copy=False)
            # One that could not be stored would have the text refused.
            if row not in encoded.refused and np.isfinite(vector).all() and vector.any():
                op.vectors[shadow.name] = vector.tobytes()
                op.texts[shadow.name] = texts[row]

    def _wrong_texts(
        self, space: Space, rows: list[tuple[int, Put | Patch]]
    ) -> dict[int, VecdbError]:
        """Return what is wrong with the texts for a space, by position."""
        try:
            self._encoder.check(space)
        except VecdbError as error:
            error.field = error.field or _field(space, rows[0][1])
            return {position: error for position, _ in rows}
        wrong: dict[int, VecdbError] = {}
        for position, op in rows:
            try:
                self._check_text(op.texts[space.name])
            except VecdbError as error:
                error.field = _field(space, op)
                wrong[position] = error
        return wrong

    def _check_text(self, text: str) -> None:
        if not text:
            raise InvalidArgument("the text is empty: there is nothing to encode")
        size = len(text.encode())
        if size > self._limits.text_bytes:
            raise LimitExceeded(
                f"the text has {size} bytes, the limit is {self._limits.text_bytes}",
                hint="split it into chunks, or raise limits.text_bytes",
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
        named = {*op.vectors, *op.texts, *op.sparse, *op.multi}
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


def _field(space: Space, op: Put | Patch) -> str:
    return f"{KINDS[type(op)]}.vectors[{space.name!r}].text"
