"""Questions that are kept: judged, asked again, and found by whichever process has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import MakeServer
from vecdb_client import (
    Client,
    Documents,
    F,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Retrieval,
    TextField,
)

FIELDS = [TextField("text", "english"), TextField("section", "english")]
TEXTS = {
    "sea": "The sea is deep and salty, and ships sail on it.",
    "tea": "Tea is brewed from leaves in boiling water.",
    "bread": "Bread is baked from flour, water and salt.",
}


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def client(make_server: MakeServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    server = make_server(documents__query_log="asked", server__workers=request.param)
    with server.client() as made:
        made.create_collection("c", text_fields=FIELDS)
        made.documents("c").put([{"id": id, "content": text} for id, text in TEXTS.items()])
        yield made


@pytest.fixture
def docs(client: Client) -> Documents:
    return client.documents("c")


def test_questions_are_kept_judged_and_asked_again(client: Client, docs: Documents):
    sea = docs.context("How deep is the sea?", min_relevance=0)
    tea = docs.context("How is tea brewed?", min_relevance=0, filter=F("document") == "tea")
    docs.context("Who won?", retrieval=Retrieval("keyword"))
    assert len({sea.query_id, tea.query_id}) == 2
    docs.feedback(sea.query_id, {"sea": 1.0, "tea": 0.0}, helpful=True, comment="fine")
    docs.feedback(tea.query_id, {tea.passages[0].points[0]: 2.0})  # a chunk is its document
    (kept,) = client.collection("asked").get([sea.query_id]).points
    assert kept.payload["question"] == "How deep is the sea?"
    assert kept.payload["collection"] == "c"
    assert kept.payload["helpful"] is True
    assert kept.payload["judgements"] == [{"id": "sea", "grade": 1.0}, {"id": "tea", "grade": 0.0}]
    assert kept.payload["passages"][0]["document"] == "sea"
    told: list[tuple[int, int | None]] = []
    found = docs.replay(
        [Retrieval("keyword", name="words"), Retrieval("hybrid", name="fails", space="x")][:1],
        progress=lambda done, total: told.append((done, total)),
    )
    assert (found.questions, found.judged) == (3, 2)
    assert told[-1] == (3, 3)
    (report,) = found.reports
    assert report.name == "words"
    assert report.recall is not None
    assert report.recall.mean == 1.0
    assert report.mrr is not None
    assert report.mrr.mean == 1.0
    assert report.overlap is not None
    assert report.overlap.mean == 1.0
    assert report.latency_ms is not None
    assert docs.replay([Retrieval("keyword")], judged=True).questions == 2


def test_judgements_are_changed_one_by_one(client: Client, docs: Documents):
    asked = docs.context("How deep is the sea?", min_relevance=0)
    docs.feedback(asked.query_id, {"sea": 1.0})
    docs.feedback(asked.query_id, {"tea": 3.0, "sea": 2.0})
    (kept,) = client.collection("asked").get([asked.query_id]).points
    assert {one["id"]: one["grade"] for one in kept.payload["judgements"]} == {"sea": 2, "tea": 3}


def test_all_judged_wrong_is_no_judged_question(docs: Documents):
    asked = docs.context("How deep is the sea?", min_relevance=0)
    docs.feedback(asked.query_id, {"sea": 0.0})
    found = docs.replay([Retrieval("keyword")])
    assert (found.questions, found.judged) == (1, 0)
    assert found.reports[0].recall is None
    assert found.reports[0].overlap is not None


def test_nothing_asked_yet_is_nothing_to_replay(docs: Documents):
    assert docs.replay([Retrieval("keyword")]).questions == 0


def test_what_is_said_wrongly_is_named(docs: Documents):
    asked = docs.context("How deep is the sea?", min_relevance=0)
    with pytest.raises(NotFound, match="no question 'gone'"):
        docs.feedback("gone", {"sea": 1.0})
    for wrong in ({"sea": -1.0}, {"sea": 101.0}, {"": 1.0}, {}):
        with pytest.raises(InvalidArgument):
            docs.feedback(asked.query_id, wrong)
    with pytest.raises(InvalidArgument):
        docs.feedback(asked.query_id, comment="x" * 5_000)
    with pytest.raises(InvalidArgument, match="one name"):
        docs.replay([Retrieval(name="a"), Retrieval("keyword", name="a")])
    with pytest.raises(InvalidArgument):
        docs.replay([])


def test_without_a_log_nothing_is_kept(make_server: MakeServer):
    with make_server().client() as client:
        client.create_collection("c", text_fields=FIELDS)
        docs = client.documents("c")
        docs.put({"id": "sea", "content": TEXTS["sea"]})
        assert docs.context("the sea", min_relevance=0).query_id == ""
        with pytest.raises(FailedPrecondition, match="query_log"):
            docs.feedback("x", {"sea": 1.0})
        assert [one.name for one in client.list_collections()] == ["c"]
