"""A server of several processes: each of them answers, and all of them the same."""

from __future__ import annotations

import http.client
import json
import os
import signal

import grpc
import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import START_S, LiveServer, alive, wait_until
from tests.rpc.nodes import (
    WORKERS,
    calls,
    connections,
    health,
    mapped,
    metrics,
    processes,
    whole,
)
from vecdb.rpc.pb import points_pb2, points_pb2_grpc, search_pb2, search_pb2_grpc

pytestmark = pytest.mark.takes_turns

DIM = 4


# --- who answers


def test_both_workers_serve(node: LiveServer) -> None:
    with node.client() as client:
        client.create_collection("c", dim=DIM).upsert([{"id": "a", "vector": [1] * DIM}])
        for _ in range(100):
            client.collection("c").count()
        assert len(client._transport._connections) == WORKERS
    with connections(node) as channels:
        assert len(channels) == WORKERS
        for channel in channels.values():
            count = points_pb2_grpc.PointsStub(channel).Count
            assert count(points_pb2.CountRequest(collection="c"), timeout=10).count == 1
            for service in ("", "vecdb.v1.Points", "vecdb.v1.Search", "vecdb.v1.Collections"):
                assert health(channel, service) == "SERVING"
            assert health(channel, "vecdb.v1.Models") == "NOT_SERVING"


def test_a_write_is_seen_by_all_at_once(make_server: MakeServer) -> None:
    server = make_server(
        server__workers=WORKERS, storage__tail_points=16, storage__map_bytes=1 << 20
    )
    with connections(server) as channels, server.client() as client:
        stubs = [points_pb2_grpc.PointsStub(channel) for channel in channels.values()]
        for generation in range(3):  # a collection of the same name is another one
            points = client.create_collection("c", dim=DIM)
            for number in range(120):
                request = points_pb2.WriteRequest(collection="c")
                put = request.ops.add().put
                put.id, put.payload = f"p{number}", json.dumps({"x": "y" * 3000}).encode()
                put.vectors[""].f32 = np.full(DIM, generation + 1, "<f4").tobytes()
                written = stubs[number % WORKERS].Write(request, timeout=30)
                for channel in channels.values():
                    query = search_pb2.QueryRequest(collection="c", k=200)
                    query.legs.add().near.vector.f32 = np.ones(DIM, "<f4").tobytes()
                    query.min_commit_seq = written.commit_seq
                    query.without_payload = True
                    found = search_pb2_grpc.SearchStub(channel).Query(query, timeout=30)
                    assert len(found.hits) == number + 1
                    assert found.commit_seq == written.commit_seq
            wait_until(lambda points=points: points.stats().segments)
            client.delete_collection("c")
            for stub in stubs:
                with pytest.raises(grpc.RpcError) as caught:
                    stub.Count(points_pb2.CountRequest(collection="c"), timeout=30)
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_readers_let_go_of_what_is_gone(make_server: MakeServer) -> None:
    server = make_server(server__workers=WORKERS, storage__tail_points=16)
    _, workers = processes(server)
    with server.client() as client:
        points = client.create_collection("c", dim=DIM)
        rng = np.random.default_rng(1)

        def write_and_search(first: int) -> None:
            ids = [str(first + n) for n in range(60)]
            points.upsert(ids=ids, vectors=rng.normal(size=(60, DIM)).astype(np.float32))
            wait_until(lambda: points.stats().tail_points < 16)
            for _ in range(60):
                assert len(points.search([1] * DIM, k=3)) == 3

        write_and_search(0)
        assert all(f"{server.data}/collections/" in mapped(pid) for pid in workers)
        # Replaced while nobody searches: an idle worker must not keep the old files' space.
        write_and_search(60)
        numbers = {segment.number for segment in points.stats().segments}
        points.upsert(ids=[str(n) for n in range(120)], vectors=rng.normal(size=(120, DIM)))
        wait_until(lambda: numbers - {segment.number for segment in points.stats().segments})
        gone = numbers - {segment.number for segment in points.stats().segments}
        old = [f"/segments/{number}/" for number in gone]
        wait_until(lambda: not any(part in mapped(pid) for part in old for pid in workers))
        client.delete_collection("c")
        wait_until(lambda: not any("/collections/" in mapped(pid) for pid in workers))
    assert list((server.data / "collections").iterdir()) == []


def test_a_damaged_segment_that_a_worker_finds_is_rebuilt(make_server: MakeServer) -> None:
    server = make_server(server__workers=WORKERS, storage__tail_points=16)
    with server.client() as client:
        points = client.create_collection("c", dim=DIM)
        vectors = np.random.default_rng(1).normal(size=(100, DIM)).astype(np.float32)
        points.upsert(ids=[str(n) for n in range(100)], vectors=vectors)
        wait_until(lambda: points.stats().segments)
        (before,) = (segment.number for segment in points.stats().segments[:1])
        (manifest,) = server.data.glob(f"collections/*/segments/{before}/manifest.json")
        manifest.write_bytes(manifest.read_bytes()[:-1] + b"x")
        # Those that have it open do not look at it again; one that opens it does.
        _, workers = processes(server)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: not alive(pid))
        wait_until(lambda: whole(server))
        for number in range(100):
            assert [hit.id for hit in points.search(vectors[number], k=1)] == [str(number)]
        wait_until(lambda: before not in {s.number for s in points.stats().segments})
    assert list(server.data.glob(f"collections/*/quarantine/{before}-*"))


# --- what is counted


def test_metrics_add_up_and_never_go_back(node: LiveServer) -> None:
    with connections(node) as channels, node.client() as client:
        client.create_collection("c", dim=DIM)
        stubs = [points_pb2_grpc.PointsStub(channel) for channel in channels.values()]
        request = points_pb2.CountRequest(collection="c")
        for number, stub in enumerate(stubs):
            for _ in range(10 + number):
                stub.Count(request, timeout=10)
        assert calls(node, "Count") == 21
        before = metrics(node)
        assert calls(node, "Create") == 1  # forwarded, and counted once
        assert before["vecdb_collections"] == 1
        assert 'vecdb_build_info{version="' in "".join(before)
        _, workers = processes(node)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: not alive(pid))
        wait_until(lambda: whole(node))
        assert calls(node, "Count") == 21
        assert client.collection("c").count() == 0
        assert calls(node, "Count") == 22
        after = metrics(node)
        gone = {
            name
            for name, value in before.items()
            if name.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))
            and after[name] < value
        }
        assert gone == set()
        assert after['vecdb_process_restarts_total{role="worker"}'] == WORKERS


def test_histograms_are_in_order(node: LiveServer) -> None:
    with connections(node) as channels, node.client() as client:
        client.create_collection("c", dim=DIM)
        for channel in channels.values():
            stub = points_pb2_grpc.PointsStub(channel)
            stub.Count(points_pb2.CountRequest(collection="c"), timeout=10)
    connection = http.client.HTTPConnection(node.metrics, timeout=30)
    accept = "application/openmetrics-text; version=1.0.0"
    connection.request("GET", "/metrics", headers={"Accept": accept})
    body = connection.getresponse().read().decode()
    connection.close()
    assert body.endswith("# EOF\n")
    buckets = [
        float(line.rpartition(" ")[2])
        for line in body.splitlines()
        if line.startswith("grpc_server_handling_seconds_bucket") and 'method="Count"' in line
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == WORKERS


# --- text


def test_texts_are_encoded_for_every_worker(make_server: MakeServer) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    server = make_server(embed=True, server__workers=WORKERS)
    with connections(server) as channels, server.client() as client:
        for channel in channels.values():
            wait_until(lambda c=channel: health(c, "vecdb.v1.Models") == "SERVING", START_S)
        points = client.create_collection("texts", model="all-minilm-l6-v2")
        points.upsert([{"id": "cat", "text": "A cat sleeps"}, {"id": "sun", "text": "Hot summer"}])
        for _ in range(40):
            assert next(iter(points.search("a kitten naps", k=1))).id == "cat"
        assert len(client._transport._connections) == WORKERS
        writer, _ = processes(server)
        os.kill(writer, signal.SIGKILL)  # and the embedding worker with it
        for channel in channels.values():
            wait_until(lambda c=channel: health(c, "vecdb.v1.Models") == "NOT_SERVING")
        vector = [1.0] * 384
        assert len(points.search(vector, k=2)) == 2
        for channel in channels.values():
            wait_until(lambda c=channel: health(c, "vecdb.v1.Models") == "SERVING", START_S)
        for _ in range(40):
            assert next(iter(points.search("a kitten naps", k=1))).id == "cat"
