"""A mask as the kernel takes it."""

from __future__ import annotations

import numpy as np


def bitmap(mask: np.ndarray) -> np.ndarray:
    words = np.zeros(-(-len(mask) // 64), np.uint64)
    packed = np.packbits(mask, bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    return words
