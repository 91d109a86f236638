"""What becomes of the items of a call: vectors, tokens, and why some have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vecdb.embed import catalog
from vecdb.embed.encoder import Item
from vecdb.embed.pb import encoder_pb2 as pb
from vecdb.embed.pooling import shortened
from vecdb.errors import VecdbError, by_reason
from vecdb.types import F32, SparseVector


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a call of encode() yields, items in the order given.

    vectors: (n, dim) float32; of a re-ranker (n, 1), its scores; of a sparse model (n, 0). sparse:
    of a sparse model one an item. tokens: of each item after the cut, special tokens included.
    truncated: whether the model read only the beginning of it. *_ms: how long the items were read,
    waited, and how long the batches ran that they were in. refused: by the position of an item that
    has no vector, why; its row is NaN, which nothing stores.
    """

    vectors: F32
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    fingerprint: str
    queue_ms: float
    inference_ms: float
    refused: Mapping[int, VecdbError] = field(default_factory=dict)
    sparse: tuple[SparseVector, ...] = ()
    prepare_ms: float = 0.0


class Gathered:
    """The replies to the calls of one encode(), put together."""

    def __init__(self, spec: catalog.ModelSpec, items: Sequence[Item]) -> None:
        n = len(items)
        self._spec = spec
        self._what = "images" if isinstance(items[0], bytes) else "texts"
        self._is_sparse = spec.of_kind.gives == "sparse"
        nothing = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))
        self._vectors = np.full((n, 0 if self._is_sparse else spec.dim), np.nan, np.float32)
        self._sparse = [nothing] * n if self._is_sparse else []
        self._tokens = [0] * n
        self._truncated = [False] * n
        self._refused: dict[int, VecdbError] = {}
        self._spent_ms = np.zeros(3)

    def add(self, start: int, reply: pb.EncodeResponse) -> None:
        """Take the reply to the items from start on."""
        end = start + len(reply.tokens)
        if self._is_sparse:
            self._sparse[start:end] = [
                SparseVector(np.frombuffer(one.indices, "<u4"), np.frombuffer(one.values, "<f4"))
                for one in reply.sparse
            ]
        else:
            self._vectors[start:end] = np.frombuffer(reply.vectors, "<f4").reshape(
                -1, self._spec.dim
            )
        self._tokens[start:end] = reply.tokens
        self._truncated[start:end] = reply.truncated
        self._spent_ms += (reply.prepare_ms, reply.queue_ms, reply.inference_ms)
        for one in reply.refused:
            error = by_reason(one.reason)(
                one.message,
                field=f"{self._what}[{start + one.position}]",
                retry_after_s=one.retry_after_ms / 1e3 if one.retry_after_ms else None,
            )
            self._refused[start + one.position] = error

    def refuse(self, positions: range, error: VecdbError) -> None:
        """Say of items why they have no vector."""
        for at in positions:
            self._refused[at] = type(error)(
                f"not encoded: {error.message}",
                field=f"{self._what}[{at}]",
                hint=error.hint or ("send it again" if error.retry_after_s else ""),
                retry_after_s=error.retry_after_s,
            )

    def encoded(self, fingerprint: str, dim: int) -> Encoded:
        """Return all of it."""
        vectors = shortened(self._vectors, dim) if dim else self._vectors
        prepare_ms, queue_ms, inference_ms = self._spent_ms.tolist()
        return Encoded(
            vectors,
            tuple(self._tokens),
            tuple(self._truncated),
            fingerprint,
            queue_ms,
            inference_ms,
            self._refused,
            tuple(self._sparse),
            prepare_ms,
        )
