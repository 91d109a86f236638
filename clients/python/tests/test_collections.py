"""Names of collections, and what can be changed of them: what is sent, and what comes back."""

from __future__ import annotations

import grpc
import pytest

from vecdb_client import InvalidArgument, Space, SparseSpace, TextField, Truncated, Unavailable
from vecdb_client.requests import aliases_request, update_request

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_aliases_keep_their_order():
    request = aliases_request({"b": "v2", "a": None, "c": "b"})
    assert [action.WhichOneof("action") for action in request.actions] == ["set", "delete", "set"]
    assert request.actions[0].set.alias == "b"
    assert request.actions[0].set.collection == "v2"
    assert request.actions[1].delete.alias == "a"
    for wrong in ({"a": 1}, {1: "a"}, {"\ud800": None}):
        with pytest.raises(InvalidArgument):
            aliases_request(wrong)


def test_what_is_not_named_is_not_changed():
    request = update_request("c", None, {"": Space(target_recall=0.9)})
    assert not request.HasField("metadata")
    dense = request.spaces[""].dense
    assert dense.target_recall == 0.9
    assert (dense.dim, dense.metric, dense.model) == (0, 0, "")
    assert not dense.HasField("hnsw")
    assert update_request("c", {}, {}).metadata == b"{}"
    assert update_request("c", {"a": [1, "ü"]}, {}).metadata == '{"a":[1,"ü"]}'.encode()
    for wrong in ({"a": float("nan")}, [1]):
        with pytest.raises(InvalidArgument):
            update_request("c", wrong, {})
    with pytest.raises(InvalidArgument):
        update_request("c", None, {"": "x"})


def test_what_comes_and_goes_is_named():
    request = update_request(
        "c",
        None,
        {},
        add_spaces={"a": Space(dim=2, metric="dot"), "s": SparseSpace()},
        drop_spaces=["b", ""],
        add_text_fields=[TextField("title", "english")],
        drop_text_fields="body",
        points_max=7,
    )
    assert request.limits.points == 7
    assert update_request("c", None, {}, points_max=0).HasField("limits")
    assert not update_request("c", None, {}).HasField("limits")
    assert request.add_spaces["a"].dense.dim == 2
    assert request.add_spaces["s"].WhichOneof("kind") == "sparse"
    assert list(request.drop_spaces) == ["b", ""]
    assert [field.path for field in request.add_text_fields] == ["title"]
    assert list(request.drop_text_fields) == ["body"]
    assert not request.HasField("metadata")
    with pytest.raises(InvalidArgument, match="TextField"):
        update_request("c", None, {}, add_text_fields=["title"])  # type: ignore[list-item]


def test_metadata_and_aliases_come_back(db, server):
    made = db.create_collection("c", dim=3, metadata={"a": 1})
    server.collections["c"].aliases.append("live")
    info = made.info()
    assert (info.metadata, info.aliases) == ({"a": 1}, ("live",))
    assert db.create_collection("d", dim=3).info().metadata == {}


def test_changes(db, server):
    db.create_collection("c", dim=3)
    db.set_aliases({"live": "c", "old": "c"})
    assert db.list_aliases() == {"live": "c", "old": "c"}
    assert db.truncate_collection("c") == Truncated(9, 5)
    assert db.update_collection("c", metadata={"x": 1}).metadata == {"x": 1}


def test_changes_are_not_sent_twice(db, server, make_fault):
    """Others may have moved the alias, or written points, since the first was applied."""
    for call in (
        lambda: db.set_aliases({"live": "c"}),
        lambda: db.truncate_collection("c"),
        lambda: db.update_collection("c", metadata={}),
    ):
        server.calls.clear()
        server.faults = [make_fault(UNAVAILABLE)]
        with pytest.raises(Unavailable):
            call()
        assert len(server.calls) == 1
