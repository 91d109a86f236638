"""Pages of a query: together they are its list, and a token goes with no other query."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import LiveServer
from vecdb_client import (
    Boost,
    Client,
    Collection,
    Decay,
    F,
    InvalidArgument,
    Keyword,
    MaxSim,
    Mmr,
    MultiDenseSpace,
    Near,
    OrderBy,
    PointId,
    Recommend,
    Rrf,
    Search,
    SearchResult,
    Space,
    TextField,
)

COUNT = 90
K_MAX = 200


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = {"embed.enabled": "false", "limits.k": K_MAX, "limits.groups": 60}
    live = LiveServer(tmp_path_factory.mktemp("pages") / "data", settings).start()
    with live.client() as made:
        yield made
    assert live.stop() == 0


def filled(client: Client, name: str) -> Collection:
    points = client.create_collection(
        name,
        spaces={"": Space(2, "dot"), "tokens": MultiDenseSpace(2)},
        text_fields=[TextField("title")],
    )
    points.upsert(
        {
            "id": f"p{n:02}",
            "vectors": {"": [1, n / 100], "tokens": [[1, n], [n, 1]]},
            "payload": {"n": n, "by": n % 30, "title": "ship " * (n % 7)},
        }
        for n in range(COUNT)
    )
    return points


@pytest.fixture(scope="module")
def points(client: Client) -> Collection:
    return filled(client, "points")


NEAR = Near([1, 1])
SEARCHES: dict[str, Search] = {
    "near": {"query": [1, 1]},
    "filtered": {"query": [1, 1], "filter": F("n") < 50},
    "exact": {"query": PointId("p07"), "exact": True},
    "min_score": {"query": [1, 1], "min_score": 1.5},
    "keyword": {"keyword": "ship"},
    "order": {"legs": [OrderBy("n", descending=True)]},
    "recommend": {"legs": [Recommend([PointId("p03")])]},
    "several": {"legs": [NEAR, Keyword("ship")], "fusion": Rrf(10)},
    "boost": {"query": [1, 1], "boost": Boost([Decay("n", 30, 10, 1.0)])},
    "rerank": {"query": [1, 1], "rerank": MaxSim([[1, 0.5]], "tokens")},
    "mmr": {"query": [1, 1], "mmr": Mmr(0.5)},
    "groups": {"query": [1, 1], "group": "by", "group_size": 2},
    "groups of several": {"legs": [NEAR, Keyword("ship")], "group": "by"},
}


def pages(points: Collection, search: Search, k: int) -> Iterator[SearchResult]:
    token = ""
    while True:
        page = points.search(**search, k=k, page_token=token)
        yield page
        token = page.next_page_token
        if not token:
            return


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result]


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("k", [7, 30])
def test_pages_are_the_list(points: Collection, name: str, k: int) -> None:
    search = SEARCHES[name]
    most = 40 if "group" in search else COUNT + 1
    whole = points.search(**search, k=most)
    found = list(pages(points, search, k))
    assert [name for page in found for name in ids(page)] == ids(whole)
    count = len(whole.groups) if "group" in search else len(whole)
    assert len(found) == -(-count // k)
    assert {page.commit_seq for page in found} == {whole.commit_seq}
    sizes = [len(page.groups) if "group" in search else len(page) for page in found]
    assert sizes == [k] * (len(found) - 1) + [count % k or k]
    for page in found[1:2]:
        assert ids(page) == ids(points.search(**search, k=k, offset=k))


@pytest.mark.parametrize(
    "search",
    [
        {"query": [1, 1], "boost": Boost([Decay("n", 30, 10, 1.0)], candidates=20)},
        {"query": [1, 1], "rerank": MaxSim([[1, 0.5]], "tokens", candidates=20)},
        {"query": [1, 1], "mmr": Mmr(0.5, candidates=20)},
        {"legs": [Near([1, 1], k=20), Near([1, 1], exact=True, k=20)]},
    ],
)
def test_pages_end_with_the_candidates(points: Collection, search: Search) -> None:
    found = list(pages(points, search, 10))
    assert [len(page) for page in found] == [10, 10]
    assert [*ids(found[0]), *ids(found[1])] == ids(points.search(**search, k=20))


@pytest.mark.parametrize("k", [1, 10, 100])
def test_pages_of_more_than_a_list_of_candidates(client: Client, k: int) -> None:
    """Where 100 candidates do not suffice, the next page has more of them."""
    points = client.create_collection(f"deep{k}", dim=1, metric="dot")
    points.upsert({"id": f"p{n:03}", "vector": [n], "payload": {"n": n}} for n in range(170))
    for search in (
        {"query": [1], "boost": Boost([Decay("n", 0, 10, 1.0)])},
        {"legs": [Near([1]), Near([1], exact=True)]},
    ):
        found = list(pages(points, search, k))
        listed = [name for page in found for name in ids(page)]
        assert listed == [f"p{169 - n:03}" for n in range(170)]


def test_who_asks_for_no_pages_gets_no_token(points: Collection) -> None:
    assert points.search([1, 1], k=3).next_page_token == ""
    assert points.search([1, 1], k=3, offset=3).next_page_token == ""


def test_pages_in_batches_and_explained(points: Collection) -> None:
    search: Search = {"query": [1, 1], "k": 4, "page_token": ""}
    first = points.search(**search)
    (batched,) = points.search_batch([search])
    explained = points.explain(search).result
    assert first.next_page_token == batched.next_page_token == explained.next_page_token != ""
    search["page_token"] = first.next_page_token
    second = points.search(**search)
    (batched,) = points.search_batch([search])
    assert ids(second) == ids(batched) == ids(points.explain(search).result)
    assert ids(second) == ids(points.search([1, 1], k=4, offset=4))


def test_what_may_differ_from_page_to_page(points: Collection) -> None:
    first = points.search([1, 1], k=4, page_token="", with_payload=False)
    second = points.search(
        [1, 1],
        k=9,
        page_token=first.next_page_token,
        with_payload=["n"],
        with_vectors=True,
        with_texts=True,
        min_commit_seq=first.commit_seq,
    )
    assert ids(second) == ids(points.search([1, 1], k=9, offset=4))
    third = points.search([1, 1], k=2, page_token=second.next_page_token)
    assert ids(third) == ids(points.search([1, 1], k=2, offset=13))


def test_an_alias_is_its_collection(client: Client, points: Collection) -> None:
    client.set_aliases({"paged": "points"})
    token = points.search([1, 1], k=4, page_token="").next_page_token
    page = client.collection("paged").search([1, 1], k=4, page_token=token)
    assert ids(page) == ids(points.search([1, 1], k=4, offset=4))
    client.set_aliases({"paged": None})


def refused(points: Collection, what: str, **search: Any) -> None:
    with pytest.raises(InvalidArgument, match=what) as caught:
        points.search(**search)
    assert caught.value.violations[0].field == "page_token"


def test_tokens_of_other_queries(client: Client, points: Collection) -> None:
    tokens = {
        name: points.search(**search, k=2, page_token="").next_page_token
        for name, search in SEARCHES.items()
    }
    assert all(tokens.values())
    assert len(set(tokens.values())) == len(tokens)
    for name, token in tokens.items():
        for other, search in SEARCHES.items():
            if other != name:
                refused(points, "not of this query", **search, k=2, page_token=token)
    refused(points, "not of this query", query=[1, 1.5], page_token=tokens["near"])
    refused(points, "not of this query", query=[1, 1], ef=50, page_token=tokens["near"])
    twin = filled(client, "twin")
    refused(twin, "not of this query", query=[1, 1], page_token=tokens["near"])
    listed = points.page(page_size=2).next_page_token
    refused(points, "not of this query", query=[1, 1], page_token=listed)
    bound = base64.urlsafe_b64decode(tokens["near"])[:8]
    for mark in (b"", b"x", b"-1", b"1_0", b"9" * 400, "٣".encode()):
        made_up = base64.urlsafe_b64encode(bound + mark).decode()
        refused(points, "not of this query", query=[1, 1], page_token=made_up)
    refused(points, "not of this query", query=[1, 1], page_token="nonsense")
    with pytest.raises(InvalidArgument, match="not of this list"):
        points.page(page_token=tokens["near"])


def test_an_offset_contradicts_a_token(points: Collection) -> None:
    token = points.search([1, 1], k=2, page_token="").next_page_token
    for given in ("", token):
        with pytest.raises(InvalidArgument, match="leave it out, or offset") as caught:
            points.search([1, 1], k=2, offset=1, page_token=given)
        assert caught.value.violations[0].field == "offset"


def test_pages_go_as_far_as_offset_does(client: Client) -> None:
    points = client.create_collection("far", dim=1, metric="dot")
    points.upsert({"id": f"p{n:03}", "vector": [n]} for n in range(K_MAX + 50))
    token = points.search([1], k=K_MAX - 10, page_token="").next_page_token
    last = points.search([1], k=10, page_token=token)
    assert len(last) == 10
    refused(points, "the limit is 200", query=[1], k=11, page_token=token)
    assert last.next_page_token
    refused(points, "the limit is 200", query=[1], k=1, page_token=last.next_page_token)


def test_what_is_written_between_pages_moves_hits(client: Client) -> None:
    """As the protocol says: a page goes on after as many hits as were sent."""
    points = filled(client, "moving")
    first = points.search([1, 1], k=4, page_token="")
    assert ids(first) == ["p89", "p88", "p87", "p86"]
    points.upsert([{"id": "best", "vector": [9, 9]}])
    second = points.search([1, 1], k=4, page_token=first.next_page_token)
    assert ids(second) == ["p86", "p85", "p84", "p83"]
    assert second.commit_seq > first.commit_seq
    points.delete(["best", "p89", "p80"])
    third = points.search([1, 1], k=4, page_token=second.next_page_token)
    assert ids(third) == ["p79", "p78", "p77", "p76"]
