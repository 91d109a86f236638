"""Starting where one must not, and stopping while clients are at it."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer, addresses_of, begin, run_vecdb
from vecdb.rpc.pb import points_pb2, points_pb2_grpc, search_pb2, search_pb2_grpc
from vecdb.sockets import is_loopback
from vecdb_client import Client

pytestmark = pytest.mark.takes_turns


def refusal(*flags: str) -> str:
    """Return the one line that a server ends with that must not start."""
    ended = run_vecdb("serve", *flags)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("error:") == 1
    return " ".join(ended.stderr[ended.stderr.index("error:") :].split())


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[dict[str, object]]:
    """Run a server with flags of its own; yield what its address file says."""
    file = folder / "addresses.json"
    words = ["serve", "--data", str(folder / "data"), "--address-file", str(file), *flags]
    words += ["--set", "embed.enabled=false"]
    process = begin(words, folder / "log")
    try:
        yield addresses_of(process, file, folder / "log")
    finally:
        process.terminate()
        assert process.wait(60) == 0


# --- refused


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_server_on_the_same_data(server: LiveServer, workers: int) -> None:
    flags = ("--data", str(server.data), "--set", f"server.workers={workers}")
    said = refusal(*flags, "--listen", "127.0.0.1:0", "--metrics", "")
    assert "another process writes to" in said
    assert str(server.data) in said.replace(" ", "")
    with server.client() as client:
        assert client.health() == "SERVING"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("server", [1, 2], indirect=True, scope="module")
def test_a_second_server_on_the_same_port(server: LiveServer, workers: int, tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path / "d"), "--set", f"server.workers={workers}")
    said = refusal(*flags, "--listen", server.address, "--metrics", "")
    assert f"cannot listen on {server.address}" in said
    assert "--listen" in said


def test_a_second_server_on_the_same_http_port(server: LiveServer, tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0", "--metrics")
    said = refusal(*flags, server.metrics)
    assert f"cannot listen on {server.metrics} for metrics" in said
    assert "server.metrics" in said


OUTSIDE = ["0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:6363", "example.com:1"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("address", OUTSIDE)
@pytest.mark.parametrize("flag", ["listen", "metrics"])
def test_an_address_that_others_reach(
    tmp_path: Path, flag: str, address: str, workers: int
) -> None:
    other = {"listen": "metrics", "metrics": "listen"}[flag]
    flags = ("--data", str(tmp_path / "d"), f"--{flag}", address, f"--{other}", "127.0.0.1:0")
    said = refusal(*flags, "--set", f"server.workers={workers}")
    assert f"server.{flag}" in said
    assert "--insecure" in said
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_embeddings_that_others_reach(tmp_path: Path, workers: int) -> None:
    flags = ("--data", str(tmp_path / "d"), "--set", f"server.workers={workers}")
    said = refusal(*flags, "--set", "embed.http=0.0.0.0:0")
    assert "embed.http = 0.0.0.0:0 can be reached by other machines" in said


@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "127.example.com", "localhost.example"])
def test_a_name_that_only_looks_like_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_a_name_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x"])
@pytest.mark.parametrize("flag", ["listen", "metrics"])
def test_an_address_that_is_none(tmp_path: Path, flag: str, address: str) -> None:
    said = refusal("--data", str(tmp_path / "d"), f"--{flag}", address)
    assert address in said
    assert "host:port" in said


@pytest.mark.parametrize("workers", [1, 2])
def test_a_data_directory_that_cannot_be(tmp_path: Path, workers: int) -> None:
    (tmp_path / "file").write_text("not a directory")
    flags = ("--data", str(tmp_path / "file"), "--set", f"server.workers={workers}")
    said = refusal(*flags, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    assert "file" in said


def test_workers_need_a_port_to_share(tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path / "d"), "--set", "server.workers=2")
    said = refusal(*flags, "--listen", f"unix:{tmp_path / 's'}")
    assert "server.workers = 2" in said
    assert not (tmp_path / "d").exists()


# --- started


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_that_others_reach_if_one_says_so(tmp_path: Path, workers: int) -> None:
    flags = ("--listen", "0.0.0.0:0", "--metrics", "", "--insecure")
    flags += ("--set", f"server.workers={workers}")
    with serving(tmp_path, *flags) as addresses:
        assert addresses["metrics"] == ""
        port = str(addresses["grpc"]).rpartition(":")[2]
        with Client(f"127.0.0.1:{port}") as client:
            assert client.health() == "SERVING"


def test_a_unix_socket(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 's'}"
    with serving(tmp_path, "--listen", address, "--metrics", "127.0.0.1:0") as addresses:
        assert addresses["grpc"] == address
        with Client(address) as client:
            assert client.health() == "SERVING"


# --- SIGTERM under load


def write_call(channel: grpc.Channel, worker: int) -> Callable[[int], None]:
    stub = points_pb2_grpc.PointsStub(channel)

    def call(n: int) -> None:
        request = points_pb2.WriteRequest(collection="load")
        put = request.ops.add().put
        put.id = f"{worker}-{n}"
        put.vectors[""].f32 = struct.pack("<2f", worker + 1, n + 1)
        assert stub.Write(request, timeout=30).results[0].code == 0

    return call


def query_call(channel: grpc.Channel, worker: int) -> Callable[[int], None]:
    stub = search_pb2_grpc.SearchStub(channel)
    request = search_pb2.QueryRequest(collection="load", k=3)
    request.legs.add().near.vector.f32 = struct.pack("<2f", 1, 2)

    def call(n: int) -> None:
        assert stub.Query(request, timeout=30).complete

    return call


def test_stopped_under_load_calls_succeed_or_are_unavailable(make_server: MakeServer) -> None:
    server = make_server()
    with server.client() as client:
        client.create_collection("load", dim=2)
    codes: list[grpc.StatusCode] = []
    done = [0] * 6
    warm = threading.Barrier(len(done) + 1)

    def run(worker: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(server.address, options=options) as channel:
            call = (write_call if worker % 2 else query_call)(channel, worker)
            try:
                while True:
                    call(done[worker])
                    done[worker] += 1
                    if done[worker] == 20:
                        warm.wait(60)
            except grpc.RpcError as error:
                codes.append(error.code())

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(done))]
    for thread in threads:
        thread.start()
    warm.wait(60)
    assert server.stop() == 0
    for thread in threads:
        thread.join(60)
    assert codes == [grpc.StatusCode.UNAVAILABLE] * len(done)
    assert "Traceback" not in server.tail()
    server.start()
    with server.client() as client:
        stored = {point.id for point in client.collection("load").list()}
    for worker in range(1, len(done), 2):  # all that was acknowledged is there
        assert {f"{worker}-{n}" for n in range(done[worker])} <= stored
