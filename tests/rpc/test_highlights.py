"""Highlights over the wire: in every shape of a query, at their limits, and when time runs out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveServer
from vecdb_client import (
    Client,
    Collection,
    DeadlineExceeded,
    F,
    Fragment,
    Highlights,
    InvalidArgument,
    Keyword,
    Near,
    TextField,
)

TITLE = "Running in the Straße, a run"
BODY = ["no", "the runner ran", "they run"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = {"embed.enabled": "false"}
    live = LiveServer(tmp_path_factory.mktemp("highlights") / "data", settings).start()
    with live.client() as made:
        yield made
    assert live.stop() == 0


@pytest.fixture(scope="module")
def papers(client: Client) -> Collection:
    fields = [TextField("title", "english"), TextField("body", "english")]
    made = client.create_collection("papers", dim=2, metric="dot", text_fields=fields)
    made.upsert(
        [
            {"id": "a", "vector": [1, 0], "payload": {"title": TITLE, "body": BODY, "n": 1}},
            {"id": "b", "vector": [0, 1], "payload": {"title": "Nothing", "n": 1}},
            {"id": "long", "payload": {"title": "run " * 200_000}},
        ]
    )
    return made


EXPECTED = {
    "title": (Fragment(TITLE, 0, 0, ((0, 7), (25, 28))),),
    "body": (Fragment("they run", 2, 0, ((5, 8),)),),
}


def test_every_shape_of_a_query_has_them(papers: Collection) -> None:
    asked = {"keyword": "RUNS", "filter": F("n") == 1, "highlights": True}
    either = F("title").matches("run") | F("body").matches("run")
    found = [
        papers.search(**asked)[0],
        papers.search(**asked, with_payload=False)[0],
        papers.search(**asked, with_payload="n")[0],
        papers.search([1, 0], **asked, hybrid=True, k=1)[0],
        papers.search(**asked, group="n").groups[0].hits[0],
        papers.search_batch([asked])[0][0],
        papers.explain(asked).result[0],
        papers.search([1, 0], filter=either, highlights=True, k=1)[0],
        papers.search(
            legs=[Near([1, 0], filter=F("body").matches("run")), Keyword("run", ["title"])],
            filter=F("n") == 1,
            highlights=True,
            k=1,
        )[0],
    ]
    for hit in found:
        assert (hit.id, dict(hit.highlights)) == ("a", EXPECTED)
    assert [hit.payload for hit in found[1:3]] == [{}, {"n": 1}]
    assert found[0].highlights["title"][0].marked("<", ">") == "<Running> in the Straße, a <run>"
    # And only those that asked.
    del asked["highlights"]
    assert papers.search(**asked)[0].highlights == {}
    by_vector = papers.search([0, 1], keyword="run", hybrid=True, highlights=True, k=2)
    assert {hit.id: bool(hit.highlights) for hit in by_vector}["b"] is False


def test_fields_can_be_chosen(papers: Collection) -> None:
    found = papers.search(keyword="run", filter=F("n") == 1, highlights=Highlights("body"))
    assert dict(found[0].highlights) == {"body": EXPECTED["body"]}
    # What is asked of one field is not marked in the other.
    found = papers.search(
        keyword="run", fields=["title"], filter=F("body").matches("ran"), highlights=True
    )
    assert [w for one in found[0].highlights["body"] for w in one.words] == [(11, 14)]
    assert found[0].highlights["title"] == EXPECTED["title"]


def test_sizes_at_their_limits(papers: Collection) -> None:
    def ask(fragments: int | None = None, characters: int | None = None) -> tuple[Fragment, ...]:
        asked = Highlights("title", fragments, characters)
        found = papers.search(keyword="run", k=1, filter=F.has_id(["long"]), highlights=asked)
        return found[0].highlights["title"]

    assert len(ask()) == 3
    assert {len(one.text) for one in ask()} == {159}
    assert len(ask(20, 20)) == 20
    (whole,) = ask(1, 100_000)
    assert len(whole.words) == 25_000
    with pytest.raises(InvalidArgument, match="21 fragments of a field, the limit is 20"):
        ask(21)
    for wrong in (19, 100_001):
        with pytest.raises(InvalidArgument, match=f"20 to 100000 characters, got {wrong}"):
            ask(1, wrong)


def test_what_cannot_be_asked(papers: Collection) -> None:
    with pytest.raises(InvalidArgument, match="no words are asked for") as caught:
        papers.search([1, 0], highlights=True)
    assert caught.value.violations[0].field == "highlights"
    with pytest.raises(InvalidArgument, match="highlights is True, or Highlights"):
        papers.search(keyword="run", highlights="title")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="no text field 'n'") as caught:
        papers.search(keyword="run", highlights=Highlights(["title", "n"]))
    assert caught.value.violations[0].field == "highlights.fields[1]"
    with pytest.raises(InvalidArgument, match="'body': there is nothing to highlight"):
        papers.search(keyword="run", fields="title", highlights=Highlights("body"))


def test_they_end_at_the_deadline(client: Client) -> None:
    made = client.create_collection("slow", dim=2, text_fields=[TextField("t")])
    text = "köpfe " * 15_000
    made.upsert({"id": f"p{n}", "vector": [1, 0], "payload": {"t": text}} for n in range(100))
    with pytest.raises(DeadlineExceeded):
        made.search(keyword="köpfe", k=100, with_payload=False, highlights=True, timeout_s=0.5)
    assert len(made.search(keyword="köpfe", k=2, with_payload=False, highlights=True)) == 2
    client.delete_collection("slow")


def test_a_reply_that_would_be_too_large_is_not_made(tmp_path: Path) -> None:
    settings = {"embed.enabled": "false", "limits.message_bytes": 1 << 20}
    live = LiveServer(tmp_path / "data", settings).start()
    with live.client() as client:
        made = client.create_collection("c", dim=2, text_fields=[TextField("t")])
        payload = {"t": "run " * 20_000}
        for first in range(0, 100, 5):
            made.upsert({"id": f"p{n}", "payload": payload} for n in range(first, first + 5))
        asked = Highlights(fragments=1, characters=100_000)
        assert len(made.search(keyword="run", k=1, with_payload=False, highlights=asked)) == 1
        with pytest.raises(InvalidArgument, match="more than 1048576 bytes"):
            made.search(keyword="run", k=100, with_payload=False, highlights=asked)
    assert live.stop() == 0
