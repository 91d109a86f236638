"""The texts of operations into vectors, before the operations become a command."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from vecdb.config import LimitsConfig
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument, LimitExceeded, VecdbError
from vecdb.rpc.services.encode import SpaceEncoder
from vecdb.types import Delete, Op, Patch, Put, Schema, Space
from vecdb.write.prepare import KINDS

Truncated = dict[int, list[str]]
"""Position of an operation to the spaces whose text was cut."""


class TextEncoder:
    """Encodes what puts and patches hold as text."""

    def __init__(self, encoder: SpaceEncoder, limits: LimitsConfig) -> None:
        self._encoder = encoder
        self._limits = limits

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
        truncated: Truncated = {}
        for space in schema.spaces:
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
            encoded = self._encoder.encode_some(space, texts, Role.DOCUMENT, context)
            for row, (position, op) in enumerate(rows):
                if row in encoded.refused:
                    refused[position] = error = encoded.refused[row]
                    error.field = _field(space, op)
                    continue
                op.vectors[space.name] = encoded.vectors[row].astype("<f4", copy=False).tobytes()
                if encoded.truncated[row]:
                    truncated.setdefault(position, []).append(space.name)
        known = {space.name for space in schema.spaces}
        for one in ops:
            if not isinstance(one, Delete):
                # A text for a space that does not exist is refused with the vectors, by name.
                one.vectors.update({name: b"" for name in one.texts if name not in known})
        return truncated

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


def _field(space: Space, op: Put | Patch) -> str:
    return f"{KINDS[type(op)]}.vectors[{space.name!r}].text"
