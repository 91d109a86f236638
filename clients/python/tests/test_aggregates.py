"""Aggregations and lists: what is sent, and what comes back."""

from __future__ import annotations

import pytest

from vecdb_client import F, FacetCount, InvalidArgument, NumberStats, TimeStats


def test_aggregate(books, server):
    found = books.aggregate(
        F("n") > 3,
        facets={"kind": 20, "tag": 1},
        numbers=["price", "none", "price"],
        times="when",
    )
    (request,) = server.aggregates
    assert request.filter == (F("n") > 3).message
    kinds = [one.WhichOneof("kind") for one in request.aggregations]
    assert kinds == ["facets", "facets", "numbers", "numbers", "times"]
    assert [one.facets.limit for one in request.aggregations[:2]] == [20, 1]
    assert (found.points, found.warnings, found.commit_seq) == (0, ("w",), 0)
    facets = found.facets["kind"]
    assert facets.counts == {"a": 2, 7: 2, 0.5: 2, True: 2}
    assert [type(one.value) for one in facets] == [str, int, float, bool]
    assert (len(facets), facets.other_values) == (4, 5)
    assert facets.values[0] == FacetCount("a", 2)
    assert found.numbers == {
        "price": NumberStats(2, 2, 4.5, 2.25, 3, 3),
        "none": NumberStats(0, 0, 0, None, None, None),
    }
    assert found.times == {"when": TimeStats(0, 0, None, None)}
    books.aggregate(facets="kind")
    assert server.aggregates[1].aggregations[0].facets.limit == 0  # the server's own
    assert not server.aggregates[1].HasField("filter")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "takes paths"),
        ({"facets": {"a": 0}}, "whole number from 1"),
        ({"facets": {"a": True}}, "whole number from 1"),
        ({"facets": {"a": 1.5}}, "whole number from 1"),
        ({"facets": [1]}, "a path is a str"),
        ({"facets": {1: 1}}, "a path is a str"),
        ({"numbers": "\ud800"}, "not Unicode"),
        ({"filter": {"a": 1}, "times": "a"}, "bad filter"),
    ],
)
def test_aggregations_refused_before_sending(books, server, arguments, why):
    with pytest.raises(InvalidArgument, match=why):
        books.aggregate(**arguments)
    assert not server.calls


def test_lists_in_order_and_in_slices(books, server):
    books.upsert({"id": f"p{i}", "vector": [i, 0, 1]} for i in range(5))
    assert len(list(books.list(order_by="n", descending=True, page_size=2))) == 5
    assert len(server.lists) == 3
    for request in server.lists:
        assert (request.order_by.path, request.order_by.descending) == ("n", True)
        assert not request.HasField("slice")
    books.page(slice=(1, 4))
    last = server.lists[-1]
    assert (last.slice.index, last.slice.count, last.HasField("order_by")) == (1, 4, False)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"descending": True}, "goes with order_by"),
        ({"order_by": 1}, "order_by is a str"),
        ({"slice": (4, 4)}, r"slice is \(i, n\)"),
        ({"slice": (-1, 4)}, "slice is"),
        ({"slice": 3}, "slice is"),
        ({"slice": (1, 2, 3)}, "slice is"),
        ({"slice": ("a", "b")}, "slice is"),
        ({"slice": (0.5, 2)}, "slice is"),
    ],
)
def test_lists_refused_before_sending(books, server, arguments, why):
    with pytest.raises(InvalidArgument, match=why):
        books.page(**arguments)
    assert not server.calls
