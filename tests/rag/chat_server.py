"""A server on loopback with OpenAI's chat completions, which fails in every way that they do.

It streams `answer`, a text or a function of the messages, a word at a time. `faults`: each befalls
one request, in turn; the rest are answered well.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-0f-4n5wer5"
MODEL = "some-chat-model"
PROMPT_TOKENS = 17


@dataclass
class Seen:
    """A request as it came. body: {} of a GET."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def prompt(self) -> str:
        """Return all that was said to the model."""
        return "\n".join(message["content"] for message in self.body["messages"])


@dataclass
class Reply:
    """An answer that a fault may still change. pieces: each is sent on its own."""

    status: int = 200
    content_type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    cut: bool = False  # close the connection after the pieces, in the middle of the answer
    hangs_at: int | None = None  # send so many pieces, then nothing until the test is over
    hangs_first: bool = False  # not even a status
    pause_s: float = 0.0  # before each piece


Fault = Callable[[Reply, "ChatServer"], None]


class ChatServer:
    """A running server.

    url: up to /v1. key: None where it wants none. arrived, left: requests that came, and callers
    who hung up before their answer was whole.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.host = f"127.0.0.1:{server.server_address[1]}"
        self.url = f"http://{self.host}/v1"
        self.answer: str | Callable[[list[dict[str, str]]], str] = "It is so [1]."
        self.model = MODEL
        self.key: str | None = None
        self.seen: list[Seen] = []
        self.faults: deque[Fault] = deque()
        self.released = threading.Event()
        self.left = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.now = self.most = 0  # answers at this moment, and at most
        self.lock = threading.Lock()

    @property
    def chats(self) -> list[Seen]:
        return [one for one in self.seen if one.path.endswith("/chat/completions")]

    def reply(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        with self.lock:
            self.seen.append(Seen(path, headers, body, time.monotonic()))
            fault = self.faults.popleft() if self.faults else None
        reply = self._reply(path, headers, body)
        if fault is not None:
            fault(reply, self)
        self.arrived.release()
        return reply

    def _reply(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key:
            return error(401, f"Incorrect API key provided: {given}")
        if path == "/v1/models":
            listed = {"object": "list", "data": [{"id": self.model, "object": "model"}]}
            return Reply(content_type="application/json", pieces=[json.dumps(listed).encode()])
        if path != "/v1/chat/completions":
            return error(404, "no such page")
        if body["model"] != self.model:
            return error(404, f"The model {body['model']} does not exist")
        text = self.answer if isinstance(self.answer, str) else self.answer(body["messages"])
        usage = bool(body.get("stream_options", {}).get("include_usage"))
        return Reply(pieces=events_of(text, self.model, usage))


def events_of(text: str, model: str = MODEL, usage: bool = True) -> list[bytes]:
    """Return the events of an answer, a word each, as vLLM and OpenAI send them."""
    words = re.findall(r"\s*\S+|\s+$", text)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in words]
    chunks = [{"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        chunks.append({"choices": [], "usage": usage_of(words)})
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return [event({**shared, **chunk}) for chunk in chunks] + [b"data: [DONE]\n\n"]


def usage_of(words: list[str]) -> dict[str, int]:
    count = len(words)
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": count,
        "total_tokens": PROMPT_TOKENS + count,
    }


def event(body: Any) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def error(code: int, said: str) -> Reply:
    content = json.dumps({"error": {"message": said, "type": "invalid_request_error"}})
    return Reply(code, "application/json", pieces=[content.encode()])


# --- faults


def status(code: int, said: str = "", **headers: str) -> Fault:
    """Answer with a status. headers: Retry_After is Retry-After."""

    def fault(reply: Reply, server: ChatServer) -> None:
        refused = error(code, said)
        reply.status, reply.content_type, reply.pieces = code, refused.content_type, refused.pieces
        reply.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    return fault


def sends(*pieces: bytes, content_type: str = "text/event-stream") -> Fault:
    """Answer well, but with this."""

    def fault(reply: Reply, server: ChatServer) -> None:
        reply.pieces, reply.content_type = list(pieces), content_type

    return fault


def cut(after: int) -> Fault:
    """Close the connection after so many pieces, and the first half of the next."""

    def fault(reply: Reply, server: ChatServer) -> None:
        following = reply.pieces[after]
        reply.pieces = [*reply.pieces[:after], following[: len(following) // 2]]
        reply.cut = True

    return fault


def ends(after: int) -> Fault:
    """End well after so many pieces, as if that were all."""

    def fault(reply: Reply, server: ChatServer) -> None:
        del reply.pieces[after:]

    return fault


def hangs(after: int) -> Fault:
    """Say nothing more after so many pieces."""

    def fault(reply: Reply, server: ChatServer) -> None:
        reply.hangs_at = after

    return fault


def silent(reply: Reply, server: ChatServer) -> None:
    """Say nothing at all."""
    reply.hangs_first = True


def slow(pause_s: float) -> Fault:
    """Answer well, with a pause before each piece."""

    def fault(reply: Reply, server: ChatServer) -> None:
        reply.pause_s = pause_s

    return fault


def at_once(reply: Reply, server: ChatServer) -> None:
    """Answer in one object, as servers do that do not stream."""
    body = {
        "object": "chat.completion",
        "model": server.model,
        "choices": [
            {"message": {"role": "assistant", "content": str(server.answer)},
             "finish_reason": "stop"}
        ],
        "usage": usage_of(str(server.answer).split()),
    }  # fmt: skip
    reply.pieces, reply.content_type = [json.dumps(body).encode()], "application/json"


def refuses(*options: str, code: int = 400) -> Fault:
    """Refuse requests that have these options."""

    def fault(reply: Reply, server: ChatServer) -> None:
        for option in options:
            if option in server.seen[-1].body:
                status(code, f"Unsupported parameter: '{option}'.")(reply, server)

    return fault


# --- the server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    chat: ChatServer

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: dict[str, Any]) -> None:
        chat = self.chat
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = chat.reply(self.path, headers, body)
        with chat.lock:
            chat.now += 1
            chat.most = max(chat.most, chat.now)
        try:
            self._send(reply)
        except OSError:
            chat.left.release()
            self.close_connection = True
        finally:
            with chat.lock:
                chat.now -= 1

    def _send(self, reply: Reply) -> None:
        if reply.hangs_first:
            self._hang()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at, piece in enumerate(reply.pieces):
            if at == reply.hangs_at:
                self._hang()
            self.chat.released.wait(reply.pause_s)
            if piece:  # an empty one would be the end
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if reply.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _hang(self) -> None:
        """Wait until the caller has gone, or the test is over."""
        self.connection.settimeout(0.02)
        for _ in range(3000):
            if self.chat.released.is_set():
                break
            try:
                if not self.connection.recv(1):
                    break
            except TimeoutError:
                continue
        raise ConnectionAbortedError

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have gone: some tests are about that."""


@contextmanager
def chatting() -> Iterator[ChatServer]:
    """Run a chat server for the time of a block."""
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        chat = ChatServer(server)
        handler.chat = chat
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield chat
        finally:
            chat.released.set()
            server.shutdown()
            thread.join()
