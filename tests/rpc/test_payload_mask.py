"""Parts of payloads, by every call that sends some."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveServer
from vecdb_client import Client, Collection, InvalidArgument, Mask, TextField
from vecdb_client.types import WithPayload

PAYLOAD = {"title": "sail", "by": [{"name": "ann", "mail": "a@b"}, {"mail": "c@d"}], "n": 1}
MASKS: list[tuple[WithPayload, dict]] = [
    (True, PAYLOAD),
    (False, {}),
    ("title", {"title": "sail"}),
    (["n", "by.name"], {"by": [{"name": "ann"}], "n": 1}),
    (Mask(exclude=["by.mail", "n"]), {"title": "sail", "by": [{"name": "ann"}, {}]}),
    (Mask(["by"], "by.mail"), {"by": [{"name": "ann"}, {}]}),
    (["nothing"], {}),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = {"embed.enabled": "false", "limits.mask_paths": 3}
    live = LiveServer(tmp_path_factory.mktemp("masks") / "data", settings).start()
    with live.client() as made:
        yield made
    assert live.stop() == 0


@pytest.fixture(scope="module")
def points(client: Client) -> Collection:
    made = client.create_collection("points", dim=2, text_fields=[TextField("title")])
    made.upsert(
        [
            {"id": "p", "vector": [1, 0], "payload": PAYLOAD},
            {"id": "q", "vector": [0, 1]},
        ]
    )
    return made


@pytest.mark.parametrize(("mask", "expected"), MASKS)
def test_every_call_sends_the_same_parts(points: Collection, mask, expected) -> None:
    found = [
        points.get("p", with_payload=mask).points[0],
        next(points.list(with_payload=mask)),
        next(change for change in points.watch(0, with_payload=mask) if change.points).points[0],
        points.search([1, 0], with_payload=mask)[0],
        points.search([1, 0], keyword="sail", hybrid=True, with_payload=mask)[0],
        points.search([1, 0], group="n", with_payload=mask).groups[0].hits[0],
    ]
    assert [point.id for point in found] == ["p"] * 6
    assert [point.payload for point in found] == [expected] * 6
    assert points.get("q", with_payload=mask).points[0].payload == {}


@pytest.mark.parametrize(
    ("mask", "reason", "field", "why"),
    [
        (Mask(), "INVALID_ARGUMENT", "payload_mask", "empty"),
        (Mask("", "a"), "INVALID_ARGUMENT", "payload_mask.include[0]", "1 to 512"),
        (Mask("a", ["b", "x" * 513]), "INVALID_ARGUMENT", "payload_mask.exclude[1]", "got 513"),
        (Mask(["a", "b"], ["c", "d"]), "LIMIT_EXCEEDED", "payload_mask", "limits.mask_paths"),
    ],
)
def test_masks_that_are_refused(points: Collection, mask, reason, field, why) -> None:
    for ask in (
        lambda: points.get("p", with_payload=mask),
        lambda: points.page(with_payload=mask),
        lambda: next(points.watch(0, with_payload=mask)),
        lambda: points.search([1, 0], with_payload=mask),
    ):
        with pytest.raises(InvalidArgument, match=why) as caught:
            ask()
        assert caught.value.reason == reason
        assert caught.value.violations[0].field == field


def test_masks_at_their_limit(points: Collection) -> None:
    mask = Mask(["x" * 512, "n"], ["title"])
    assert points.get("p", with_payload=mask).points[0].payload == {"n": 1}


def test_a_mask_of_another_type_is_refused_before_sending(points: Collection) -> None:
    for wrong in (1, [1], Mask(include=3)):
        with pytest.raises(InvalidArgument, match="with_payload"):
            points.get("p", with_payload=wrong)
