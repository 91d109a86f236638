"""The port that OpenAI's clients ask: what they get, and what those get that send anything else."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from tests.conftest import MakeServer
from tests.live import START_S, LiveServer, wait_until
from tests.ops.asking import JSON, MODEL, TEXT, Reply, connected, raw, send
from tests.rpc.nodes import metrics, processes, whole
from vecdb.sockets import split_address


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    folder = tmp_path_factory.mktemp("embeddings")
    live = LiveServer(folder / "data", {"embed.http": "127.0.0.1:0"}).start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield live
    assert live.stop() == 0


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


# --- a node of several processes


def test_the_writer_serves_it_and_says_where(make_server: MakeServer) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    node = make_server(embed=True, server__workers=2, embed__http="127.0.0.1:0")
    file = node.data.with_name(node.data.name + "-addresses.json")
    wait_until(lambda: send(node.embeddings, TEXT).status == 200)
    assert 'vecdb_embed_http_requests_total{path="/v1/embeddings",status="200"}' in metrics(node)
    assert any(name.startswith("vecdb_embed_worker_requests_total{") for name in metrics(node))
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
