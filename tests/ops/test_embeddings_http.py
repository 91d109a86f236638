"""The port that OpenAI's clients ask: what they get, and what those get that send anything else."""

from __future__ import annotations

import base64
import http.client
import json
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import START_S, LiveServer, wait_until
from tests.rpc.nodes import metrics, processes, whole
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

MODEL = "all-minilm-l6-v2"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    folder = tmp_path_factory.mktemp("embeddings")
    live = LiveServer(folder / "data", {"embed.http": "127.0.0.1:0"}).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield live
    assert live.stop() == 0


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


def ask(node: LiveServer, given: object, **more: object) -> Reply:
    return send(node.embeddings, {"model": MODEL, "input": given, **more})


# --- what clients get


def test_openai_s_own_client(node: LiveServer) -> None:
    openai = pytest.importorskip("openai", reason="needs OpenAI's Python client")
    client = openai.OpenAI(
        base_url=f"http://{node.embeddings}/v1", api_key="none", max_retries=0, timeout=30
    )
    with client:
        assert [model.id for model in client.models.list()] == [MODEL]
        assert client.models.retrieve(MODEL).owned_by == "vecdb"
        texts = ["a text", "another"]
        found = client.embeddings.create(model=MODEL, input=texts)  # which asks for base64
        plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
        assert found.model == MODEL
        assert [one.index for one in found.data] == [0, 1]
        assert found.usage.prompt_tokens == found.usage.total_tokens == 4 + 3
        for one, same in zip(found.data, plain.data, strict=True):
            assert one.embedding == pytest.approx(same.embedding, abs=1e-7)
            assert len(one.embedding) == 384
        with node.client() as grpc:
            (direct,) = grpc.embed(texts[:1], role="document")
        np.testing.assert_allclose(found.data[0].embedding, direct.vector, atol=1e-5)
        with pytest.raises(openai.NotFoundError) as caught:
            client.embeddings.create(model="gpt", input="text")
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as wrong:
            client.embeddings.create(model=MODEL, input="text", dimensions=100)
        assert wrong.value.param == "dimensions"


def test_the_shapes_of_replies(node: LiveServer) -> None:
    reply = ask(node, "one text", user="me")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    (one,) = reply.json["data"]
    assert reply.json == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": one["embedding"]}],
        "model": MODEL,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    (packed,) = ask(node, ["one text"], encoding_format="base64").json["data"]
    unpacked = np.frombuffer(base64.b64decode(packed["embedding"]), "<f4")
    np.testing.assert_allclose(unpacked, one["embedding"], atol=1e-6)
    (cut,) = ask(node, "word " * 1000).json["data"]
    assert cut["truncated"] is True


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{MODEL}"])
def test_a_head_is_a_get_without_its_body(node: LiveServer, path: str) -> None:
    found = send(node.embeddings, method="GET", path=path)
    head = send(node.embeddings, method="HEAD", path=path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(found.body))


def test_a_model_is_known_by_its_aliases_and_roles(node: LiveServer) -> None:
    alias = "sentence-transformers/all-MiniLM-L6-v2"
    quoted = alias.replace("/", "%2F")
    assert send(node.embeddings, method="GET", path=f"/v1/models/{quoted}").json["id"] == MODEL
    for name in (alias, f"{alias}:query", f"{MODEL}:document", ""):
        reply = send(node.embeddings, {"model": name, "input": "text"})
        assert (reply.status, reply.json["model"]) == (200, MODEL)
    for known in ("query", "document", "passage"):
        assert ask(node, "text", input_type=known).status == 200
    both = {"model": f"{MODEL}:query", "input": "text", "input_type": "document"}
    assert send(node.embeddings, both).error["param"] == "input_type"


def test_a_connection_serves_many_requests(node: LiveServer) -> None:
    with connected(node.embeddings) as connection:
        for number in range(5):
            body = json.dumps({"model": MODEL, "input": f"text {number}"})
            connection.request("POST", "/v1/embeddings", body, JSON)
            assert connection.getresponse().read()
            kept = connection.sock
            assert kept is not None
        connection.request("GET", "/v1/models")
        assert connection.getresponse().read()
        assert connection.sock is kept


# --- what else may be sent

BAD = [
    ({"model": MODEL}, 400, "input"),
    ({"input": "text"}, 400, "model"),
    ({"model": 7, "input": "text"}, 400, "model"),
    ({"model": "gpt", "input": "text"}, 404, None),
    ({"model": f"gpt{'x' * 5000}:query", "input": "text"}, 404, None),
    ({"model": MODEL, "input": ""}, 400, "input"),
    ({"model": MODEL, "input": []}, 400, "input"),
    ({"model": MODEL, "input": ["good", ""]}, 400, "input[1]"),
    ({"model": MODEL, "input": ["good", None]}, 400, "input"),
    ({"model": MODEL, "input": {"text": "x"}}, 400, "input"),
    ({"model": MODEL, "input": [1, 2, 3]}, 400, "input"),
    ({"model": MODEL, "input": [1] * 2000}, 400, "input"),
    ({"model": MODEL, "input": [[1, 2], [3]]}, 400, "input"),
    ({"model": MODEL, "input": ["t"] * 1001}, 400, "input"),
    ({"model": MODEL, "input": "half \ud83d"}, 400, "input"),
    ({"model": MODEL, "input": ["x" * ((1 << 20) + 1)]}, 400, "input[0]"),
    ({"model": MODEL, "input": "text", "dimensions": 0}, 400, "dimensions"),
    ({"model": MODEL, "input": "text", "dimensions": True}, 400, "dimensions"),
    ({"model": MODEL, "input": "text", "dimensions": 1.5}, 400, "dimensions"),
    ({"model": MODEL, "input": "text", "dimensions": 100}, 400, "dimensions"),
    ({"model": MODEL, "input": "text", "encoding_format": "int8"}, 400, "encoding_format"),
    ({"model": MODEL, "input": "text", "input_type": ["query"]}, 400, "input_type"),
    ({"model": MODEL, "input": "text", "input_typ": "query"}, 400, "input_typ"),
    ([], 400, None),
    (b"", 400, None),
    (b"{", 400, None),
    (b"nul", 400, None),
    (b"[" * 500_000, 400, None),
    (b'{"a":' * 200_000, 400, None),
    (b'{"model": "\xff"}', 400, None),
    ("text".encode("utf-16"), 400, None),
    (b'{"dimensions": ' + b"1" * 100_000 + b"}", 400, None),
]


@pytest.mark.parametrize(("body", "status", "param"), BAD, ids=range(len(BAD)))
def test_bad_requests(node: LiveServer, body: object, status: int, param: str | None) -> None:
    reply = send(node.embeddings, body)
    assert reply.status == status, reply.body
    error = reply.error
    if param is not None:
        assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 6000
    assert ask(node, "text").status == 200


def test_tokens_are_refused_with_what_to_do(node: LiveServer) -> None:
    assert "send text" in ask(node, [[1, 2]]).error["message"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/embeddings", {}, 405),
        ("DELETE", "/v1/models", {}, 405),
        ("PUT", "/v1/embeddings", JSON, 405),
        ("POST", "/v1/chat/completions", JSON, 404),
        ("GET", "/", {}, 404),
        ("GET", "/v1/models/gpt", {}, 404),
        ("OPTIONS", "/v1/embeddings", {}, 204),
        ("OPTIONS", "/elsewhere", {}, 404),
        ("BREW", "/v1/embeddings", {}, 501),
        ("POST", "/v1/embeddings", {"Content-Type": "text/plain"}, 415),
        ("POST", "/v1/embeddings", {}, 415),
        ("POST", "/v1/embeddings", {**JSON, "Content-Encoding": "gzip"}, 415),
        ("POST", "/v1/embeddings", {**JSON, "Content-Length": "-5"}, 400),
        ("POST", "/v1/embeddings", {**JSON, "Content-Length": "9" * 30}, 413),
        ("POST", "/v1/embeddings", {**JSON, "Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_other_requests(
    node: LiveServer, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    body = b"{}" if method in ("POST", "PUT") else None
    reply = send(node.embeddings, body, method=method, path=path, headers=headers)
    assert reply.status == status, reply.body
    assert "Access-Control-Allow-Origin" not in reply.headers
    if status in (204, 405):
        assert "OPTIONS" in reply.headers["Allow"]
    if status >= 400:
        assert reply.error["message"]


def raw(address: str, content: bytes) -> bytes:
    """Return all that comes back for bytes."""
    with socket.create_connection(split_address(address), timeout=30) as sock:
        sock.sendall(content)
        found = b""
        while chunk := sock.recv(65536):
            found += chunk
        return found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\r\n\r\n", b""),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /v1/models HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"4"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 200_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nno colon here\r\nConnection: close\r\n\r\n", b"4"),
        (b"GET / HTTP/1.0\r\n\r\n", b"404"),
        (
            b"POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            b"400",
        ),
    ],
)
def test_what_is_hardly_http(node: LiveServer, content: bytes, said: bytes) -> None:
    assert raw(node.embeddings, content).partition(b" ")[2].startswith(said)
    assert ask(node, "text").status == 200


def resident(node: LiveServer) -> int:
    assert node.process is not None
    with open(f"/proc/{node.process.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_a_body_of_100_mb_is_refused_before_it_is_read(node: LiveServer) -> None:
    ask(node, "text")
    before = resident(node)
    reply = send(node.embeddings, b" " * 100_000_000)
    assert reply.status == 413
    assert "at most" in reply.error["message"]
    assert reply.headers["Connection"] == "close"
    assert resident(node) - before < 20_000_000


def test_a_client_that_expects_to_be_told(node: LiveServer) -> None:
    head = b"POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\nExpect: 100-continue"
    with socket.create_connection(split_address(node.embeddings), timeout=30) as sock:
        body = json.dumps({"model": MODEL, "input": "text"}).encode()
        sock.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert b"200 OK" in sock.recv(1000)
    refused = raw(node.embeddings, head + b"\r\nContent-Length: 100000000\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 413 ")


def test_half_a_body_and_a_cut_connection(node: LiveServer) -> None:
    head = b"POST /v1/embeddings HTTP/1.1\r\nContent-Type: application/json\r\n"
    for content in (head + b'Content-Length: 100\r\n\r\n{"model"', head[:30], b"G"):
        with socket.create_connection(split_address(node.embeddings)) as sock:
            sock.sendall(content)
    assert ask(node, "text").status == 200
    name = 'vecdb_embed_http_requests_total{path="/v1/embeddings",status="499"}'
    wait_until(lambda: metrics(node).get(name))


def test_requests_are_counted_and_no_text_is_logged(node: LiveServer) -> None:
    name = 'vecdb_embed_http_requests_total{path="/v1/embeddings",status="%d"}'
    texts = 'vecdb_embed_texts_total{role="document"}'
    before = metrics(node)
    assert ask(node, ["a seldom-seen secret", "two"]).status == 200
    assert ask(node, [""]).status == 400
    now = metrics(node)
    assert now[name % 200] == before.get(name % 200, 0) + 1
    assert now[name % 400] == before.get(name % 400, 0) + 1
    assert now[texts] == before.get(texts, 0) + 2
    assert "seldom-seen" not in node.log.read_text()


# --- a port in this process


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


TEXT = {"model": MODEL, "input": "text"}


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


# --- a node of several processes


def test_the_writer_serves_it_and_says_where(make_server: MakeServer) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    node = make_server(embed=True, server__workers=2, embed__http="127.0.0.1:0")
    file = node.data.with_name(node.data.name + "-addresses.json")
    wait_until(lambda: send(node.embeddings, TEXT).status == 200)
    writer, _ = processes(node)
    os.kill(writer, signal.SIGKILL)
    wait_until(lambda: whole(node) and json.loads(file.read_text())["embeddings"])

    def answers() -> bool:
        try:
            return send(json.loads(file.read_text())["embeddings"], TEXT).status == 200
        except OSError:
            return False

    wait_until(answers)
    assert "embeddings over HTTP on 127.0.0.1:" in node.log.read_text()
