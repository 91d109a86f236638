"""Atomic writes of the client against a real server: all or nothing, the first loser named."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vecdb_client import (
    Client,
    Collection,
    Conflict,
    Delete,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Patch,
    VecdbError,
)


@pytest.fixture
def stock(client: Client) -> Iterator[Collection]:
    made = client.create_collection("stock", dim=2)
    made.upsert([{"id": "a", "vector": [1, 2], "payload": {"n": 1}}])
    yield made
    client.delete_collection("stock")


def point(name: str, *vector: float, version: int | None = None) -> dict:
    return {"id": name, "vector": list(vector or (1, 2)), "if_version": version}


Act = Callable[[Collection], object]
LOSING: list[tuple[Act, type[VecdbError], str, str]] = [
    (
        lambda stock: stock.upsert([point("b"), point("a", version=0)], atomic=True),
        Conflict,
        "VERSION_MISMATCH",
        "operation 1: point 'a' is there with version 1",
    ),
    (
        lambda stock: stock.upsert([point("b"), point("c", 1), point("d", 0, 0)], atomic=True),
        InvalidArgument,
        "DIMENSION_MISMATCH",
        "operation 1: ",
    ),
    (
        lambda stock: stock.write([point("b"), Patch("z", set={"x": 1})], atomic=True),
        NotFound,
        "POINT_NOT_FOUND",
        "operation 1: there is no point 'z'",
    ),
    (
        lambda stock: stock.write([Delete("a"), Patch("a", set={"x": 1})], atomic=True),
        NotFound,
        "POINT_NOT_FOUND",
        "operation 1: ",
    ),
    (
        lambda stock: stock.write([point("b"), Patch("a", set={"n.x": 1})], atomic=True),
        FailedPrecondition,
        "PATH_CLASH",
        "operation 1: ",
    ),
    (
        lambda stock: stock.delete(["a", "b"], if_version=1, atomic=True),
        Conflict,
        "VERSION_MISMATCH",
        "operation 1: there is no point 'b'",
    ),
]


@pytest.mark.parametrize(("act", "kind", "reason", "says"), LOSING)
def test_the_first_loser_sinks_all(
    stock: Collection, act: Act, kind: type[VecdbError], reason: str, says: str
) -> None:
    with pytest.raises(kind) as caught:
        act(stock)
    assert caught.value.reason == reason
    assert caught.value.message.startswith(says)
    assert caught.value.violations[0].field.startswith("ops[1]")
    assert [(one.id, one.payload, one.version) for one in stock.list()] == [("a", {"n": 1}, 1)]


def test_all_are_done_at_once(stock: Collection) -> None:
    many = [point(f"m{n:04}") for n in range(3_000)]
    report = stock.write([*many, Delete("a"), Patch("m0000", set={"x": 1})], atomic=True)
    assert (report.written, report.found, report.commit_seq) == (3_002, 2, 2)
    assert stock.count() == 3_000
    assert {one.version for one in stock.list()} == {2}


def test_more_than_the_server_takes_is_not_split(stock: Collection) -> None:
    with pytest.raises(InvalidArgument, match="the limit is 10000"):
        stock.upsert((point(f"m{n}") for n in range(10_001)), atomic=True)
    assert stock.count() == 1
