"""A port that is held: processes of one node share it, and nobody else has it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from vecdb.errors import Unavailable
from vecdb.sockets import PATH_BYTES, HeldPort, private_folder


@pytest.fixture
def held() -> Iterator[HeldPort]:
    port = HeldPort("127.0.0.1", 0)
    yield port
    port.close()


def listener(port: int, *, shared: bool, host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        made.bind((host, port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def test_workers_share_it_and_the_holder_gets_no_connection(held: HeldPort) -> None:
    with closing(listener(held.port, shared=True)) as one:
        with closing(listener(held.port, shared=True)) as two:
            for _ in range(32):
                socket.create_connection(("127.0.0.1", held.port), 5).close()
            one.setblocking(False)
            two.setblocking(False)
            accepted = [accept_all(one), accept_all(two)]
    assert sum(accepted) == 32
    assert min(accepted) > 0


def accept_all(server: socket.socket) -> int:
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("listening", [False, True])
def test_no_second_holder(held: HeldPort, listening: bool) -> None:
    worker = listener(held.port, shared=True) if listening else None
    with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{held.port}"):
        HeldPort("127.0.0.1", held.port)
    if worker:
        worker.close()


def test_no_server_that_does_not_share(held: HeldPort) -> None:
    with pytest.raises(OSError, match="in use"):
        listener(held.port, shared=False)


@pytest.mark.parametrize("shared", [False, True])
def test_no_port_that_somebody_listens_on(shared: bool) -> None:
    with closing(listener(0, shared=shared)) as other:
        with pytest.raises(Unavailable):
            HeldPort("127.0.0.1", other.getsockname()[1])


def test_it_is_free_again_once_closed(held: HeldPort) -> None:
    with closing(listener(held.port, shared=True)) as server:
        client = socket.create_connection(("127.0.0.1", held.port), 5)
        server.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
        client.close()
    held.close()
    HeldPort("127.0.0.1", held.port).close()


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "localhost"])
def test_names_for_several_addresses(host: str) -> None:
    port = HeldPort(host, 0)
    with pytest.raises(OSError, match="in use"):
        listener(port.port, shared=False)
    listener(port.port, shared=True).close()
    port.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_addresses_of_others(host: str) -> None:
    with pytest.raises(Unavailable):
        HeldPort(host, 0)


def test_a_private_folder_holds_a_socket(tmp_path_factory, monkeypatch) -> None:
    long = tmp_path_factory.mktemp("x" * 90)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = private_folder("test", "some.sock")
    assert len(str(folder / "some.sock")) <= PATH_BYTES
    assert folder.stat().st_mode & 0o777 == 0o700
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(folder / "some.sock"))
    (folder / "some.sock").unlink()
    folder.rmdir()
