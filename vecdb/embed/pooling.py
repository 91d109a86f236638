"""A vector per token into a vector per text: pooling, length, and what must never come out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vecdb.embed.encoder import I64
from vecdb.errors import NotFinite
from vecdb.types import F32


def padded(batch: Sequence[I64], pad_id: int = 0) -> tuple[I64, I64]:
    """Return the ids of texts as one array (n, t), padded on the right, and its mask of 0 and 1."""
    lengths = np.fromiter(map(len, batch), dtype=np.int64, count=len(batch))
    longest = int(lengths.max())
    ids = np.full((len(batch), longest), pad_id, dtype=np.int64)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
    return ids, (np.arange(longest) < lengths[:, None]).astype(np.int64)


def pool(hidden: F32, mask: I64, pooling: str) -> F32:
    """Return the vectors of texts, (n, dim), of those of their tokens, (n, t, dim).

    pooling: "mean" of all tokens, "cls" the first, "last" the last, "max" of each number.
    """
    if pooling == "cls":
        return np.ascontiguousarray(hidden[:, 0])
    lengths = mask.sum(axis=1)
    if pooling == "last":
        return np.ascontiguousarray(hidden[np.arange(len(hidden)), lengths - 1])
    if pooling == "max":
        greatest: F32 = np.where(mask[:, :, None] > 0, hidden, np.float32(-np.inf)).max(axis=1)
        return greatest
    vectors: F32 = np.einsum("ntd,nt->nd", hidden, mask.astype(np.float32))
    vectors /= lengths[:, None].astype(np.float32)
    return vectors


def finished(vectors: F32, model: str, *, normalize: bool) -> F32:
    """Return vectors as they leave a model: of unit length where its entry says so.

    Raises NotFinite for one that is not, or has no direction.
    """
    if normalize:
        with np.errstate(invalid="ignore"):  # a zero vector becomes NaN, and is refused below
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(vectors).all():
        raise NotFinite(f"model {model} returned a vector that is not finite")
    return vectors


def shortened(vectors: F32, dim: int) -> F32:
    """Return the first dim numbers of each vector, of unit length again (Matryoshka).

    Kusupati et al. 2022, arXiv:2205.13147.
    """
    cut = vectors[:, :dim]
    with np.errstate(invalid="ignore"):
        unit: F32 = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit
