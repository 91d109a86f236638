"""Filters: what each expression becomes, and what is refused."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

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
            'F("a").range(gte=0, lte=2.5)',
        ),
        (
            F("a").range(gt=0, lt=2.5),
            'range{path:"a" gt{int64:0} lt{double:2.5}}',
            'F("a").range(gt=0, lt=2.5)',
        ),
        (
            F("a").isin(["x", 2, False]),
            'in{path:"a" values{string:"x"} values{int64:2} values{bool:false}}',
            "F(\"a\").isin(['x', 2, False])",
        ),
        (
            F("a").notin([1]),
            'not_in{path:"a" values{int64:1}}',
            'F("a").notin([1])',
        ),
        (
            F("a").contains_any(["x", "y"]),
            'in{path:"a" values{string:"x"} values{string:"y"}}',
            "F(\"a\").contains_any(['x', 'y'])",
        ),
        (
            F("a").contains_all(["x", 1]),
            'contains_all{path:"a" values{string:"x"} values{int64:1}}',
            "F(\"a\").contains_all(['x', 1])",
        ),
        (F("a").prefix("x"), 'prefix{path:"a" prefix:"x"}', "F(\"a\").prefix('x')"),
        (F("a").exists(), 'exists{path:"a"}', 'F("a").exists()'),
        (F("a").is_null(), 'is_null{path:"a"}', 'F("a").is_null()'),
        (
            F("a").count_between(0, 3),
            'values_count{path:"a" gte:0 lte:3}',
            'F("a").count_between(0, 3)',
        ),
        (
            F("a").count_between(2),
            'values_count{path:"a" gte:2}',
            'F("a").count_between(2, None)',
        ),
        (
            F("a") >= "2024-01-01T00:00:00Z",
            'range{path:"a" gte{string:"2024-01-01T00:00:00Z"}}',
            "(F(\"a\") >= '2024-01-01T00:00:00Z')",
        ),
        (
            F("a") < datetime(2024, 1, 1, 1, 30, 0, 5, timezone(timedelta(hours=1))),
            'range{path:"a" lt{string:"2024-01-01T00:30:00.000005+00:00"}}',
            f'(F("a") < {datetime(2024, 1, 1, 1, 30, 0, 5, timezone(timedelta(hours=1)))!r})',
        ),
        (
            F("a").between(date(2024, 1, 1), date(2024, 2, 1)),
            'range{path:"a" gte{string:"2024-01-01"} lte{string:"2024-02-01"}}',
            'F("a").range(gte=datetime.date(2024, 1, 1), lte=datetime.date(2024, 2, 1))',
        ),
        (
            F("a").near(0, 13.5, 100),
            'geo_radius{path:"a" center{lat:0 lon:13.5} metres:100}',
            'F("a").near(0, 13.5, 100)',
        ),
        (
            F("a").within_box(-1, 170, 1, -170),
            'geo_box{path:"a" south_west{lat:-1 lon:170} north_east{lat:1 lon:-170}}',
            'F("a").within_box(-1, 170, 1, -170)',
        ),
        (
            F("a").within_polygon([(0, 0), (0, 1), (1, 1)]),
            'geo_polygon{path:"a" corners{lat:0 lon:0} corners{lat:0 lon:1} corners{lat:1 lon:1}}',
            'F("a").within_polygon([(0, 0), (0, 1), (1, 1)])',
        ),
        (
            F("a").has_element(F("b") == 1),
            'nested{path:"a" filter{equals{path:"b" value{int64:1}}}}',
            'F("a").has_element((F("b") == 1))',
        ),
        (F.has_id(["p", "q"]), 'has_id{ids:"p" ids:"q"}', "F.has_id(['p', 'q'])"),
        (F.has_space(), "has_space{}", "F.has_space('')"),
        (
            F.at_least(1, [F("a") == 1, F("b").exists()]),
            'min_should{least:1 filters{equals{path:"a" value{int64:1}}} '
            'filters{exists{path:"b"}}}',
            'F.at_least(1, [(F("a") == 1), F("b").exists()])',
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
        (lambda: F("a") > True, "ranges are of numbers"),
        (lambda: F("a") > datetime(2024, 1, 1), "no time zone"),
        (lambda: F("a").isin("abc"), "takes a list"),
        (lambda: F("a").isin([]), "no values"),
        (lambda: F("a").contains_all("abc"), r"contains_all\(\) takes a list"),
        (lambda: F("a").prefix(""), "some text"),
        (lambda: F("a").count_between(-1), "whole numbers"),
        (lambda: F("a").count_between(1.5), "whole numbers"),
        (lambda: F("a").near("x", 0, 1), "a latitude is a number"),
        (lambda: F("a").within_polygon([(0, 0, 0)]), "a place is"),
        (lambda: F("a").has_element(F("b")), "compare it"),
        (lambda: F("a").has_element(None), "takes a filter"),
        (lambda: F.has_id("abc"), "list of ids"),
        (lambda: F.has_id([]), "takes ids"),
        (lambda: F.has_id([1]), "takes ids"),
        (lambda: F.at_least(0, [F("a") == 1]), "from 1 to 1"),
        (lambda: F.at_least(2, [F("a") == 1]), "from 1 to 1"),
        (lambda: filter_message(F("a")), "compare it"),
        (lambda: filter_message({"a": 1}), "a filter is made like"),
    ],
)
def test_refused(make, why):
    with pytest.raises(InvalidArgument, match=why) as caught:
        make()
    assert caught.value.reason == "BAD_FILTER"
