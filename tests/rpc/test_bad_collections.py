"""Names, schemas and models that are wrong, and creating and deleting twice."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import grpc
import pytest

from tests.live import LiveServer
from vecdb.rpc.pb import collections_pb2 as pb
from vecdb.rpc.pb import (
    collections_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from vecdb.rpc.pb.common_pb2 import Point
from vecdb_client import AlreadyExists, Client, FailedPrecondition, VecdbError
from vecdb_client.status import error_of

DIM_MAX, SPACES_MAX = 400, 64
SETTINGS = {"embed.enabled": "false", "limits.dim": DIM_MAX, "limits.spaces": SPACES_MAX}
MODEL = "all-minilm-l6-v2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("names") / "data", dict(SETTINGS)).start()
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def channel(server: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as made:
        yield made


@pytest.fixture
def collections(channel: grpc.Channel) -> Iterator[collections_pb2_grpc.CollectionsStub]:
    """The service; every collection is gone after the test, none was before."""
    stub = collections_pb2_grpc.CollectionsStub(channel)
    assert names(stub) == []
    yield stub
    for name in names(stub):
        stub.Delete(pb.DeleteCollectionRequest(name=name), timeout=30)


def names(stub: collections_pb2_grpc.CollectionsStub) -> list[str]:
    reply = stub.List(pb.ListCollectionsRequest(), timeout=30)
    return [one.name for one in reply.collections]


def refused(call, request) -> VecdbError:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return error_of(caught.value, "")


def dense(dim: int = 3, metric: int = pb.METRIC_COSINE, model: str = "") -> pb.Space:
    message = pb.Space()
    message.dense.dim, message.dense.model = dim, model
    message.dense.metric = metric  # an open enum: unknown numbers travel
    return message


def create(name: str = "made", if_not_exists: bool = False, **spaces: pb.Space):
    request = pb.CreateCollectionRequest(if_not_exists=if_not_exists)
    request.collection.name = name
    for space, message in (spaces or {"default": dense()}).items():
        request.collection.spaces["" if space == "default" else space].CopyFrom(message)
    return request


BAD_NAMES = {
    "empty": "",
    "dot": ".",
    "dots": "..",
    "slash": "a/b",
    "path": "../../etc",
    "backslash": "a\\b",
    "space": "a b",
    "nul": "a\0b",
    "newline": "a\n",
    "umlaut": "mü",
    "full-width digit": "\uff14",
    "emoji": "🦆",
    "leading dash": "-a",
    "leading underscore": "_a",
    "leading dot": ".a",
    "129": "x" * 129,
    "very long": "x" * 100_000,
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_name_that_is_none(collections, name: str) -> None:
    error = refused(collections.Create, create(name))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert [one.field for one in error.violations] == ["collection.name"]
    assert "1 to 128" in error.message
    assert names(collections) == []


@pytest.mark.parametrize("name", ["a", "7", "A.b-c_d", "x" * 128, "a..b", "con", "catalog"])
def test_a_name_that_is_one(collections, name: str) -> None:
    reply = collections.Create(create(name), timeout=30)
    assert (reply.created, reply.collection.name) == (True, name)
    assert names(collections) == [name]
    got = collections.Get(pb.GetCollectionRequest(name=name), timeout=30).collection
    assert got == reply.collection
    assert got.spaces[""].dense.dim == 3
    assert got.created_at_ms > 1_600_000_000_000


def test_no_collection_in_the_request(collections) -> None:
    error = refused(collections.Create, pb.CreateCollectionRequest())
    assert error.code == "INVALID_ARGUMENT"


FIELD = "collection.spaces['odd'].dense"
BAD_SPACES = {
    "dim-0": (dense(0), f"{FIELD}.dim", "1 to 400", "got 0"),
    "dim-over": (dense(DIM_MAX + 1), f"{FIELD}.dim", "400", "got 401"),
    "dim-huge": (dense(2**32 - 1), f"{FIELD}.dim", "400"),
    "no-metric": (dense(3, 0), f"{FIELD}.metric", "cosine, dot, euclid or manhattan"),
    "unknown-metric": (dense(3, 99), f"{FIELD}.metric", "cosine, dot, euclid or manhattan"),
    "unknown-metric-of-model": (
        dense(0, 99, MODEL),
        f"{FIELD}.metric",
        "cosine, dot, euclid or manhattan",
    ),
    "no-kind": (pb.Space(), FIELD, "expected dense"),
}


@pytest.mark.parametrize("bad", BAD_SPACES.values(), ids=BAD_SPACES.keys())
def test_a_space_that_cannot_be(collections, bad) -> None:
    space, field, *words = bad
    error = refused(collections.Create, create("made", fine=dense(), odd=space))
    assert error.code == "INVALID_ARGUMENT"
    assert [one.field for one in error.violations] == [field]
    for word in ("'odd'", *words):
        assert word in error.message
    assert names(collections) == []


def test_a_length_over_the_limit_is_said_to_be_a_limit(collections) -> None:
    error = refused(collections.Create, create(default=dense(DIM_MAX + 1)))
    assert error.reason == "LIMIT_EXCEEDED"


@pytest.mark.parametrize("count", [0, SPACES_MAX + 1])
def test_too_few_or_too_many_spaces(collections, count: int) -> None:
    request = pb.CreateCollectionRequest()
    request.collection.name = "made"
    for at in range(count):
        request.collection.spaces[f"s{at}"].CopyFrom(dense())
    error = refused(collections.Create, request)
    assert error.code == "INVALID_ARGUMENT"
    assert [one.field for one in error.violations] == ["collection.spaces"]
    for word in (f"got {count}", str(SPACES_MAX)):
        assert word in error.message
    assert names(collections) == []


@pytest.mark.parametrize("space", ["x" * 129, "é" * 65, "a\0b"])
def test_a_space_name_that_is_none(collections, space: str) -> None:
    request = pb.CreateCollectionRequest()
    request.collection.name = "made"
    request.collection.spaces[space].CopyFrom(dense())
    error = refused(collections.Create, request)
    assert error.code == "INVALID_ARGUMENT"
    assert [one.field for one in error.violations] == ["collection.spaces"]
    assert "128 bytes" in error.message


def test_the_limits_themselves_are_allowed(collections) -> None:
    spaces = {"default": dense(DIM_MAX), "x" * 128: dense(1), "🦆 '\"\n": dense(2)}
    collections.Create(create("most", **spaces), timeout=30)
    got = collections.Get(pb.GetCollectionRequest(name="most"), timeout=30).collection
    assert {name: space.dense.dim for name, space in got.spaces.items()} == {
        "": DIM_MAX,
        "x" * 128: 1,
        "🦆 '\"\n": 2,
    }


def test_a_different_schema_is_named_however_large(collections) -> None:
    # Both schemas are told: with long names they are more than a status may carry.
    one = {f"{at:02}{'🦆' * 31}": dense(DIM_MAX) for at in range(SPACES_MAX)}
    other = {f"{name}-": space for name, space in one.items()}
    collections.Create(create("wide", **one), timeout=30)
    error = refused(collections.Create, create("wide", True, **other))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "SCHEMA_MISMATCH")


# --- twice


def test_create_twice(collections) -> None:
    assert collections.Create(create(), timeout=30).created
    for request in (create(), create(default=dense(4))):
        error = refused(collections.Create, request)
        assert (error.code, error.reason) == ("ALREADY_EXISTS", "ALREADY_EXISTS")
        assert "'made'" in error.message
        assert error.metadata["collection"] == "made"


@pytest.mark.parametrize(
    "other",
    [
        {"default": dense(4)},
        {"default": dense(3, pb.METRIC_DOT)},
        {"named": dense()},
        {"default": dense(), "more": dense()},
        {"default": dense(0, 0, MODEL)},
    ],
    ids=["dim", "metric", "name", "more", "model"],
)
def test_create_if_not_exists(collections, other: dict[str, pb.Space]) -> None:
    first = collections.Create(create(if_not_exists=True), timeout=30)
    again = collections.Create(create(if_not_exists=True), timeout=30)
    assert (first.created, again.created) == (True, False)
    assert again.collection == first.collection
    error = refused(collections.Create, create(if_not_exists=True, **other))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "SCHEMA_MISMATCH")
    assert "'made'" in error.message
    assert {"expected", "got"} <= set(error.metadata)
    assert collections.Get(pb.GetCollectionRequest(name="made"), timeout=30).collection == (
        first.collection
    )


def test_delete_what_is_not_there(collections) -> None:
    collections.Create(create(), timeout=30)
    assert collections.Delete(pb.DeleteCollectionRequest(name="made"), timeout=30).deleted
    error = refused(collections.Delete, pb.DeleteCollectionRequest(name="made"))
    assert (error.code, error.reason) == ("NOT_FOUND", "NOT_FOUND")
    for name in ("made", "..", "", "a/b"):
        request = pb.DeleteCollectionRequest(name=name, if_exists=True)
        assert not collections.Delete(request, timeout=30).deleted


def test_a_name_is_free_again_once_deleted(collections) -> None:
    collections.Create(create(), timeout=30)
    collections.Delete(pb.DeleteCollectionRequest(name="made"), timeout=30)
    collections.Create(create(default=dense(7)), timeout=30)
    stats = collections.Stats(pb.CollectionStatsRequest(name="made"), timeout=30)
    assert (stats.points, stats.applied_seq) == (0, 0)


def test_a_call_that_is_none(channel: grpc.Channel) -> None:
    assert refused(channel.unary_unary("/vecdb.v1.Collections/Rename"), b"").code == (
        "UNIMPLEMENTED"
    )


# --- models on a server whose embedding is disabled


def test_an_unknown_model_names_what_there_is(collections) -> None:
    error = refused(collections.Create, create(default=dense(0, 0, "gpt-99")))
    assert error.code in ("NOT_FOUND", "FAILED_PRECONDITION")
    for word in ("'gpt-99'", MODEL):
        assert word in error.message
    assert names(collections) == []


def test_a_length_that_is_not_the_models(collections) -> None:
    error = refused(collections.Create, create(default=dense(50, 0, MODEL)))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "DIMENSION_MISMATCH")
    assert error.metadata == {"expected": "384", "got": "50"}
    assert [one.field for one in error.violations] == ["collection.spaces[''].dense.dim"]
    for word in (MODEL, "384", "50"):
        assert word in error.message


def text_write() -> points_pb2.WriteRequest:
    write = points_pb2.WriteRequest(collection="texts")
    write.ops.add().put.CopyFrom(Point(id="a"))
    write.ops[0].put.vectors[""].text = "hello"
    return write


def text_query() -> search_pb2.QueryRequest:
    query = search_pb2.QueryRequest(collection="texts", k=1)
    query.legs.add().near.vector.text = "hello"
    return query


def test_text_where_embedding_is_disabled(channel: grpc.Channel, collections) -> None:
    made = collections.Create(create("texts", default=dense(0, 0, MODEL)), timeout=30).collection
    assert made.spaces[""].dense.dim == 384
    assert len(made.spaces[""].dense.model_fingerprint) == 64
    models = models_pb2_grpc.ModelsStub(channel)
    embed = models_pb2.EmbedRequest(texts=["hello"], role=models_pb2.EMBED_ROLE_QUERY)
    # Of a write only what has no vector is refused.
    (result,) = points_pb2_grpc.PointsStub(channel).Write(text_write(), timeout=30).results
    assert result.reason == "NO_MODEL"
    assert "embed.enabled" in result.message
    for call, asked in (
        (search_pb2_grpc.SearchStub(channel).Query, text_query()),
        (models.Embed, embed),
    ):
        error = refused(call, asked)
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "NO_MODEL")
        assert "embed.enabled" in error.message
        assert error.retry_after_s is None
    (listed,) = models.List(models_pb2.ListModelsRequest(), timeout=30).models
    assert not listed.ready
    assert "embed.enabled" in listed.reason


def test_vectors_where_embedding_is_disabled(channel: grpc.Channel, collections) -> None:
    collections.Create(create("texts", default=dense(0, 0, MODEL)), timeout=30)
    points = points_pb2_grpc.PointsStub(channel)
    write, query = text_write(), text_query()
    write.ops[0].put.vectors[""].f32 = struct.pack("<384f", *[1.0] * 384)
    assert points.Write(write, timeout=30).results[0].code == 0
    query.legs[0].near.vector.f32 = struct.pack("<384f", *[1.0] * 384)
    reply = search_pb2_grpc.SearchStub(channel).Query(query, timeout=30)
    assert [hit.id for hit in reply.hits] == ["a"]
    write.ops[0].put.vectors[""].f32 = struct.pack("<3f", 1, 2, 3)
    message = points.Write(write, timeout=30).results[0].message
    for word in ("384", "got 3", MODEL):  # a wrong length is the model's affair: it is named
        assert word in message


# --- through the client


def test_the_client_says_the_same(server: LiveServer, collections) -> None:
    with Client(server.address) as client:
        client.create_collection("made", dim=3)
        with pytest.raises(AlreadyExists):
            client.create_collection("made", dim=3)
        client.create_collection("made", dim=3, if_not_exists=True)
        with pytest.raises(VecdbError, match="SCHEMA_MISMATCH"):
            client.create_collection("made", dim=4, if_not_exists=True)
        assert client.delete_collection("made")
        assert not client.delete_collection("made", if_exists=True)
        with pytest.raises(FailedPrecondition, match=r"embed\.enabled"):
            client.embed("hello")
