"""Late interaction over stored points: vectors are read from records, and scored by MaxSim."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vecdb.errors import Corrupt, DeadlineExceeded, DimensionMismatch
from vecdb.multi import MultiQuery, MultiSpace, Rerank
from vecdb.query.maxsim import MaxSim, Scored, ordered
from vecdb.storage.hits import Ranked
from vecdb.storage.multi import decode_multi
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import ReadTxn
from vecdb.types import F32
from vecdb.write.prepare import unknown_space

LOOK_EVERY = 64
"""Points scored between two looks at the clock; each takes some tens of microseconds."""


class Judges(Protocol):
    """What scores points for a re-ranking. tokens: that a model read for it."""

    tokens: int

    def score(self, slots: Sequence[int]) -> Scored:
        """Return the scores of those that have what is scored."""
        ...


class Scorer:
    """Scores stored points of a transaction by one query. deadline: of time.monotonic."""

    def __init__(
        self, txn: ReadTxn, schema: NumberedSchema, asked: MaxSim, deadline: float
    ) -> None:
        self._txn = txn
        self._number = schema.numbers[asked.space.name]
        self.asked = asked
        self._deadline = deadline
        self.tokens = 0

    def score(self, slots: Sequence[int]) -> Scored:
        """Return the MaxSim of those that have vectors in the space. Raises DeadlineExceeded."""
        scored = Scored([], [], [], 0, [])
        absent = 0
        for at, slot in enumerate(slots):
            if at % LOOK_EVERY == 0 and time.monotonic() > self._deadline:
                raise DeadlineExceeded(
                    f"the deadline passed when {at} of {len(slots)} points were scored",
                    hint="allow more time, ask without exact, or for fewer candidates",
                )
            try:
                vectors = self._vectors(slot)
            except Corrupt:
                scored.damaged.append(slot)
                continue
            if vectors is None:
                absent += 1
                continue
            scored.slots.append(slot)
            scored.places.append(at)
            scored.scores.append(self.asked.of(vectors))
        return scored._replace(absent=absent)

    def _vectors(self, slot: int) -> F32 | None:
        record = self._txn.record(slot)
        if record is None:
            raise Corrupt(f"slot {slot} of a segment has no record")
        cell = record.vector_bytes().get(self._number)
        return None if cell is None else decode_multi(cell, self.asked.space.dim)


def asked_of(query: MultiQuery | Rerank, schema: NumberedSchema) -> MaxSim:
    """Return a query's vectors in their space. Raises InvalidArgument, DimensionMismatch."""
    space = schema.schema.multi_space(query.space)
    if space is None:
        raise unknown_space(query.space, schema.schema, "space", multi=True)
    check_shape(query.vectors, space)
    return MaxSim(query.vectors, space)


def check_shape(vectors: F32, space: MultiSpace) -> None:
    """Raise DimensionMismatch unless vectors are (q, dim) of a space, q >= 1."""
    if vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != space.dim:
        raise DimensionMismatch(
            f"space {space.name!r} expects vectors (q, {space.dim}), got {vectors.shape}",
            field="vector",
            expected=space.dim,
            got=vectors.shape,
        )


def reranked(ranked: Ranked, candidates: int, scorer: Judges) -> tuple[Ranked, Scored]:
    """Return the best of what legs found, by their scores, with what the legs said of them."""
    ranked = ranked.part(0, candidates)
    scored = scorer.score(ranked.slots)
    best = ordered(scored)
    places = [scored.places[at] for at in best]
    ranks, leg_scores = ranked.leg_ranks, ranked.leg_scores
    if ranks is None or leg_scores is None:  # of one leg, which says as much as one of several
        count = len(ranked.slots)
        ranks = np.arange(1, count + 1, dtype=np.uint32)[:, None]
        leg_scores = np.array(ranked.scores, np.float32).reshape(count, 1)
    scores = [scored.scores[at] for at in best]
    found = Ranked(
        [ranked.slots[at] for at in places],
        scores,
        [0.0 - score for score in scores],
        np.ascontiguousarray(ranks[places]),
        np.ascontiguousarray(leg_scores[places]),
    )
    return found, scored
