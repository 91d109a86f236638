"""Connections: restarts, Unix sockets, and the README's examples as they stand."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from vecdb_client import Client
from vecdb_client.pb import points_pb2, points_pb2_grpc

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


class Counter(points_pb2_grpc.PointsServicer):
    def Count(self, request, context):
        return points_pb2.CountResponse(count=7)


def listen(address):
    rpc = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    points_pb2_grpc.add_PointsServicer_to_server(Counter(), rpc)
    port = rpc.add_insecure_port(address)
    rpc.start()
    return rpc, port


def test_unix_socket(tmp_path):
    address = f"unix:{tmp_path}/vecdb.sock"
    rpc, _ = listen(address)
    with Client(address) as db:
        assert db.collection("c").count() == 7
    rpc.stop(0).wait()


def test_outlasts_a_restart():
    rpc, port = listen("127.0.0.1:0")
    with Client(f"127.0.0.1:{port}", timeout_s=10) as db:
        books = db.collection("books")
        assert books.count() == 7
        rpc.stop(0).wait()
        again = []
        timer = threading.Timer(0.5, lambda: again.append(listen(f"127.0.0.1:{port}")[0]))
        timer.start()
        assert books.count() == 7  # unavailable at first, then answered
        timer.join()
    again[0].stop(0).wait()


@pytest.mark.parametrize("example", EXAMPLES)
def test_readme(example, server, capsys):
    assert len(EXAMPLES) == 6
    code = example.replace('Client("127.0.0.1:6363"', f'Client("{server.address}"')
    code = code.replace("Client()", f'Client("{server.address}")')
    with Client(server.address) as db:
        db.collection("books").upsert([{"id": "dune", "vector": [1, 0, 0]}])
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out
