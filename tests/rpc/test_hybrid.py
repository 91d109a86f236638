"""Hybrid search as people call it: one text by vector and by words, through client and terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.live import LiveServer
from vecdb.cli import main
from vecdb_client import (
    Collection,
    F,
    FailedPrecondition,
    InvalidArgument,
    Keyword,
    Near,
    PointId,
    Recommend,
    Rrf,
    TextField,
    Weighted,
)

TITLES = {
    "nap": "A cat sleeps on the warm windowsill",
    "serial": "Error E4711 in the gearbox",
    "kitten": "A kitten naps in the sun",
    "harbour": "Ships sail from the harbour at dawn",
}


@pytest.fixture(scope="module")
def notes(text_server: LiveServer) -> Iterator[Collection]:
    with text_server.client() as client:
        made = client.create_collection(
            "notes", model="all-minilm-l6-v2", text_fields=[TextField("title", "english")]
        )
        made.upsert(
            {"id": name, "text": title, "payload": {"title": title, "n": n}}
            for n, (name, title) in enumerate(TITLES.items())
        )
        # Rows that only fill the lists, so that there is something to page through.
        made.upsert({"id": f"x{n}", "payload": {"title": f"cat {n}"}} for n in range(90))
        yield made
        client.delete_collection("notes")


def test_both_legs_find_what_one_would_miss(notes: Collection) -> None:
    found = notes.search("cats that doze, E4711", hybrid=True, k=20)
    by_id = {hit.id: hit for hit in found}
    # By meaning alone, and by a word that means nothing to the model.
    assert [leg.leg for leg in by_id["kitten"].legs] == [0]
    assert [leg.leg for leg in by_id["serial"].legs] == [0, 1]
    assert by_id["nap"].legs[1].score == pytest.approx(
        next(h.score for h in notes.search(keyword="cats that doze, E4711", k=100) if h.id == "nap")
    )
    assert all(hit.distance == 0 for hit in found)
    assert found.timings.embed_us > 0
    assert found.matched == 94
    assert "fused by rrf (k 60), weights 1, 1" in found.plan


def test_usage_counts_the_tokens_of_the_query(text_server: LiveServer, notes: Collection) -> None:
    with text_server.client() as client:
        many, few = (one.tokens for one in client.embed(["cats that doze", "cats"], role="query"))
    assert many > few > 0
    assert notes.search("cats that doze", hybrid=True).usage.embed_tokens == many
    legs = [Near("cats that doze"), Near("cats"), Keyword("doze")]
    assert notes.search(legs=legs).usage.embed_tokens == many + few
    recommend = Recommend(["cats that doze"], ["cats", PointId("nap")])
    assert notes.search(legs=[recommend]).usage.embed_tokens == many + few
    assert notes.search("cats", group="n").usage.embed_tokens == few
    assert notes.explain({"query": "cats"}).result.usage.embed_tokens == few
    assert notes.search(PointId("nap")).usage.embed_tokens == 0
    assert notes.search(keyword="cats").usage.embed_tokens == 0
    found = notes.search_batch([{"query": "cats"}, {"query": "cats"}, {"keyword": "cats"}])
    assert [one.usage.embed_tokens for one in found] == [few, few, 0]


@pytest.mark.parametrize("fusion", [Rrf(), Weighted("min_max"), Weighted("z_score")])
def test_pages_are_cut_from_one_list(notes: Collection, fusion) -> None:
    legs = [Near("a sleeping cat", k=50), Keyword("cat ship", k=80, weight=0.5)]
    whole = [hit.id for hit in notes.search(legs=legs, fusion=fusion, k=200)]
    assert 80 <= len(whole) == len(set(whole)) < 94
    paged: list[str] = []
    for offset in range(0, 110, 10):
        page = notes.search(legs=legs, fusion=fusion, k=10, offset=offset)
        paged += [hit.id for hit in page]
    assert paged == whole


def test_neighbouring_pages_of_default_legs_agree(notes: Collection) -> None:
    whole = [hit.id for hit in notes.search("cat", hybrid=True, k=100)]
    paged = [
        hit.id
        for offset in range(0, 100, 10)
        for hit in notes.search("cat", hybrid=True, k=10, offset=offset)
    ]
    assert paged == whole


def test_filters_of_search_and_leg(notes: Collection) -> None:
    legs = [Near("cat"), Keyword("cat", filter=F("n") == 0)]
    found = notes.search(legs=legs, filter=F("n") <= 1, k=5)
    assert {hit.id: [leg.leg for leg in hit.legs] for hit in found} == {
        "nap": [0, 1],
        "serial": [0],
    }
    assert found.matched == 2


def test_collections_that_cannot(text_server: LiveServer) -> None:
    with text_server.client() as client:
        bare = client.create_collection("bare", dim=2)
        words = client.create_collection("words", dim=2, text_fields=[TextField("t")])
        with pytest.raises(FailedPrecondition) as caught:
            words.search("cat", hybrid=True)
        assert caught.value.reason == "NO_MODEL"
        with pytest.raises(InvalidArgument, match="no text fields") as refused:
            bare.search([1, 0], keyword="cat", hybrid=True)
        assert [one.field for one in refused.value.violations] == ["legs[1].keyword.fields"]
        words.upsert([{"id": "a", "vector": [1, 0], "payload": {"t": "cat"}}])
        (hit,) = words.search([1, 0], keyword="cat", hybrid=True)
        assert [leg.rank for leg in hit.legs] == [1, 1]


def test_at_a_terminal(
    text_server: LiveServer,
    notes: Collection,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VECDB_ADDRESS", text_server.address)
    words = ["vecdb", "search", "E4711 cat", "-c", "notes", "-w", "n>=0", "--json", "--hybrid"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert {line["id"] for line in lines[:2]} == {"serial", "nap"}
    monkeypatch.setattr("sys.argv", [*words, "--keyword"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "give one" in " ".join(capsys.readouterr().err.split())
