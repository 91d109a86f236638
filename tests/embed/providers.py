"""A service on loopback that speaks four embedding APIs, and fails in every way that they do.

The vector of a text is made of its hash, of its role, and of how many numbers are asked for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

KEY = "sk-secret-7h1s-k3y"
MODEL = "some-model"
DIM = 8
BAD = "BAD"
WORDS_MAX = 64
QUERY_TASKS = ("RETRIEVAL_QUERY", "search_query", "query")


def vector_of(text: str, query: bool = False, dim: int = DIM) -> np.ndarray:
    """Return a vector, not of unit length; a shorter one begins the longer one."""
    seed = hashlib.sha256(f"{query}:{text}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(seed, dtype=np.uint32))
    return (3 * rng.standard_normal(4096)[:dim]).astype(np.float32)


def unit_of(text: str, query: bool = False, dim: int = DIM) -> np.ndarray:
    vector = vector_of(text, query, dim)
    return vector / np.linalg.norm(vector)


@dataclass
class Seen:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    texts: list[str]
    at: float


@dataclass
class Reply:
    """An answer that a fault may still change."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_at: int | None = None  # close the connection after so many bytes of the body
    drops: bool = False  # send a byte at a time, each a moment after the one before


Fault = Callable[[Reply, "Provider"], None]


class Provider:
    """A running service. faults: each befalls one request, in turn; the rest are answered well."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.host = self.url.removeprefix("http://")
        self.seen: list[Seen] = []
        self.faults: deque[Fault] = deque()
        self.key = KEY
        self.lists = False  # as services that know no base64
        self.asked_dim = True  # whether `dimensions` and its like are obeyed
        self.released = threading.Event()
        self.lock = threading.Lock()

    @property
    def texts(self) -> list[list[str]]:
        return [one.texts for one in self.seen]

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        api = next(api for mark, api in PATHS.items() if mark in path)
        texts, query, dim, given = api.read(body, headers)
        with self.lock:
            self.seen.append(Seen(path, headers, body, texts, time.monotonic()))
            fault = self.faults.popleft() if self.faults else None
        reply = self._judged(api, path, texts, given)
        if reply.status == 200:
            vectors = [vector_of(text, query, dim if self.asked_dim else DIM) for text in texts]
            reply.body = json.dumps(api.write(vectors, body, self)).encode()
        if fault is not None:
            fault(reply, self)
        return reply

    def _judged(self, api: Api, path: str, texts: list[str], given: str) -> Reply:
        if given != self.key:
            # OpenAI's repeats a part of the key.
            said = api.error(f"Incorrect key provided: {given}", "API_KEY_INVALID")
            return Reply(400 if api is GEMINI else 401, body=json.dumps(said).encode())
        if MODEL not in path and api in (GEMINI, VERTEX):
            return Reply(404, body=json.dumps(api.error("no such model", "")).encode())
        wrong = ""
        if len(texts) > api.items:
            wrong = f"at most {api.items} texts"
        elif any(not text for text in texts):
            wrong = "an empty text"
        elif any(len(text.split()) > WORDS_MAX for text in texts) and api is not GEMINI:
            wrong = "a text is too long"
        elif any(BAD in text for text in texts):
            wrong = "a text is bad"
        return Reply(400, body=json.dumps(api.error(wrong, "")).encode()) if wrong else Reply()


@dataclass(frozen=True)
class Api:
    """One API. read: a body and headers to texts, whether queries, numbers asked for, the key."""

    kind: str
    base: str
    items: int
    read: Callable[[dict[str, Any], dict[str, str]], tuple[list[str], bool, int, str]]
    write: Callable[[list[np.ndarray], dict[str, Any], Provider], Any]
    error: Callable[[str, str], Any]


def _bearer(headers: dict[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")


def _read_openai(body, headers):
    assert body["model"] == MODEL
    dim = body.get("dimensions", DIM)
    return body["input"], body.get("input_type") in QUERY_TASKS, dim, _bearer(headers)


def _write_openai(vectors, body, provider):
    def embedding(vector):
        if provider.lists or body.get("encoding_format") != "base64":
            return vector.tolist()
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()

    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": at, "embedding": embedding(vector)}
            for at, vector in enumerate(vectors)
        ],
        "model": MODEL,
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def _read_gemini(body, headers):
    asked = body["requests"]
    assert {one["model"] for one in asked} == {f"models/{MODEL}"}
    texts = [one["content"]["parts"][0]["text"] for one in asked]
    query = asked[0].get("taskType") in QUERY_TASKS
    return texts, query, asked[0].get("outputDimensionality", DIM), headers["x-goog-api-key"]


def _read_vertex(body, headers):
    asked = body["instances"]
    assert body["parameters"]["autoTruncate"] is False
    texts = [one["content"] for one in asked]
    query = asked[0].get("task_type") in QUERY_TASKS
    return texts, query, body["parameters"].get("outputDimensionality", DIM), _bearer(headers)


def _read_cohere(body, headers):
    assert (body["model"], body["truncate"], body["embedding_types"]) == (MODEL, "NONE", ["float"])
    query = body["input_type"] in QUERY_TASKS
    return body["texts"], query, body.get("output_dimension", DIM), _bearer(headers)


def _google_error(said, reason):
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    return {"error": {"code": 400, "message": said, "status": "X", "details": details}}


OPENAI = Api(
    "openai",
    "/v1",
    2048,
    _read_openai,
    _write_openai,
    lambda said, _: {"error": {"message": said, "type": "invalid_request_error", "code": None}},
)
GEMINI = Api(
    "gemini",
    "/v1beta",
    100,
    _read_gemini,
    lambda vectors, *_: {"embeddings": [{"values": one.tolist()} for one in vectors]},
    _google_error,
)
VERTEX = Api(
    "vertex",
    "/v1/projects/p/locations/r",
    250,
    _read_vertex,
    lambda vectors, *_: {
        "predictions": [
            {
                "embeddings": {
                    "values": one.tolist(),
                    "statistics": {"truncated": False, "token_count": 3},
                }
            }
            for one in vectors
        ],
        "metadata": {"billableCharacterCount": 9},
    },
    _google_error,
)
COHERE = Api(
    "cohere",
    "/v2",
    96,
    _read_cohere,
    lambda vectors, *_: {
        "id": "1",
        "embeddings": {"float": [one.tolist() for one in vectors]},
        "response_type": "embeddings_by_type",
    },
    lambda said, _: {"id": "1", "message": said},
)
APIS = (OPENAI, GEMINI, VERTEX, COHERE)
PATHS = {
    ":batchEmbedContents": GEMINI,
    ":predict": VERTEX,
    "/v2/embed": COHERE,
    "/v1/embeddings": OPENAI,
}


# --- faults


def status(code: int, said: str = "", **headers: str) -> Fault:
    """Answer with a status. headers: Retry_After is Retry-After."""

    def fault(reply: Reply, provider: Provider) -> None:
        reply.status = code
        reply.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        reply.body = json.dumps({"error": {"message": said}}).encode()

    return fault


def body(content: bytes) -> Fault:
    """Answer well, but with this."""

    def fault(reply: Reply, provider: Provider) -> None:
        reply.body = content

    return fault


def cut(at: int) -> Fault:
    """Close the connection after so many bytes of the body; at 0 before any answer."""

    def fault(reply: Reply, provider: Provider) -> None:
        reply.cut_at = at

    return fault


def slow(reply: Reply, provider: Provider) -> None:
    """Say nothing until the test is over."""
    provider.released.wait(60)


def drops(reply: Reply, provider: Provider) -> None:
    """Answer well, but so slowly that no single part of the answer is late."""
    reply.drops = True


def changed(change: Callable[[list[Any]], None]) -> Fault:
    """Change the list of vectors, in whatever wrapping the API has them."""

    def fault(reply: Reply, provider: Provider) -> None:
        said = json.loads(reply.body)
        change(entries_of(said))
        reply.body = json.dumps(said).encode()

    return fault


def entries_of(said: dict[str, Any]) -> list[Any]:
    """Return the list that has an entry for each text."""
    if "data" in said:
        return said["data"]
    if "predictions" in said:
        return said["predictions"]
    embeddings = said["embeddings"]
    return embeddings["float"] if isinstance(embeddings, dict) else embeddings


def numbers(change: Callable[[list[float]], Any]) -> Fault:
    """Change the numbers of the first text. Of OpenAI's API as lists."""

    def first(entries: list[Any]) -> None:
        entry = entries[0]
        if isinstance(entry, list):
            entries[0] = change(entry)
        elif "embeddings" in entry:
            entry["embeddings"]["values"] = change(entry["embeddings"]["values"])
        elif "values" in entry:
            entry["values"] = change(entry["values"])
        else:
            raw = entry["embedding"]
            if isinstance(raw, str):
                raw = np.frombuffer(base64.b64decode(raw), dtype="<f4").tolist()
            entry["embedding"] = change(raw)

    return changed(first)


# --- the server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: Provider

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.provider.answer(self.path, headers, json.loads(content))
        if reply.cut_at == 0:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.drops:
            for at in range(len(reply.body)):
                self.wfile.write(reply.body[at : at + 1])
                if self.provider.released.wait(0.02):
                    break
            self.close_connection = True
            return
        self.wfile.write(reply.body[: reply.cut_at])
        if reply.cut_at is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have gone: some tests are about that."""


@contextmanager
def serving():
    """Run a provider for the time of a block."""
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        provider = Provider(server)
        handler.provider = provider
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider.released.set()
            server.shutdown()
            thread.join()
