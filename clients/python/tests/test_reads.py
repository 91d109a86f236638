"""Reads, searches, collections, models, health."""

from __future__ import annotations

import threading
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

import vecdb_client
from vecdb_client import (
    NO_RETRIES,
    DataLoss,
    DeadlineExceeded,
    F,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PointId,
    Space,
    Unavailable,
)
from vecdb_client.health import check_reply, check_request
from vecdb_client.pb import collections_pb2
from vecdb_client.vectors import f32_bytes


@pytest.fixture
def full(books):
    books.upsert({"id": f"p{i:03}", "vector": [i, 0, 1], "payload": {"n": i}} for i in range(250))
    return books


def test_get(full, server):
    server.damaged = ["p003"]
    found = full.get(["p002", "nobody", "p003", "p001"], with_vectors=True)
    assert [point.id for point in found.points] == ["p002", "p001"]
    assert (found.missing, found.damaged, found.commit_seq) == (["nobody"], ["p003"], 1)
    point = found.points[0]
    assert point.payload == {"n": 2}
    assert point.payload_bytes == b'{"n":2}'
    assert list(point.vector) == [2, 0, 1]
    assert np.asarray(point.vectors[""]).dtype == np.float32
    assert repr(point) == "StoredPoint(id='p002', payload={'n': 2}, version=1)"
    assert full.get("p004").points[0].id == "p004"
    assert full.get([]).points == []


def test_get_of_many_is_asked_in_parts(full, server):
    ids = [f"p{i:03}" for i in range(250)] * 9
    server.calls.clear()
    assert [point.id for point in full.get(ids).points] == ids
    assert len(server.calls) == 3
    server.ids_max = 100  # a smaller limit of the server never surfaces
    assert [point.id for point in full.get(ids).points] == ids


def test_list_reads_all_pages(full, server, make_fault, make_status):
    ids = [f"p{i:03}" for i in range(250)]
    server.calls.clear()
    assert [point.id for point in full.list(page_size=100)] == ids
    assert len(server.calls) == 3
    server.ids_max = 30
    assert [point.id for point in full.list(page_size=100)] == ids
    server.calls.clear()
    details = make_status("LIMIT_EXCEEDED", 3, field_name="filter")
    server.faults = [make_fault(grpc.StatusCode.INVALID_ARGUMENT, details=details)]
    with pytest.raises(InvalidArgument):  # which smaller pages would not help
        full.page()
    assert len(server.calls) == 1
    page = full.page(page_size=20)
    assert (len(page.points), page.next_page_token) == (20, "p019")


def test_list_never_hides_damage(full, server):
    server.damaged = ["p101"]
    seen = []
    with pytest.raises(DataLoss, match="p101"):
        seen.extend(full.list(page_size=100))
    damaged = []
    assert len(list(full.list(page_size=100, on_damaged=damaged.append))) == 249
    assert damaged == ["p101"]


def exported(pages):
    return [point.id for page in pages for point in page.points]


def test_export_goes_on_where_it_broke(full, server, make_fault):
    ids = [f"p{i:03}" for i in range(250)]
    away = make_fault(grpc.StatusCode.UNAVAILABLE)
    server.faults = [away, None, away, away, None, None]
    assert [point.id for point in full.export(F("n") >= 0, with_vectors=True)] == ids
    assert [one.page_token for one in server.exports] == ["", "", "p099", "p099"]
    assert all(one.filter == (F("n") >= 0).message and one.with_vectors for one in server.exports)
    # After the last page there is nothing to go on for.
    server.exports.clear()
    server.faults = [make_fault(grpc.StatusCode.UNAVAILABLE, after=True)]
    assert [point.id for point in full.export(slice=(1, 4))] == ids
    assert [(one.slice.index, one.slice.count) for one in server.exports] == [(1, 4)]


def test_export_pages_go_on_from_a_token(full, server):
    pages = list(full.export_pages())
    assert [page.next_page_token for page in pages] == ["p099", "p199", ""]
    assert [page.commit_seq for page in pages] == [len(server.writes)] * 3
    again = exported(full.export_pages(page_token=pages[1].next_page_token))
    assert again == [point.id for point in pages[2].points]
    with pytest.raises(InvalidArgument, match="slice is"):
        full.export_pages(slice=(4, 4))


def test_export_gives_up(full, server, make_fault, connect):
    refused = make_fault(grpc.StatusCode.INVALID_ARGUMENT)
    server.faults = [None, refused]
    with pytest.raises(InvalidArgument):
        list(full.export())
    assert len(server.exports) == 1
    with connect(server.address, retries=NO_RETRIES) as db:
        server.faults = [None, make_fault(grpc.StatusCode.UNAVAILABLE)]
        pages = db.collection("books").export_pages()
        assert len(next(pages).points) == 100
        with pytest.raises(Unavailable):
            next(pages)


def test_export_never_hides_damage(full, server):
    server.damaged = ["p101"]
    with pytest.raises(DataLoss, match="p101"):
        list(full.export())
    damaged = []
    assert len(list(full.export(on_damaged=damaged.append))) == 249
    assert damaged == ["p101"]


def test_pages_of_a_search(full, server):
    plain = full.search([1, 0, 0], k=2)
    assert plain.next_page_token == ""
    assert not server.queries[-1].HasField("page_token")
    first = full.search([1, 0, 0], k=2, page_token="")
    assert server.queries[-1].HasField("page_token")
    assert first.next_page_token == "next"
    full.search([1, 0, 0], k=2, page_token=first.next_page_token)
    assert server.queries[-1].page_token == "next"


def test_search_reply(full, server):
    result = full.search(np.array([1.0, 0, 0]), k=3, with_vectors=True)
    assert len(result) == 3
    assert [hit.id for hit in result[:2]] == ["p000", "p001"]
    assert (result.plan, result.matched, result.complete) == ("exact", 250, True)
    assert (result.warnings, result.timings.total_us, result.commit_seq) == (("w",), 7, 1)
    hit = result[1]
    assert (hit.score, hit.distance, hit.version) == (1.0, 0.0, 1)
    assert list(hit.vector) == [1, 0, 1]
    assert repr(hit) == "Hit(id='p001', payload={'n': 1}, version=1, score=1, distance=0)"
    bare = full.search([1, 0, 0], k=1, with_payload=False)[0]
    assert (bare.payload, bare.vectors, bare.vector) == ({}, {}, None)


def test_search_request(books, server):
    books.search("brave new world", k=5, space="title", filter=F("n") > 3, min_commit_seq=9)
    books.search(PointId("dune"))
    books.search([1, 0, 0], with_texts=True)
    text, near, numbers = server.queries
    assert text.legs[0].near.vector.text == "brave new world"
    assert (text.legs[0].near.space, text.k, text.min_commit_seq) == ("title", 5, 9)
    assert text.filter == (F("n") > 3).message
    assert near.legs[0].near.vector.point == "dune"
    assert (near.k, near.HasField("filter"), near.with_texts) == (10, False, False)
    assert numbers.legs[0].near.vector.f32 == f32_bytes([1, 0, 0])
    assert numbers.with_texts


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"query": [[1, 0], [1]]}, "lengths differ"),
        ({"query": np.zeros((1, 1, 3), "f4")}, r"shape \(1, 1, 3\)"),
        ({"query": "\ud800"}, "a query is not Unicode"),
        ({"query": [1], "k": 0}, "k is a whole number"),
        ({"query": [1], "k": True}, "k is a whole number"),
        ({"query": [1], "k": 2.5}, "k is a whole number"),
        ({"query": [1], "filter": {"a": 1}}, "bad filter"),
    ],
)
def test_search_refused_before_sending(books, server, arguments, why):
    with pytest.raises(InvalidArgument, match=why):
        books.search(**arguments)
    assert not server.calls


def test_collections(db, server):
    spaces = {"": Space(3), "title": Space(model="mini"), "image": Space(4, "dot")}
    books = db.create_collection("books", spaces=spaces)
    assert "'books'" in repr(books)
    made = server.collections["books"].spaces
    assert made[""].dense.metric == collections_pb2.METRIC_COSINE
    assert made["title"].dense == collections_pb2.Dense(model="mini")  # all the model's own
    assert made["image"].dense.metric == collections_pb2.METRIC_DOT
    server.collections["books"].created_at_ms = 1_000
    info = books.info()
    assert info.spaces["image"] == Space(4, "dot")
    assert info.created_at == datetime.fromtimestamp(1, UTC)
    assert [one.name for one in db.list_collections()] == ["books"]
    stats = books.stats()
    assert (stats.points, stats.segments[0].rows) == (9, 9)
    with pytest.raises(NotFound):
        db.collection("nobody").info()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "needs a dim"),
        ({"dim": 0}, "dim is a whole number"),
        ({"dim": 3, "metric": "l2"}, "cosine, dot, euclid, manhattan"),
        ({"dim": 3, "spaces": {"": Space(3)}}, "either"),
        ({"spaces": {"": 3}}, "is a Space"),
    ],
)
def test_schemas_refused_before_sending(db, server, arguments, why):
    with pytest.raises(InvalidArgument, match=why):
        db.create_collection("c", **arguments)
    assert not server.calls


def test_models(db, server):
    (model,) = db.list_models()
    assert (model.name, model.dim, model.metric) == ("mini", 3, "cosine")
    made = db.embed([f"{i}" for i in range(300)], role="query")
    assert (made.model, len(made), made[250].tokens) == ("mini", 300, 3)
    assert list(made[0].vector) == [0, 0, 0]
    assert server.embeds == [128, 128, 44]
    assert len(db.embed("one")) == 1
    assert len(db.embed([])) == 0
    with pytest.raises(InvalidArgument, match="role"):
        db.embed("x", role="passage")


def test_health(db, server, connect):
    assert db.health() == "SERVING"
    server.health.set("vecdb.v1.Search", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert db.health("vecdb.v1.Search") == "NOT_SERVING"
    with pytest.raises(NotFound):
        db.health("nobody")
    with connect("127.0.0.1:1") as nobody, pytest.raises(Unavailable):
        nobody.health()


def test_health_bytes_hold_against_the_original():
    for name in ("", "vecdb.v1.Search", "x" * 127):
        assert (
            check_request(name) == health_pb2.HealthCheckRequest(service=name).SerializeToString()
        )
    for name, number in health_pb2.HealthCheckResponse.ServingStatus.items():
        reply = health_pb2.HealthCheckResponse(status=number).SerializeToString()
        assert check_reply(reply) == name
    assert check_reply(b"\x08\x63") == check_reply(b"what") == "UNKNOWN"


def test_wait_ready(db, server, connect):
    server.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    with pytest.raises(DeadlineExceeded, match="NOT_SERVING"):
        db.wait_ready(0.2)
    serving = health_pb2.HealthCheckResponse.SERVING
    timer = threading.Timer(0.1, lambda: server.health.set("", serving))
    timer.start()
    db.wait_ready(5)
    timer.join()
    with connect("127.0.0.1:1") as nobody, pytest.raises(DeadlineExceeded, match="no answer"):
        nobody.wait_ready(0.2)
    closed = connect(server.address)
    closed.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        closed.wait_ready(5)


def test_constructor_refuses(connect):
    for arguments, why in [
        ({"address": "http://127.0.0.1:6363"}, "without a scheme"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"message_bytes": 1}, "message_bytes"),
    ]:
        with pytest.raises(InvalidArgument, match=why):
            connect(**arguments)


def test_version_and_exports():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert tomllib.loads(text)["project"]["version"] == vecdb_client.__version__
    assert all(hasattr(vecdb_client, name) for name in vecdb_client.__all__)
