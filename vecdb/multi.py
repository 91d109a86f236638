"""The nouns of late interaction: points that have several vectors in a space. Data only.

Beside `types.py`, and known from it; models such as ColBERT make one vector per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vecdb.types import F32, Filter, Metric


@dataclass(frozen=True, slots=True)
class MultiSpace:
    """A named field of several vectors a point, compared by MaxSim. Shares its names with Space.

    metric: COSINE or DOT.
    """

    name: str
    dim: int
    metric: Metric


class MultiVector(NamedTuple):
    """Several vectors as they were sent. f32: little-endian float32 bytes, dim numbers each."""

    f32: bytes
    dim: int


@dataclass(frozen=True, slots=True)
class MultiQuery:
    """The k points of the highest MaxSim with some vectors, (q, dim) float32.

    filter: only points that match. ef: as in Query. exact: score every point; else those that the
    index of encodings finds.
    """

    vectors: F32
    k: int
    space: str = ""
    filter: Filter | None = None
    ef: int = 0
    exact: bool = False


class Rerank(NamedTuple):
    """The best candidates of what legs found, in the order of their MaxSim with some vectors.

    vectors: (q, dim) float32. candidates: how many are looked at, no fewer than are asked for.
    """

    vectors: F32
    space: str
    candidates: int

    @property
    def how(self) -> str:
        """What it is called in a plan."""
        return "maxsim"

    @property
    def lacking(self) -> str:
        """What candidates have not that are left out."""
        return f"vectors in space {self.space!r}"
