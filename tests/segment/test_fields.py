"""Payload fields: the index, the rows in memory and the model agree on every filter."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.filters import (
    CONDITIONS,
    DOUBLES,
    INTS,
    NESTED,
    NESTED_TWICE,
    NUMBER_BOUNDS,
    PAYLOADS,
    RANGES,
    combined,
)
from tests.model import exact, held
from tests.segment.sources import (
    agree,
    expected_of,
    in_memory,
    index_of,
    matched,
    on_disk,
)
from vecdb.segment import fields
from vecdb.segment.fields import (
    Interval,
    parse,
)
from vecdb.types import (
    And,
    ContainsAll,
    Equals,
    Exists,
    Filter,
    GeoRadius,
    IsNull,
    MinShould,
    Nested,
    Not,
    Prefix,
    Range,
    ValuesCount,
)

FILTERS = combined(st.one_of(CONDITIONS, CONDITIONS, NESTED, NESTED_TWICE), 5)


@given(st.lists(PAYLOADS, max_size=8), st.lists(FILTERS, min_size=1, max_size=8))
def test_index_rows_and_model_agree(payloads: list[bytes], filters: list[Filter]) -> None:
    disk, memory = on_disk(payloads), in_memory(payloads)
    for filter in filters:
        expected = expected_of(filter, payloads)
        assert matched(filter, disk) == expected
        assert matched(filter, memory) == expected


@given(st.lists(PAYLOADS, min_size=1, max_size=8), st.data())
def test_every_value_that_is_held_is_found(payloads: list[bytes], data: st.DataObject) -> None:
    there = [item for payload in payloads for item in held(parse(payload))]
    if not there:
        return
    path, value = data.draw(st.sampled_from(there))
    agree(payloads, Exists(path))
    agree(payloads, IsNull(path))
    if value is None or isinstance(value, dict):
        return
    agree(payloads, Equals(path, value))
    assert any(matched(Equals(path, value), on_disk(payloads)))
    if isinstance(value, str) and value:
        agree(payloads, Prefix(path, value))
        agree(payloads, Prefix(path, value[: data.draw(st.integers(1, len(value)))]))
    if isinstance(value, float) or (exact(value) is not None and -(2**63) <= value < 2**63):
        for bounds in ({"gte": value}, {"gt": value}, {"lte": value}, {"lt": value}):
            agree(payloads, Range(path, **bounds))


@given(st.lists(st.one_of(INTS, DOUBLES), max_size=10), RANGES)
@example([2**53, 2**53 + 1, 2.0**53], Range("a", gt=2.0**53))
@example([2**63 - 1, 2**63, 2.0**63], Range("a", gte=2**63 - 1))
@example([2**63 - 1, 2**63, 2.0**63], Range("a", gt=2**63 - 1))
@example([-(2**63), -(2**63) - 1, -(2.0**63)], Range("a", lte=-(2**63)))
@example([9_007_199_254_740_993], Range("a", lt=9_007_199_254_740_992.0))
@example([10**400, -(10**400), 1e308], Range("a", lt=math.inf))
@example([10**400, -(10**400), 1e308], Range("a", gte=math.inf))
def test_numbers_compare_exactly(numbers: list[int | float], bounds: Range) -> None:
    payloads = [json.dumps({"a": number}).encode() for number in numbers]
    agree(payloads, Range("a", bounds.gt, bounds.gte, bounds.lt, bounds.lte))


@given(st.one_of(INTS, DOUBLES), NUMBER_BOUNDS, NUMBER_BOUNDS, st.booleans(), st.booleans())
def test_the_closed_intervals_are_the_interval(value, low, high, open_low, open_high) -> None:
    number = fields.as_number(value)
    kind = fields.INT if isinstance(number, int) else fields.FLOAT
    first, last = Interval(low, high, open_low, open_high).closed(kind)
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    assert (first <= number <= last) == (above and below)


# --- one by one

PLAIN = [
    (b'{"a":{"b":null}}', Exists("a"), True),
    (b'{"a":{}}', Exists("a"), True),
    (b'{"a":{}}', Exists("a.b"), False),
    (b'{"a":[]}', Exists("a"), False),
    (b'{"a":[[null]]}', Exists("a"), False),
    (b'{"a":[[null]]}', IsNull("a"), True),
    (b'{"a":[]}', IsNull("a"), False),
    (b"{}", IsNull("a"), False),
    (b'{"a":[1,[1,null,{}]]}', ValuesCount("a", gte=3, lte=3), True),
    (b'{"a":[{"b":1},{"b":[1,1]}]}', ValuesCount("a.b", gt=2), True),
    (b"{}", ValuesCount("a", lt=1), True),
    (b'{"a":0}', ValuesCount("a", gte=1, lte=1), True),
    (b'{"a":["x","y"]}', ContainsAll("a", ("y", "x")), True),
    (b'{"a":["x"]}', ContainsAll("a", ("y", "x")), False),
    (b'{"a":[{"b":1,"c":2}]}', Nested("a", And((Equals("b", 1), Equals("c", 2)))), True),
    (b'{"a":[{"b":1},{"c":2}]}', Nested("a", And((Equals("b", 1), Equals("c", 2)))), False),
    (b'{"a":[{"b":1},{"c":2}]}', Nested("a", Not(Exists("b"))), True),
    (b'{"a":{"b":1}}', Nested("a", Equals("b", 1)), True),
    (b'{"a.b":1}', Nested("a", Equals("b", 1)), False),
    (b'{"a":[1]}', Nested("a", Not(Exists("b"))), False),
    (b'{"a":["2024-02-29T00:30:00+01:00"]}', Range("a", lt="2024-02-29"), True),
    (b'{"a":"2024-02-29"}', Range("a", gte=0), False),
    (b'{"a":1709164800}', Range("a", gte="1970-01-01"), False),
    (b'{"a":1}', MinShould(2, (Equals("a", 1), Exists("a"), Exists("b"))), True),
    (b'{"a":{"lat":0,"lon":180}}', GeoRadius("a", 0, -180, 1), True),
    (b'{"a":{"lat":90,"lon":1}}', GeoRadius("a", 90, -120, 1), True),
    (b'{"a":1}', Equals("a", 1.0), True),
    (b'{"a":1.0}', Equals("a", 1), True),
    (b'{"a":1}', Equals("a", True), False),
    (b'{"a":true}', Equals("a", 1), False),
    (b'{"a":true}', Range("a", gte=0), False),
    (b'{"a":false}', Equals("a", False), True),
    (b'{"a":"1"}', Equals("a", 1), False),
    (b'{"a":"1"}', Range("a", gte=0), False),
    (b'{"a":-0.0}', Equals("a", 0), True),
    (b'{"a":0}', Equals("a", -0.0), True),
    (b'{"a":null}', Equals("a", ""), False),
    (b'{"a":[]}', Not(Equals("a", 1)), True),
    (b'{"a":[null,[["x"]]]}', Equals("a", "x"), True),
    (b'{"a":[1,5]}', Range("a", gt=2, lt=4), False),
    (b'{"a":[1,3,5]}', Range("a", gt=2, lt=4), True),
    (b'{"a":[{"b":1},{"b":[2]}]}', Equals("a.b", 2), True),
    (b'{"a":{"b":1}}', Equals("a", 1), False),
    (b'{"a.b":1}', Equals("a.b", 1), True),
    (b'{"a":{"b":1}}', Equals("a.b", 1), True),
    (b'{"a":1,"a":2}', Equals("a", 2), True),
    (b'{"a":1,"a":2}', Equals("a", 1), False),
    (b'{"\\u0061":"\\u00e9"}', Equals("a", "é"), True),
    (b'{"a":1e400}', Equals("a", math.inf), True),
    (b'{"a":123456789012345678901234567890}', Equals("a", 123456789012345678901234567890), True),
    (b'{"a":9223372036854775808}', Equals("a", 2.0**63), True),
    (b'{"a":9223372036854775807}', Equals("a", 2.0**63), False),
    (b'{"a":{"":1}}', Equals("a.", 1), True),
    (b'{"":1}', Equals("", 1), True),
    (b'{"":{"x":1}}', Equals(".x", 1), True),
    (b'{"":{"x":1}}', Equals("x", 1), False),
    (b"", Equals("a", 1), False),
    (b"{}", Not(Equals("a", 1)), True),
]


@pytest.mark.parametrize(("payload", "filter", "expected"), PLAIN)
def test_what_a_payload_holds(payload: bytes, filter: Filter, expected: bool) -> None:
    assert expected_of(filter, [payload]) == [expected]
    agree([payload], filter)


@pytest.mark.parametrize("size", [255, 256, 257, 258, 10_000])
def test_long_strings_are_told_apart(size: int) -> None:
    texts = ["x" * size, "x" * (size - 1) + "y", "x" * (size + 1), "é" * size]
    payloads = [json.dumps({"a": [text]}).encode() for text in texts]
    for row, text in enumerate(texts):
        agree(payloads, Equals("a", text))
        assert np.flatnonzero(matched(Equals("a", text), on_disk(payloads))).tolist() == [row]


def test_a_lone_surrogate_is_kept_apart() -> None:
    payloads = [b'{"a":"\\ud800"}', b'{"a":"\\udfff"}', b'{"\\ud800":1}', b'{"a":"?"}']
    agree(payloads, Equals("a", "?"))
    agree(payloads, Equals("a", "\ud800"))
    assert matched(Equals("\ud800", 1), on_disk(payloads)) == [False, False, True, False]


def test_an_integer_of_many_digits_is_a_number_like_any_other() -> None:
    # JSON's numbers have no end; Python stops converting at 4,300 digits.
    agree([b'{"a":%s}' % (b"9" * 4_000), b'{"a":1}'], Range("a", gt=1e300))


def test_no_rows_and_no_fields() -> None:
    assert matched(Equals("a", 1), on_disk([])) == []
    assert matched(Not(Equals("a", 1)), on_disk([b"", b"{}"])) == [True, True]
    assert index_of([b"", b"{}"]).paths == set()
