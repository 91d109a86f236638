"""Each kind of call has its share of a process: bulk writes do not starve queries."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, wait_until
from tests.rpc.nodes import calls, metrics
from vecdb.config import LimitsConfig
from vecdb.rpc.pb import (
    admin_pb2,
    collections_pb2,
    documents_pb2,
    models_pb2,
    points_pb2,
    search_pb2,
)
from vecdb.rpc.shares import Kind, Share, kind_of, shares_of
from vecdb_client import NO_RETRIES, Client, F, Overloaded

DIM = 64
SECONDS = 30.0
PATHS = {
    Kind.QUERY: "/vecdb.v1.Search/Query",
    Kind.WRITE: "/vecdb.v1.Points/Write",
    Kind.EMBED: "/vecdb.v1.Models/Embed",
    Kind.ADMIN: "/vecdb.v1.Collections/Create",
}
SERVICES = [
    (module, name)
    for module in (
        admin_pb2,
        collections_pb2,
        documents_pb2,
        models_pb2,
        points_pb2,
        search_pb2,
    )
    for name in module.DESCRIPTOR.services_by_name
]


def test_each_method_has_the_kind_that_its_service_suggests() -> None:
    of: dict[str, set[Kind]] = {}
    for module, name in SERVICES:
        service = module.DESCRIPTOR.services_by_name[name]
        of[name] = {kind_of(f"/{service.full_name}/{method.name}") for method in service.methods}
    assert of["Search"] == {Kind.QUERY}
    assert of["Admin"] == {Kind.ADMIN}
    assert of["Points"] >= {Kind.QUERY, Kind.WRITE}
    assert of["Models"] == {Kind.EMBED, Kind.ADMIN}
    assert of["Collections"] == {Kind.QUERY, Kind.ADMIN}
    assert {kind_of(path): path for path in PATHS.values()} == PATHS
    assert kind_of("/vecdb.v1.Nobody/Knows") is Kind.ADMIN


def test_a_share_counts_what_is_open() -> None:
    share = Share(Kind.WRITE, 2)
    assert [share.take() for _ in range(3)] == [True, True, False]
    share.give_back()
    assert share.open == 1
    assert share.take()
    assert "limits.write_calls" in str(share.taken())
    assert shares_of(LimitsConfig(write_calls=7))[Kind.WRITE].most == 7


@contextmanager
def held(channel: grpc.Channel, path: str, count: int) -> Iterator[None]:
    """Hold so many calls of a method open for a block: they never send their message."""
    go_on = threading.Event()
    grpc.channel_ready_future(channel).result(SECONDS)  # from here on calls come in their order

    def nothing() -> Iterator[bytes]:
        go_on.wait(SECONDS)
        yield from ()

    with ExitStack() as stack:
        for _ in range(count):
            call = channel.stream_unary(path).future(nothing())
            stack.callback(call.cancel)
        try:
            yield
        finally:
            go_on.set()


def hears_no(channel: grpc.Channel, path: str) -> bool:
    """Return whether one more call of a method is refused, and says which setting it is."""
    try:
        channel.unary_unary(path)(b"", timeout=SECONDS)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            return False
        trailers = dict(error.trailing_metadata())
        assert "vecdb-request-id" in trailers
        assert b"google.rpc.RetryInfo" in trailers["grpc-status-details-bin"]
        return f"raise limits.{kind_of(path)}_calls" in error.details()
    return False


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_that_has_its_share_leaves_the_others_theirs(
    make_server: MakeServer, kind: Kind, workers: int
) -> None:
    settings = {f"limits__{one}_calls": 4 for one in Kind}
    server = make_server(server__workers=workers, server__threads=2, **settings)
    with (
        server.client(retries=NO_RETRIES) as client,
        grpc.insecure_channel(server.address) as channel,
    ):
        points = client.create_collection("c", dim=2)
        points.upsert([{"id": "a", "vector": [1, 2]}])
        with held(channel, PATHS[kind], 4):
            assert hears_no(channel, PATHS[kind])
            now = metrics(server)
            assert now[f'vecdb_calls_open{{kind="{kind}"}}'] == 4
            assert now[f'vecdb_calls_open_max{{kind="{kind}"}}'] == 4 * workers
            others = {path for one, path in PATHS.items() if one is not kind}
            assert not [path for path in others if hears_no(channel, path)]
            if kind is Kind.WRITE:
                assert points.search([1, 2], k=1, filter=F("x") != 1)[0].id == "a"
            if kind is Kind.QUERY:
                points.upsert([{"id": "b", "vector": [1, 2]}])
        wait_until(lambda: not hears_no(channel, PATHS[kind]))
        assert points.count() >= 1
        _, service, method = PATHS[kind].split("/")
        assert service
        assert calls(server, method, "RESOURCE_EXHAUSTED") > 0
        assert metrics(server)['vecdb_call_errors_total{reason="OVERLOADED"}'] > 0


def test_bulk_writes_do_not_starve_queries(make_server: MakeServer) -> None:
    server = make_server(limits__write_calls=4, server__threads=4)
    vectors = np.random.default_rng(1).normal(size=(200, DIM)).astype(np.float32)
    with server.client(retries=NO_RETRIES) as client:
        points = client.create_collection("c", dim=DIM)
        points.upsert(ids=[f"{at}" for at in range(200)], vectors=vectors)
        with _writers(server, vectors, 12) as refusals:
            wait_until(lambda: refusals.value)  # they have their share, and want more
            took = []
            for _ in range(50):
                begun = time.perf_counter()
                # With a filter: not one of the quick ones, which have threads of their own anyway.
                found = points.search(vectors[0], k=10, filter=~(F("n") == 0), timeout_s=SECONDS)
                assert len(found) == 10
                took.append(time.perf_counter() - begun)
    took.sort()
    assert took[25] < 5.0, f"p50 {took[25]:.3f} s, worst {took[-1]:.3f} s"


class _Count:
    value = 0


@contextmanager
def _writers(server: LiveServer, vectors: np.ndarray, threads: int) -> Iterator[_Count]:
    """Write as fast as can be, for a block; yield how many were refused by then."""
    done, refused = threading.Event(), _Count()

    def write(client: Client, writer: int) -> None:
        points = client.collection("c")
        rounds = 0
        while not done.is_set():
            rounds += 1
            ids = [f"{writer}-{rounds % 2}-{at}" for at in range(len(vectors))]
            try:
                points.upsert(ids=ids, vectors=vectors, payloads=[{"n": rounds}] * len(ids))
            except Overloaded as error:
                refused.value += "limits.write_calls" in str(error)
                done.wait(0.02)

    with ExitStack() as stack:
        clients = [stack.enter_context(server.client(retries=NO_RETRIES)) for _ in range(threads)]
        running = [threading.Thread(target=write, args=(c, n)) for n, c in enumerate(clients)]
        for one in running:
            one.start()
        try:
            yield refused
        finally:
            done.set()
            for one in running:
                one.join()
