"""Text in place of vectors, through a server with its embedding worker and the default model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import grpc
import numpy as np
import pytest

from tests.live import START_S, LiveServer
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.database import Database
from vecdb.rpc.pb import (
    models_pb2,
    models_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from vecdb.types import Metric, ModelBinding, Schema, Space
from vecdb_client import (
    Client,
    Collection,
    F,
    FailedPrecondition,
    InvalidArgument,
    Patch,
    VecdbError,
)
from vecdb_client.status import error_of

pytest.importorskip("onnxruntime", reason="needs the embed extra")

MODEL = "all-minilm-l6-v2"
TEXT_BYTES, EMBED_TEXTS = 20_000, 8
TEXTS = {
    "cat": "A cat sleeps on the warm windowsill.",
    "ship": "Ships sail from the harbour at dawn.",
    "bread": "Knead the dough, let it rise, and bake the bread.",
    "maths": "The square root of two is irrational.",
}
OTHER = ModelBinding(MODEL, "0123456789abcdef" * 4)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose data holds a collection that another revision of the model filled."""
    data = tmp_path_factory.mktemp("texts") / "data"
    database = Database(data, StorageConfig(), LimitsConfig())
    schema = Schema((Space("", 384, Metric.COSINE, OTHER),))
    database.create("theirs", schema)
    database.create("renamed", Schema((replace(schema.spaces[0], model=replace(OTHER, name="x")),)))
    database.close()
    limits = {"limits.text_bytes": TEXT_BYTES, "limits.embed_texts": EMBED_TEXTS}
    live = LiveServer(data, limits).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def db(server: LiveServer) -> Iterator[Client]:
    with server.client() as made:
        yield made


@pytest.fixture(scope="module")
def channel(server: LiveServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as made:
        yield made


@pytest.fixture(scope="module")
def notes(db: Client) -> Collection:
    made = db.create_collection("notes", model=MODEL)
    report = made.upsert(
        {"id": id, "text": text, "payload": {"n": n}} for n, (id, text) in enumerate(TEXTS.items())
    )
    assert (report.written, report.truncated) == (len(TEXTS), [])
    return made


def test_a_patched_text_is_encoded_as_a_put_one(notes: Collection, db: Client) -> None:
    notes.upsert([{"id": "patched", "text": TEXTS["ship"], "payload": {"n": 9}}])
    notes.patch("patched", set={"m": 1}, text=TEXTS["maths"])
    (point,) = notes.get("patched", with_vectors=True, with_texts=True).points
    (fresh,) = notes.get("maths", with_vectors=True).points
    assert point.payload == {"n": 9, "m": 1}
    assert point.texts == {"": TEXTS["maths"]}
    np.testing.assert_allclose(point.vector, fresh.vector, atol=1e-3)
    report = notes.write([Patch("patched", text="word " * 3_000)])
    assert [one.spaces for one in report.truncated] == [("",)]
    notes.delete("patched")


def refused(call, request) -> VecdbError:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    return error_of(caught.value, "")


def write(collection: str, **texts: str) -> points_pb2.WriteRequest:
    request = points_pb2.WriteRequest(collection=collection)
    for id, text in texts.items():
        put = request.ops.add().put
        put.id = id
        put.vectors[""].text = text
    return request


def query(collection: str, text: str) -> search_pb2.QueryRequest:
    request = search_pb2.QueryRequest(collection=collection, k=3)
    request.legs.add().near.vector.text = text
    return request


# --- write, search, get


def test_a_text_for_all_that_match_is_encoded_once(notes: Collection, db: Client) -> None:
    made = db.create_collection("swept", model=MODEL)
    made.upsert({"id": f"{n}", "payload": {"n": n}} for n in range(40))
    report = made.patch_where(F("n") >= 30, text=TEXTS["bread"])
    assert (report.written, report.truncated) == (10, [])
    expected = notes.get("bread", with_vectors=True).points[0].vector
    found = made.search(TEXTS["bread"], k=40, with_texts=True, with_vectors=True)
    assert sorted(hit.id for hit in found) == [str(n) for n in range(30, 40)]
    for hit in found:
        assert hit.texts == {"": TEXTS["bread"]}
        assert hit.vector == pytest.approx(expected, abs=1e-5)
    cut = made.patch_where(F("n") < 3, text="many words " * 1_000)
    assert (cut.written, cut.truncated_total) == (3, 3)
    assert [(one.id, one.spaces) for one in cut.truncated] == [("", ("",))]
    for text, words in (("", "text is empty"), ("x" * (TEXT_BYTES + 1), "limits.text_bytes")):
        with pytest.raises(InvalidArgument, match=words):
            made.patch_where(F("n") < 3, text=text)
    db.delete_collection("swept")


def test_the_collection_is_bound_to_the_model(db: Client, notes: Collection) -> None:
    (model,) = db.list_models()
    space = notes.info().spaces[""]
    assert (space.dim, space.metric, space.model) == (384, "cosine", MODEL)
    assert space.model_fingerprint == model.fingerprint
    assert (model.name, model.ready, model.reason) == (MODEL, True, "")
    assert model.license


@pytest.mark.parametrize(
    ("question", "id"),
    [
        ("a pet that naps", "cat"),
        ("vessels leaving the port", "ship"),
        ("how to make a loaf", "bread"),
        ("is sqrt(2) a fraction?", "maths"),
    ],
)
def test_the_nearest_in_meaning_comes_first(notes: Collection, question: str, id: str) -> None:
    result = notes.search(question, k=2, with_texts=True)
    assert result[0].id == id
    assert result[0].texts == {"": TEXTS[id]}
    assert result[0].score > result[1].score
    assert result.timings.embed_us > 0
    assert notes.search(question, k=1, filter=F("n") != result[0].payload["n"])[0].id != id


def test_a_text_finds_itself(notes: Collection) -> None:
    for id, text in TEXTS.items():
        hit = notes.search(text, k=1)[0]
        assert hit.id == id
        assert hit.score > 0.98  # the int8 model's vectors move a little with the batch


def test_texts_come_back_where_asked_for(notes: Collection) -> None:
    got = notes.get(list(TEXTS), with_texts=True, with_vectors=True)
    assert {point.id: point.texts[""] for point in got.points} == TEXTS
    assert all(len(point.vectors[""]) == 384 for point in got.points)
    assert all(not point.texts for point in notes.get(list(TEXTS)).points)
    listed = {point.id: dict(point.texts) for point in notes.list(with_texts=True)}
    assert listed == {id: {"": text} for id, text in TEXTS.items()}


def test_a_vector_of_ones_own_replaces_the_text(db: Client) -> None:
    mixed = db.create_collection("mixed", model=MODEL)
    mixed.upsert([{"id": "a", "text": TEXTS["cat"]}, {"id": "b", "vector": [1.0] * 384}])
    mixed.upsert([{"id": "a", "vector": [2.0] * 384}])
    got = mixed.get(["a", "b"], with_texts=True, with_vectors=True)
    assert [dict(point.texts) for point in got.points] == [{}, {}]
    assert set(got.points[0].vectors[""]) == {2.0}


def test_a_text_that_is_cut_is_reported(db: Client) -> None:
    long = db.create_collection("long", model=MODEL)
    points = [
        {"id": "short", "text": "a few words"},
        {"id": "long", "text": "and so on " * 1_000},
        {"id": "short again", "text": "a few more"},
    ]
    report = long.upsert(points)
    assert report.written == 3
    assert [(one.index, one.id, one.spaces) for one in report.truncated] == [(1, "long", ("",))]
    assert long.get("long", with_texts=True).points[0].texts[""] == points[1]["text"]


# --- refused


def test_bad_texts_are_named_and_the_others_stored(db: Client, channel) -> None:
    some = db.create_collection("some", model=MODEL)
    texts = {"a": "fine", "b": "", "c": "x" * (TEXT_BYTES + 1), "d": "fine too"}
    reply = points_pb2_grpc.PointsStub(channel).Write(write("some", **texts), timeout=60)
    reasons = [result.reason for result in reply.results]
    assert reasons == ["", "INVALID_ARGUMENT", "LIMIT_EXCEEDED", ""]
    assert "empty" in reply.results[1].message
    for word in (str(TEXT_BYTES + 1), str(TEXT_BYTES), "limits.text_bytes"):
        assert word in reply.results[2].message
    assert [point.id for point in some.list()] == ["a", "d"]


@pytest.mark.parametrize(
    ("text", "reason"), [("", "INVALID_ARGUMENT"), ("é" * TEXT_BYTES, "LIMIT_EXCEEDED")]
)
def test_an_atomic_write_with_a_bad_text(db: Client, channel, text: str, reason: str) -> None:
    some = db.create_collection("atomic", model=MODEL, if_not_exists=True)
    request = write("atomic", a="fine", b=text)
    request.atomic = True
    error = refused(points_pb2_grpc.PointsStub(channel).Write, request)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    assert [one.field for one in error.violations] == ["ops[1].put.vectors[''].text"]
    assert some.count() == 0


def test_a_replayed_write_of_texts(db: Client, channel) -> None:
    db.create_collection("replayed", model=MODEL)
    points = points_pb2_grpc.PointsStub(channel)
    request = write("replayed", a="fine", b="", c="and so on " * 1_000)
    request.idempotency_key = "texts"
    first, again = (points.Write(request, timeout=60) for _ in range(2))
    assert again.replayed
    assert [r.code for r in again.results] == [r.code for r in first.results] == [0, 3, 0]
    assert again.results == first.results  # what was cut is told again too


@pytest.mark.parametrize(
    ("text", "reason"), [("", "INVALID_ARGUMENT"), ("x" * (TEXT_BYTES + 1), "LIMIT_EXCEEDED")]
)
def test_a_bad_text_in_a_query(notes: Collection, channel, text: str, reason: str) -> None:
    error = refused(search_pb2_grpc.SearchStub(channel).Query, query("notes", text))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    (field,) = [one.field for one in error.violations]
    assert field in ("legs[0].near.vector", "legs[0].near.vector.text")


def test_a_length_that_is_not_the_models(db: Client) -> None:
    with pytest.raises(InvalidArgument) as caught:
        db.create_collection("wrong", model=MODEL, dim=385)
    assert caught.value.reason == "DIMENSION_MISMATCH"
    assert caught.value.metadata == {"expected": "384", "got": "385"}
    assert MODEL in caught.value.message
    db.create_collection("right", model=MODEL, dim=384, metric="dot")
    assert db.collection("right").info().spaces[""].metric == "dot"


def test_a_vector_of_another_length_names_the_model(notes: Collection) -> None:
    with pytest.raises(InvalidArgument, match=r"384 dimensions \(set by model all-minilm-l6-v2\)"):
        notes.search([1.0, 2.0])


@pytest.mark.parametrize("name", ["theirs", "renamed"])
def test_text_for_vectors_of_another_model(db: Client, channel, name: str) -> None:
    theirs = db.collection(name)
    theirs.upsert([{"id": "own", "vector": [1.0] * 384}])
    with pytest.raises(FailedPrecondition) as caught:
        theirs.search("hello")
    asked = [caught.value]
    request = write(name, a="hello")
    request.atomic = True
    asked.append(refused(points_pb2_grpc.PointsStub(channel).Write, request))
    for error in asked:
        assert error.code == "FAILED_PRECONDITION"
        assert error.reason == ("MODEL_MISMATCH" if name == "theirs" else "NO_MODEL")
        if name == "theirs":
            (model,) = db.list_models()
            assert error.metadata == {"expected": OTHER.fingerprint, "got": model.fingerprint}
            assert OTHER.fingerprint[:12] in error.message
            assert model.fingerprint[:12] in error.message
    result = points_pb2_grpc.PointsStub(channel).Write(write(name, a="hello"), timeout=60).results
    assert result[0].code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    # Vectors and searches by vector go on.
    assert [hit.id for hit in theirs.search([1.0] * 384)] == ["own"]
    assert theirs.count() == 1


# --- Models.Embed


def embed(**request: object) -> models_pb2.EmbedRequest:
    return models_pb2.EmbedRequest(**request)


def test_embed_by_role(db: Client) -> None:
    for role in ("document", "query"):
        made = db.embed(list(TEXTS.values()), role=role)
        matrix = np.array([np.asarray(one.vector) for one in made])
        assert matrix.shape == (len(TEXTS), 384)
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)
        assert all(one.tokens > 3 and not one.truncated for one in made)
        assert made.model == MODEL
        assert made.fingerprint == db.list_models()[0].fingerprint
    assert db.embed("word " * 3_000)[0].truncated


def test_an_alias_is_the_model(db: Client) -> None:
    assert db.embed("hello", model="sentence-transformers/all-MiniLM-L6-v2").model == MODEL
    made = db.create_collection("by-alias", model="all-MiniLM-L6-v2")
    assert made.info().spaces[""].model == MODEL


ROLE = models_pb2.EMBED_ROLE_DOCUMENT
BAD_EMBEDS = {
    "no-role": (embed(texts=["a"]), "INVALID_ARGUMENT", "INVALID_ARGUMENT", "role"),
    "unknown-role": (embed(texts=["a"], role=99), "INVALID_ARGUMENT", "INVALID_ARGUMENT", "role"),
    "no-texts": (embed(role=ROLE), "INVALID_ARGUMENT", "INVALID_ARGUMENT", "texts"),
    "empty": (
        embed(texts=["a", ""], role=ROLE),
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "texts[1]",
    ),
    "too-long": (
        embed(texts=["a", "x" * (TEXT_BYTES + 1)], role=ROLE),
        "INVALID_ARGUMENT",
        "LIMIT_EXCEEDED",
        "texts[1]",
    ),
    "too-many": (
        embed(texts=["a"] * (EMBED_TEXTS + 1), role=ROLE),
        "INVALID_ARGUMENT",
        "LIMIT_EXCEEDED",
        "texts",
    ),
    "unknown-model": (
        embed(texts=["a"], role=ROLE, model="gpt-99"),
        "NOT_FOUND",
        "NOT_FOUND",
        "model",
    ),
}


@pytest.mark.parametrize("bad", BAD_EMBEDS.values(), ids=BAD_EMBEDS.keys())
def test_an_embed_call_that_cannot_be(channel, bad) -> None:
    request, code, reason, field = bad
    models = models_pb2_grpc.ModelsStub(channel)
    error = refused(models.Embed, request)
    assert (error.code, error.reason) == (code, reason)
    assert [one.field for one in error.violations] == [field]
    assert len(models.Embed(embed(texts=["fine"], role=ROLE), timeout=60).embeddings) == 1


def test_a_deadline_in_the_past(channel) -> None:
    models = models_pb2_grpc.ModelsStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        models.Embed(embed(texts=["fine"], role=ROLE), timeout=-1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
