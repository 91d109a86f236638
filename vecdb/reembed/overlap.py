"""How much two models agree on a collection: the share of the nearest that both find."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from vecdb.collection.collection import Collection
from vecdb.collection.recall import CONFIDENCE_Z
from vecdb.collection.snapshot import Snapshot
from vecdb.embed.encoded import Encoded
from vecdb.errors import VecdbError
from vecdb.reembed.progress import Overlap
from vecdb.segment.vectors import Effort
from vecdb.storage.codec import RecordView
from vecdb.storage.numbered import numbers_of
from vecdb.types import F32, And, HasSpace, Query, Space

QUERIES = 100
K = 10
RECORDS_BYTES = 64 << 20

EncodeQueries = Callable[[Space, Sequence[str]], Encoded]
"""Returns the vectors of texts as queries of a space. Raises VecdbError."""


def overlap(
    collection: Collection, old: Space, new: Space, encode: EncodeQueries
) -> Overlap | None:
    """Return what the new space finds of the old one's 10 nearest; None with too few points.

    Some stored texts are searched for in both, each time as a query of the space's model; the point
    that a text is of does not count. Raises DeadlineExceeded, Corrupt.
    """
    schema = collection.schema
    with collection.snapshot() as snapshot:
        both = snapshot.matches(And((HasSpace(old.name), HasSpace(new.name))), 0, snapshot.seq)
    # The same points whenever it is asked, as long as they are there.
    chosen = random.Random(0).sample(range(len(both)), min(QUERIES, len(both)))
    records = collection.among(both[sorted(chosen)]).take_records(QUERIES, RECORDS_BYTES)
    numbers = numbers_of(schema)
    spaces = old, new
    texts = [record.texts().get(numbers[old.name], "") for _, record in records]
    records = [one for one, text in zip(records, texts, strict=True) if text]
    texts = [text for text in texts if text]
    if len(both) < 2 or not records:
        return None
    queries: list[tuple[F32, F32]] = []
    by_vectors = False
    try:
        encoded = [encode(space, texts) for space in spaces]
        unknown = encoded[0].refused.keys() | encoded[1].refused.keys()
        kept = [at for at in range(len(texts)) if at not in unknown]
        records = [records[at] for at in kept]
        queries = [(encoded[0].vectors[at], encoded[1].vectors[at]) for at in kept]
    except VecdbError:  # such as a model that is not installed any more
        by_vectors = True
        queries = [
            (_vector(record, numbers[old.name]), _vector(record, numbers[new.name]))
            for _, record in records
        ]
    shares: list[float] = []
    with collection.snapshot() as snapshot:
        if any(snapshot.space(space.name) != space for space in spaces):
            return None  # they have exchanged their names meanwhile: it is asked for again
        for (_, record), pair in zip(records, queries, strict=True):
            found = [
                _nearest(snapshot, space, vector, record.id)
                for space, vector in zip(spaces, pair, strict=True)
            ]
            if found[0]:
                shares.append(len(found[0] & found[1]) / len(found[0]))
    if not shares:
        return None
    return _estimate(shares, by_vectors=by_vectors)


def _vector(record: RecordView, number: int) -> F32:
    vector: F32 = np.frombuffer(record.vector_bytes()[number], "<f4").astype(np.float32)
    return vector


def _nearest(snapshot: Snapshot, space: Space, vector: F32, own: str) -> set[int]:
    """Return the slots of the nearest points but one."""
    found = snapshot.rank(Query(vector, K + 1, space.name), Effort()).slots
    own_slot = snapshot.slot_of(own)
    return set([slot for slot in found if slot != own_slot][:K])


def _estimate(shares: list[float], *, by_vectors: bool) -> Overlap:
    mean = statistics.fmean(shares)
    spread = statistics.stdev(shares) if len(shares) > 1 else 0.0
    margin = CONFIDENCE_Z * spread / len(shares) ** 0.5
    return Overlap(mean, max(0.0, mean - margin), min(1.0, mean + margin), len(shares), by_vectors)
