"""Sparse spaces that are bound to a model, through a whole server: bm25, which needs no files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.embed import tiny
from tests.live import START_S, LiveServer
from vecdb_client import (
    Client,
    FailedPrecondition,
    InvalidArgument,
    Keyword,
    Near,
    Space,
    SparseSpace,
    TextField,
    WriteFailed,
)

TEXTS = {
    "wing": "the flow of air over a wing",
    "heat": "heat in a solid body",
    "both": "heat and air flow over a heated wing",
    "long": "air " * 30 + "flow of many other things that are of no matter here at all",
}
SMALL = """
[models.short]
kind = "bm25"
dim = 0
metric = "dot"
max_tokens = 4
pooling = "bm25"
normalize = false
license = ""
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    pytest.importorskip("onnx", reason="the graph is made with onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("sparse")
    own = folder / "own.toml"
    own.write_text(
        SMALL
        + tiny.entry(folder, "splade", "onnx-sparse")
        + tiny.entry(folder, "judge", "onnx-rerank")
    )
    settings = {"embed.catalog": own, "embed.model": "bm25"}
    settings |= {"embed.models": "bm25-english,short,splade,judge"}
    live = LiveServer(folder / "data", settings).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield live
    assert live.stop() == 0


@pytest.fixture
def db(server: LiveServer) -> Iterator[Client]:
    with server.client() as made:
        yield made


def make(db: Client, name: str, model: str = "bm25-english", **more: object):
    spaces = {"terms": SparseSpace(idf=True, model=model), **more.pop("spaces", {})}
    return db.create_collection(name, spaces=spaces, **more)


def fill(made, field="terms"):
    return made.upsert(
        [
            {"id": id, "vectors": {field: text}, "payload": {"body": text}}
            for id, text in TEXTS.items()
        ]
    )


def test_texts_are_stored_and_found_by_text(db: Client) -> None:
    made = make(db, "found")
    fill(made)
    assert [hit.id for hit in made.search("heated wings", space="terms")] == [
        "both",
        "heat",
        "wing",
    ]
    point = made.get(["wing"], with_vectors=True, with_texts=True).points[0]
    assert point.texts == {"terms": TEXTS["wing"]}
    (asked,) = db.embed([TEXTS["wing"]], model="bm25-english", role="document")
    assert point.sparse["terms"] == asked.sparse


def test_a_space_says_which_model_it_is_bound_to(db: Client) -> None:
    made = make(db, "bound")
    space = made.info().spaces["terms"]
    (model,) = [one for one in db.list_models() if one.name == "bm25-english"]
    assert space == SparseSpace(True, "bm25-english", model.fingerprint)
    again = db.create_collection(
        "bound", spaces={"terms": SparseSpace(True, "bm25-english")}, if_not_exists=True
    )
    assert again.info().spaces["terms"] == space
    with pytest.raises(FailedPrecondition, match="exists with another schema"):
        db.create_collection("bound", spaces={"terms": SparseSpace(True)}, if_not_exists=True)
    with pytest.raises(FailedPrecondition, match="model is bm25-english and cannot be changed to"):
        db.update_collection("bound", spaces={"terms": SparseSpace(True, "bm25")})
    db.update_collection("bound", spaces={"terms": SparseSpace(False)})
    assert made.info().spaces["terms"] == SparseSpace(False, "bm25-english", model.fingerprint)


def test_scores_are_those_of_a_keyword_search_but_for_the_average_length(db: Client) -> None:
    texts = [TextField("body", "english")]
    made = make(db, "alike", text_fields=texts)
    fill(made)
    words = "air flow over wings"
    sparse, keyword = made.search(words, space="terms"), made.search(keyword=words)
    assert [hit.id for hit in sparse] == [hit.id for hit in keyword]


def test_models_of_another_kind_are_refused_by_name(db: Client) -> None:
    with pytest.raises(InvalidArgument, match="model judge gives scores, no sparse ones"):
        make(db, "wrong", "judge")
    with pytest.raises(InvalidArgument, match="model bm25 gives sparse vectors, no dense ones"):
        db.create_collection("wrong", spaces={"": Space(model="bm25")})
    with pytest.raises(Exception, match="no model 'nothing'"):
        make(db, "wrong", "nothing")


def test_numbers_go_beside_texts(db: Client) -> None:
    made = make(db, "numbers")
    made.upsert(
        [{"id": "a", "vectors": {"terms": ([7], [1.0])}}, {"id": "b", "vectors": {"terms": "air"}}]
    )
    assert [hit.id for hit in made.search(sparse=([7], [2.0]), space="terms")] == ["a"]
    assert made.get(["a"], with_texts=True).points[0].texts == {}


def test_patches_take_text_and_leave_it(db: Client) -> None:
    made = make(db, "patched")
    fill(made)
    made.patch("heat", vectors={"terms": "green cheese"})
    assert [hit.id for hit in made.search("cheese", space="terms")] == ["heat"]
    assert made.get(["heat"], with_texts=True).points[0].texts == {"terms": "green cheese"}
    made.patch("heat", set={"body": "other"})
    assert made.get(["heat"], with_texts=True).points[0].texts == {"terms": "green cheese"}
    made.patch("heat", vectors={"terms": None})
    assert made.get(["heat"], with_texts=True).points[0].texts == {}


def test_a_text_without_words_fails_alone(db: Client) -> None:
    made = make(db, "alone")
    items = [{"id": f"{n}", "vectors": {"terms": "!?" if n == 1 else "air"}} for n in range(3)]
    report = made.upsert(items, on_error="collect")
    assert [one.index for one in report.failures] == [1]
    assert "knows no word" in report.failures[0].message
    assert made.count() == 2
    with pytest.raises(InvalidArgument, match="knows no word"):
        made.search("...", space="terms")
    with pytest.raises(InvalidArgument, match="the text is empty"):
        made.search("", space="terms")


def test_what_was_cut_is_said(db: Client) -> None:
    made = make(db, "cut", "short")
    report = made.upsert([{"id": "a", "vectors": {"terms": "one two three four five"}}])
    assert [(one.id, one.spaces) for one in report.truncated] == [("a", ("terms",))]
    assert len(made.search("five", space="terms")) == 0


def test_a_space_without_a_model_takes_no_text(db: Client) -> None:
    made = db.create_collection("plain", spaces={"terms": SparseSpace()})
    with pytest.raises(WriteFailed, match="space 'terms' is sparse: it takes indices and values"):
        made.upsert([{"id": "a", "vectors": {"terms": "air"}}])
    with pytest.raises(InvalidArgument, match="it takes indices and values"):
        made.search("air", space="terms")


def test_legs_of_words_and_of_a_sparse_model_are_fused(db: Client) -> None:
    made = make(
        db, "fused", spaces={"splade": SparseSpace(model="splade")}, text_fields=[TextField("body")]
    )
    items = [
        {"id": id, "vectors": {"terms": text, "splade": text}, "payload": {"body": text}}
        for id, text in TEXTS.items()
    ]
    made.upsert(items)
    legs = [
        Near("heat of air", space="terms"),
        Near("heat of air", space="splade"),
        Keyword("heat"),
    ]
    found = made.search(legs=legs, k=2)
    assert found[0].id == "both"
    assert len(found[0].legs) == 3
    assert found.usage.embed_tokens > 6


def test_a_batch_of_searches_encodes_them_together(db: Client) -> None:
    made = make(db, "batch")
    fill(made)
    asked = ["heated wings", "flow", "!?"]
    found = made.search_batch(
        [{"query": one, "space": "terms"} for one in asked], on_error="collect"
    )
    assert [hit.id for hit in found[0]] == ["both", "heat", "wing"]
    assert {hit.id for hit in found[1]} == {"wing", "both", "long"}
    assert "knows no word" in str(found[2])


def test_what_is_stored_outlives_a_restart_and_a_clone(db: Client, server: LiveServer) -> None:
    made = make(db, "kept")
    fill(made)
    db.clone_collection("kept", "copy")
    assert server.stop() == 0
    server.start()
    with server.client() as again:
        again.wait_ready(START_S, service="vecdb.v1.Models")
        for name in ("kept", "copy"):
            hits = again.collection(name).search("heated wings", space="terms")
            assert [hit.id for hit in hits] == ["both", "heat", "wing"]
            assert again.collection(name).get(["heat"], with_texts=True).points[0].texts


def test_a_model_that_has_changed_is_refused(server: LiveServer, tmp_path) -> None:
    folder = tmp_path
    own = folder / "own.toml"
    settings = {"embed.catalog": own, "embed.model": "short"}
    own.write_text(SMALL)
    live = LiveServer(folder / "data", settings).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        make(client, "c", "short").upsert([{"id": "a", "vectors": {"terms": "air"}}])
    assert live.stop() == 0
    own.write_text(SMALL + "[models.short.options]\nk1 = 2.0\n")
    live.start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        made = client.collection("c")
        with pytest.raises(FailedPrecondition, match="was filled by short") as refused:
            made.search("air", space="terms")
        assert refused.value.reason == "MODEL_MISMATCH"
        with pytest.raises(WriteFailed, match="was filled by short"):
            made.upsert([{"id": "b", "vectors": {"terms": "air"}}])
    assert live.stop() == 0


def test_embed_gives_sparse_vectors(db: Client) -> None:
    (query,) = db.embed(["heat and heat"], model="bm25-english", role="query")
    assert np.asarray(query.sparse.values).tolist() == [1.0, 1.0]
