"""Connections: restarts and Unix sockets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from vecdb_client.pb import points_pb2, points_pb2_grpc


class Counter(points_pb2_grpc.PointsServicer):
    def Count(self, request, context):
        return points_pb2.CountResponse(count=7)


def listen(address):
    rpc = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    points_pb2_grpc.add_PointsServicer_to_server(Counter(), rpc)
    port = rpc.add_insecure_port(address)
    rpc.start()
    return rpc, port


def test_unix_socket(tmp_path, connect):
    address = f"unix:{tmp_path}/vecdb.sock"
    rpc, _ = listen(address)
    with connect(address) as db:
        assert db.collection("c").count() == 7
    rpc.stop(0).wait()


def test_outlasts_a_restart(connect):
    rpc, port = listen("127.0.0.1:0")
    with connect(f"127.0.0.1:{port}", timeout_s=10) as db:
        books = db.collection("books")
        assert books.count() == 7
        rpc.stop(0).wait()
        again = []
        timer = threading.Timer(0.5, lambda: again.append(listen(f"127.0.0.1:{port}")[0]))
        timer.start()
        assert books.count() == 7  # unavailable at first, then answered
        timer.join()
    again[0].stop(0).wait()
