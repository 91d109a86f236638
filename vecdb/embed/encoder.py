"""What every kind of model must be able to do. Knows no runtime: each kind has a file.

The batcher sits between the two halves: callers' threads prepare, few threads encode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import VecdbError
from vecdb.types import F32, SparseVector

I64 = NDArray[np.int64]


class Role(IntEnum):
    """What an item is for: models prompt a query differently from a document."""

    QUERY = 1
    DOCUMENT = 2


class Pair(NamedTuple):
    """A query and a text that a re-ranker judges together."""

    query: str
    text: str


Item: TypeAlias = str | bytes | Pair
"""A text; the bytes of an image file; or a pair. Which of them a kind takes, `kinds.KINDS` says."""


class Prepared(NamedTuple):
    """An item as the model reads it.

    input: what encode() takes of it. Its length is what the item costs, in tokens, special ones
    included and at most the model's max_tokens; 0 where the model knows nothing of the item: it is
    then not encoded, and its caller is told. Of text models it is the ids, (t,) int64.
    truncated: whether the text went on after that.
    """

    input: Any
    truncated: bool


Output: TypeAlias = F32 | SparseVector | VecdbError
"""What became of an item: a vector (dim,), or of a re-ranker a score (1,), or a sparse vector; or
why there is none, where that is the item's own fault and its neighbours have theirs."""


Outputs: TypeAlias = F32 | Sequence[Output]
"""Of several items: one array (n, dim) or (n, 1), or one of them each."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How batches of a model are made.

    at_once: how many may run beside one another, each in a thread of its own; 0 for a model that
    computes here: it takes its turn with all others that do, in the one thread that runs inference.
    items: the most of a batch, 0 for any number. tokens: likewise, counted without padding; 0 for
    what the configuration says, counted with it.
    """

    items: int = 0
    tokens: int = 0
    at_once: int = 0


HERE = Batching()


@dataclass(frozen=True, slots=True)
class Execution:
    """On what a model runs. threads: of inference. device: "cpu", "openvino" or "cuda".

    precision: "float32", or "bfloat16" where the device has it.
    """

    threads: int
    device: str = "cpu"
    precision: str = "float32"


class Encoder(Protocol):
    """A loaded model, made as ``Kind(spec, paths, execution)``; any thread may call it.

    spec is its entry of the catalogue, paths are its files by role. Making it raises Corrupt when a
    file is not the one of the catalogue, FailedPrecondition when files and entry do not go
    together, or the device is not there.
    """

    @property
    def batching(self) -> Batching:
        """How its batches are made; `HERE` for models that compute in this process."""
        ...

    def prepare(self, items: Sequence[Any], role: Role) -> list[Prepared]:
        """Return what the model reads of each item, the role's prompt in front, cut to max_tokens.

        Raises InvalidArgument whose `field` is ``items[i]`` for one that cannot be read at all.
        """
        ...

    def encode(self, batch: Sequence[Any], deadline: float | None = None) -> Outputs:
        """Return what becomes of the inputs that prepare() made, of one role.

        Models of dense vectors return one array (n, dim) float32, unless an item failed by itself.
        A vector must not depend on what else is in the batch, beyond 1e-5. deadline: on
        time.monotonic(), when the last of the callers will have gone; for kinds that wait for
        others. Raises NotFinite, and Unavailable or Overloaded with retry_after_s.
        """
        ...

    def close(self) -> None:
        """Give back what it holds: called once, when no call is under way."""
        ...
