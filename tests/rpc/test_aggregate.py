"""Aggregations and orders of lists through a real server: what is answered, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import pytest

from tests.live import LiveServer, wait_until
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.pb import points_pb2_grpc
from vecdb_client import Client, Collection, F, InvalidArgument, NumberStats, TimeStats, VecdbError
from vecdb_client.status import error_of

NAME = "things"
ROWS = 3_000
PATH_MAX, AGGREGATIONS_MAX, VALUES_MAX, SLICES_MAX = 512, 32, 1_000, 1_024


@pytest.fixture(scope="module")
def things(server: LiveServer) -> Iterator[Collection]:
    with server.client() as client:
        made = client.create_collection(NAME, dim=2)
        made.upsert(
            {
                "id": f"p{n:04}",
                "vector": [n, 1],
                "payload": json.dumps(
                    {
                        "kind": "abc"[n % 3],
                        "n": n,
                        "tags": [n % 7, f"t{n % 50}", True],
                        "when": f"2024-01-{1 + n % 28:02}",
                        "odd": "\ud800" if n == 5 else None,
                    }
                ),
            }
            for n in range(ROWS)
        )
        wait_until(lambda: made.stats().segments)
        made.upsert([{"id": "late", "vector": [1, 1], "payload": {"kind": "a", "n": -0.5}}])
        yield made
        client.delete_collection(NAME)


def test_aggregations(things: Collection) -> None:
    found = things.aggregate(
        facets={"kind": 2, "tags": 1, "odd": 1}, numbers=["n", "nn"], times="when"
    )
    assert found.points == ROWS + 1
    assert found.facets["kind"].counts == {"a": 1_001, "b": 1_000}
    assert found.facets["kind"].other_values == 1
    assert found.facets["tags"].counts == {True: ROWS}
    assert found.facets["tags"].other_values == 57
    assert found.facets["odd"].counts == {"\ufffd": 1}
    total = ROWS * (ROWS - 1) // 2 - 0.5
    assert found.numbers["n"] == NumberStats(
        ROWS + 1, ROWS + 1, total, total / (ROWS + 1), -0.5, ROWS - 1
    )
    assert found.numbers["nn"] == NumberStats(0, 0, 0, None, None, None)
    assert found.warnings == ("no point holds anything at 'nn'; did you mean 'n'?",)
    days = "2024-01-01T00:00:00Z", "2024-01-28T00:00:00Z"
    assert found.times["when"] == TimeStats(ROWS, ROWS, *days)
    some = things.aggregate(F("n") < 10, facets="kind", numbers="n")
    assert some.points == 11
    assert some.facets["kind"].counts == {"a": 5, "b": 3, "c": 3}
    assert some.numbers["n"].sum == 44.5
    whole = things.aggregate(F("n").between(1, 9), numbers="n").numbers["n"]
    assert (whole.sum, type(whole.sum), whole.avg) == (45, int, 5.0)
    assert things.aggregate(F("n") > 1e9, facets="kind").facets["kind"].values == ()


def test_every_facet_is_what_a_filter_counts(things: Collection) -> None:
    for path in ("kind", "tags", "when"):
        for one in things.aggregate(F("n") < 500, facets={path: 100}).facets[path]:
            assert things.count((F("n") < 500) & (F(path) == one.value)) == one.points


def test_order_and_slices(things: Collection) -> None:
    listed = [point.payload["n"] for point in things.list(order_by="n", page_size=400)]
    assert listed == [-0.5, *range(ROWS)]
    listed = [
        point.id for point in things.list(F("n") < 9, order_by="kind", descending=True, page_size=2)
    ]
    assert listed == ["p0008", "p0005", "p0002", "p0007", "p0004", "p0001", "late", *(
        f"p000{n}" for n in (6, 3, 0)
    )]  # fmt: skip
    assert len(list(things.list(order_by="when", page_size=999))) == ROWS
    parts = [[p.id for p in things.export(slice=(at, 3))] for at in range(3)]
    assert all(part == sorted(part) for part in parts)
    everyone = [point.id for point in things.list()]
    assert sorted(name for part in parts for name in part) == everyone
    assert min(map(len, parts)) > ROWS / 4


# --- refused


def request(*asked: pb.Aggregation) -> pb.AggregateRequest:
    return pb.AggregateRequest(collection=NAME, aggregations=asked)


def facets(path: str = "kind", limit: int = 0) -> pb.Aggregation:
    return pb.Aggregation(facets=pb.Facets(path=path, limit=limit))


def listed(**options) -> pb.ListPointsRequest:
    return pb.ListPointsRequest(collection=NAME, page_size=1, **options)


AT_THE_LIMIT = {
    "values": request(facets(limit=VALUES_MAX)),
    "aggregations": request(*[facets()] * AGGREGATIONS_MAX),
    "path": request(facets("é" * PATH_MAX)),
    "order-path": listed(order_by=pb.OrderBy(path="é" * PATH_MAX)),
    "slices": listed(slice=pb.Slice(index=SLICES_MAX - 1, count=SLICES_MAX)),
}
BAD = {
    "none": (request(), "aggregations", "no aggregation"),
    "empty": (request(facets(), pb.Aggregation()), "aggregations[1]", "expected facets"),
    "too-many": (request(*[facets()] * (AGGREGATIONS_MAX + 1)), "aggregations", "limit is 32"),
    "values": (request(facets(limit=VALUES_MAX + 1)), "aggregations[0].facets.limit", "1000"),
    "no-path": (request(facets("")), "aggregations[0].facets.path", "1 to 512"),
    "long-path": (
        request(pb.Aggregation(numbers=pb.NumberStats(path="é" * (PATH_MAX + 1)))),
        "aggregations[0].numbers.path",
        "got 513",
    ),
    "long-times": (
        request(pb.Aggregation(times=pb.TimeStats(path="x" * 60_000))),
        "aggregations[0].times.path",
        "got 60000",
    ),
    "no-order": (listed(order_by=pb.OrderBy()), "order_by.path", "1 to 512"),
    "long-order": (listed(order_by=pb.OrderBy(path="x" * 513)), "order_by.path", "got 513"),
    "no-slices": (listed(slice=pb.Slice()), "slice", "slice 0 of 0"),
    "slice-past": (listed(slice=pb.Slice(index=3, count=3)), "slice", "slice 3 of 3"),
    "slices": (listed(slice=pb.Slice(count=SLICES_MAX + 1)), "slice", "1 to 1024"),
    "both": (
        listed(slice=pb.Slice(count=2), order_by=pb.OrderBy(path="n")),
        "slice",
        "leave out order_by or slice",
    ),
}


def call(server: LiveServer, message: pb.AggregateRequest | pb.ListPointsRequest) -> object:
    with grpc.insecure_channel(server.address) as channel:
        stub = points_pb2_grpc.PointsStub(channel)
        ask = stub.List if isinstance(message, pb.ListPointsRequest) else stub.Aggregate
        return ask(message, timeout=30)


@pytest.mark.parametrize("message", AT_THE_LIMIT.values(), ids=AT_THE_LIMIT.keys())
def test_at_a_limit(server: LiveServer, things: Collection, message) -> None:
    assert call(server, message)


@pytest.mark.parametrize(("message", "field", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_refused(server: LiveServer, things: Collection, message, field, words) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(server, message)
    error: VecdbError = error_of(caught.value, "")
    assert error.code == "INVALID_ARGUMENT"
    assert [one.field for one in error.violations] == [field]
    assert words in error.message


def test_tokens_of_another_order(things: Collection, client: Client) -> None:
    token = things.page(page_size=3, order_by="n").next_page_token
    for options in ({}, {"order_by": "kind"}, {"order_by": "n", "descending": True}):
        with pytest.raises(InvalidArgument, match="order and slice must be the same"):
            things.page(page_size=3, page_token=token, **options)
    page = things.page(page_size=3, page_token=token, order_by="n")
    assert [point.payload["n"] for point in page.points] == [2, 3, 4]


def test_bad_filters_and_collections(things: Collection, client: Client) -> None:
    with pytest.raises(InvalidArgument, match="unknown space"):
        things.aggregate(F.has_space("nope"), facets="kind")
    with pytest.raises(VecdbError) as caught:
        client.collection("nobody").aggregate(facets="kind")
    assert caught.value.reason == "NOT_FOUND"
