"""How many examples a property test takes."""

from __future__ import annotations

import os

IN_CI = bool(os.environ.get("CI"))


def examples(many: int) -> int:
    """Return how many to take: as many as that, and in CI, where they never change, a third."""
    return max(10, many // 3) if IN_CI else many
