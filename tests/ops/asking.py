"""Requests to the HTTP port of embeddings, and what comes back."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vecdb.sockets import split_address

MODEL = "all-minilm-l6-v2"
JSON = {"Content-Type": "application/json"}
TEXT = {"model": MODEL, "input": "text"}


class Reply:
    """What came back."""

    def __init__(self, found: http.client.HTTPResponse) -> None:
        self.status = found.status
        self.headers = found.headers
        self.body = found.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"message", "type", "param", "code"}
        return self.json["error"]


@contextmanager
def connected(address: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(*split_address(address), timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def send(
    address: str,
    body: object = None,
    *,
    method: str = "POST",
    path: str = "/v1/embeddings",
    headers: dict[str, str] = JSON,
) -> Reply:
    """Return the answer to one request; a body that is no bytes is sent as JSON."""
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    with connected(address) as connection:
        connection.request(method, path, content, headers)
        return Reply(connection.getresponse())


def raw(address: str, content: bytes) -> bytes:
    """Return all that comes back for bytes."""
    with socket.create_connection(split_address(address), timeout=30) as sock:
        sock.sendall(content)
        found = b""
        while chunk := sock.recv(65536):
            found += chunk
        return found
