"""A second look by a model that reads texts: a tiny cross-encoder, which counts shared words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.embed import tiny
from tests.live import START_S, LiveServer
from vecdb.cli import main
from vecdb_client import (
    Client,
    CrossEncoder,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    Keyword,
    MaxSim,
    MultiDenseSpace,
    Near,
    NotFound,
    Space,
    SparseSpace,
    TextField,
)
from vecdb_client.pb import search_pb2, search_pb2_grpc

TEXTS = {
    "stock": "the stock market fell",
    "rose": "the market rose",
    "cat": "a cat sat on the mat",
    "air": "red air green air blue air",
}
SPACES = {
    "": Space(2, "dot"),
    "terms": SparseSpace(True, "bm25"),
    "late": MultiDenseSpace(2),
}
JUDGE = CrossEncoder("judge", "body")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    pytest.importorskip("onnx", reason="the graph is made with onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("rerank")
    own = folder / "own.toml"
    own.write_text(tiny.entry(folder, "judge", "onnx-rerank"))
    settings = {"embed.catalog": own, "embed.model": "bm25", "embed.models": "judge"}
    live = LiveServer(folder / "data", settings).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        made = client.create_collection(
            "c",
            spaces=SPACES,
            text_fields=[TextField("body")],
        )
        for at, (id, text) in enumerate(TEXTS.items()):
            made.upsert(
                [
                    {
                        "id": id,
                        "vectors": {"": [1.0, at / 10], "terms": text},
                        "payload": {"body": text, "parts": ["a cat", {"of": 1}, text, 7], "n": 3},
                    }
                ]
            )
    yield live
    assert live.stop() == 0


@pytest.fixture
def db(server: LiveServer) -> Iterator[Client]:
    with server.client() as made:
        yield made


@pytest.fixture
def made(db: Client):
    return db.collection("c")


def by_hand(db: Client, query: str, texts: dict[str, str] = TEXTS) -> list[tuple[str, float]]:
    ranked = db.rerank(query, list(texts.values()), model="judge")
    return [(list(texts)[one.position], one.score) for one in ranked]


def test_hits_are_ordered_by_what_the_model_says(db: Client, made) -> None:
    query = "the market fell on a red cat"
    found = made.search([1.0, 1.0], k=4, rerank=CrossEncoder("judge", "body", text=query))
    assert [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in found] == by_hand(db, query)
    assert [hit.distance for hit in found] == [-hit.score for hit in found]
    assert {hit.id: hit.legs[0].rank for hit in found} == {
        "air": 1,
        "cat": 2,
        "rose": 3,
        "stock": 4,
    }
    assert found.plan.endswith("; cross-encoder over the best 100")
    assert found.warnings == ()
    assert found.complete


def test_the_query_is_the_first_text_that_is_searched_for(db: Client, made) -> None:
    query = "market on a mat"
    expected = [id for id, _ in by_hand(db, query)]
    legs = [Near([1.0, 0.0]), Keyword(query), Near("red", space="terms")]
    found = made.search(legs=legs, rerank=JUDGE, k=4)
    assert [hit.id for hit in found] == expected


def test_dense_sparse_words_and_a_rerank_in_one_query(db: Client, made) -> None:
    query = "the market fell"
    legs = [Near(query, space="terms"), Near([1.0, 0.3]), Keyword("cat")]
    found = made.search(legs=legs, rerank=JUDGE, k=2, offset=1)
    assert [hit.id for hit in found] == [id for id, _ in by_hand(db, query)][1:3]
    # What the model reads counts too: four pairs beside the words of the query.
    assert found.usage.embed_tokens > 3 + 4 * 7


def test_the_text_may_be_a_stored_one(db: Client, made) -> None:
    query = "market on a mat"
    said = made.search(query, space="terms", rerank=CrossEncoder("judge", space="terms"), k=4)
    unsaid = made.search(query, space="terms", rerank=CrossEncoder(), k=4)
    assert [hit.id for hit in said] == [hit.id for hit in unsaid]
    assert [hit.score for hit in said] == [hit.score for hit in unsaid]
    assert said[0].id == by_hand(db, query)[0][0]


def test_several_strings_at_a_path_are_lines_of_one_text(db: Client, made) -> None:
    texts = {id: f"a cat\n{text}" for id, text in TEXTS.items()}
    found = made.search(
        [1.0, 1.0], k=4, rerank=CrossEncoder("judge", "parts", text="the cat sat and fell")
    )
    assert [hit.id for hit in found] == [id for id, _ in by_hand(db, "the cat sat and fell", texts)]


def test_only_the_candidates_are_looked_at(made) -> None:
    rerank = CrossEncoder("judge", "body", text="the stock market fell", candidates=2)
    found = made.search([1.0, 1.0], k=2, rerank=rerank)
    assert {hit.id for hit in found} == {"air", "cat"}
    assert "over the best 2" in found.plan


def test_what_has_no_text_is_left_out_and_said(db: Client, made) -> None:
    rest = db.create_collection("rest", spaces=SPACES)
    rest.upsert(
        [
            {"id": "a", "vector": [1.0, 0.0], "payload": {"body": "cat"}},
            {"id": "b", "vector": [1.0, 0.1], "payload": {"body": 7}},
            {"id": "c", "vector": [1.0, 0.2], "payload": {"body": ""}},
            {"id": "d", "vector": [1.0, 0.3]},
            {"id": "e", "vector": [1.0, 0.4], "payload": b'{"body": "half \\ud800 a cat"}'},
        ]
    )
    found = rest.search([1.0, 1.0], rerank=CrossEncoder("judge", "body", text="cat"))
    assert {hit.id for hit in found} == {"a", "e"}
    assert found.warnings == ("3 candidates have no text at 'body', and were left out",)
    stored = rest.search([1.0, 1.0], rerank=CrossEncoder("judge", space="terms", text="cat"))
    assert len(stored) == 0
    (warning,) = stored.warnings
    assert warning == "5 candidates have no stored text of space 'terms', and were left out"


def test_groups_boosts_pages_and_min_score_go_with_it(db: Client, made) -> None:
    query = "the market fell"
    ranked = by_hand(db, query)
    rerank = CrossEncoder("judge", "body", text=query)
    least = made.search([1.0, 1.0], k=4, rerank=rerank, min_score=ranked[1][1] - 1e-4)
    assert [hit.id for hit in least] == [id for id, _ in ranked[:2]]
    grouped = made.search([1.0, 1.0], k=4, rerank=rerank, group="body")
    assert [one.hits[0].id for one in grouped.groups] == [id for id, _ in ranked]
    first = made.search([1.0, 1.0], k=3, rerank=rerank, page_token="")
    second = made.search([1.0, 1.0], k=3, rerank=rerank, page_token=first.next_page_token)
    assert [hit.id for hit in (*first, *second)] == [id for id, _ in ranked]


def test_a_batch_of_searches_and_explain_take_it_too(db: Client, made) -> None:
    queries = ["the market fell", "cat on a mat"]
    found = made.search_batch([{"keyword": one, "rerank": JUDGE} for one in queries])
    for query, result in zip(queries, found, strict=True):
        expected = [id for id, _ in by_hand(db, query)]
        assert [hit.id for hit in result] == [id for id in expected if id in {h.id for h in result}]
    explained = made.explain({"keyword": queries[0], "rerank": JUDGE})
    assert [hit.id for hit in explained.result] == [hit.id for hit in found[0]]


@pytest.mark.parametrize(
    ("rerank", "error", "message", "field"),
    [
        (CrossEncoder("bm25", "body"), InvalidArgument, "gives sparse vectors, no score", "model"),
        (CrossEncoder("nothing", "body"), NotFound, "no model 'nothing'", "model"),
        (CrossEncoder("judge"), InvalidArgument, "expected field or space", "field"),
        (CrossEncoder("judge", space="x"), InvalidArgument, "unknown space 'x'", "space"),
        (CrossEncoder("judge", ""), InvalidArgument, "path", "field"),
    ],
    ids=["kind", "unknown", "no text", "space", "path"],
)
def test_what_cannot_be_is_refused_by_name(made, rerank, error, message, field) -> None:
    with pytest.raises(error, match=message) as refused:
        made.search(keyword="cat", rerank=rerank)
    assert [one.field for one in refused.value.violations] == [f"rerank.cross_encoder.{field}"]


def test_a_query_without_a_text_is_refused(made) -> None:
    with pytest.raises(InvalidArgument, match="no leg has a text"):
        made.search([1.0, 1.0], rerank=JUDGE)


def test_more_candidates_than_may_be_are_refused(made) -> None:
    with pytest.raises(InvalidArgument, match="candidates"):
        made.search(keyword="cat", k=5, rerank=CrossEncoder("judge", "body", candidates=2))


def test_an_empty_rerank_is_refused(server: LiveServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = search_pb2_grpc.SearchStub(channel)
        request = search_pb2.QueryRequest(collection="c", k=1)
        request.legs.add().keyword.text = "cat"
        request.rerank.candidates = 5
        with pytest.raises(grpc.RpcError, match="expected max_sim or cross_encoder"):
            stub.Query(request, timeout=10)


def test_a_deadline_is_kept(made) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        made.search(keyword="market", rerank=JUDGE, timeout_s=0.0005)
    assert time.monotonic() - began < 5


def test_max_sim_is_as_it_was(made) -> None:
    found = made.search([1.0, 1.0], rerank=MaxSim([[1.0, 0.0]], "late"))
    assert len(found) == 0
    assert found.warnings == ("4 candidates have no vectors in space 'late', and were left out",)


def test_without_a_worker_it_is_said_what_to_do(tmp_path) -> None:
    live = LiveServer(tmp_path / "data", {"embed.enabled": "false", "embed.model": "bm25"}).start()
    with live.client() as client:
        made = client.create_collection("c", text_fields=[TextField("body")])
        made.upsert([{"id": "a", "payload": {"body": "cat"}}])
        with pytest.raises(FailedPrecondition, match="no configured model gives a score"):
            made.search(keyword="cat", rerank=CrossEncoder(field="body"))
    assert live.stop() == 0


def test_the_command_line_takes_it(
    server: LiveServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> bool:
        asked = ["search", "the stock market", "--keyword", "-c", "c", "-a", server.address]
        monkeypatch.setattr("sys.argv", ["vecdb", *asked, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return not ended.value.code

    assert run("--rerank", "judge", "--field", "body", "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["id"] == "stock"
    assert not run("--field", "body")
    assert "--rerank" in capsys.readouterr().err
