"""Payload fields: the index, the rows in memory and a plain evaluator agree on every filter.

The evaluator below is written from the words of the protocol alone and shares no code with either.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vecdb.query.filter import matching
from vecdb.segment import fields
from vecdb.segment.fields import (
    KEYWORD_BYTES_MAX,
    PATH_CHARACTERS_MAX,
    PATHS_MAX,
    FieldIndex,
    FieldIndexBuilder,
    Interval,
    NotIndexed,
    PayloadRows,
)
from vecdb.types import And, Equals, Filter, In, Not, Or, Range

# --- the evaluator


def held(value: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """Yield path and value of all that is held: dots join keys, arrays are looked through."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from held(inner, (*keys, key))
    elif isinstance(value, list):
        for inner in value:
            yield from held(inner, keys)
    elif value is not None:
        yield ".".join(keys), value


def exact(value: object) -> Fraction | float | None:
    """Return a number as it is compared: integers exactly, those beyond int64 as doubles."""
    if isinstance(value, (bool, str)):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    return Fraction(value) if math.isfinite(value) else value


def same(one: object, other: object) -> bool:
    if exact(one) is not None or exact(other) is not None:
        return exact(one) is not None and exact(one) == exact(other)
    return type(one) is type(other) and one == other


def holds(payload: bytes, filter: Filter) -> bool:
    match filter:
        case And(filters):
            return all([holds(payload, inner) for inner in filters])
        case Or(filters):
            return any([holds(payload, inner) for inner in filters])
        case Not(inner):
            return not holds(payload, inner)
    values = [v for path, v in held(json.loads(payload or b"{}")) if path == filter.path]
    match filter:
        case Equals(_, sought):
            return any(same(value, sought) for value in values)
        case In(_, several):
            return any(same(value, sought) for value in values for sought in several)
    return any(inside(exact(value), filter) for value in values if exact(value) is not None)


def inside(number: Fraction | float, bounds: Range) -> bool:
    return (
        (bounds.gt is None or number > exact(bounds.gt))
        and (bounds.gte is None or number >= exact(bounds.gte))
        and (bounds.lt is None or number < exact(bounds.lt))
        and (bounds.lte is None or number <= exact(bounds.lte))
    )


# --- the two that are tested


def index_of(payloads: list[bytes]) -> FieldIndex:
    """Return the index of payloads, through the bytes and the JSON that a segment keeps."""
    builder = FieldIndexBuilder()
    for payload in payloads:
        builder.add(payload)
    array, directory, left_out = builder.finish()
    return FieldIndex(len(payloads), array, json.loads(json.dumps(directory)), left_out)


def rows_of(payloads: list[bytes]) -> PayloadRows:
    return PayloadRows(len(payloads), payloads.__getitem__, {})


def agree(payloads: list[bytes], filter: Filter) -> None:
    expected = [holds(payload, filter) for payload in payloads]
    assert matching(filter, index_of(payloads)).tolist() == expected
    assert matching(filter, rows_of(payloads)).tolist() == expected


# --- what is drawn: few paths and values that meet often, and the odd ones among them

LONG = "é" * KEYWORD_BYTES_MAX
EDGES = [0, 2**53, 2**62, 2**63, 2**64, 10**18, 10**25, 10**400]
INTS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(EDGES).flatmap(lambda edge: st.integers(edge - 2, edge + 2)),
    st.sampled_from(EDGES).flatmap(lambda edge: st.integers(-edge - 2, -edge + 2)),
    st.integers(-(2**63), 2**63 - 1),
)
DOUBLES = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 2.0**53, 2.0**63, -(2.0**63), 1e300, 5e-324]),
    st.sampled_from(EDGES[:-1]).map(lambda edge: math.nextafter(float(edge), math.inf)),
    st.sampled_from(EDGES[:-1]).map(lambda edge: math.nextafter(float(edge), -math.inf)),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXT = st.characters(exclude_categories=["Cs"])
STRINGS = st.one_of(
    st.sampled_from(["", "a", "A", "1", "true", "0", "é", "e\u0301", "🦆", "a.b", "\0", "\uffff"]),
    st.sampled_from([LONG, LONG + "x", "x" * 256, "x" * 257, "x" * 258, "x" * 5_000]),
    st.text(TEXT, max_size=4),
)
SCALARS = st.one_of(INTS, DOUBLES, STRINGS, st.booleans())
KEYS = st.one_of(st.sampled_from(["a", "b", "a.b", "é"]), st.text(TEXT, min_size=1, max_size=2))
VALUES = st.recursive(
    st.one_of(SCALARS, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
PAYLOADS = st.one_of(
    st.just(b""),
    st.dictionaries(KEYS, VALUES, max_size=4).map(lambda payload: json.dumps(payload).encode()),
    st.dictionaries(KEYS, VALUES, max_size=4).map(
        lambda payload: json.dumps(payload, ensure_ascii=False).encode()
    ),
)
PATHS = st.one_of(st.sampled_from(["a", "b", "a.b", "a.a", "b.a", "a.b.a", "é", "none"]), KEYS)
# What the wire can carry: int64, double, string, bool.
SOUGHT = st.one_of(
    INTS.filter(lambda n: -(2**63) <= n < 2**63),
    DOUBLES,
    st.sampled_from([math.inf, -math.inf]),
    STRINGS,
    st.booleans(),
)
BOUNDS = st.one_of(INTS.filter(lambda n: -(2**63) <= n < 2**63), DOUBLES, st.just(math.inf))


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    low = draw(st.sampled_from([None, "gt", "gte"]))
    high = draw(st.sampled_from(["lt", "lte"] if low is None else [None, "lt", "lte"]))
    return Range(draw(PATHS), **{name: draw(BOUNDS) for name in (low, high) if name})


CONDITIONS = st.one_of(
    st.builds(Equals, PATHS, SOUGHT),
    st.builds(In, PATHS, st.lists(SOUGHT, min_size=1, max_size=4).map(tuple)),
    ranges(),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)


@given(st.lists(PAYLOADS, max_size=8), st.lists(FILTERS, min_size=1, max_size=8))
def test_index_rows_and_evaluator_agree(payloads: list[bytes], filters: list[Filter]) -> None:
    index, rows = index_of(payloads), rows_of(payloads)
    for filter in filters:
        expected = [holds(payload, filter) for payload in payloads]
        assert matching(filter, index).tolist() == expected
        assert matching(filter, rows).tolist() == expected


@given(st.lists(PAYLOADS, min_size=1, max_size=8), st.data())
def test_every_value_that_is_held_is_found(payloads: list[bytes], data: st.DataObject) -> None:
    there = [item for payload in payloads for item in held(json.loads(payload or b"{}"))]
    if not there:
        return
    path, value = data.draw(st.sampled_from(there))
    agree(payloads, Equals(path, value))
    assert matching(Equals(path, value), index_of(payloads)).any()
    if isinstance(value, float) or (exact(value) is not None and -(2**63) <= value < 2**63):
        for bounds in ({"gte": value}, {"gt": value}, {"lte": value}, {"lt": value}):
            agree(payloads, Range(path, **bounds))


@given(st.lists(st.one_of(INTS, DOUBLES), max_size=10), ranges())
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


@given(st.one_of(INTS, DOUBLES), BOUNDS, BOUNDS, st.booleans(), st.booleans())
def test_the_closed_intervals_are_the_interval(value, low, high, open_low, open_high) -> None:
    interval = Interval(low, high, open_low, open_high)
    number = fields.as_number(value)
    if isinstance(number, int):
        first, last = interval.closed_int()
    else:
        first, last = interval.closed_float()
    assert (first <= number <= last) == (number in interval)


# --- one by one

PLAIN = [
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
    assert holds(payload, filter) is expected
    agree([payload], filter)


@pytest.mark.parametrize("size", [255, 256, 257, 258, 10_000])
def test_long_strings_are_told_apart(size: int) -> None:
    texts = ["x" * size, "x" * (size - 1) + "y", "x" * (size + 1), "é" * size]
    payloads = [json.dumps({"a": [text]}).encode() for text in texts]
    for row, text in enumerate(texts):
        agree(payloads, Equals("a", text))
        assert np.flatnonzero(matching(Equals("a", text), index_of(payloads))).tolist() == [row]


def test_a_lone_surrogate_is_kept_apart() -> None:
    payloads = [b'{"a":"\\ud800"}', b'{"a":"\\udfff"}', b'{"\\ud800":1}', b'{"a":"?"}']
    agree(payloads, Equals("a", "?"))
    agree(payloads, Equals("a", "\ud800"))
    assert matching(Equals("\ud800", 1), index_of(payloads)).tolist() == [False, False, True, False]


def test_an_integer_of_many_digits_is_a_number_like_any_other() -> None:
    # JSON's numbers have no end; Python stops converting at 4,300 digits.
    agree([b'{"a":%s}' % (b"9" * 4_000), b'{"a":1}'], Range("a", gt=1e300))


def test_no_rows_and_no_fields() -> None:
    assert matching(Equals("a", 1), index_of([])).tolist() == []
    assert matching(Not(Equals("a", 1)), index_of([b"", b"{}"])).tolist() == [True, True]
    assert index_of([b"", b"{}"]).paths == set()


# --- what the index leaves out


def many(paths: int, often: int = 0) -> list[bytes]:
    """Return payloads of so many paths; the first `often` of them are held by two rows."""
    names = [f"f{at:04}" for at in range(paths)]
    return [
        json.dumps(dict.fromkeys(names, 1)).encode(),
        json.dumps(dict.fromkeys(names[:often], 1)).encode(),
    ]


def test_as_many_paths_as_allowed_are_all_there() -> None:
    index = index_of(many(PATHS_MAX))
    assert len(index.paths) == PATHS_MAX
    assert matching(Equals("f0999", 1), index).tolist() == [True, False]
    assert matching(Equals("never", 1), index).tolist() == [False, False]  # it would know


def test_of_too_many_paths_the_frequent_ones_stay() -> None:
    payloads = many(PATHS_MAX + 5, often=7)
    index = index_of(payloads)
    assert len(index.paths) == PATHS_MAX
    for at in range(7):
        agree(payloads, Equals(f"f{at:04}", 1))
    for path in ("f1004", "never"):  # it cannot tell the two apart, and says so
        for filter in (
            Equals(path, 1),
            Equals(path, "x"),
            Equals(path, True),
            Range(path, gt=0),
            In(path, (1, "x")),
            Not(Equals(path, 1)),
            And((Equals("f0000", 1), Equals(path, 1))),
            Or((Equals("f0000", 1), Equals(path, 1))),
        ):
            with pytest.raises(NotIndexed):
                matching(filter, index)
            expected = [holds(payload, filter) for payload in payloads]
            assert matching(filter, rows_of(payloads)).tolist() == expected


@pytest.mark.parametrize("nested", [False, True])
def test_a_path_that_is_too_long_is_left_out(nested: bool) -> None:
    longest, over = "p" * PATH_CHARACTERS_MAX, "p" * (PATH_CHARACTERS_MAX + 1)
    if nested:
        longest, over = f"p.{longest[2:]}", f"p.{over[2:]}"
    payloads = [json.dumps({longest: 1}).encode(), json.dumps({over: 1}).encode()]
    index = index_of(payloads)
    assert matching(Equals(longest, 1), index).tolist() == [True, False]
    with pytest.raises(NotIndexed):
        matching(Equals(over, 1), index)
    assert matching(Equals(over, 1), rows_of(payloads)).tolist() == [False, True]


# --- damaged files


def test_a_part_outside_the_array_is_refused() -> None:
    builder = FieldIndexBuilder()
    builder.add(b'{"a":1,"b":"x","c":true,"d":0.5}')
    array, directory, left_out = builder.finish()
    for item in directory:
        for name, (offset, dtype, count) in item["parts"].items():
            for wrong in (
                [offset + 10_000, dtype, count],
                [-64, dtype, count],
                [offset, dtype, -1],
            ):
                parts = {**item["parts"], name: wrong}
                with pytest.raises(ValueError, match="outside"):
                    FieldIndex(1, array, [{**item, "parts": parts}], left_out)
    with pytest.raises(ValueError, match="outside"):
        FieldIndex(1, array[:-1], directory, left_out)


def test_rows_past_the_last_are_not_returned() -> None:
    builder = FieldIndexBuilder()
    for _ in range(4):
        builder.add(b'{"a":1,"b":"x"}')
    array, directory, left_out = builder.finish()
    damaged = array.copy()
    for item in directory:
        offset, _, count = item["parts"]["rows"]
        damaged[offset : offset + 4] = np.frombuffer(struct.pack("<I", 4_000_000), np.uint8)
        assert count == 4
    index = FieldIndex(4, damaged, directory, left_out)
    for filter in (Equals("a", 1), Equals("b", "x")):
        assert matching(filter, index).tolist() == [False, True, True, True]
