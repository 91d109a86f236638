"""When a point that is written expires: what a put or a patch says, or else its collection."""

from __future__ import annotations

from vecdb.errors import InvalidArgument
from vecdb.types import Patch, Put

TTL_MS_MAX = 100 * 31_557_600_000
"""A hundred years of 365.25 days."""
EXPIRES_AT_MS_MAX = 253_402_300_799_999
"""The last of year 9999, up to which RFC 3339, and datetime, go."""


def expiry_of(op: Put | Patch, now_ms: int, kind: str) -> int | None:
    """Return when a point is to expire by its operation: 0 for never, None where it says nothing.

    In milliseconds since the Unix epoch. now_ms: from when its ttl counts. Raises InvalidArgument.
    """
    if op.expires_at_ms is not None:
        if not 0 <= op.expires_at_ms <= EXPIRES_AT_MS_MAX:
            raise InvalidArgument(
                f"expires_at_ms is {op.expires_at_ms}, expected 0 for never, or milliseconds since "
                f"1970 up to {EXPIRES_AT_MS_MAX}, the end of year 9999",
                field=f"{kind}.expires_at_ms",
                got=op.expires_at_ms,
            )
        return op.expires_at_ms
    if op.ttl_ms is not None:
        check_ttl(op.ttl_ms, f"{kind}.ttl_ms", least=1)
        assert now_ms, "a ttl counts from some time"
        return now_ms + op.ttl_ms
    return None


def check_ttl(ttl_ms: int, field: str, *, least: int = 0) -> None:
    """Raise InvalidArgument unless points may live for so long."""
    if not least <= ttl_ms <= TTL_MS_MAX:
        raise InvalidArgument(
            f"ttl_ms is {ttl_ms}, expected {least} to {TTL_MS_MAX} milliseconds, a hundred years",
            field=field,
            got=ttl_ms,
        )
