"""Slots that a search found, or a list has, and the hits or points that they are on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vecdb import kernel
from vecdb.errors import Corrupt
from vecdb.storage import codec
from vecdb.storage.numbered import NumberedSchema
from vecdb.types import F32, U32, Wanted


class Ranked(NamedTuple):
    """Slots, best first, with the score and the distance of each.

    leg_ranks and leg_scores: of several legs, arrays (slots, legs), see kernel.encode_hits.
    """

    slots: list[int]
    scores: list[float]
    distances: list[float]
    leg_ranks: U32 | None = None
    leg_scores: F32 | None = None

    def part(self, first: int, end: int | None = None) -> Ranked:
        """Return those from first on, up to end."""
        cut = slice(first, end)
        if self.leg_ranks is None or self.leg_scores is None:
            return Ranked(self.slots[cut], self.scores[cut], self.distances[cut])
        return Ranked(
            self.slots[cut],
            self.scores[cut],
            self.distances[cut],
            self.leg_ranks[cut],
            self.leg_scores[cut],
        )

    def picked(self, at: list[int]) -> Ranked:
        """Return those at some places, in their order."""
        slots, scores, distances, leg_ranks, leg_scores = self
        return Ranked(
            [slots[i] for i in at],
            [scores[i] for i in at],
            [distances[i] for i in at],
            None if leg_ranks is None else leg_ranks[at],
            None if leg_scores is None else leg_scores[at],
        )


class EncodedHits(NamedTuple):
    """Hits or points as the wire has them, how many, and which slots have no sound record."""

    hits: bytes
    found: int
    damaged: list[int]


def encode_hits(
    ranked: Ranked,
    records: list[bytes | memoryview | None],
    schema: NumberedSchema,
    k: int,
    bytes_max: int,
    wanted: Wanted,
    *,
    as_points: bool = False,
) -> EncodedHits:
    """Return the hits of the first k slots that have a sound record; see kernel.encode_hits."""
    slots, scores, distances, leg_ranks, leg_scores = ranked
    return EncodedHits(
        *kernel.encode_hits(
            slots,
            records,
            scores,
            distances,
            k,
            bytes_max,
            wanted.payload,
            wanted.vectors,
            wanted.texts,
            schema.shown_names if wanted.vectors or wanted.texts else {},
            *((schema.sparse_numbers, schema.multi_dims) if wanted.vectors else ([], {})),
            leg_ranks,
            leg_scores,
            _made(slots, records, wanted.kept, bytes_max),
            _made(slots, records, wanted.more, bytes_max),
            as_points,
        )
    )


def _made(
    slots: list[int],
    records: list[bytes | memoryview | None],
    make: Callable[[bytes], bytes] | None,
    bytes_max: int,
) -> list[bytes] | None:
    """Return what is made of each slot's payload; None where nothing is to be made.

    Nothing more is made past bytes_max bytes: no hit will be begun there.
    """
    if make is None:
        return None
    made: list[bytes] = []
    left = bytes_max
    for slot, record in zip(slots, records, strict=True):
        made.append(b"" if left < 0 else make(_payload(slot, record)))
        left -= len(made[-1])
    return made


def _payload(slot: int, sealed: bytes | memoryview | None) -> bytes:
    """Return a point's payload; of no sound record, nothing."""
    try:
        return b"" if sealed is None else codec.decode_point(slot, sealed).payload
    except Corrupt:
        return b""  # encode_hits sees it too, and says so
