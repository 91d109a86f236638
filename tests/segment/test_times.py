"""Which strings are RFC 3339 times, and which moment they name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.segment.times import microseconds, rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(timezones=st.timezones()))
def test_what_python_writes_is_read(moment: datetime) -> None:
    offset = moment.utcoffset() or timedelta()
    if offset % timedelta(minutes=1):
        return  # RFC 3339 has no offsets of seconds
    expected = (moment - EPOCH) // timedelta(microseconds=1)
    assert microseconds(moment.isoformat()) == expected
    assert microseconds(moment.isoformat(" ")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01t00:00:00.5z", 500_000),
        ("1970-01-01 00:00:00.0000019Z", 1),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1990-12-31T23:59:60Z", 662_688_000_000_000),
        ("0000-02-29T00:00:00Z", -62_162_121_600_000_000),
        ("0000-01-01", -62_167_219_200_000_000),
        ("9999-12-31T23:59:59.999999-23:59", 253_402_387_139_999_999),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert microseconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024",
        "2024-02",
        "2024-02-30",
        "2023-02-29T00:00:00Z",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "2024-1-1",
        "20240101T000000Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60",
        "2024-01-01T00:00:00+0100",
        "2024-01-01T00:00:00+01:00:00",
        "2024-01-01T00:00:00 Z",
        " 2024-01-01",
        "2024-01-01\n",
        "-2024-01-01",
        "12024-01-01",
        "٢٠٢٤-01-01",
        "2024-01-01Z",
    ],
)
def test_no_times(text: str) -> None:
    assert microseconds(text) is None


FIRST, LAST = "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59"


@given(st.integers(microseconds(FIRST), microseconds(LAST)))
def test_what_is_written_is_read(moment: int) -> None:
    assert microseconds(rfc3339(moment)) == moment


def test_moments_as_text() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999Z"
    assert rfc3339(microseconds("0000-02-29")) == "0000-02-29T00:00:00Z"
    for text in (FIRST, LAST):
        assert rfc3339(microseconds(text)) == text
    for far, text in ((-(2**63), FIRST), (2**63 - 1, LAST)):  # of damaged files
        assert rfc3339(far) == text
