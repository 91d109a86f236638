"""Payloads under edits: against a plain Python reference; what is not touched, byte for byte."""

from __future__ import annotations

import json
import time
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.examples import examples
from tests.model import Clash, patched
from vecdb.errors import BadPayload, InvalidArgument, LimitExceeded, PathClash, VecdbError
from vecdb.types import PayloadEdits
from vecdb.write.payload import check_edits, check_payload, edited

MIB = 1 << 20

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, -0.0, 1e300, 10**40]),
    st.sampled_from(["", "x", "é\n", "\ud800", 'a"]}', "🙂"]),
)
KEYS = st.sampled_from(["a", "b", "", "ü", "\udc00", 'q"'])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
PAYLOADS = st.dictionaries(KEYS, VALUES, max_size=4)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(".".join).filter(bool)
ARRAYS = st.dictionaries(PATHS, st.lists(VALUES, max_size=3), max_size=2)


@st.composite
def texts(draw: st.DrawFn, values: st.SearchStrategy) -> bytes:
    """JSON in one of the forms that people write."""
    return json.dumps(
        draw(values),
        ensure_ascii=draw(st.just(True)),
        indent=draw(st.sampled_from([None, 2])),
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])),
    ).encode()


def edits_of(set: bytes = b"", unset: Any = (), append: bytes = b"", remove: bytes = b""):
    return PayloadEdits(set, tuple(unset), append, remove)


@given(
    payload=texts(PAYLOADS),
    set=texts(st.dictionaries(PATHS, VALUES, max_size=2)),
    unset=st.lists(PATHS, max_size=2),
    append=texts(ARRAYS),
    remove=texts(ARRAYS),
)
@settings(max_examples=examples(400), deadline=None)
def test_edits_do_what_the_reference_does(
    payload: bytes, set: bytes, unset: list[str], append: bytes, remove: bytes
) -> None:
    edits = edits_of(set, unset, append, remove)
    check_edits(edits)
    plain = [json.loads(text) for text in (payload, set, append, remove)]
    try:
        expected = patched(plain[0], plain[1], unset, plain[2], plain[3])
    except Clash:
        with pytest.raises(PathClash):
            edited(payload, edits, MIB)
        return
    made = edited(payload, edits, MIB)
    assert json.dumps(json.loads(made), sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert list(json.loads(made)) == list(expected)  # fields keep their places
    check_payload(made, MIB, "")


def test_what_is_not_touched_stays_the_text_it_is() -> None:
    payload = (
        b' {"big": 1e400, "exact": 1.10000000000000000001, "n": {"x" : 1e2, "y":\t[ 1.0,2 ]},\n'
        b' "esc": "\\u00e9\\/", "arr": [1.50, 2e0 ,"a" ]} '
    )
    made = edited(
        payload, edits_of(b'{"n.z": 3.000}', ["gone"], b'{"arr": [4.0]}', b'{"arr": [2]}'), MIB
    )
    assert made == (
        b'{"big":1e400,"exact":1.10000000000000000001,"n":{"x":1e2,"y":[ 1.0,2 ],"z":3.000},'
        b'"esc":"\\u00e9\\/","arr":[1.50,"a",4.0]}'
    )


@pytest.mark.parametrize(
    ("payload", "remove", "left"),
    [
        ("[1, 1.0, true, null, false, 0]", "[true, 0]", [1, 1.0, None, False]),
        ('[[1], [true], "1", {"a": [1, 2]}]', '[[1.0], {"a": [1.0, 2]}]', [[True], "1"]),
        ('[{"a": 1, "b": 2}, ["a", 1]]', '[{"b": 2, "a": 1}]', [["a", 1]]),
        ("[]", "[1]", []),
        ("[1]", "[]", [1]),
    ],
)
def test_removed_is_what_is_equal(payload: str, remove: str, left: list) -> None:
    made = edited(
        f'{{"x": {payload}}}'.encode(), edits_of(remove=b'{"x": %s}' % remove.encode()), MIB
    )
    assert json.dumps(json.loads(made)["x"]) == json.dumps(left)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (edits_of(set=b'{"n.x": 1}'), ["set 'n.x'", "'n' holds a number", "not an object"]),
        (edits_of(set=b'{"o.s.x": 1}'), ["'o.s' holds a string"]),
        (edits_of(unset=["a.x"]), ["unset 'a.x'", "'a' holds an array"]),
        (edits_of(append=b'{"o.s": [1]}'), ["append 'o.s'", "holds a string", "not an array"]),
        (edits_of(append=b'{"o": [1]}'), ["holds an object"]),
        (edits_of(set=b'{"o.x": 1}', remove=b'{"o": [1]}'), ["remove 'o'", "holds an object"]),
        (edits_of(remove=b'{"z": [1]}'), ["'z' holds null"]),
        (edits_of(append=b'{"t": [1]}'), ["'t' holds a boolean"]),
    ],
)
def test_a_clash_names_path_and_kind(edits: PayloadEdits, words: list[str]) -> None:
    with pytest.raises(PathClash) as caught:
        edited(b'{"n": 1, "o": {"s": "x"}, "a": [{}], "z": null, "t": true}', edits, MIB)
    for word in words:
        assert word in str(caught.value)


def test_a_result_at_the_limit_and_past_it() -> None:
    made = edited(b'{"a":"x"}', edits_of(set=b'{"b": 123}'), 17)
    assert made == b'{"a":"x","b":123}'
    with pytest.raises(LimitExceeded, match="the payload has 17 bytes, the limit is 16"):
        edited(b'{"a":"x"}', edits_of(set=b'{"b": 123}'), 16)


def test_nesting_at_the_limit_and_past_it() -> None:
    def deep(levels: int) -> bytes:
        return b"[" * levels + b"1" + b"]" * levels

    levels = 99
    for what in ("set", "append"):
        path = ".".join("a" * 101)
        for extra, good in ((0, True), (1, False)):
            content = b'{"%s": %s}' % (path.encode(), deep(levels + extra))
            if good:
                check_edits(edits_of(**{what: content}))
                continue
            with pytest.raises(BadPayload, match=f"{what} 'a.a.*nested deeper than 200"):
                check_edits(edits_of(**{what: content}))
    made = edited(b"", edits_of(set=b'{"%s": %s}' % (path.encode(), deep(99))), MIB)
    check_payload(made, MIB, "")


def test_cost_does_not_grow_with_the_levels_of_a_path() -> None:
    """Every level a path of its own: each would read all that is below once more."""
    levels = 60
    path = ["k" * 3] * levels
    inside = json.dumps([[1, 2, 3]] * 20_000)
    payload = b'{"kkk":' * levels + b'{"x": %s}' % inside.encode() + b"}" * levels
    paths = {".".join([*path[:level], "new"]): 1 for level in range(1, levels + 1)}
    many = edits_of(set=json.dumps(paths).encode())
    one = edits_of(set=b'{"new": 1}')

    def seconds(edits: PayloadEdits) -> float:
        started = time.perf_counter()
        edited(payload, edits, MIB)
        return time.perf_counter() - started

    rounds = [seconds(many) / seconds(one) for _ in range(5)]
    assert min(rounds) < 10, rounds


@pytest.mark.parametrize(
    ("edits", "error", "words"),
    [
        (edits_of(set=b"[1]"), BadPayload, "set must be a JSON object, got list"),
        (edits_of(set=b"{"), BadPayload, "set is not JSON"),
        (edits_of(set=b'{"a": NaN}'), BadPayload, "NaN"),
        (edits_of(set=b'{"": 1}'), InvalidArgument, "1 to 512 characters"),
        (edits_of(unset=["a" * 513]), InvalidArgument, "1 to 512 characters"),
        (edits_of(append=b'{"a": 1}'), BadPayload, "append 'a': expected an array"),
        (edits_of(remove=b'{"a": "x"}'), BadPayload, "remove 'a': expected an array"),
        (edits_of(set=b'{"a":' * 201 + b"1" + b"}" * 201), BadPayload, "deeper than 200"),
    ],
)
def test_edits_that_mean_nothing(edits: PayloadEdits, error: type[VecdbError], words: str) -> None:
    with pytest.raises(error, match=words):
        check_edits(edits)
    check_edits(edits_of(unset=["a" * 512]))
