"""Recommend, order_by, boosts, mmr, text conditions on the wire: right, wrong, and at a limit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import grpc
import pytest

from tests.live import LiveServer
from vecdb.rpc.pb import common_pb2, ranking_pb2, search_pb2, search_pb2_grpc
from vecdb.rpc.pb.common_pb2 import Filter, Floats, Vector
from vecdb_client import (
    Boost,
    Collection,
    Decay,
    F,
    InvalidArgument,
    Keyword,
    Mmr,
    Near,
    NotFound,
    OrderBy,
    PointId,
    Prefer,
    Recommend,
    Space,
    SparseSpace,
    TextField,
    VecdbError,
)
from vecdb_client.status import error_of

NAME = "ranked"
SETTINGS = {
    "embed.enabled": "false",
    "limits.k": 1_200,
    "limits.filter_nodes": 20,
    "limits.text_bytes": 1_000,
}
PLACES = [(52.5, 13.4), (48.86, 2.35), (40.7, -74.0)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("ranking") / "data", dict(SETTINGS)).start()
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def ranked(server: LiveServer) -> Iterator[Collection]:
    """Twelve points on a quarter of a circle: p0 is (1, 0), p11 (0, 1); the last has no vector."""
    with server.client() as client:
        made = client.create_collection(
            NAME,
            spaces={"": Space(dim=2), "s": SparseSpace()},
            text_fields=[TextField("title", "english")],
        )
        made.upsert(
            {
                "id": f"p{n}",
                "vector": [math.cos(n * math.pi / 22), math.sin(n * math.pi / 22)],
                "payload": {
                    "n": n,
                    "title": f"the {'ships sailing' if n % 2 else 'ship sails'} at {n}",
                    "at": f"2024-01-{n + 1:02}T00:00:00Z",
                    "place": dict(zip(("lat", "lon"), PLACES[n % 3], strict=True)),
                },
            }
            for n in range(12)
        )
        made.upsert([{"id": "bare", "payload": {"title": "anchors"}}])
        yield made


@pytest.fixture(scope="module")
def stub(server: LiveServer, ranked: Collection) -> Iterator[search_pb2_grpc.SearchStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield search_pb2_grpc.SearchStub(channel)


def ids(found) -> list[str]:
    return [hit.id for hit in found]


# --- recommend


def test_examples_by_id_are_not_hits(ranked: Collection) -> None:
    leg = Recommend([PointId("p0"), PointId("p4")])
    found = ids(ranked.search(legs=[leg], k=4))
    assert (found[0], set(found)) == ("p2", {"p1", "p2", "p3", "p5"})
    leg = Recommend([[1, 0], PointId("p4")], [PointId("p11")])
    assert "p4" not in ids(ranked.search(legs=[leg], k=12))
    assert "p0" in ids(ranked.search(legs=[leg], k=12))  # it was given as numbers
    only = Recommend([PointId("p0")], filter=F("n") >= 5)
    assert ids(ranked.search(legs=[only], k=3)) == ["p5", "p6", "p7"]
    assert ids(ranked.search(legs=[only], k=3, filter=F("n") != 6)) == ["p5", "p7", "p8"]


def test_the_average_leads_away_from_negatives(ranked: Collection) -> None:
    leg = Recommend([PointId("p5")], [PointId("p11")])
    (best,) = ranked.search(legs=[leg], k=1)
    assert best.id == "p1"  # at 8 degrees: 2 * p5 - p11 is at 12
    assert best.distance == pytest.approx(1 - best.score, abs=1e-6)


def test_best_score(ranked: Collection) -> None:
    leg = Recommend([PointId("p1"), PointId("p10")], [PointId("p6")], "best_score")
    found = ranked.search(legs=[leg], k=12)
    good = [hit.id for hit in found if hit.score > 0]
    assert set(good) == {"p0", "p2", "p3", "p9", "p11"}
    assert found.hits[0].score == pytest.approx(1 - 0.5 / (1 + math.cos(math.pi / 22)))
    assert ids(found)[-2:] == ["p5", "p7"]
    assert "best score beside 2 and 1 examples" in found.plan
    # A leg like any other.
    legs = [leg, Keyword("anchor")]
    assert "bare" in ids(ranked.search(legs=legs, k=3))


def test_examples_that_are_not_there_are_all_named(ranked: Collection) -> None:
    leg = Recommend([PointId("no"), PointId("p1")], [PointId("nor"), PointId("bare")])
    with pytest.raises(NotFound, match=r"'no', 'nor', 'bare \(no vector\)'") as caught:
        ranked.search(legs=[Near([1, 0]), leg])
    assert caught.value.violations[0].field == "legs[1].recommend"


def test_texts_are_encoded_together(text_server: LiveServer) -> None:
    with text_server.client() as client:
        notes = client.create_collection("recommended", model="all-minilm-l6-v2")
        texts = {"cat": "A cat sleeps", "kitten": "Kittens nap", "ship": "Ships sail at dawn"}
        notes.upsert({"id": name, "text": text} for name, text in texts.items())
        for strategy in ("average", "best_score"):
            leg = Recommend(["a sleepy pet", "cats"], ["a harbour"], strategy)
            found = notes.search(legs=[leg])
            assert ids(found)[-1] == "ship"
            assert found.timings.embed_us > 0
        client.delete_collection("recommended")


# --- order, boost, mmr


def test_in_order(ranked: Collection) -> None:
    found = ranked.search(legs=[OrderBy("n", descending=True)], k=3)
    assert [(hit.id, hit.score, hit.distance) for hit in found] == [
        ("p11", -1, 1),
        ("p10", -2, 2),
        ("p9", -3, 3),
    ]
    assert ids(ranked.search(legs=[OrderBy("at")], k=2, offset=5)) == ["p5", "p6"]
    newest_near = [Near([1, 0], k=6), OrderBy("at", descending=True, weight=2)]
    assert ids(ranked.search(legs=newest_near, k=1)) == ["p5"]


def test_boosts(ranked: Collection) -> None:
    boost = Boost([Prefer(F("n") == 7, 1.0), Prefer(F("n").between(0, 1), -2.0)])
    found = ranked.search([1, 0], k=12, boost=boost)
    assert (ids(found)[0], ids(found)[-2:]) == ("p7", ["p0", "p1"])
    first = found.hits[0]
    assert first.score == pytest.approx(1 + math.cos(7 * math.pi / 22))
    assert [(leg.leg, leg.rank) for leg in first.legs] == [(0, 8)]
    assert first.legs[0].score == pytest.approx(first.score - 1)
    assert first.distance == pytest.approx(1 - first.legs[0].score)
    # Past the candidates nobody looks.
    assert "p7" not in ids(ranked.search([1, 0], k=2, boost=Boost(boost.adjustments, candidates=5)))
    left = ranked.search([1, 0], k=12, boost=boost, min_score=1.0)
    assert ids(left) == ["p7"]


@pytest.mark.parametrize(
    ("decay", "best"),
    [
        (Decay("n", 5, scale=1, weight=10), "p5"),
        (Decay("n", 5, scale=1, weight=-10, curve="linear", offset=1), "p0"),
        (Decay("at", date(2024, 1, 9), scale=timedelta(days=1), weight=10), "p8"),
        (Decay("at", datetime(2024, 1, 3, tzinfo=UTC), scale=3600.0, weight=10, curve="exp"), "p2"),
        (Decay("at", "2024-01-04T00:00:00Z", timedelta(hours=1), 10), "p3"),
        (Decay("place", PLACES[1], scale=1_000, weight=10), "p1"),
        (Decay("nothing", 5, scale=1, weight=10), "p0"),
    ],
)
def test_decays(ranked: Collection, decay: Decay, best: str) -> None:
    found = ranked.search([1, 0], k=3, boost=Boost([decay]))
    assert found.hits[0].id == best
    assert "boosted over the best 100" in found.plan


def test_mmr(ranked: Collection) -> None:
    assert ids(ranked.search([1, 0], k=3, mmr=Mmr(1.0))) == ["p0", "p1", "p2"]
    spread = ranked.search([1, 0], k=3, mmr=Mmr(0.0))
    assert ids(spread)[:2] == ["p0", "p11"]
    assert spread.hits[1].score == pytest.approx(0, abs=1e-6)
    assert ids(ranked.search([1, 0], k=2, mmr=Mmr(0.0, candidates=4))) == ["p0", "p3"]
    # A fused list, compared in a space of its own.
    both = ranked.search(legs=[Near([1, 0]), Keyword("ship")], k=2, mmr=Mmr(0.0))
    assert ids(both)[1] == "p11"
    assert both.plan.endswith("; mmr over the best 100")


# --- text conditions


def test_text_conditions(ranked: Collection) -> None:
    title = F("title")
    assert ranked.count(title.matches("ship")) == 12
    assert ranked.count(title.matches("ships ANCHOR 99")) == 13
    assert ranked.count(title.matches("sail 3", "all")) == 1
    assert ranked.count(title.matches("ship sails at 4", "phrase")) == 1
    assert ranked.count(title.matches("sails ship", "phrase")) == 0
    assert ranked.count(~title.matches("anchors")) == 12
    assert ranked.count(title.matches("...")) == 0
    found = ranked.search([1, 0], filter=title.matches("4 6", "any") & (F("n") > 4))
    assert (ids(found), found.matched) == (["p6"], 1)


def test_a_text_condition_on_another_field(ranked: Collection) -> None:
    for ask in (ranked.count, lambda chosen: ranked.search([1, 0], filter=chosen)):
        with pytest.raises(InvalidArgument, match="no text field 'n': the collection has 'title'"):
            ask(F("n").matches("a"))


# --- what is wrong, and what is just right


def numbers(*values: float) -> Vector:
    return Vector(floats=Floats(values=values))


NEAR = search_pb2.Leg(near=search_pb2.Near(vector=numbers(1, 0)))
ONE = numbers(1, 0)
EXISTS = Filter(exists=common_pb2.Path(path="n"))


def query(*legs: search_pb2.Leg, k: int = 5, **more: object) -> search_pb2.QueryRequest:
    return search_pb2.QueryRequest(collection=NAME, k=k, legs=legs or [NEAR], **more)


def recommend(*positive: Vector, strategy: int = 1, **more: object) -> search_pb2.QueryRequest:
    message = ranking_pb2.Recommend(positive=positive, strategy=strategy, **more)
    return query(search_pb2.Leg(recommend=message))


def boost(*adjustments: ranking_pb2.Adjustment, candidates: int = 0, **more: object):
    return query(boost=ranking_pb2.Boost(adjustments=adjustments, candidates=candidates), **more)


def by_filter(weight: float = 1.0, chosen: Filter = EXISTS) -> ranking_pb2.Adjustment:
    return ranking_pb2.Adjustment(filter=chosen, weight=weight)


def by_decay(**changed: object) -> ranking_pb2.Adjustment:
    sound = {"path": "n", "curve": 1, "number": 1.0, "scale": 1.0}
    return ranking_pb2.Adjustment(decay=ranking_pb2.Decay(**{**sound, **changed}), weight=1)


def mmr(weight: float | None = 0.5, k: int = 5, **more: object) -> search_pb2.QueryRequest:
    return query(k=k, mmr=ranking_pb2.Mmr(**({} if weight is None else {"lambda": weight}), **more))


def matching(**changed: object) -> search_pb2.QueryRequest:
    sound = {"path": "title", "text": "a", "mode": 1}
    return query(filter=Filter(text=common_pb2.MatchesText(**{**sound, **changed})))


INVALID, OVER, BAD_FILTER = "INVALID_ARGUMENT", "LIMIT_EXCEEDED", "BAD_FILTER"
LEG = "legs[0].recommend"
FIRST = "boost.adjustments[0]"
INSIDE = Filter(nested=common_pb2.Nested(path="a", filter=matching().filter))
BAD = {
    "no-positive": (recommend(negative=[ONE]), INVALID, f"{LEG}.positive", "at least one"),
    "examples-over": (recommend(*[ONE] * 60, negative=[ONE] * 41), OVER, LEG, "101"),
    "no-strategy": (recommend(ONE, strategy=0), INVALID, f"{LEG}.strategy", "best_score"),
    "example-short": (
        recommend(ONE, negative=[ONE, numbers(1)]),
        *("DIMENSION_MISMATCH", f"{LEG}.negative[1]", "2 dimensions"),
    ),
    "example-empty": (recommend(ONE, Vector()), INVALID, f"{LEG}.positive[1]", "numbers"),
    "example-sparse": (
        recommend(Vector(sparse={"indices": [1], "values": [1]})),
        *(INVALID, f"{LEG}.positive[0]", "dense"),
    ),
    "example-no-text": (recommend(Vector(text="")), INVALID, f"{LEG}.positive[0]", "empty"),
    "example-no-id": (recommend(Vector(point="")), INVALID, LEG),
    "recommend-sparse": (recommend(ONE, space="s"), INVALID, f"{LEG}.space", "sparse"),
    "recommend-space": (recommend(ONE, space="no"), INVALID, f"{LEG}.space", "'no'"),
    "order-no-path": (
        query(search_pb2.Leg(order_by={"path": ""})),
        *(INVALID, "legs[0].order_by.path", "512"),
    ),
    "boost-empty": (boost(), INVALID, "boost.adjustments", "empty"),
    "boosts-over": (boost(*[by_filter()] * 21), OVER, "boost.adjustments", "21"),
    "boost-nothing": (boost(ranking_pb2.Adjustment(weight=1)), INVALID, FIRST, "filter or decay"),
    "boost-candidates": (boost(by_filter(), candidates=4), INVALID, "boost.candidates", "the 5"),
    "boost-candidates-over": (
        boost(by_filter(), candidates=1_201),
        *(OVER, "boost.candidates", "1200"),
    ),
    "boost-fewer-than-mmr": (
        boost(by_filter(), candidates=50, mmr=mmr().mmr),
        *(INVALID, "boost.candidates", "the 100"),
    ),
    "weight-0": (boost(by_filter(0)), INVALID, f"{FIRST}.weight", "another number than 0"),
    "weight-nan": (boost(by_filter(math.nan)), INVALID, f"{FIRST}.weight", "nan"),
    "weight-over": (boost(by_filter(-1e7)), INVALID, f"{FIRST}.weight", "1000000"),
    "boost-filter": (boost(by_filter(chosen=Filter())), BAD_FILTER, f"{FIRST}.filter", "empty"),
    "boost-space": (
        boost(by_filter(chosen=Filter(has_space={"space": "no"}))),
        *(INVALID, f"{FIRST}.filter", "'no'"),
    ),
    "no-curve": (boost(by_decay(curve=0)), INVALID, f"{FIRST}.decay.curve", "gauss"),
    "no-path": (boost(by_decay(path="")), INVALID, f"{FIRST}.decay.path", "512"),
    "scale-0": (boost(by_decay(scale=0)), INVALID, f"{FIRST}.decay.scale", "above 0"),
    "scale-inf": (boost(by_decay(scale=math.inf)), INVALID, f"{FIRST}.decay.scale", "inf"),
    "offset-below-0": (boost(by_decay(offset=-1)), INVALID, f"{FIRST}.decay.offset", "-1"),
    "decay-0": (boost(by_decay(decay=0)), INVALID, f"{FIRST}.decay.decay", "more than 0"),
    "decay-1": (boost(by_decay(decay=1)), INVALID, f"{FIRST}.decay.decay", "less than 1"),
    "origin-nan": (boost(by_decay(number=math.nan)), INVALID, f"{FIRST}.decay.number", "finite"),
    "origin-no-time": (boost(by_decay(time="noon")), INVALID, f"{FIRST}.decay.time", "RFC 3339"),
    "origin-no-place": (
        boost(by_decay(place={"lat": 91, "lon": 0})),
        *(INVALID, f"{FIRST}.decay.place", "latitude"),
    ),
    "origin-half-a-place": (
        boost(by_decay(place={"lat": 1})),
        *(INVALID, f"{FIRST}.decay.place", "longitude"),
    ),
    "no-lambda": (mmr(None), INVALID, "mmr.lambda", "0 to 1"),
    "lambda-over": (mmr(1.1), INVALID, "mmr.lambda", "0 to 1"),
    "lambda-nan": (mmr(math.nan), INVALID, "mmr.lambda", "0 to 1"),
    "mmr-k-over": (mmr(k=1_001), OVER, "mmr", "1000", "1001"),
    "mmr-candidates": (mmr(candidates=4), INVALID, "mmr.candidates", "the 5"),
    "mmr-candidates-over": (mmr(candidates=1_001), OVER, "mmr.candidates", "1000"),
    "mmr-space": (mmr(space="no"), INVALID, "mmr.space", "'no'"),
    "mmr-sparse": (mmr(space="s"), INVALID, "mmr.space", "sparse"),
    "text-empty": (matching(text=""), BAD_FILTER, "filter", "empty"),
    "text-no-mode": (matching(mode=0), INVALID, "filter", "phrase"),
    "text-long": (matching(text="a" * 1_001), OVER, "filter", "1001"),
    "text-many-words": (matching(text="a " * 20), OVER, "filter", "20 conditions"),
    "text-field": (matching(path="n"), INVALID, "filter", "'title'"),
    "text-nested": (query(filter=INSIDE), BAD_FILTER, "filter", "'text' is of points"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_asked(stub: search_pb2_grpc.SearchStub, bad: tuple) -> None:
    request, reason, field, *words = bad
    with pytest.raises(grpc.RpcError) as caught:
        stub.Query(request, timeout=30)
    error: VecdbError = error_of(caught.value, "")
    assert (error.code, error.reason) == (INVALID, reason)
    assert [one.field for one in error.violations] == [field]
    for word in words:
        assert word in error.message


def test_opposite_examples_have_no_average(stub: search_pb2_grpc.SearchStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Query(recommend(ONE, numbers(-1, 0)), timeout=30)
    assert error_of(caught.value, "").violations[0].field == LEG


AT_LIMIT = {
    "examples": recommend(*[ONE] * 50, negative=[numbers(0, 1)] * 50, strategy=2),
    "boosts": boost(*[by_filter()] * 20),
    "boost candidates": boost(by_filter(-1e6), candidates=5),
    "most candidates": boost(by_filter(1e-30), candidates=1_200),
    "decay": boost(by_decay(decay=1e-9, offset=1e300, scale=1e-300)),
    "mmr": mmr(0.0, candidates=1_000),
    "mmr k": mmr(1.0, candidates=5),
    "text": matching(text="the " * 19),
    "long text": matching(text="the" + " " * 997),
}


@pytest.mark.parametrize("request_", AT_LIMIT.values(), ids=AT_LIMIT.keys())
def test_what_just_can(stub: search_pb2_grpc.SearchStub, request_) -> None:
    assert len(stub.Query(request_, timeout=30).hits) == 5


def test_payloads_are_as_they_were(ranked: Collection) -> None:
    """What a boost reads is sent as it is."""
    found = ranked.search([1, 0], k=1, boost=Boost([Decay("n", 0, 1, 1.0)]))
    assert json.loads(json.dumps(found.hits[0].payload))["n"] == 0
