"""Which texts of about one length make a batch, and how fast batches go."""

from __future__ import annotations

from collections.abc import Sequence

# A batch aims at this long. On two cores it is about 500 tokens of MiniLM, where throughput has
# reached its best already (and falls again beyond: activations leave the cache).
BATCH_TARGET_S = 0.05
BATCH_TOKENS_MIN = 256
# A batch may pad by this many tokens, or by this share of itself: less than what a run costs alone.
PADDING_TOKENS = 32
PADDING_SHARE = 1 / 8


def pack(lengths: Sequence[int], seed: int, budget: int) -> tuple[int, int]:
    """Return the range around seed of the texts to encode together.

    lengths: tokens of each text, ascending. The batch grows towards the neighbour that is nearer in
    length, while its padded tokens stay within budget and padding costs less than a second run.
    """
    low, high = seed, seed + 1
    real = lengths[seed]
    while True:
        longest = lengths[high - 1]
        shorter = longest - lengths[low - 1] if low > 0 else None
        longer = lengths[high] - longest if high < len(lengths) else None
        if longer is not None and (shorter is None or longer <= shorter):
            grown = (low, high + 1, lengths[high])
        elif shorter is not None:
            grown = (low - 1, high, lengths[low - 1])
        else:
            return low, high
        padded = (grown[1] - grown[0]) * lengths[grown[1] - 1]
        padding = padded - real - grown[2]
        if padded > budget or padding > max(PADDING_TOKENS, padded * PADDING_SHARE):
            return low, high
        low, high = grown[0], grown[1]
        real += grown[2]


def fitting(lengths: Sequence[int], items: int, tokens: int) -> int:
    """Return how many of the first texts go into so many items and tokens, one at least; 0: any."""
    total = 0
    for count, length in enumerate(lengths[: items or None]):
        total += length
        if count and tokens and total > tokens:
            return count
    return min(len(lengths), items or len(lengths))


class Rate:
    """Padded tokens a second over about the last ten batches, weighed by how long they took."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self._tokens = self._tokens * 0.9 + tokens
        self._seconds = self._seconds * 0.9 + seconds

    def per_s(self) -> float:
        """Return the rate, 0.0 before anything ran."""
        return self._tokens / max(self._seconds, 1e-6) if self._tokens else 0.0

    def batch_tokens(self) -> int:
        """Return how many padded tokens a batch is to have."""
        return max(BATCH_TOKENS_MIN, int(self.per_s() * BATCH_TARGET_S))
