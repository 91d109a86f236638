"""What each call needs is written down for all of them, and names what its request names."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from tests.test_conformance import METHODS
from vecdb.auth.scopes import ACTIONS, ADMIN, MANAGE, READ, WRITE, Grant, Principal
from vecdb.errors import PermissionDenied
from vecdb.rpc.access import LISTED, access_of
from vecdb.rpc.pb import collections_pb2, points_pb2, search_pb2


def test_every_call_is_listed() -> None:
    assert {name.rpartition(".")[2] for name in METHODS} == LISTED


@pytest.mark.parametrize("name", METHODS)
def test_a_key_for_nothing_may_call_nothing(name: str) -> None:
    request = GetMessageClass(METHODS[name].input_type)()
    nobody = Principal("nobody", ())
    needs = access_of(name.rpartition(".")[2]).needs(request)
    if not needs:  # SetAliases of none
        assert name.endswith("SetAliases")
        return
    with pytest.raises(PermissionDenied):
        access_of(name.rpartition(".")[2]).check(nobody, request)


def test_what_is_not_listed_takes_every_right() -> None:
    access = access_of("Admin/ThatCameLater")
    access.check(Principal("root", (Grant(ACTIONS, ("*",)),)), None)
    for missing in ACTIONS:
        rest = Principal("rest", (Grant(set(ACTIONS) - {missing}, ("*",)),))
        with pytest.raises(PermissionDenied):
            access.check(rest, None)


REQUESTS: list[tuple[str, Any, list[tuple[str, str]]]] = [
    (
        "Collections/Create",
        collections_pb2.CreateCollectionRequest(collection=collections_pb2.Collection(name="new")),
        [(MANAGE, "new")],
    ),
    (
        "Collections/Clone",
        collections_pb2.CloneCollectionRequest(name="old", new_name="new"),
        [(READ, "old"), (MANAGE, "new")],
    ),
    (
        "Collections/SetAliases",
        collections_pb2.SetAliasesRequest(
            actions=[
                collections_pb2.AliasAction(
                    set=collections_pb2.SetAlias(alias="now", collection="v2")
                ),
                collections_pb2.AliasAction(delete=collections_pb2.DeleteAlias(alias="then")),
            ]
        ),
        [(MANAGE, "now"), (MANAGE, "then"), (MANAGE, "v2")],
    ),
    (
        "Points/WriteStream",
        points_pb2.WriteStreamRequest(write=points_pb2.WriteRequest(collection="docs")),
        [(WRITE, "docs")],
    ),
    (
        "Search/Explain",
        search_pb2.ExplainRequest(query=search_pb2.QueryRequest(collection="docs")),
        [(READ, "docs")],
    ),
]


@pytest.mark.parametrize(("call", "request_", "needs"), REQUESTS, ids=[one[0] for one in REQUESTS])
def test_a_request_needs_what_it_names(
    call: str, request_: Any, needs: list[tuple[str, str]]
) -> None:
    assert sorted(access_of(call).needs(request_)) == sorted(needs)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("collections", "name", "allowed"),
    [
        (("docs",), "docs", True),
        (("docs",), "docs-2", False),
        (("docs-*",), "docs-2", True),
        (("docs-*",), "docs-", True),
        (("docs-*",), "docs", False),
        (("docs-*",), "*", False),
        (("docs-*",), None, True),
        (("*",), "*", True),
        (("*",), "anything", True),
        ((), "docs", False),
        (("a", "b-*"), "b-c", True),
    ],
)
def test_a_grant_covers_names_and_beginnings(
    collections: tuple[str, ...], name: str | None, allowed: bool
) -> None:
    grant = Grant((ADMIN,), collections)
    assert grant.allows(ADMIN, name) is allowed
    assert grant.allows(READ, name) is False
