"""Payloads: what goes in comes back; what JSON cannot hold is refused before it is sent."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_client import InvalidArgument
from vecdb_client.payloads import payload_bytes, payload_of

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates have no UTF-8 form.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abé\n"), inner),
)


@given(st.dictionaries(st.text('ab\0"é'), values))
def test_round_trip(payload):
    data = payload_bytes(payload)
    assert payload_of(data) == payload == json.loads(data)


def test_text_and_bytes_pass_through():
    raw = '{ "a" : 1.0,\n"é":2}'
    assert payload_bytes(raw) == payload_bytes(raw.encode()) == raw.encode()
    assert payload_bytes(None) == payload_bytes(b"") == b""
    assert payload_of(b"") == {}


def test_numpy_values():
    payload = {"n": np.int64(7), "x": np.float32(0.5), "l": np.arange(2), "b": np.bool_(True)}
    assert payload_bytes(payload) == b'{"n":7,"x":0.5,"l":[0,1],"b":true}'


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"a": {"b": [0, float("nan")]}}, r"a\.b\[1\] is nan"),
        ({"a": float("-inf")}, "a is -inf"),
        ({"a": np.array([1, np.nan])}, r"a\[1\] is nan"),
        ({"when": datetime.datetime(2020, 1, 1)}, "has no time zone"),
        ({"a": {1, 2}}, "set is not JSON"),
        ({"a": b"raw"}, "bytes is not JSON"),
        ({"a": "\ud800"}, "surrogates"),
        ("\ud800", "surrogates"),
        ([1], "no JSON object"),
        (7, "no JSON object"),
    ],
)
def test_refused(payload, why):
    with pytest.raises(InvalidArgument, match=why) as caught:
        payload_bytes(payload)
    assert caught.value.reason == "BAD_PAYLOAD"


def test_cycles_and_depth_are_refused():
    loop: dict = {}
    loop["self"] = loop
    deep: dict = {}
    for _ in range(100_000):
        deep = {"d": deep}
    for payload in (loop, deep):
        with pytest.raises(InvalidArgument, match="bad payload"):
            payload_bytes(payload)
