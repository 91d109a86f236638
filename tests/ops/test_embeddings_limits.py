"""The HTTP port of embeddings: what goes wrong behind it, and the limits of those who ask."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tests.live import wait_until
from tests.ops.asking import TEXT, Reply, connected, raw, send
from vecdb.config import EmbedConfig, LimitsConfig
from vecdb.embed.channel import WorkerState
from vecdb.embed.client import Encoders
from vecdb.errors import (
    DeadlineExceeded,
    NoModel,
    Overloaded,
    Unavailable,
    VecdbError,
)
from vecdb.metrics import Metrics
from vecdb.ops import embeddings_http
from vecdb.ops.embeddings_http import EmbeddingsPort
from vecdb.sockets import split_address


class Answering(Encoders):
    """Encoders whose encode() does what a test says."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act
        state = WorkerState(ready=True, reason="", generation=1)
        worker = SimpleNamespace(address="unix:/nowhere", state=state)
        super().__init__(EmbedConfig(worker="127.0.0.1:1"), worker, text_bytes=1000)

    def encode(self, *args: Any, **more: Any) -> Any:
        return self._act(*args)


@contextmanager
def serving(act: Callable[..., Any], limits: LimitsConfig | None = None) -> Iterator[Any]:
    port = EmbeddingsPort("127.0.0.1:0", Answering(act), Metrics(), limits or LimitsConfig())
    port.start()
    try:
        yield port
    finally:
        port.stop(5.0)


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry_after"),
    [
        (Overloaded("full", retry_after_s=0.2), 429, "rate_limit_error", "1"),
        (Unavailable("restarting", retry_after_s=2.5), 503, "server_error", "3"),
        (DeadlineExceeded("too late"), 504, "server_error", None),
        (NoModel("not installed"), 400, "invalid_request_error", None),
        (VecdbError("the worker's words"), 500, "server_error", None),
        (RuntimeError("a secret"), 500, "server_error", None),
    ],
)
def test_what_may_go_wrong_inside(
    error: Exception, status: int, kind: str, retry_after: str | None
) -> None:
    def fail(*args: object) -> None:
        raise error

    with serving(fail) as port:
        reply = send(port.address, TEXT)
    assert (reply.status, reply.error["type"]) == (status, kind)
    assert reply.headers["Retry-After"] == retry_after
    assert "secret" not in reply.error["message"]


def test_who_hangs_up_is_not_waited_for() -> None:
    cancelled = threading.Event()

    def wait(model: str, texts: object, role: object, timeout_s: object, on_hangup: Any) -> None:
        assert on_hangup(cancelled.set) is not False
        assert cancelled.wait(20)
        assert on_hangup(cancelled.set) is False
        raise DeadlineExceeded("the caller has gone")

    with serving(wait) as port:
        body = json.dumps(TEXT).encode()
        head = "POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\n"
        with socket.create_connection(split_address(port.address)) as sock:
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_until(lambda: port._busy)
        assert cancelled.wait(10)
        wait_until(lambda: not port._busy)
        counted = port.metrics.embed_http.labels("/v1/embeddings", "499")._value.get()
    assert counted == 1


def test_the_slow_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_http, "HEAD_S", 0.3)
    monkeypatch.setattr(embeddings_http, "BODY_S", 0.3)
    monkeypatch.setattr(embeddings_http, "IDLE_S", 0.3)
    head = b"POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\n"
    with serving(lambda *args: None) as port:
        for begin, drip, said in (
            (b"", b"", b""),
            (head, b"A", b""),
            (head + b"Content-Length: 1000\r\n\r\n", b" ", b"HTTP/1.1 408"),
        ):
            with socket.create_connection(split_address(port.address), timeout=10) as sock:
                sock.sendall(begin)
                began = time.monotonic()
                sock.settimeout(0.05)
                found = None
                while found is None and time.monotonic() - began < 5:
                    try:
                        sock.sendall(drip)
                        found = sock.recv(100)
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        found = b""
                assert found is not None
                assert found.startswith(said)


def test_places_and_bytes_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_http, "CONNECTIONS", 4)
    monkeypatch.setattr(embeddings_http, "BODIES", 1)
    limits = LimitsConfig(message_bytes=64 << 10)
    head = b"POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 65536\r\n\r\n"
    with serving(lambda *args: None, limits) as port:
        address = split_address(port.address)
        first = socket.create_connection(address)
        first.sendall(head + b" " * 65_000)
        wait_until(lambda: port._body_bytes == 65_000)
        reply = send(port.address, b" " * 60_000)
        assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
        assert send(port.address, b" " * 65_537).status == 413
        wait_until(lambda: len(port._open) == 1)
        others = [socket.create_connection(address) for _ in range(3)]
        wait_until(lambda: len(port._open) == 4)
        assert raw(port.address, b"").startswith(b"HTTP/1.1 503")
        for one in (first, *others):
            one.close()
        wait_until(lambda: not port._open)
        assert port._body_bytes == 0
        assert send(port.address, method="GET", path="/v1/models").status == 200


def test_what_is_under_way_is_finished_at_the_end() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def wait(*args: object) -> None:
        asked.set()
        assert go_on.wait(20)
        raise Overloaded("answered", retry_after_s=1.0)

    with serving(wait) as port:
        replies: list[Reply] = []
        thread = threading.Thread(target=lambda: replies.append(send(port.address, TEXT)))
        with connected(port.address) as idle:
            idle.request("GET", "/v1/models")
            idle.getresponse().read()
            thread.start()
            assert asked.wait(10)
            port.drain()
            assert idle.sock.recv(1) == b""
        with pytest.raises(ConnectionError):
            send(port.address, TEXT)
        go_on.set()
        port.stop(10.0)
        thread.join(10)
    assert [reply.status for reply in replies] == [429]
    assert replies[0].headers["Connection"] == "close"
