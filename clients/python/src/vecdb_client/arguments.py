"""What a caller gave as numbers, checked before it goes into a message."""

from __future__ import annotations

from typing import Final

from vecdb_client.errors import InvalidArgument

UINT32_MAX: Final = (1 << 32) - 1


def count(value: int, what: str) -> int:
    """Return the number. Raises InvalidArgument unless it is 1 to 2**32 - 1."""
    plain = getattr(value, "__index__", None)
    if plain is None or isinstance(value, bool) or not 1 <= value <= UINT32_MAX:
        raise InvalidArgument(f"{what} is a whole number from 1, got {value!r}")
    return int(plain())


def number(value: float, what: str) -> float:
    """Return the number. Raises InvalidArgument when it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(f"{what} is a number, got {value!r}") from None
