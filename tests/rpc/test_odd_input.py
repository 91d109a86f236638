"""Input that is odd and yet right: stored as it came, returned byte for byte, read by filters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveServer
from vecdb_client import Client, Collection, F, PointId, Space

PAYLOAD_BYTES = 1 << 18
SETTINGS = {"embed.enabled": "false", "limits.payload_bytes": PAYLOAD_BYTES}
NOWHERE = F("n") == 12_345
"""A filter that every payload is read for, and none matches."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("odd") / "data", dict(SETTINGS)).start()
    yield live
    assert live.stop() == 0


@pytest.fixture
def points(client: Client) -> Iterator[Collection]:
    """An empty collection with a space of each metric."""
    spaces = {"": Space(2), "dot": Space(2, "dot"), "euclid": Space(2, "euclid")}
    spaces["manhattan"] = Space(2, "manhattan")
    yield client.create_collection("odd", spaces=spaces)
    client.delete_collection("odd")


ODD_IDS = {
    "256 bytes": "x" * 256,
    "256 bytes of emoji": "🦆" * 64,
    "right to left": "שלום\u200f عالم",
    "newline and tab": "a\nb\tc\r\n",
    "combining": "e\u0301 is not \u00e9",
    "slash and dots": "../../etc/passwd",
    "control": "\x01\x7f\x1b[31m",
    "one byte": "\x01",
    "spaces": "  ",
    "noncharacter": "\uffff\U0010ffff",
}


@pytest.mark.parametrize("name", ODD_IDS.values(), ids=ODD_IDS.keys())
def test_an_odd_id_comes_back_byte_for_byte(points: Collection, name: str) -> None:
    points.upsert([{"id": name, "vector": [1, 2]}, {"id": "other", "vector": [2, 1]}])
    got = points.get([name, "nobody"])
    assert [point.id for point in got.points] == [name]
    assert got.missing == ["nobody"]
    assert {point.id for point in points.list(page_size=1)} == {name, "other"}
    assert points.search(PointId(name), k=1)[0].id == name
    assert points.delete(name).found == 1
    assert points.count() == 1


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


ODD_PAYLOADS = {
    "empty object": b"{}",
    "no payload": b"",
    "whitespace": b'\n { "a" :\t1 } \r\n',
    "duplicate keys": b'{"n":1,"n":2}',
    "escapes": b'{"\\u006e\\n":"\\ud83e\\udd86\\/"}',
    "lone surrogate escape": b'{"\\ud800":"\\udfff"}',
    "numbers": b'{"n":[1e5,-0,-0.0,1E-400,1e400,-1e400,9223372036854775808]}',
    "an integer past int64": b'{"n":123456789012345678901234567890}',
    "unicode": '{"Ключ":"🦆é"}'.encode(),
    "empty key": b'{"":{"":[[],{}]}}',
    "many keys": b"{%s}" % b",".join(b'"k%d":%d' % (n, n) for n in range(3_000)),
    "a long key": b'{"%s":1}' % (b"k" * 100_000),
    "100 deep": deep(100),
    "at the limit": b'{"a":"%s"}' % (b"x" * (PAYLOAD_BYTES - 8)),
    "an integer past any double": b'{"n":[%s,-%s]}' % (b"9" * 400, b"9" * 4_000),
}


@pytest.mark.parametrize("content", ODD_PAYLOADS.values(), ids=ODD_PAYLOADS.keys())
def test_an_odd_payload_comes_back_byte_for_byte(points: Collection, content: bytes) -> None:
    points.upsert([{"id": "odd", "vector": [1, 2], "payload": content}])
    assert points.get("odd").points[0].payload_bytes == content
    assert next(points.list()).payload_bytes == content
    assert points.search([1, 2])[0].payload_bytes == content
    assert points.count(NOWHERE) == 0
    assert points.search([1, 2], filter=~NOWHERE)[0].payload_bytes == content


def test_what_is_accepted_can_be_filtered_however_deep(points: Collection) -> None:
    # The parser's own limit depends on the caller's stack: what a write takes, reads must take.
    given = [{"id": f"{n}", "vector": [1, 2], "payload": deep(n)} for n in range(900, 1_020)]
    report = points.upsert(given, on_error="collect")
    assert {failure.reason for failure in report.failures} <= {"BAD_PAYLOAD"}
    assert points.count(NOWHERE) == 0
    assert points.count(~NOWHERE) == report.written


def test_an_odd_payload_does_not_outlive_its_point(points: Collection) -> None:
    points.upsert([{"id": "odd", "vector": [1, 2], "payload": ODD_PAYLOADS["many keys"]}])
    points.delete("odd")
    points.upsert([{"id": "plain", "vector": [1, 2], "payload": {"n": 12_345}}])
    assert points.count(NOWHERE) == 1


@pytest.mark.parametrize("name", ["an integer past any double", "100 deep", "many keys"])
def test_a_segment_is_built_of_odd_payloads(make_server, name: str) -> None:
    live = make_server(storage__tail_points=16)
    with live.client() as client:
        points = client.create_collection("odd", dim=2)
        points.upsert([{"id": "odd", "vector": [1, 2], "payload": ODD_PAYLOADS[name]}])
        points.upsert({"id": f"{n}", "vector": [n, 1], "payload": {"n": n}} for n in range(200))
        while not points.stats().segments:  # the test's own time limit ends this
            assert "maintenance failed" not in (log := live.log.read_text())
            assert "upkeep of" not in log
        assert points.count(F("n") == 7) == 1
        assert points.count(NOWHERE) == 0


@pytest.mark.parametrize("space", ["dot", "euclid", "manhattan"])
def test_a_zero_vector_is_fine_where_length_counts(points: Collection, space: str) -> None:
    points.upsert([{"id": "zero", "vectors": {space: [0, 0]}}, {"id": "none"}])
    (hit,) = points.search([0, 0], space=space)
    assert (hit.id, hit.score, hit.distance) == ("zero", 0, 0)


@pytest.mark.parametrize("space", ["", "dot", "euclid", "manhattan"])
@pytest.mark.parametrize("number", [1e-45, 1e-38, 7e17, -7e17])
def test_the_smallest_and_the_largest_vectors(points: Collection, space: str, number) -> None:
    points.upsert([{"id": "edge", "vectors": {space: [number, number]}}])
    (hit,) = points.search([number, number], space=space)
    assert hit.id == "edge"
    assert hit.score == pytest.approx({"": 1, "dot": 2 * number**2}.get(space, 0), rel=1e-5)
