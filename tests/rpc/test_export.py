"""Export: every point once, over slow readers, restarts and kill -9, and what it refuses."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import grpc
import lmdb
import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import calls
from vecdb.rpc.pb import points_pb2 as pb
from vecdb.rpc.pb import points_pb2_grpc
from vecdb_client import (
    NO_RETRIES,
    Client,
    Collection,
    F,
    InvalidArgument,
    Mask,
    NotFound,
    Overloaded,
    Page,
    Unavailable,
    target,
)

pytestmark = pytest.mark.takes_turns

DIM = 3
WIDE = "x" * 10_000


# How much gRPC takes before it is read grows with how slow the machine is; not so without probes.
UNREAD = (("grpc.http2.bdp_probe", 0),)


@pytest.fixture(autouse=True)
def no_reading_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients take no more than what HTTP/2 lets them at first, 64 KiB a stream."""
    monkeypatch.setattr(target, "OPTIONS", [*target.OPTIONS, *UNREAD])


def filled(client: Client, name: str, count: int, **payload: object) -> Collection:
    points = client.create_collection(name, dim=DIM, metric="dot")
    points.upsert(
        {"id": f"{n:05}", "vector": [n, 1, 0], "payload": {"n": n, **payload}} for n in range(count)
    )
    return points


def ids(pages: Iterator[Page]) -> list[str]:
    return [point.id for page in pages for point in page.points]


@pytest.fixture(scope="module")
def many(server: LiveServer) -> Iterator[Collection]:
    with server.client() as client:
        yield filled(client, "exported", 5_500)
        client.delete_collection("exported")


def test_every_point_comes_once(many: Collection) -> None:
    assert [point.id for point in many.export()] == [f"{n:05}" for n in range(5_500)]
    pages = list(many.export_pages())
    assert max(len(page.points) for page in pages) <= 1_000
    assert len(pages) == 6
    assert [bool(page.next_page_token) for page in pages] == [True] * 5 + [False]
    parts = [{point.id for point in many.export(slice=(at, 3))} for at in range(3)]
    assert sorted(itertools.chain(*parts)) == [f"{n:05}" for n in range(5_500)]
    for filter, left in ((F("n") >= 5_000, 500), (F("n") == 7, 1), (F("none").exists(), 0)):
        assert len(list(many.export(filter))) == left


def test_what_is_asked_for_is_sent(many: Collection) -> None:
    whole = next(many.export(with_vectors=True))
    assert list(whole.vector or ()) == [0, 1, 0]
    assert whole.payload == {"n": 0}
    bare = next(many.export(with_payload=False))
    assert (bare.payload, bare.vectors, bare.version) == ({}, {}, whole.version)
    assert next(many.export(with_payload=Mask(exclude=["n"]))).payload == {}


def test_a_collection_without_points_says_its_state(client: Client) -> None:
    empty = client.create_collection("empty", dim=DIM)
    (page,) = empty.export_pages()
    assert (page.points, page.next_page_token, page.commit_seq) == ([], "", 0)


def test_it_goes_on_from_a_token_of_its_own_alone(many: Collection) -> None:
    filter = F("n") >= 0
    for own in ({}, {"filter": filter}, {"slice": (1, 2)}, {"filter": filter, "slice": (0, 2)}):
        pages = list(many.export_pages(**own))
        for at, page in enumerate(pages[:-1]):
            again = many.export_pages(**own, page_token=page.next_page_token)
            assert ids(again) == ids(iter(pages[at + 1 :]))
        for other in ({}, {"filter": F("n") > 0}, {"slice": (1, 2)}, {"slice": (1, 3)}):
            if other != own:
                with pytest.raises(InvalidArgument, match="not of this list") as caught:
                    next(many.export_pages(**other, page_token=pages[0].next_page_token))
                assert caught.value.violations[0].field == "page_token"
    with pytest.raises(InvalidArgument, match="not of this list"):
        next(many.export_pages(page_token="nonsense"))


def test_what_it_refuses(many: Collection, client: Client) -> None:
    with pytest.raises(NotFound):
        next(client.collection("nowhere").export())
    for arguments, field in (
        ({"filter": F.has_space("nowhere")}, "filter"),
        ({"with_payload": Mask()}, "payload_mask"),
        ({"slice": (2_000, 3_000)}, "slice"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            next(many.export(**arguments))
        assert caught.value.violations[0].field == field


def test_under_writes(client: Client) -> None:
    """Who is there throughout comes once, as it was or as it is."""
    points = filled(client, "busy", 6_000, wide="x" * 4_000)
    chosen = random.Random(1)
    seen: dict[str, int] = {}
    seqs = []
    for page in points.export_pages(F("n") >= 0):
        seqs.append(page.commit_seq)
        for point in page.points:
            assert point.id not in seen
            seen[point.id] = point.payload["n"]
        again = [f"{2 * chosen.randrange(3_000):05}" for _ in range(20)]
        points.upsert([{"id": name, "payload": {"n": 7}} for name in set(again)])
        points.upsert([{"id": f"{chosen.randrange(99):05}-new", "payload": {"n": 1}}])
        points.delete([f"{4 * chosen.randrange(1_500) + 1:05}"])
    assert {f"{n:05}" for n in range(6_000) if n % 4 != 1} <= seen.keys()
    assert all(seen[f"{n:05}"] == n for n in range(3, 6_000, 4))
    assert seqs == sorted(seqs)
    assert seqs[0] < seqs[-1]


# --- streams that are held up, broken, ended


@pytest.fixture
def large(make_server: MakeServer) -> LiveServer:
    """40 MB of points."""
    server = make_server()
    with server.client() as client:
        filled(client, "large", 4_000, wide=WIDE)
    return server


def transactions(server: LiveServer) -> list[str]:
    """Return the read transactions that are open."""
    found: list[str] = []
    stores = list(server.data.glob("collections/*/store"))
    assert stores
    for store in stores:
        with lmdb.open(str(store), readonly=True, create=False) as environment:
            lines = environment.readers().splitlines()[1:]
        found += [line for line in lines if not line.split()[-1].startswith("-")]
    return found


def memory(server: LiveServer) -> int:
    assert server.process is not None
    with open(f"/proc/{server.process.pid}/statm") as pages:
        return int(pages.read().split()[1]) * 4096


def test_a_slow_reader_holds_nothing(large: LiveServer) -> None:
    with large.client(retries=NO_RETRIES) as client:
        points = client.collection("large")
        before = memory(large)
        streams = [points.export_pages() for _ in range(20)]
        first = [next(stream) for stream in streams]
        threading.Event().wait(1.0)
        assert memory(large) - before < 20 * (16 << 20)  # of 40 MB each
        assert transactions(large) == []
        points.upsert([{"id": "meanwhile", "payload": {}}])
        assert points.count() == 4_001
        points.delete(["meanwhile"])
        found = ids(streams[0])
        assert len(found) + len(first[0].points) == 4_000
        for stream in streams:
            stream.close()
        wait_until(lambda: calls(large, "Export", "CANCELLED") == 19)
        assert calls(large, "Export", "OK") == 1


def test_streams_are_bounded_and_given_back(make_server: MakeServer) -> None:
    server = make_server(limits__streams=1)
    with server.client(retries=NO_RETRIES) as client:
        points = filled(client, "large", 2_000, wide=WIDE)
        stream = points.export_pages()
        next(stream)
        with pytest.raises(Overloaded, match=r"limits\.streams"):
            next(points.export())
        stream.close()

        def opens() -> bool:
            with suppress(Overloaded):
                return len(list(points.export())) == 2_000
            return False

        wait_until(opens)


def test_its_deadline_ends_it(large: LiveServer) -> None:
    with grpc.insecure_channel(large.address, UNREAD) as channel:
        export = points_pb2_grpc.PointsStub(channel).Export
        # Of a busy machine the first page may take a second.
        stream = export(pb.ExportRequest(collection="large"), timeout=4.0)
        next(stream)
        threading.Event().wait(4.0)
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert transactions(large) == []


def test_a_stop_does_not_wait_for_readers(make_server: MakeServer) -> None:
    server = make_server()
    with server.client(retries=NO_RETRIES) as client:
        stream = filled(client, "stop", 4_000, wide=WIDE).export_pages()
        next(stream)
        ended: list[int] = []
        thread = threading.Thread(target=lambda: ended.append(server.stop()))
        begun = time.monotonic()
        thread.start()
        threading.Event().wait(0.7)  # past the notice that the server gives
        with pytest.raises(Unavailable):
            list(stream)
        thread.join(30)
        assert ended == [0]
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("workers", [1, 2])
def test_the_client_goes_on_after_stops_and_kills(make_server: MakeServer, workers: int) -> None:
    server = make_server(server__workers=workers)
    server.listen = server.address  # the same port when it comes back
    with server.client(timeout_s=60) as client:
        points = filled(client, "long", 6_000, wide=WIDE)
        found: list[str] = []
        ends = {5: server.stop, 20: server.kill}
        for at, page in enumerate(points.export_pages(F("n") != 17)):
            found += [point.id for point in page.points]
            if at in ends:
                ends[at]()
                server.start()
        assert found == [f"{n:05}" for n in range(6_000) if n != 17]
        assert at > 20


def test_a_large_point_is_a_page_of_its_own(make_server: MakeServer) -> None:
    server = make_server(limits__message_bytes=64 << 10)
    with server.client() as client:
        points = client.create_collection("large", dim=DIM, metric="dot")
        sizes = [10, 15_000, 10, 60_000, 10, 10, 50_000, 50_000, 9_000, 9_000]
        points.upsert(
            ({"id": f"{n}", "payload": {"x": "x" * size}} for n, size in enumerate(sizes)),
            batch_size=1,
        )
        parts = [ids(iter([page])) for page in points.export_pages()]
        assert parts == [["0", "1", "2"], ["3"], ["4", "5"], ["6"], ["7"], ["8"], ["9"]]


def test_records_that_no_index_can_tell(client: Client) -> None:
    """A filter that reads payloads reads those of a page, not all for each."""
    points = client.create_collection("nested", dim=DIM, metric="dot")
    points.upsert(
        {"id": f"{n:05}", "vector": np.ones(DIM), "payload": {"a": [{"b": n % 3, "c": n}]}}
        for n in range(4_000)
    )
    filter = F("a").has_element((F("b") == 1) & (F("c") < 3_000))
    assert [p.id for p in points.export(filter)] == [f"{n:05}" for n in range(1, 3_000, 3)]
