"""QueryBatch: answers as of single calls, errors in their places, limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveServer
from vecdb_client import (
    Client,
    Collection,
    F,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PointId,
    Search,
    SearchResult,
    TextField,
    VecdbError,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = {"embed.enabled": "false", "limits.queries": 8, "limits.message_bytes": 1 << 16}
    live = LiveServer(tmp_path_factory.mktemp("batch") / "data", settings).start()
    with live.client() as made:
        yield made
    assert live.stop() == 0


@pytest.fixture(scope="module")
def points(client: Client) -> Collection:
    made = client.create_collection("points", dim=2, text_fields=[TextField("title")])
    made.upsert(
        {
            "id": f"p{n}",
            "vector": [1, n],
            "payload": {"title": "sail" if n % 2 else "ship", "n": n, "long": "x" * 2_000},
        }
        for n in range(10)
    )
    return made


SEARCHES: list[Search] = [
    {"query": [1, 0], "k": 3},
    {"query": [0, 1], "k": 3},
    {"query": [0, 1], "k": 3, "filter": F("n") < 5, "with_payload": ["n"]},
    {"keyword": "ship", "k": 2, "offset": 1},
    {"query": PointId("p4"), "k": 2, "with_vectors": True},
    {"query": [1, 1], "keyword": "sail", "hybrid": True, "k": 4},
    {"query": [1, 1], "group": "title", "group_size": 2, "k": 2},
]


def shown(result: SearchResult) -> object:
    hits = [(hit.id, hit.score, hit.payload, hit.legs) for hit in result]
    groups = [(group.value, len(group.hits)) for group in result.groups]
    return hits, groups, result.plan, result.matched, result.complete, result.commit_seq


def test_answers_are_those_of_single_calls(points: Collection) -> None:
    found = points.search_batch(SEARCHES)
    assert [shown(one) for one in found] == [shown(points.search(**one)) for one in SEARCHES]
    assert all(one.timings.total_us > 0 for one in found)


def test_errors_stand_in_their_places(points: Collection) -> None:
    wrong: list[Search] = [
        {"query": [1, 2, 3]},
        {"query": PointId("nobody")},
        {"query": "a text"},
        {"query": [1, 0], "k": 20_000},
        {"query": [1, 0], "space": "no"},
    ]
    found = points.search_batch([*wrong, SEARCHES[0]], on_error="collect")
    *errors, right = found
    assert isinstance(right, SearchResult)
    assert len(right) == 3
    for one, error in zip(wrong, errors, strict=True):
        with pytest.raises(VecdbError) as alone:
            points.search(**one)
        assert isinstance(error, VecdbError)
        assert (type(error), error.code, error.reason) == (
            type(alone.value),
            alone.value.code,
            alone.value.reason,
        )
        assert error.message == alone.value.message
        assert error.violations == alone.value.violations
    with pytest.raises(NotFound, match="nobody"):
        points.search_batch([SEARCHES[0], wrong[1], wrong[0]])


def test_all_replies_together_fit_a_message(points: Collection) -> None:
    found = points.search_batch([{"query": [1, n], "k": 10} for n in range(5)], on_error="collect")
    kinds = [type(one) for one in found]
    assert kinds == [SearchResult] * 3 + [InvalidArgument] * 2
    assert all(one.reason == "LIMIT_EXCEEDED" for one in found if isinstance(one, VecdbError))


def test_batches_that_are_refused(client: Client, points: Collection) -> None:
    assert len(points.search_batch(SEARCHES[:1] * 8)) == 8
    for searches, why in ((SEARCHES[:1] * 9, "limits.queries"), ([], "no query")):
        with pytest.raises(InvalidArgument, match=why) as caught:
            points.search_batch(searches)
        assert caught.value.violations[0].field == "queries"
    with pytest.raises(NotFound):
        client.collection("nobody").search_batch(SEARCHES)
    with pytest.raises(InvalidArgument, match="takes no ids, n"):
        points.search_batch([{"query": [1, 0], "ids": 1, "n": 2}])
    with pytest.raises(InvalidArgument, match="a dict of the arguments"):
        points.search_batch([[1, 0]])


def test_texts_are_encoded_together(text_server: LiveServer) -> None:
    with text_server.client() as client:
        notes = client.create_collection("batched", model="all-minilm-l6-v2")
        texts = ["The kettle is on.", "Ships sail at dawn.", "A cat sleeps."]
        notes.upsert({"id": text, "text": text} for text in texts)
        searches: list[Search] = [
            {"query": text, "k": 1} for text in ("tea", "boats", "tea", "pet")
        ]
        found = notes.search_batch(searches)
        assert [one[0].id for one in found] == [texts[0], texts[1], texts[0], texts[2]]
        assert [shown(one) for one in found] == [shown(notes.search(**one)) for one in searches]
        (empty, right) = notes.search_batch([{"query": ""}, searches[0]], on_error="collect")
        assert isinstance(empty, InvalidArgument)
        assert isinstance(right, SearchResult)
        plain = client.create_collection("unbatched", dim=3)
        for one in plain.search_batch([{"query": "a"}, {"query": "b"}], on_error="collect"):
            assert isinstance(one, FailedPrecondition)
            assert one.reason == "NO_MODEL"
        client.delete_collection("batched")
        client.delete_collection("unbatched")
