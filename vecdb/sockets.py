"""Addresses, and sockets that processes of a node share: a private folder, a port that is held."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import tempfile
from pathlib import Path

from vecdb.errors import InvalidArgument, Unavailable

PATH_BYTES = 107
"""The kernel's limit for the path of a Unix socket."""

# A name may stand for addresses that this machine does not have.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_WILDCARDS = ("", "*", "::", "0.0.0.0")  # what stands for every address, of either family


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``. Raises InvalidArgument."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InvalidArgument(f"expected an address host:port, got {address!r}")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name may mean any machine
        return False


def private_folder(kind: str, longest: str) -> Path:
    """Return a new directory that only this user can enter. longest: a socket's name inside."""
    prefix = f"vecdb-{kind}-"
    folder = tempfile.mkdtemp(prefix=prefix)
    if len(os.fsencode(folder)) + 1 + len(longest) > PATH_BYTES:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    return Path(folder)


class HeldPort:
    """A TCP port that processes of this user may listen on together, and no other server.

    Bound as the only one, so that a port which anybody listens on is refused; only then may it be
    shared, by those who ask for SO_REUSEPORT. It never listens itself, and so is given no
    connection. Not SO_REUSEADDR, once bound: a second holder could pass by the first with it.
    """

    def __init__(self, host: str, port: int) -> None:
        """Hold a port on every address of a host; 0 picks a free one. Raises Unavailable."""
        self._sockets: list[socket.socket] = []
        self.port = port
        refused = Unavailable(
            f"cannot listen on {host}:{port}: in use, or not an address of this machine",
            hint="choose another with --listen; port 0 picks a free one",
        )
        try:
            for family, address in _addresses(host, port):
                try:
                    self._bind(family, address)
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
        except OSError:
            self.close()
            raise refused from None
        if not self._sockets:
            raise refused

    def _bind(self, family: socket.AddressFamily, address: str) -> None:
        held = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Connections of a server before this one may still be in TIME_WAIT.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
            held.bind((address, self.port))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError:
            held.close()
            raise
        self.port = held.getsockname()[1]
        self._sockets.append(held)

    def close(self) -> None:
        """Give the port back."""
        for held in self._sockets:
            held.close()
        self._sockets.clear()


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses to bind. Raises OSError for a name that nobody knows."""
    if host in _WILDCARDS:
        # As gRPC does it: one socket for both families, where the machine has both.
        return (
            [(socket.AF_INET6, "::")]
            if socket.has_dualstack_ipv6()
            else [(socket.AF_INET, "0.0.0.0")]
        )
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((entry[0], str(entry[4][0])) for entry in found))
