"""Multi-dense spaces and MaxSim, through the server: written, read, searched, used to re-rank."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vecdb_client import (
    Boost,
    Client,
    Collection,
    F,
    FailedPrecondition,
    InvalidArgument,
    Keyword,
    MaxSim,
    MultiDenseSpace,
    Near,
    NotFound,
    Patch,
    PointId,
    Prefer,
    Space,
    TextField,
    WriteFailed,
)

DIM = 6
SPACES = {"": Space(dim=3), "tokens": MultiDenseSpace(DIM), "raw": MultiDenseSpace(DIM, "dot")}


def several(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


def maxsim(query: np.ndarray, vectors: np.ndarray, metric: str = "cosine") -> float:
    if metric == "cosine":
        query = query / np.linalg.norm(query, axis=1, keepdims=True)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((query.astype(np.float64) @ vectors.T.astype(np.float64)).max(1).sum())


@pytest.fixture
def collection(client: Client, request: pytest.FixtureRequest) -> Iterator[Collection]:
    name = f"multi-{abs(hash(request.node.name))}"
    made = client.create_collection(name, spaces=SPACES, text_fields=[TextField("text")])
    yield made
    client.delete_collection(name)


def filled(collection: Collection, count: int = 30) -> dict[str, np.ndarray]:
    points = {f"p{n}": several(n, 1 + n % 5) for n in range(count)}
    for n, (name, vectors) in enumerate(points.items()):
        point = {"id": name, "payload": {"n": n, "text": f"word{n % 3} all"}, "vector": [1, n, 0]}
        collection.upsert([{**point, "vectors": {"tokens": vectors, "raw": vectors}}])
    return points


def best(
    points: dict[str, np.ndarray], query: np.ndarray, k: int, metric: str = "cosine"
) -> list[tuple[str, float]]:
    scores = {name: maxsim(query, vectors, metric) for name, vectors in points.items()}
    return sorted(scores.items(), key=lambda one: -one[1])[:k]


def test_the_collection_says_what_its_spaces_are(client: Client, collection: Collection) -> None:
    assert collection.info().spaces["tokens"] == MultiDenseSpace(DIM, "cosine")
    assert collection.info().spaces["raw"] == MultiDenseSpace(DIM, "dot")
    with pytest.raises(InvalidArgument, match="dim is 1 to") as raised:
        client.create_collection("bad", spaces={"t": MultiDenseSpace(1 << 20)})
    assert raised.value.violations[0].field == "collection.spaces['t'].multi_dense.dim"


def test_vectors_come_back_as_they_were_written(collection: Collection) -> None:
    vectors = several(1, 4) * 7
    collection.upsert([{"id": "a", "vectors": {"tokens": vectors}}, {"id": "none"}])
    collection.upsert(ids=["b", "c"], vectors={"tokens": [vectors[:2], vectors[2:].tolist()]})
    (point,) = collection.get("a", with_vectors=True).points
    np.testing.assert_array_equal(np.asarray(point.multi["tokens"]), vectors)
    assert (point.vectors, dict(point.sparse)) == ({}, {})
    listed = {one.id: one.multi for one in collection.list(with_vectors=True)}
    np.testing.assert_array_equal(listed["b"]["tokens"], vectors[:2])
    np.testing.assert_array_equal(listed["c"]["tokens"], vectors[2:])
    assert dict(listed["none"]) == {}
    (hit, *_) = collection.search(vectors[:1], space="tokens", with_vectors=True)
    np.testing.assert_array_equal(np.asarray(hit.multi["tokens"])[0], vectors[0])
    assert collection.count(F.has_space("tokens")) == 3


def test_a_patch_replaces_them_and_removes_them(collection: Collection) -> None:
    points = filled(collection, 5)
    collection.write([Patch("p1", vectors={"tokens": several(99, 3)})])
    collection.write([Patch("p2", vectors={"tokens": None})])
    points["p1"] = several(99, 3)
    del points["p2"]
    result = collection.search(several(99, 2), space="tokens")
    assert [hit.id for hit in result] == [name for name, _ in best(points, several(99, 2), 10)]
    (left,) = collection.get("p2", with_vectors=True).points
    assert list(left.multi) == ["raw"]


@pytest.mark.parametrize(("space", "metric"), [("tokens", "cosine"), ("raw", "dot")])
@pytest.mark.parametrize("exact", [False, True])
def test_a_search_scores_by_maxsim(
    collection: Collection, space: str, metric: str, exact: bool
) -> None:
    points = filled(collection)
    query = several(1_000, 3) * 4
    wanted = best(points, query, 5, metric)
    result = collection.search(query, space=space, k=5, exact=exact)
    assert [hit.id for hit in result] == [name for name, _ in wanted]
    assert [hit.score for hit in result] == pytest.approx([s for _, s in wanted], rel=1e-5)
    assert [hit.distance for hit in result] == [-hit.score for hit in result]
    assert result.complete
    assert "maxsim of all 30" in result.plan if exact else "likeliest 30" in result.plan
    odd = {name: vectors for name, vectors in points.items() if int(name[1:]) % 2}
    chosen = F("n").isin(range(1, 30, 2))
    filtered = collection.search(query, space=space, k=5, exact=exact, filter=chosen)
    assert [hit.id for hit in filtered] == [name for name, _ in best(odd, query, 5, metric)]


def test_pages_and_min_score(collection: Collection) -> None:
    points = filled(collection)
    query = several(7, 4)
    wanted = best(points, query, 30)
    page = collection.search(query, space="tokens", k=4, offset=3)
    assert [hit.id for hit in page] == [name for name, _ in wanted[3:7]]
    least = wanted[2][1] - 1e-4
    found = collection.search(query, space="tokens", k=30, min_score=least)
    assert [hit.id for hit in found] == [name for name, _ in wanted[:3]]


def test_near_to_a_stored_point(collection: Collection) -> None:
    points = filled(collection)
    wanted = best(points, points["p9"], 3)
    found = collection.search(PointId("p9"), space="tokens", k=3)
    assert [hit.id for hit in found] == [name for name, _ in wanted]
    collection.upsert([{"id": "bare"}])
    with pytest.raises(NotFound, match="no vector in space 'tokens'"):
        collection.search(PointId("bare"), space="tokens")


def test_a_leg_among_others(collection: Collection) -> None:
    points = filled(collection)
    query = several(3, 2)
    legs = [Near(query, "tokens"), Keyword("word1")]
    result = collection.search(legs=legs, k=30)
    first = best(points, query, 30)
    of_leg = {leg.rank: hit.id for hit in result for leg in hit.legs if leg.leg == 0}
    assert [of_leg[rank] for rank in range(1, 31)] == [name for name, _ in first]


def test_rerank_orders_candidates_of_other_legs(collection: Collection) -> None:
    points = filled(collection)
    collection.upsert([{"id": "bare", "payload": {"text": "word1 word1 word1"}}])
    query = several(3, 2)
    result = collection.search(keyword="word1", k=4, rerank=MaxSim(query, "tokens"))
    of_word = {name: v for name, v in points.items() if int(name[1:]) % 3 == 1}
    wanted = best(of_word, query, 4)
    assert [hit.id for hit in result] == [name for name, _ in wanted]
    assert [hit.score for hit in result] == pytest.approx([s for _, s in wanted], rel=1e-5)
    assert all(hit.distance == -hit.score for hit in result)
    assert result.complete
    assert result.warnings == ("1 candidates have no vectors in space 'tokens', and were left out",)
    assert "maxsim over the best 100" in result.plan
    alone = {
        h.id: (h.score, at) for at, h in enumerate(collection.search(keyword="word1", k=20), 1)
    }
    for hit in result:
        (leg,) = hit.legs
        assert (leg.leg, leg.score, leg.rank) == (0, *alone[hit.id])


def test_rerank_of_fused_legs_by_few_candidates(collection: Collection) -> None:
    filled(collection)
    query = several(3, 2)
    legs = [Near([1, 3, 0]), Keyword("all")]
    fused = collection.search(legs=legs, k=6)
    again = collection.search(legs=legs, k=3, rerank=MaxSim(query, "tokens", candidates=6))
    points = {h.id: several(int(h.id[1:]), 1 + int(h.id[1:]) % 5) for h in fused}
    assert [h.id for h in again] == [name for name, _ in best(points, query, 3)]
    assert {leg.leg for h in again for leg in h.legs} == {0, 1}
    near = collection.search(legs=legs, k=3, rerank=MaxSim(PointId("p4"), "tokens", 6))
    assert "fused by rrf" in near.plan


def test_groups_of_reranked_candidates(collection: Collection) -> None:
    """Those of the list that the rerank makes, and no others."""
    points = filled(collection)
    collection.upsert([{"id": "bare", "payload": {"text": "bare all"}}])
    query = several(3, 2)
    for legs in ([Keyword("all")], [Near([1, 3, 0]), Keyword("all")]):
        rerank = MaxSim(query, "tokens", 12)
        flat = collection.search(legs=legs, k=12, rerank=rerank)
        scores = [maxsim(query, points[hit.id]) for hit in flat]
        assert scores == sorted(scores, reverse=True)
        expected: dict[str, list[str]] = {}
        for hit in flat:
            expected.setdefault(hit.payload["text"], []).append(hit.id)
        for k, size, offset in ((2, 1, 0), (4, 3, 0), (2, 4, 1)):
            asked = {"k": k, "offset": offset, "group": "text", "group_size": size}
            found = collection.search(legs=legs, rerank=rerank, **asked)
            wanted = [(value, ids[:size]) for value, ids in expected.items()][offset : offset + k]
            assert [(g.value, [hit.id for hit in g.hits]) for g in found.groups] == wanted
            assert found.warnings == flat.warnings
            assert "maxsim over the best 12" in found.plan


def test_a_group_is_boosted_after_a_rerank(collection: Collection) -> None:
    points = filled(collection)
    query = several(3, 2)
    boost = Boost([Prefer(F("text") == "word1 all", 100.0)], candidates=30)
    found = collection.search(
        keyword="all", k=3, rerank=MaxSim(query, "tokens"), boost=boost, group="text", group_size=2
    )
    assert found.groups[0].value == "word1 all"
    of_word = {name: v for name, v in points.items() if int(name[1:]) % 3 == 1}
    assert [hit.id for hit in found.groups[0].hits] == [name for name, _ in best(of_word, query, 2)]
    assert {group.value for group in found.groups} == {f"word{n} all" for n in range(3)}


def test_candidates_are_enough_for_all_hits_of_groups(collection: Collection) -> None:
    filled(collection, 5)
    grouped = {"k": 4, "offset": 1, "group": "text", "group_size": 3}
    rerank = MaxSim(several(1, 2), "tokens", 15)
    collection.search(keyword="all", rerank=rerank, **grouped)
    collection.search(keyword="all", boost=Boost([Prefer(F("n") == 1, 1)], 15), **grouped)
    with pytest.raises(InvalidArgument, match="candidates is 14, fewer than the 15"):
        collection.search(keyword="all", rerank=MaxSim(several(1, 2), "tokens", 14), **grouped)
    with pytest.raises(InvalidArgument, match="14 candidates, expected at least the 15"):
        collection.search(keyword="all", boost=Boost([Prefer(F("n") == 1, 1)], 14), **grouped)


def test_a_boost_adds_to_what_a_rerank_says(collection: Collection) -> None:
    points = filled(collection)
    query = several(3, 2)
    boost = Boost([Prefer(F("n") == 4, 100.0)])
    found = collection.search(keyword="word1", k=3, rerank=MaxSim(query, "tokens"), boost=boost)
    assert found[0].id == "p4"
    assert found[0].score == pytest.approx(100 + maxsim(query, points["p4"]), rel=1e-5)
    with pytest.raises(InvalidArgument, match="candidates is 50, fewer than the 100"):
        collection.search(keyword="x", rerank=MaxSim(query, "tokens", 50), boost=boost)


def test_what_cannot_be_written(collection: Collection) -> None:
    bad = np.ones((2, DIM), np.float32)
    bad[1, 2] = np.nan
    zero = np.ones((3, DIM), np.float32)
    zero[2] = 0
    cases = {
        "DIMENSION_MISMATCH": np.ones((2, DIM + 1)),
        "LIMIT_EXCEEDED": np.ones((1_025, DIM)),
        "NOT_FINITE": bad,
        "ZERO_VECTOR": zero,
        "INVALID_ARGUMENT": np.ones(DIM),
    }
    report = collection.upsert(
        [{"id": reason, "vectors": {"tokens": value}} for reason, value in cases.items()],
        on_error="collect",
    )
    assert [one.reason for one in report.failures] == list(cases)
    messages = {one.id: one.message for one in report.failures}
    assert "expects vectors of 6 dimensions, got 7" in messages["DIMENSION_MISMATCH"]
    assert "1025 vectors, the limit is 1024" in messages["LIMIT_EXCEEDED"]
    assert "vector 1 " in messages["NOT_FINITE"]
    assert "vector 2 " in messages["ZERO_VECTOR"]
    assert "takes vectors (n, 6)" in messages["INVALID_ARGUMENT"]
    most = np.ones((1_024, DIM), np.float32)
    collection.upsert([{"id": "most", "vectors": {"tokens": most, "raw": zero}}])
    with pytest.raises(WriteFailed, match="'' is dense: it takes 3 numbers, not several"):
        collection.upsert([{"id": "x", "vector": np.ones((2, 3))}])
    with pytest.raises(WriteFailed, match="takes vectors"):
        collection.upsert([{"id": "x", "vectors": {"tokens": "a text"}}])


def test_what_cannot_be_asked(collection: Collection) -> None:
    filled(collection, 3)
    with pytest.raises(InvalidArgument, match="expects vectors of 6 dimensions, got 5") as raised:
        collection.search(np.ones((2, 5)), space="tokens")
    assert raised.value.violations[0].field == "legs[0].near.vector"
    with pytest.raises(InvalidArgument, match="takes vectors"):
        collection.search([1.0] * DIM, space="tokens")
    with pytest.raises(InvalidArgument, match="takes vectors"):
        collection.search("a text", space="tokens")
    with pytest.raises(InvalidArgument, match="dense: it takes 3 numbers, not several"):
        collection.search(np.ones((2, 3)))
    with pytest.raises(InvalidArgument, match="fewer than the 5") as raised:
        collection.search(keyword="all", k=5, rerank=MaxSim(several(1, 2), "tokens", 4))
    assert raised.value.violations[0].field == "rerank.candidates"
    with pytest.raises(InvalidArgument, match="candidates is 10001"):
        collection.search(keyword="all", rerank=MaxSim(several(1, 2), "tokens", 10_001))
    with pytest.raises(InvalidArgument, match="'' is dense") as raised:
        collection.search(keyword="all", rerank=MaxSim(several(1, 2)))
    assert raised.value.violations[0].field == "rerank.max_sim.space"
    with pytest.raises(InvalidArgument, match="got 7") as raised:
        collection.search(keyword="all", rerank=MaxSim(np.ones((1, 7)), "tokens"))
    assert raised.value.violations[0].field == "rerank.max_sim.vector"


def test_what_cannot_be_changed(client: Client, collection: Collection) -> None:
    with pytest.raises(FailedPrecondition, match="kind is multi_dense"):
        client.update_collection(collection.name, spaces={"tokens": Space(dim=DIM)})
