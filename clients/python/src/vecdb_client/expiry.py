"""How long points are there: as callers say it, in seconds or a moment, and as the wire has it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from vecdb_client.errors import InvalidArgument

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECONDS_MAX: Final = 1e12
"""What is longer is refused by the server; this much its field can hold."""


class Expiry(NamedTuple):
    """When a point expires: so long after it is written, or at a time since 1970, 0 for never."""

    ttl_ms: int | None = None
    expires_at_ms: int | None = None


def expiry_of(ttl_s: float | None, expires_at: datetime | None) -> Expiry | None:
    """Return what is said of a point, or None where nothing is. Raises InvalidArgument."""
    if ttl_s is not None and expires_at is not None:
        raise InvalidArgument("give either ttl_s or expires_at")
    if expires_at is not None:
        return Expiry(expires_at_ms=_since_epoch_ms(expires_at))
    if ttl_s is None:
        return None
    return Expiry(
        ttl_ms=milliseconds(ttl_s) or None, expires_at_ms=0 if ttl_s == math.inf else None
    )


def milliseconds(ttl_s: float) -> int:
    """Return a ttl as the wire has it, 0 for math.inf. Raises InvalidArgument."""
    try:
        seconds = math.nan if isinstance(ttl_s, bool) else float(ttl_s)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if seconds == math.inf:
        return 0
    if not 0 < seconds <= _SECONDS_MAX:
        raise InvalidArgument(
            f"ttl_s is a number of seconds above 0, or math.inf for ever; got {ttl_s!r}"
        )
    return max(1, round(seconds * 1000))


def moment(expires_at_ms: int) -> datetime | None:
    """Return when a point expires, in UTC, or None for never."""
    return _EPOCH + expires_at_ms * _MILLISECOND if expires_at_ms else None


def _since_epoch_ms(expires_at: datetime) -> int:
    if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
        raise InvalidArgument(
            f"expires_at is a datetime with a timezone, such as datetime.now(UTC) + "
            f"timedelta(days=1); got {expires_at!r}"
        )
    return max(1, (expires_at - _EPOCH) // _MILLISECOND)  # 0 would be never
