"""Whether, and after how long, a failed call is tried again. Pure: sleeping is the transport's."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vecdb_client.errors import VecdbError


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call that is safe to repeat is tried, and how long the pauses are.

    The pause doubles from `backoff_s` up to `backoff_max_s`; half of it is random, so that clients
    that lost one server do not come back in step. The call's own deadline bounds all of it.
    """

    attempts_max: int = 8
    backoff_s: float = 0.1
    backoff_max_s: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts_max < 1 or self.backoff_s <= 0 or self.backoff_max_s < self.backoff_s:
            raise ValueError(
                "Retries: attempts_max must be at least 1, backoff_s above 0, and backoff_max_s "
                f"at least backoff_s; got {self}"
            )

    def pause_s(
        self,
        error: VecdbError,
        attempt: int,
        remaining_s: float,
        chance: Callable[[], float] = random.random,
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None when there is to be none.

        attempt: 1 for the first. remaining_s: what is left until the deadline; a pause never
        reaches it. UNAVAILABLE is tried again, RESOURCE_EXHAUSTED where the server said when.
        """
        asked = error.retry_after_s
        again = error.code == "UNAVAILABLE" or (
            error.code == "RESOURCE_EXHAUSTED" and asked is not None
        )
        if not again or attempt >= self.attempts_max:
            return None
        step = min(self.backoff_s * 2.0 ** (attempt - 1), self.backoff_max_s)
        # Never sooner than asked; the random part then only adds.
        pause = (asked or 0.0) + step * (0.5 + 0.5 * chance())
        return pause if pause < remaining_s else None


RETRIES = Retries()
"""The default: eight attempts, which outlast a restart of about five seconds."""

NO_RETRIES = Retries(attempts_max=1)
