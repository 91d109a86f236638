"""The HTTP port: which addresses it takes, and how it ends."""

from __future__ import annotations

import http.client
import socket

import pytest
from prometheus_client import CollectorRegistry

from vecdb.errors import Unavailable
from vecdb.ops.http import HttpPort
from vecdb.sockets import split_address


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as made:
            made.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_it_answers_on_either_family(host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    port = HttpPort(f"{host}:0", CollectorRegistry(), lambda: "")
    port.start()
    connection = http.client.HTTPConnection(*split_address(port.address), timeout=10)
    connection.request("GET", "/livez")
    assert connection.getresponse().read() == b"ok\n"
    connection.close()
    port.stop()


def test_one_that_never_began_ends() -> None:
    port = HttpPort("127.0.0.1:0", CollectorRegistry(), lambda: "")
    with pytest.raises(Unavailable, match="cannot listen"):
        HttpPort(port.address, CollectorRegistry(), lambda: "")
    port.stop()
    HttpPort(port.address, CollectorRegistry(), lambda: "").stop()
