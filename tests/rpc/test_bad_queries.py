"""Searches, filters and page tokens that are wrong, sent as raw messages."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from types import SimpleNamespace

import grpc
import pytest

from tests.live import LiveServer
from vecdb.rpc.pb import (
    collections_pb2,
    collections_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from vecdb.rpc.pb.common_pb2 import (
    Equals,
    Filter,
    FilterList,
    Floats,
    In,
    Point,
    Range,
    Value,
    Vector,
)
from vecdb_client import VecdbError
from vecdb_client.status import error_of

NAME = "points"
K_MAX, NODES_MAX, DEPTH_MAX, PAGE_MAX = 100, 20, 6, 50
SETTINGS = {
    "embed.enabled": "false",
    "limits.k": K_MAX,
    "limits.filter_nodes": NODES_MAX,
    "limits.filter_depth": DEPTH_MAX,
    "limits.page_items": PAGE_MAX,
}


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("queries") / "data", dict(SETTINGS)).start()
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def stubs(server: LiveServer) -> Iterator[SimpleNamespace]:
    """The four services, and the collections `points` and `others` with ten points each."""
    with grpc.insecure_channel(server.address) as channel:
        made = SimpleNamespace(
            collections=collections_pb2_grpc.CollectionsStub(channel),
            points=points_pb2_grpc.PointsStub(channel),
            search=search_pb2_grpc.SearchStub(channel),
        )
        for name in (NAME, "others"):
            request = collections_pb2.CreateCollectionRequest()
            request.collection.name = name
            for space, metric in (("", "COSINE"), ("dot", "DOT")):
                dense = request.collection.spaces[space].dense
                dense.dim, dense.metric = 3, collections_pb2.Metric.Value(f"METRIC_{metric}")
            made.collections.Create(request, timeout=30)
            write = points_pb2.WriteRequest(collection=name)
            for n in range(10):
                point = Point(id=f"p{n}", payload=b'{"n":%d,"name":"p"}' % n)
                point.vectors[""].f32 = f32(n + 1, 1, 1)
                write.ops.add().put.CopyFrom(point)
            assert not any(one.code for one in made.points.Write(write, timeout=30).results)
        yield made


def refused(call, request, timeout: float = 30) -> VecdbError:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=timeout)
    return error_of(caught.value, "")


def query(space: str = "", collection: str = NAME, k: int = 5, **vector) -> search_pb2.QueryRequest:
    near = search_pb2.Near(space=space, vector=Vector(**(vector or {"f32": f32(1, 2, 3)})))
    return search_pb2.QueryRequest(collection=collection, k=k, legs=[search_pb2.Leg(near=near)])


def legs(*legs: search_pb2.Leg) -> search_pb2.QueryRequest:
    return search_pb2.QueryRequest(collection=NAME, k=5, legs=legs)


@pytest.fixture(autouse=True)
def _answers_afterwards(stubs) -> Iterator[None]:
    yield
    reply = stubs.search.Query(query(), timeout=30)
    assert (len(reply.hits), reply.matched, reply.complete) == (5, 10, True)


VECTOR = "legs[0].near.vector"
INVALID = "INVALID_ARGUMENT"

BAD = {
    "short": (query(f32=f32(1, 2)), "DIMENSION_MISMATCH", VECTOR, "3 dimensions", "got 2"),
    "long": (query(f32=f32(1, 2, 3, 4)), "DIMENSION_MISMATCH", VECTOR, "3 dim", "got 4"),
    "floats": (query(floats=Floats(values=[1])), "DIMENSION_MISMATCH", VECTOR, "got 1"),
    "empty": (query(f32=b""), INVALID, VECTOR, "0 bytes"),
    "ragged": (query(f32=f32(1, 2, 3) + b"x"), INVALID, VECTOR, "13 bytes"),
    "no-numbers": (query(floats=Floats()), INVALID, VECTOR, "0 bytes"),
    "nan": (query(f32=f32(1, math.nan, 3)), "NOT_FINITE", VECTOR, "position 1", "nan"),
    "infinity": (query(f32=f32(math.inf, 2, 3)), "NOT_FINITE", VECTOR, "position 0", "inf"),
    "minus-infinity": (query(f32=f32(1, 2, -math.inf)), "NOT_FINITE", VECTOR, "-inf"),
    "overflow": (query(f32=f32(1e38, 1e38, 1e38)), "NOT_FINITE", VECTOR, "1e+18"),
    "zero": (query(f32=f32(0, 0, 0)), "ZERO_VECTOR", VECTOR, "cosine"),
    "no-kind": (legs(search_pb2.Leg(near=search_pb2.Near())), INVALID, VECTOR, "got nothing"),
    "empty-text": (query(text=""), INVALID, VECTOR, "empty"),
    "point-empty": (query(point=""), INVALID, f"{VECTOR}.point", "1 to 256"),
    "point-257": (query(point="x" * 257), INVALID, f"{VECTOR}.point", "257"),
    "unknown-space": (query("nope"), INVALID, "legs[0].near.space", "'nope'", "'dot'"),
    "k-0": (query(k=0), INVALID, "k", "k is 0", str(K_MAX)),
    "k-over": (query(k=K_MAX + 1), "LIMIT_EXCEEDED", "k", "101", "100", "limits.k"),
    "k-huge": (query(k=2**32 - 1), "LIMIT_EXCEEDED", "k", "limits.k"),
    "no-leg": (legs(), INVALID, "legs", "1 to 10 legs", "got none"),
    "leg-without-kind": (legs(search_pb2.Leg()), INVALID, "legs[0]", "near"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_query_that_cannot_be_asked(stubs, bad) -> None:
    request, reason, field, *words = bad
    error = refused(stubs.search.Query, request)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    assert [one.field for one in error.violations] == [field]
    for word in words:
        assert word in error.message


def test_text_for_a_space_without_a_model(stubs) -> None:
    error = refused(stubs.search.Query, query(text="hello"))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "NO_MODEL")
    assert "3 numbers" in error.message


@pytest.mark.parametrize(
    ("request_", "words"),
    [(query(point="nobody"), ["'nobody'"]), (query("dot", point="p1"), ["'p1'", "'dot'"])],
)
def test_near_a_point_that_is_not_there(stubs, request_, words) -> None:
    error = refused(stubs.search.Query, request_)
    assert (error.code, error.reason) == ("NOT_FOUND", "NOT_FOUND")
    for word in words:
        assert word in error.message


def test_the_limits_themselves_are_allowed(stubs) -> None:
    assert len(stubs.search.Query(query(k=K_MAX), timeout=30).hits) == 10
    assert len(stubs.search.Query(query("dot", f32=f32(0, 0, 0)), timeout=30).hits) == 0
    reply = stubs.points.List(
        points_pb2.ListPointsRequest(collection=NAME, page_size=PAGE_MAX), timeout=30
    )
    assert len(reply.points) == 10


@pytest.mark.parametrize("seq", [1_000_000, 2**64 - 1])
def test_a_state_that_is_still_to_come(stubs, seq: int) -> None:
    request = query()
    request.min_commit_seq = seq
    error = refused(stubs.search.Query, request)
    assert (error.code, error.reason) == ("UNAVAILABLE", "UNAVAILABLE")
    assert error.retry_after_s is not None
    assert str(seq) in error.message
    request.min_commit_seq = stubs.search.Query(query(), timeout=30).commit_seq
    assert len(stubs.search.Query(request, timeout=30).hits) == 5


@pytest.mark.parametrize("timeout", [-1.0, -1e6])
def test_a_deadline_in_the_past(stubs, timeout: float) -> None:
    assert refused(stubs.search.Query, query(), timeout).code == "DEADLINE_EXCEEDED"
    write = points_pb2.WriteRequest(collection="others")
    for n in range(1_000):
        write.ops.add().delete.id = f"nobody-{n}"
    assert refused(stubs.points.Write, write, timeout).code == "DEADLINE_EXCEEDED"


# --- filters


def value(given: object) -> Value:
    kind = {bool: "bool", int: "int64", float: "double", str: "string"}[type(given)]
    return Value(**{kind: given})


def equals(given: object, path: str = "n") -> Filter:
    return Filter(equals=Equals(path=path, value=value(given)))


def one_of(*given: object) -> Filter:
    return Filter(**{"in": In(path="n", values=[value(one) for one in given])})


def between(**bounds: object) -> Filter:
    return Filter(range=Range(path="n", **{name: value(one) for name, one in bounds.items()}))


def join(kind: str, *filters: Filter) -> Filter:
    return Filter(**{kind: FilterList(filters=filters)})


def negated(times: int) -> Filter:
    made = equals(1)
    for _ in range(times):
        made = Filter(**{"not": made})
    return made


BAD_FILTERS = {
    "no-kind": (Filter(), "BAD_FILTER", "empty"),
    "no-kind-inside": (join("and", equals(1), Filter()), "BAD_FILTER", "empty"),
    "no-kind-negated": (Filter(**{"not": Filter()}), "BAD_FILTER", "empty"),
    "empty-and": (join("and"), "BAD_FILTER", "at least one"),
    "empty-or": (join("or"), "BAD_FILTER", "at least one"),
    "empty-or-deep": (join("and", join("or", join("or"))), "BAD_FILTER", "at least one"),
    "equals-nothing": (Filter(equals=Equals(path="n")), "BAD_FILTER", "'n'", "no value"),
    "equals-empty-value": (
        Filter(equals=Equals(path="n", value=Value())),
        "BAD_FILTER",
        "'n'",
        "no value",
    ),
    "equals-nan": (equals(math.nan), "BAD_FILTER", "'n'", "NaN"),
    "in-nothing": (one_of(), "BAD_FILTER", "'n'", "no values"),
    "in-nan": (one_of(1, math.nan), "BAD_FILTER", "'n'", "NaN"),
    "in-empty-value": (
        Filter(**{"in": In(path="n", values=[Value()])}),
        "BAD_FILTER",
        "'n'",
        "no value",
    ),
    "range-without-bound": (between(), "BAD_FILTER", "'n'", "no bound"),
    "range-two-lower": (between(gt=1, gte=2), "BAD_FILTER", "'n'", "two bounds"),
    "range-two-upper": (between(lt=5, lte=5.0), "BAD_FILTER", "'n'", "two bounds"),
    "range-string": (between(gte="2020"), "BAD_FILTER", "'n'", "numbers"),
    "range-bool": (between(lt=True), "BAD_FILTER", "'n'", "numbers"),
    "range-nan": (between(gt=math.nan), "BAD_FILTER", "'n'", "NaN"),
    "range-empty-value": (
        Filter(range=Range(path="n", gt=Value())),
        "BAD_FILTER",
        "'n'",
        "no value",
    ),
    "too-deep": (negated(DEPTH_MAX), "LIMIT_EXCEEDED", str(DEPTH_MAX)),
    "deeper-than-any-limit": (negated(70), "BAD_FILTER", "64"),
    "too-many-nodes": (join("or", *[equals(n) for n in range(NODES_MAX)]), "LIMIT_EXCEEDED", "20"),
    "too-many-values": (one_of(*range(NODES_MAX)), "LIMIT_EXCEEDED", str(NODES_MAX)),
}


def with_filter(stubs, kind: str, filter: Filter):
    """Return the call and the request of a kind that takes a filter."""
    if kind == "query":
        request = query()
        request.filter.CopyFrom(filter)
        return stubs.search.Query, request
    if kind == "count":
        return stubs.points.Count, points_pb2.CountRequest(collection=NAME, filter=filter)
    return stubs.points.List, page(size=PAGE_MAX, filter=filter)


@pytest.mark.parametrize("kind", ["query", "count", "list"])
@pytest.mark.parametrize("bad", BAD_FILTERS.values(), ids=BAD_FILTERS.keys())
def test_a_filter_that_means_nothing(stubs, bad, kind: str) -> None:
    filter, reason, *words = bad
    error = refused(*with_filter(stubs, kind, filter))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    assert [one.field for one in error.violations] == ["filter"]
    for word in words:
        assert word in error.message


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        (negated(DEPTH_MAX - 1), 9),
        (join("or", *[equals(n) for n in range(NODES_MAX - 1)]), 10),
        (one_of(*range(3, NODES_MAX + 2)), 7),
        (between(gt=-math.inf, lt=math.inf), 10),
        (between(gt=5, lt=5), 0),
        (between(gte=7, lt=3), 0),
        (equals("1"), 0),
        (equals(True), 0),
        (equals(1.0), 1),
        (equals(1, path=""), 0),
        (equals(1, path="n" * 500), 0),
        (equals("x" * 100_000), 0),
        (one_of("a", 1, 2.0, True), 2),
    ],
)
def test_an_odd_filter_that_means_something(stubs, filter: Filter, count: int) -> None:
    for kind in ("count", "query", "list"):
        call, request = with_filter(stubs, kind, filter)
        reply = call(request, timeout=30)
        if kind == "count":
            assert reply.count == count
        elif kind == "list":
            assert len(reply.points) == count
        else:
            assert (reply.matched, len(reply.hits)) == (count, min(count, 5))


def length_delimited(field: int, content: bytes) -> bytes:
    size, length = bytearray(), len(content)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([field << 3 | 2, *size, length]) + content


def test_a_filter_too_deep_to_be_parsed(server: LiveServer, stubs) -> None:
    # Beyond protobuf's own recursion limit, which answers before any code of ours.
    message = equals(1).SerializeToString()
    for _ in range(2_000):
        message = length_delimited(Filter.NOT_FIELD_NUMBER, message)
    field = points_pb2.CountRequest.FILTER_FIELD_NUMBER
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/vecdb.v1.Points/Count")
        error = refused(call, length_delimited(1, NAME.encode()) + length_delimited(field, message))
    assert error.code in ("INVALID_ARGUMENT", "INTERNAL")


# --- pages


def page(token: str = "", size: int = 3, collection: str = NAME, **more):
    return points_pb2.ListPointsRequest(
        collection=collection, page_token=token, page_size=size, **more
    )


def test_page_tokens_of_something_else(stubs) -> None:
    plain = stubs.points.List(page(), timeout=30).next_page_token
    filtered = stubs.points.List(page(filter=between(gte=1)), timeout=30).next_page_token
    other = stubs.points.List(page(collection="others"), timeout=30).next_page_token
    assert plain
    assert filtered
    assert other
    bad = [
        page("x"),
        page("not base64 !"),
        page("é" * 20),
        page(plain[:8]),
        page(plain[4:]),
        page(plain + plain),
        page(plain + "!"),
        page("A" * 5_000),
        page(filtered),
        page(other),
        page(plain, filter=between(gte=1)),
        page(filtered, filter=between(gte=2)),
        page(filtered, filter=between(gte=1, lt=100)),
        page(plain, collection="others"),
    ]
    for request in bad:
        error = refused(stubs.points.List, request)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
        assert [one.field for one in error.violations] == ["page_token"]
        assert "page token" in error.message
    # Of another size, or with other parts of the points, a token goes on.
    reply = stubs.points.List(page(plain, size=5, with_vectors=True), timeout=30)
    assert [point.id for point in reply.points] == [f"p{n}" for n in range(3, 8)]


def test_a_page_of_no_size_is_of_the_default_or_the_limit(stubs) -> None:
    # The default of 100 is more than this server allows; who names no size is not to blame.
    assert len(stubs.points.List(page(size=0), timeout=30).points) == 10


def test_a_page_over_the_limit(stubs) -> None:
    error = refused(stubs.points.List, page(size=PAGE_MAX + 1))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")
    assert [one.field for one in error.violations] == ["page_size"]
    for word in ("51", "50", "limits.page_items"):
        assert word in error.message


# --- collections that are not there

MISSING = {
    "unknown": "nobody",
    "empty": "",
    "dots": "..",
    "path": "../catalog",
    "slash": "points/",
    "nul": "points\0",
    "newline": "points\n",
    "129": "x" * 129,
    # Longer than gRPC lets a status and its details be: they must be cut, not lost.
    "long": "x" * 4_000,
    "very-long": "x" * 100_000,
}


@pytest.mark.parametrize("name", MISSING.values(), ids=MISSING.keys())
def test_a_collection_that_is_not_there(stubs, name: str) -> None:
    calls = [
        (stubs.collections.Get, collections_pb2.GetCollectionRequest(name=name)),
        (stubs.collections.Stats, collections_pb2.CollectionStatsRequest(name=name)),
        (stubs.collections.Delete, collections_pb2.DeleteCollectionRequest(name=name)),
        (stubs.points.Get, points_pb2.GetPointsRequest(collection=name, ids=["p1"])),
        (stubs.points.Count, points_pb2.CountRequest(collection=name)),
        (stubs.points.List, page(collection=name)),
        (stubs.search.Query, query(collection=name)),
    ]
    write = points_pb2.WriteRequest(collection=name)
    write.ops.add().delete.id = "p1"
    calls.append((stubs.points.Write, write))
    for call, request in calls:
        error = refused(call, request)
        assert (error.code, error.reason) == ("NOT_FOUND", "NOT_FOUND")
        assert name[:20].strip("\0\n") in error.message


def test_long_names_of_the_caller_are_cut_in_errors_not_lost(stubs) -> None:
    long = "y" * 50_000
    filter = Filter(range=Range(path=long))
    for call, request, reason in [
        (stubs.search.Query, query(long), "INVALID_ARGUMENT"),
        (*with_filter(stubs, "count", filter), "BAD_FILTER"),
    ]:
        error = refused(call, request)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
        assert "yyy" in error.message
