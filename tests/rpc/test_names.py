"""Aliases, updates and truncations through a real server, of one process and of several."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import connections, mapped, processes
from vecdb.rpc.pb import collections_pb2 as pb
from vecdb.rpc.pb import collections_pb2_grpc, points_pb2, points_pb2_grpc
from vecdb_client import (
    AlreadyExists,
    Client,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Space,
    SparseSpace,
    VecdbError,
)
from vecdb_client.status import error_of

DIM = 4


@pytest.fixture(params=[1, 2], ids=["one", "several"])
def server(request: pytest.FixtureRequest, make_server: MakeServer) -> LiveServer:
    return make_server(
        server__workers=request.param, storage__tail_points=16, storage__map_bytes=1 << 20
    )


@pytest.fixture
def db(server: LiveServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def counts(server: LiveServer) -> Iterator:
    """Return a function that counts a collection's points, as each worker does."""
    request = points_pb2.CountRequest
    if server.settings["server.workers"] == 1:
        with grpc.insecure_channel(server.address) as channel:
            stub = points_pb2_grpc.PointsStub(channel)
            yield lambda name: {stub.Count(request(collection=name), timeout=30).count}
        return
    with connections(server) as channels:
        stubs = [points_pb2_grpc.PointsStub(channel) for channel in channels.values()]
        yield lambda name: {
            stub.Count(request(collection=name), timeout=30).count for stub in stubs
        }


def fill(db: Client, name: str, count: int) -> None:
    ids = [f"p{n}" for n in range(count)]
    db.collection(name).upsert(ids=ids, vectors=np.eye(count, DIM, dtype=np.float32) + 1)


def test_an_alias_moves_at_every_worker_at_once(db: Client, counts) -> None:
    for name, count in (("v1", 3), ("v2", 5)):
        db.create_collection(name, dim=DIM)
        fill(db, name, count)
    db.set_aliases({"live": "v1", "old": "v1"})
    for _ in range(20):
        assert counts("live") == {3}
        db.set_aliases({"live": "v2", "old": None})
        assert counts("live") == {5}
        assert db.list_aliases() == {"live": "v2"}
        db.set_aliases({"live": "v1", "old": "live"})
    assert db.list_aliases("v1") == {"live": "v1", "old": "v1"}
    assert [info.aliases for info in db.list_collections()] == [("live", "old"), ()]
    live = db.collection("live")
    assert live.info().name == "v1"
    assert live.stats().points == 3
    live.upsert([{"id": "more", "vector": [1] * DIM}])
    assert [hit.id for hit in live.search([1] * DIM, k=9, exact=True)].count("more") == 1
    assert live.get(["more"]).points[0].id == "more"
    assert len(list(live.list(page_size=1))) == 4
    live.compact()
    assert live.estimate_recall(k=1, samples=2).now.recall == 1
    live.delete("more")
    assert counts("v1") == {3}


def test_what_is_wrong_with_aliases(db: Client) -> None:
    db.create_collection("v1", dim=DIM)
    db.set_aliases({"live": "v1"})
    for aliases, kind, message in (
        ({"a": "v1", "b": "nobody"}, NotFound, "no collection 'nobody'"),
        ({"a": "v1", "b": None}, NotFound, "no alias 'b'"),
        ({"a": "v1", "v1": "v1"}, AlreadyExists, "a collection has that name"),
        ({"a": "v1", "no/name": "v1"}, InvalidArgument, "an alias has 1 to 128"),
        ({}, InvalidArgument, "actions is empty"),
    ):
        with pytest.raises(kind, match=message):
            db.set_aliases(aliases)
    assert db.list_aliases() == {"live": "v1"}
    with pytest.raises(NotFound):
        db.list_aliases("nobody")
    with pytest.raises(AlreadyExists, match="alias of 'v1'"):
        db.create_collection("live", dim=DIM)
    assert db.create_collection("live", dim=DIM, if_not_exists=True).info().name == "v1"
    with pytest.raises(FailedPrecondition, match="has aliases: live"):
        db.delete_collection("v1")
    with pytest.raises(FailedPrecondition, match="is an alias of collection 'v1'"):
        db.delete_collection("live", if_exists=True)
    db.set_aliases({"live": None})
    assert db.delete_collection("v1")


def test_an_action_that_is_none(server: LiveServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = collections_pb2_grpc.CollectionsStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.SetAliases(pb.SetAliasesRequest(actions=[pb.AliasAction()]), timeout=30)
    error: VecdbError = error_of(caught.value, "Collections.SetAliases")
    assert error.violations[0].field == "actions[0]"


def test_update(db: Client) -> None:
    spaces = {"": Space(DIM, "dot"), "other": Space(2, target_recall=0.9), "words": SparseSpace()}
    made = db.create_collection("c", spaces=spaces, metadata={"owner": "me", "ü": [1.5, None]})
    assert made.info().metadata == {"owner": "me", "ü": [1.5, None]}
    after = db.update_collection("c", spaces={"": Space(target_recall=0.99)})
    assert after == made.info()
    assert after.metadata == {"owner": "me", "ü": [1.5, None]}
    assert isinstance(after.spaces[""], Space)
    assert (after.spaces[""].target_recall, after.spaces[""].dim) == (0.99, DIM)
    assert after.spaces["other"].target_recall == 0.9
    assert made.estimate_recall().target_recall == 0.99
    # What a reply says of a space can be sent back.
    assert db.update_collection("c", metadata={}, spaces={"": after.spaces[""]}).metadata == {}
    assert db.update_collection("c", spaces={"words": SparseSpace(idf=True)}).spaces["words"].idf
    after = db.update_collection("c", spaces={"": Space()})
    assert after.spaces["words"] == SparseSpace(idf=True)
    for space, kind, message in (
        ({"": Space(5)}, FailedPrecondition, "dim is 4 and cannot be changed to 5"),
        ({"": Space(metric="cosine")}, FailedPrecondition, "metric is dot and cannot"),
        ({"": Space(model="m")}, FailedPrecondition, "model is none and cannot"),
        ({"": Space(m=17)}, FailedPrecondition, "hnsw.m is 16 and cannot"),
        ({"words": Space(4)}, FailedPrecondition, "kind is sparse and cannot"),
        ({"": SparseSpace()}, FailedPrecondition, "kind is dense and cannot"),
        ({"": Space(target_recall=0.4)}, InvalidArgument, "target_recall is 0.4, expected"),
        ({"nothing": Space(4)}, InvalidArgument, "unknown space 'nothing'"),
    ):
        wrong = {"other": Space(target_recall=0.7), **space}
        with pytest.raises(kind, match=message):
            db.update_collection("c", metadata={"new": 1}, spaces=wrong)
    with pytest.raises(InvalidArgument, match="not JSON"):
        db.update_collection("c", metadata=b"{")
    with pytest.raises(InvalidArgument, match=r"limits\.metadata_bytes"):
        db.update_collection("c", metadata={"x": "y" * 65_530})
    with pytest.raises(NotFound):
        db.update_collection("nobody", metadata={})
    info = made.info()
    assert (info.metadata, info.spaces["other"]) == ({}, after.spaces["other"])


def test_a_list_of_much_metadata(make_server: MakeServer) -> None:
    server = make_server(limits__message_bytes=1 << 16, limits__metadata_bytes=1 << 15)
    with server.client() as client:
        for name in ("a", "b", "c"):
            client.create_collection(name, dim=DIM, metadata={"x": "y" * 30_000})
        with pytest.raises(InvalidArgument, match="without_metadata"):
            client.list_collections()
        listed = client.list_collections(with_metadata=False)
        assert [(info.name, info.metadata) for info in listed] == [("a", {}), ("b", {}), ("c", {})]
        client.delete_collection("c")
        assert len(client.list_collections()[1].metadata["x"]) == 30_000


def test_truncate(server: LiveServer, db: Client, counts) -> None:
    made = db.create_collection("c", dim=DIM, metadata={"kept": True})
    db.set_aliases({"live": "c"})
    fill(db, "c", 200)
    wait_until(lambda: made.stats().segments)
    assert counts("c") == {200}
    page = made.page(page_size=50)
    before = made.info()
    done = db.truncate_collection("live")
    assert done.points == 200
    assert counts("c") == {0}
    assert made.info() == before
    report = made.upsert([{"id": "p150", "vector": [1] * DIM}, {"id": "a", "vector": [2] * DIM}])
    assert report.commit_seq == done.commit_seq + 1
    assert counts("live") == {2}
    found = made.search([1] * DIM, k=5, min_commit_seq=report.commit_seq)
    assert [hit.id for hit in found] == ["a", "p150"] or found.matched == 2
    rest = made.page(page_size=50, page_token=page.next_page_token)
    assert [point.id for point in rest.points] == ["p150"]
    wait_until(lambda: len(list((server.data / "collections").iterdir())) == 1)
    if server.settings["server.workers"] > 1:
        (folder,) = (server.data / "collections").iterdir()
        old = f"/{folder.name.partition('-')[0]}/"
        wait_until(lambda: not any(old in mapped(pid) for pid in processes(server)[1]))
    with pytest.raises(NotFound):
        db.truncate_collection("nobody")


def test_writers_go_on_while_a_collection_is_truncated(db: Client, counts) -> None:
    made = db.create_collection("c", dim=DIM)
    stop = threading.Event()
    last: dict[int, int] = {}

    def load(number: int) -> None:
        at = 0
        while not stop.is_set():
            report = made.upsert(
                [{"id": f"w{number}-{at}", "vector": [1] * DIM}]
            )  # sent again by the client where a truncation came first
            last[number] = max(last.get(number, 0), report.commit_seq)
            at += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    seqs = []
    for _ in range(10):
        before = seqs[-1] if seqs else 0
        wait_until(lambda b=before: len(last) == 3 and min(last.values()) > b)
        seqs.append(db.truncate_collection("c").commit_seq)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert seqs == sorted(set(seqs))
    assert counts("c") == {max(last.values()) - seqs[-1]}
