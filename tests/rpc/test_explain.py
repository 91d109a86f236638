"""Explain: the answer of the same search, each leg as if alone, and every part searched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveServer
from vecdb.cli import main
from vecdb_client import Collection, F, InvalidArgument, Keyword, Mask, Near, Search, TextField

POINTS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a server whose collection lies in segments and in memory."""
    settings = {"embed.enabled": "false", "storage.tail_points": 16}
    live = LiveServer(tmp_path_factory.mktemp("explain") / "data", settings).start()
    with live.client() as client:
        points = client.create_collection("points", dim=2, text_fields=[TextField("title")])
        rows = [
            {
                "id": f"p{n}",
                "vector": [1, n],
                "payload": {"title": "[b]sail" if n % 2 else "ship", "n": n},
            }
            for n in range(POINTS)
        ]
        points.upsert(rows[:50])
        points.compact()
        points.upsert(rows[50:])
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def points(server: LiveServer) -> Iterator[Collection]:
    with server.client() as client:
        yield client.collection("points")


CHOSEN = (F("n") < 55) & (F("title") == "ship")
SEARCHES: list[Search] = [
    {"query": [1, 9], "k": 3},
    {"query": [1, 9], "k": 3, "filter": CHOSEN, "with_payload": Mask(exclude=["n"])},
    {"legs": [Near([1, 9], k=7), Keyword("ship", k=9, filter=F("n") >= 40)], "filter": CHOSEN},
    {"query": [1, 9], "k": 2, "group": "title", "group_size": 2, "filter": F("n") > 3},
    {"keyword": "nowhere"},
]


@pytest.mark.parametrize("search", SEARCHES)
def test_the_answer_is_that_of_the_search(points: Collection, search: Search) -> None:
    found, alone = points.explain(search).result, points.search(**search)
    assert [(hit.id, hit.score, hit.payload, hit.legs) for hit in found] == [
        (hit.id, hit.score, hit.payload, hit.legs) for hit in alone
    ]
    assert [group.value for group in found.groups] == [group.value for group in alone.groups]
    assert (found.plan, found.matched, found.warnings) == (
        alone.plan,
        alone.matched,
        alone.warnings,
    )


def test_legs_are_as_if_alone(points: Collection) -> None:
    explained = points.explain(SEARCHES[2])
    near, words = explained.legs
    alone = points.search([1, 9], k=7, filter=CHOSEN)
    assert [(hit.id, hit.score) for hit in near.hits] == [(hit.id, hit.score) for hit in alone]
    alone = points.search(keyword="ship", k=9, filter=CHOSEN & (F("n") >= 40))
    assert [(hit.id, hit.score) for hit in words.hits] == [(hit.id, hit.score) for hit in alone]
    assert (near.matched, words.matched) == (28, 8)
    assert words.plan.startswith("postings of ")
    assert all(hit.payload == {} for leg in explained.legs for hit in leg.hits)
    # What legs say of a hit is where it stands in their lists.
    for hit in explained.result:
        for said in hit.legs:
            assert explained.legs[said.leg].hits[said.rank - 1].id == hit.id


def test_parts_are_those_of_the_collection(points: Collection) -> None:
    (leg,) = points.explain({"query": [1, 9], "k": 3, "filter": CHOSEN}).legs
    stats = points.stats()
    sizes = {segment.number: segment.rows for segment in stats.segments} | {0: stats.tail_points}
    assert len(sizes) > 1
    assert {part.segment: part.rows for part in leg.parts} == sizes
    assert sum(part.matched for part in leg.parts) == leg.matched == 28
    assert all(part.plan == "exact scan of 1 part" for part in leg.parts)
    assert all(part.found == min(3, part.matched) for part in leg.parts)


def test_conditions_are_counted_by_themselves(points: Collection) -> None:
    conditions = points.explain({"query": [1, 9], "filter": CHOSEN}).conditions
    assert [one.matched for one in conditions] == [55, 30]
    assert conditions[0].condition["range"]["path"] == "n"
    (only,) = points.explain({"query": [1, 9], "filter": F("n").isin([1, 2])}).conditions
    assert only.matched == 2
    assert points.explain({"query": [1, 9]}).conditions == ()


def test_errors_are_those_of_the_search(points: Collection) -> None:
    with pytest.raises(InvalidArgument) as caught:
        points.explain({"query": [1, 2, 3]})
    assert caught.value.violations[0].field == "legs[0].near.vector"
    with pytest.raises(InvalidArgument, match="takes no ids"):
        points.explain({"ids": ["a"]})


def test_at_a_terminal(
    server: LiveServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["vecdb", "search", "[1, 9]", "-k", "2", "-w", "n<55", "--explain"]
    monkeypatch.setenv("VECDB_ADDRESS", server.address)
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    for part in ("snapshot", "condition", "legs[0]: exact scan of", "memory", "rank", "p9"):
        assert part in printed.out
    assert "segment 0" not in printed.out
    assert "[b]sail" in printed.out  # payloads are no markup
    monkeypatch.setattr("sys.argv", [*words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "give one" in " ".join(capsys.readouterr().err.split())
