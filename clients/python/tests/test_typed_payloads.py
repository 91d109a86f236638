"""Payloads as dataclasses: there and back again, and what does not fit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_client import InvalidArgument, Patch, Point, WriteFailed
from vecdb_client.payloads import payload_bytes, payload_of
from vecdb_client.typed_payloads import object_of

V = [0.1, 0.2, 0.3]


class Genre(Enum):
    NOVEL = "novel"
    POEM = "poem"


@dataclass
class Author:
    name: str
    born: date | None = None


@dataclass(frozen=True)
class Book:
    title: str
    year: int
    authors: list[Author] = field(default_factory=list)
    genre: Genre = Genre.NOVEL
    printed: datetime | None = None
    size: tuple[float, float] = (0.0, 0.0)
    tags: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    binding: Literal["paper", "cloth"] = "paper"
    more: Any = None
    label: str | int = ""


DUNE = Book(
    "Dune",
    1965,
    [Author("Frank Herbert", date(1920, 10, 8)), Author("nobody")],
    Genre.POEM,
    datetime(2024, 5, 1, 12, tzinfo=UTC),
    (1.5, 2),
    ("sand", "ü"),
    {"read": 3},
    "cloth",
    {"any": [1, None]},
    7,
)


def test_there_and_back(books, server):
    books.upsert([{"id": "dune", "vector": V, "payload": DUNE}, Point("b", V, Book("B", 1))])
    books.upsert(ids=["c"], vectors=[V], payloads=[DUNE])
    sent = json.loads(server.points["dune"].payload)
    assert sent["genre"] == "poem"
    assert sent["printed"] == "2024-05-01T12:00:00+00:00"
    assert sent["authors"][0] == {"name": "Frank Herbert", "born": "1920-10-08"}
    assert server.points["c"].payload == server.points["dune"].payload
    found = books.get(["dune", "b"]).points
    assert found[0].payload_as(Book) == DUNE
    assert found[1].payload_as(Book) == Book("B", 1)
    assert books.search(V, k=1)[0].payload_as(Book).authors[0].born == date(1920, 10, 8)
    assert [point.payload_as(Book).year for point in books.list()] == [1, 1965, 1965]
    books.write([Patch("dune", set={"author": Author("x")})])
    assert b'"author":{"name":"x","born":null}' in server.writes[-1].ops[0].patch.set


def test_what_the_class_does_not_name_is_left_and_defaults_fill_what_is_missing():
    book = object_of({"title": "a", "year": 1, "price": 3}, Book, "x")
    assert book == Book("a", 1)
    assert object_of({}, Defaults, "x") == Defaults()
    assert object_of({"a": 2, "c": 9}, Defaults, "x") == Defaults(2.0)


@dataclass
class Defaults:
    a: float = 1.0
    b: list = field(default_factory=list)
    c: int = field(init=False, default=7)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({}, "there is no 'title'"),
        ({"title": 1, "year": 1}, "title: expected str, got 1"),
        ({"title": "a", "year": True}, "year: expected int, got True"),
        ({"title": "a", "year": 1.0}, "year: expected int, got 1.0"),
        ({"title": "a", "year": None}, "year: expected int, got None"),
        ({"title": "a", "year": 1, "authors": {}}, "authors: expected an array"),
        ({"title": "a", "year": 1, "authors": ["x"]}, r"authors\.\[0\]: expected an object"),
        ({"title": "a", "year": 1, "authors": [{}]}, r"authors\.\[0\]: there is no 'name'"),
        ({"title": "a", "year": 1, "genre": "x"}, "genre: expected a value of Genre"),
        ({"title": "a", "year": 1, "printed": "x"}, "printed: expected a time in RFC 3339"),
        ({"title": "a", "year": 1, "printed": 5}, "printed: expected a time"),
        ({"title": "a", "year": 1, "size": [1]}, "size: expected 2 values, got 1"),
        ({"title": "a", "year": 1, "tags": [1]}, r"tags\.\[0\]: expected str"),
        ({"title": "a", "year": 1, "counts": {"b": "c"}}, r"counts\.b: expected int"),
        ({"title": "a", "year": 1, "binding": "x"}, "binding: expected one of"),
        ({"title": "a", "year": 1, "label": 1.5}, "label: expected str, got 1.5; expected int"),
        ({"title": "a", "year": "x" * 99}, r"year: expected int, got 'x{36}\.\.\."),
    ],
)
def test_what_does_not_fit_is_named(payload, why):
    with pytest.raises(InvalidArgument, match=f"payload of 'p' is no Book: {why}") as caught:
        object_of(payload, Book, "'p'")
    assert caught.value.reason == "PAYLOAD_MISMATCH"


def test_classes_that_no_payload_can_fill():
    @dataclass
    class Odd:
        a: set[int]

    @dataclass
    class Lost:
        a: Nowhere  # noqa: F821

    for kind, why in ((dict, "expected a dataclass"), (DUNE, "expected a dataclass")):
        with pytest.raises(InvalidArgument, match=why):
            object_of({}, kind, "x")
    with pytest.raises(InvalidArgument, match="cannot fill a field of type set"):
        object_of({"a": [1]}, Odd, "x")
    with pytest.raises(InvalidArgument, match="types of Lost cannot be read"):
        object_of({"a": 1}, Lost, "x")


def test_a_class_that_refuses_is_heard():
    @dataclass
    class Even:
        n: int

        def __post_init__(self):
            if self.n % 2:
                raise ValueError("n is odd")

    assert object_of({"n": 2}, Even, "x") == Even(2)
    with pytest.raises(InvalidArgument, match="n is odd"):
        object_of({"n": 1}, Even, "x")


def test_what_cannot_be_stored_is_named(books, server):
    bad = [
        {"id": "nan", "payload": {"book": Defaults(float("nan"))}},
        {"id": "naive", "payload": Book("a", 1, printed=datetime(2024, 5, 1))},
        {"id": "class", "payload": Book},
        {"id": "object", "payload": {"a": object()}},
    ]
    with pytest.raises(WriteFailed) as caught:
        books.upsert(bad)
    words = ["book.a is nan", "has no time zone", "type is no JSON object", "object is not JSON"]
    for failure, why in zip(caught.value.report.failures, words, strict=True):
        assert why in failure.message
    assert not server.calls


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@dataclass
class Anything:
    number: float
    flag: bool
    text: str | None
    more: Any
    inner: dict[str, list[int]]
    when: datetime
    next: Anything | None = None


ANYTHING = st.recursive(
    st.builds(
        Anything,
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.none() | st.text(),
        JSON,
        st.dictionaries(st.text(), st.lists(st.integers())),
        st.datetimes(timezones=st.just(UTC)),
    ),
    lambda inner: st.builds(
        Anything, st.just(1.0), st.just(True), st.none(), st.none(), st.just({}),
        st.just(datetime(2024, 5, 1, tzinfo=UTC)), inner,
    ),
    max_leaves=3,
)  # fmt: skip


@given(ANYTHING)
def test_any_object_comes_back(value):
    assert object_of(payload_of(payload_bytes(value)), Anything, "x") == value
