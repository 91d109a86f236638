"""Filters: what each expression becomes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from vecdb_client import F, InvalidArgument
from vecdb_client.filters import filter_message
from vecdb_client.pb import common_pb2 as pb


def parsed(text):
    return text_format.Parse(text, pb.Filter())


@pytest.mark.parametrize(
    ("made", "want", "text"),
    [
        (F("a.b") == "x", 'equals{path:"a.b" value{string:"x"}}', "(F(\"a.b\") == 'x')"),
        (F("a") == 1, 'equals{path:"a" value{int64:1}}', '(F("a") == 1)'),
        (F("a") == True, 'equals{path:"a" value{bool:true}}', '(F("a") == True)'),  # noqa: E712
        (F("a") == 1.5, 'equals{path:"a" value{double:1.5}}', '(F("a") == 1.5)'),
        (F("a") != 0, 'not{equals{path:"a" value{int64:0}}}', '~(F("a") == 0)'),
        (F("a") > 1, 'range{path:"a" gt{int64:1}}', '(F("a") > 1)'),
        (F("a") >= 0, 'range{path:"a" gte{int64:0}}', '(F("a") >= 0)'),
        (F("a") < 1, 'range{path:"a" lt{int64:1}}', '(F("a") < 1)'),
        (F("a") <= 1, 'range{path:"a" lte{int64:1}}', '(F("a") <= 1)'),
        (1 <= F("a"), 'range{path:"a" gte{int64:1}}', '(F("a") >= 1)'),
        (
            F("a").between(0, 2.5),
            'range{path:"a" gte{int64:0} lte{double:2.5}}',
            '(F("a") >= 0 & F("a") <= 2.5)',
        ),
        (
            F("a").isin(["x", 2, False]),
            'in{path:"a" values{string:"x"} values{int64:2} values{bool:false}}',
            "F(\"a\").isin(['x', 2, False])",
        ),
        (
            (F("a") == 1) & (F("b") == 2) & ~(F("c") == 3),
            'and{filters{equals{path:"a" value{int64:1}}} filters{equals{path:"b" value{int64:2}}}'
            ' filters{not{equals{path:"c" value{int64:3}}}}}',
            '((F("a") == 1) & (F("b") == 2) & ~(F("c") == 3))',
        ),
        (
            (F("a") == 1) | (F("b") == 2) & (F("c") == 3),
            'or{filters{equals{path:"a" value{int64:1}}} filters{and{'
            'filters{equals{path:"b" value{int64:2}}} filters{equals{path:"c" value{int64:3}}}}}}',
            '((F("a") == 1) | ((F("b") == 2) & (F("c") == 3)))',
        ),
    ],
)
def test_messages(made, want, text):
    assert made.message == parsed(want)
    assert repr(made) == text


def test_operands_are_left_alone():
    left, right = (F("a") == 1) & (F("b") == 2), F("c") == 3
    before = left.message.SerializeToString()
    left & right, left | right, ~left
    assert left.message.SerializeToString() == before


def test_numpy_scalars():
    assert (F("a") >= np.int64(3)).message == (F("a") >= 3).message
    assert (F("a") == np.float64(0.5)).message == (F("a") == 0.5).message
    assert (F("a") == np.bool_(True)).message == parsed('equals{path:"a" value{bool:true}}')


def test_no_truth():
    condition = F("a") == 1
    for misuse in (
        lambda: bool(condition),
        lambda: condition and condition,
        lambda: not condition,
        lambda: 1 <= F("a") <= 2,
    ):
        with pytest.raises(TypeError, match="combine with &"):
            misuse()
    with pytest.raises(TypeError):
        condition & True
    with pytest.raises(TypeError):
        hash(F("a"))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: F(""), "a path is"),
        (lambda: F(3), "a path is"),
        (lambda: F("a") == None, "a value is"),  # noqa: E711
        (lambda: F("a") == [1], "a value is"),
        (lambda: F("a") == float("nan"), "NaN"),
        (lambda: F("a") == 1 << 63, "64 bits"),
        (lambda: F("a") == "\ud800", "surrogate"),
        (lambda: F("a") > "2020-01-01", "ranges are of numbers"),
        (lambda: F("a") > True, "ranges are of numbers"),
        (lambda: F("a").isin("abc"), "takes a list"),
        (lambda: F("a").isin([]), "no values"),
        (lambda: filter_message(F("a")), "compare it"),
        (lambda: filter_message({"a": 1}), "a filter is made like"),
    ],
)
def test_refused(make, why):
    with pytest.raises(InvalidArgument, match=why) as caught:
        make()
    assert caught.value.reason == "BAD_FILTER"
