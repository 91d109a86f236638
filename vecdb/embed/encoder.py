"""What every kind of text model must be able to do. Knows no runtime: each kind has a file.

The batcher sits between the two halves: callers' threads tokenize, one thread encodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vecdb.types import F32

I64 = NDArray[np.int64]


class Role(IntEnum):
    """What a text is for: models prompt a query differently from a document."""

    QUERY = 1
    DOCUMENT = 2


class Tokens(NamedTuple):
    """A text as the model reads it.

    ids: (t,) int64, special tokens included, t <= the model's max_tokens. None where the model
    knows nothing of the text: it is then not encoded, and its caller is told.
    truncated: whether the text went on after that.
    """

    ids: I64
    truncated: bool


class TextEncoder(Protocol):
    """A loaded model. Both methods may be called from any thread."""

    def tokenize(self, texts: Sequence[str], role: Role) -> list[Tokens]:
        """Return the tokens of each text, the role's prompt in front, cut to max_tokens."""
        ...

    def encode(self, batch: Sequence[I64]) -> F32:
        """Return the vectors of texts that tokenize() made, (n, dim) float32.

        A text's vector must not depend on what else is in the batch, beyond 1e-5.
        Raises NotFinite.
        """
        ...
