"""Times as text: which strings are RFC 3339 times, and which moment they name."""

from __future__ import annotations

import re
from datetime import date

_DAY_S = 86_400
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d)))?",
    re.ASCII,
)
_EPOCH = date(1970, 1, 1).toordinal()
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097


def microseconds(text: str) -> int | None:
    """Return the microseconds since 1970 that an RFC 3339 time names, or None when it is none.

    A date alone is its midnight, UTC. Digits past the sixth of a second are cut off; a leap second
    is the first of the next minute.
    """
    # Nearly all strings are no times: the cheapest test that says so comes first.
    if text[4:5] != "-" or (found := _TIME.fullmatch(text)) is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, ahead_h, ahead_m = found.groups()
    try:
        days = _days(int(year), int(month), int(day))
    except ValueError:  # no such day
        return None
    if hour is None:
        return days * _DAY_S * 1_000_000
    seconds = days * _DAY_S + int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign is not None:
        ahead = int(ahead_h) * 3600 + int(ahead_m) * 60
        seconds -= ahead if sign == "+" else -ahead
    return seconds * 1_000_000 + int(f"{(fraction or '')[:6]:0<6}")


def rfc3339(moment: int) -> str:
    """Return microseconds since 1970 as a time that `microseconds` reads: UTC, to the microsecond.

    Outside of the years 0 to 9999 it is written as of the far side of the earth, which is inside.
    What no text names, the first or the last that one does stands for.
    """
    moment = min(max(moment, _FIRST), _LAST)
    days, rest = divmod(moment, _DAY_S * 1_000_000)
    zone = "Z"
    if not _FIRST_DAY <= days <= _LAST_DAY:
        ahead = _FAR_S if days < _FIRST_DAY else -_FAR_S
        zone = "+23:59" if ahead > 0 else "-23:59"
        days, rest = divmod(moment + ahead * 1_000_000, _DAY_S * 1_000_000)
    shift = 1 if days < 1 - _EPOCH else 0
    day = date.fromordinal(days + _EPOCH + shift * _CYCLE_DAYS)
    second, fraction = divmod(rest, 1_000_000)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    tail = f".{fraction:06}" if fraction else ""
    return f"{day.year - shift * _CYCLE_YEARS:04}-{day:%m-%d}T{clock}{tail}{zone}"


def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970. Raises ValueError. RFC 3339 has a year 0, `date` does not."""
    shift = 0 if year else 1
    return date(year + shift * _CYCLE_YEARS, month, day).toordinal() - _EPOCH - shift * _CYCLE_DAYS


_FIRST_DAY, _LAST_DAY = _days(0, 1, 1), _days(9999, 12, 31)
_FAR_S = (23 * 60 + 59) * 60
_FIRST = (_FIRST_DAY * _DAY_S - _FAR_S) * 1_000_000
_LAST = ((_LAST_DAY + 1) * _DAY_S + _FAR_S) * 1_000_000 - 1
