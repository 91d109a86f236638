"""The HTTP port of /v1/embeddings, as OpenAI's clients ask for them: what comes, and its limits.

A key may do this that has the action `models`. Of texts nothing is logged.
"""

from __future__ import annotations

import io
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from vecdb.auth.door import Door
from vecdb.certificates import Certificates
from vecdb.config import MIB, LimitsConfig
from vecdb.embed.client import Encoders
from vecdb.errors import DimensionMismatch, Overloaded, Unavailable, VecdbError
from vecdb.metrics import Metrics
from vecdb.ops import openai_shapes as shapes
from vecdb.ops.connections import Callers, Clocked, TooMuch, shut
from vecdb.ops.http import Connections, Listener
from vecdb.ops.openai_shapes import Failure

log = logging.getLogger(__name__)

EMBEDDINGS, MODELS = "/v1/embeddings", "/v1/models"
_ALLOWED = {EMBEDDINGS: "POST, OPTIONS", MODELS: "GET, HEAD, OPTIONS"}

CONNECTIONS = 128
BODY_BYTES = 16 * MIB
BODIES = 4
"""Bodies of the largest size that may be in memory at once, before they are read as JSON."""
HEAD_BYTES = 64 << 10
CHUNK_BYTES = 64 << 10
IDLE_S, HEAD_S, BODY_S, WRITE_S = 60.0, 10.0, 30.0, 30.0
"""Seconds that a connection may be idle, and that a request's head, its body and an answer take."""
LINGER_S = 2.0
"""Seconds for which what a refused client still sends is read, so that it sees the answer."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


class EmbeddingsPort(Listener):
    """Serves from start() until drain() and stop()."""

    def __init__(
        self,
        address: str,
        encoders: Encoders,
        metrics: Metrics,
        limits: LimitsConfig,
        certificates: Certificates | None = None,
        door: Door | None = None,
    ) -> None:
        """Bind the address. Raises Unavailable when it cannot be had, InvalidArgument.

        door: says who may come in; None lets in all.
        """
        self.door = door
        self.encoders = encoders
        self.metrics = metrics
        self.texts_max = limits.embed_texts
        self.body_max = min(BODY_BYTES, limits.message_bytes)
        self.created = int(time.time())
        self.places = threading.BoundedSemaphore(CONNECTIONS)
        self.stopping = False
        self.callers = Callers()
        self._changed = threading.Condition()  # guards the three below
        self._open: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self._body_bytes = 0
        handler = type("Handler", (_Handler,), {"port": self})
        server = type("Server", (_Server,), {"port": self})
        super().__init__(
            address,
            handler,
            purpose="embeddings",
            setting="embed.http",
            kind=server,
            certificates=certificates,
            asks_clients=True,
        )

    def start(self) -> None:
        """Begin to answer."""
        self.callers.start()
        super().start()

    def drain(self) -> None:
        """Take no more requests; those under way go on."""
        with self._changed:
            self.stopping = True
            idle = self._open - self._busy
        super().stop()
        for connection in idle:
            shut(connection)

    def stop(self, patience_s: float = 0.0) -> None:
        """End, once the requests under way are answered or patience_s seconds have passed."""
        if not self.stopping:
            self.drain()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, max(0.0, patience_s))
            left = set(self._open)
        for connection in left:
            shut(connection)
        self.callers.stop()

    @contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        """Count a connection."""
        with self._changed:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._open.discard(connection)

    @contextmanager
    def busy(self, connection: socket.socket) -> Iterator[None]:
        """Count a request under way. Raises Unavailable while stopping."""
        with self._changed:
            if self.stopping:
                raise Unavailable("the server is stopping", retry_after_s=1.0)
            self._busy.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(connection)
                self._changed.notify_all()

    @property
    def crowded(self) -> bool:
        """Whether places are so few that nobody may keep one between requests."""
        return self.stopping or len(self._open) > CONNECTIONS // 2

    def take_bytes(self, count: int) -> None:
        """Count bytes of bodies, or less than 0 to give them back. Raises Overloaded."""
        with self._changed:
            if count > 0 and self._body_bytes + count > BODIES * self.body_max:
                raise Overloaded("too many large requests at once", retry_after_s=1.0)
            self._body_bytes += count

    def embed(self, body: bytes, connection: socket.socket) -> bytes:
        """Return the reply to a request. Raises Failed."""
        alone = False
        try:
            asked = shapes.read_request(body, self.texts_max)
            alone = asked.alone
            model, role = shapes.resolved(asked, self.encoders.resolve)
            with self.callers.waiting(connection) as on_hangup:
                encoded = self.encoders.encode(
                    model.name, asked.texts, role, None, on_hangup, dim=asked.dim
                )
            for error in encoded.refused.values():
                raise error
        except DimensionMismatch as error:
            error.field = "dimensions"
            raise Failed(shapes.failure(error)) from None
        except VecdbError as error:
            raise Failed(shapes.failure(error, alone=alone)) from None
        self.metrics.embedded_texts.labels(role.name.lower()).inc(len(asked.texts))
        self.metrics.embedded_tokens.labels(role.name.lower()).inc(sum(encoded.tokens))
        self.metrics.embed_queue.observe(encoded.queue_ms / 1e3)
        self.metrics.embed_inference.observe(encoded.inference_ms / 1e3)
        return shapes.write_reply(asked, model.name, encoded)


class Failed(Exception):
    """A request that gets an error."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.status)
        self.failure = failure


class _Server(Connections):
    port: EmbeddingsPort
    request_queue_size = 128

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer a connection in a thread of its own, as long as there is a place."""
        if not self.port.places.acquire(blocking=False):
            request.setblocking(False)
            body = shapes.write_error(503, f"{CONNECTIONS} connections are open already")
            try:
                request.send(_FULL % (len(body), body))
            except OSError as error:
                log.debug("a connection too many was not answered: %s", error)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.port.places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer a connection's requests until its end."""
        try:
            with self.port.connected(request):
                super().process_request_thread(request, client_address)
        finally:
            self.port.places.release()


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    port: EmbeddingsPort
    protocol_version = "HTTP/1.1"
    server_version = "vecdb"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def setup(self) -> None:
        """Have reading end in time."""
        super().setup()
        self.rfile.close()
        self._clocked = Clocked(self.connection)
        self.rfile = self._reader = io.BufferedReader(self._clocked, 8 << 10)

    def handle_one_request(self) -> None:
        """Wait for a request and answer it."""
        self.close_connection = True
        self.requestline, self.command, self.request_version = "", "", "HTTP/1.1"
        self._is_body_read = False
        try:
            self._clocked.allow(IDLE_S, HEAD_BYTES)
            if not self._reader.peek(1):
                return
            self._clocked.allow(HEAD_S)
            super().handle_one_request()
        except TooMuch:
            self.send_error(431, f"request line and headers have more than {HEAD_BYTES} bytes")
        except (TimeoutError, ConnectionError) as error:
            log.debug("a request was cut: %s", error)
            self.close_connection = True

    def _serve(self) -> None:
        path = unquote(self.path.partition("?")[0])
        known = EMBEDDINGS if path == EMBEDDINGS else MODELS if _is_models(path) else "other"
        headers: dict[str, str] = {}
        status = 499
        try:
            with self.port.busy(self.connection):
                try:
                    status, body, headers = self._answer_to(path, known)
                except Failed as failed:
                    status, body = failed.failure.status, failed.failure.body
                    headers = failed.failure.headers
                except (TimeoutError, ConnectionError):
                    raise
                except Exception:
                    # Its message may have words of the text in it: that is for the log's reader.
                    number = secrets.token_hex(8)
                    log.exception("request %s failed", number)
                    status = 500
                    body = shapes.write_error(
                        500, f"this is an error of the server, whose log names it {number}"
                    )
                self._send(status, body, headers)
        except Unavailable as error:
            stopping = shapes.failure(error)
            status = stopping.status
            self._send(status, stopping.body, stopping.headers)
        finally:
            self.port.metrics.embed_http.labels(known, str(status)).inc()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _answer_to(self, path: str, known: str) -> tuple[int, bytes, dict[str, str]]:
        if self.headers.defects:  # after which others may see another request than we do
            raise _failed(400, "the headers are malformed", {"Connection": "close"})
        if known == "other":
            raise _failed(404, f"there is {EMBEDDINGS} and {MODELS}, not {path[:200]!r}")
        allowed = _ALLOWED[known]
        if self.command == "OPTIONS":
            return 204, b"", {"Allow": allowed}
        if self.command not in allowed.split(", "):
            raise _failed(405, f"{known} takes {allowed}", {"Allow": allowed})
        self._check_caller(known)
        if known == EMBEDDINGS:
            return 200, self._embedded(), {}
        try:
            name = path.removeprefix(MODELS).removeprefix("/")
            if not name:
                return 200, shapes.write_models(self.port.encoders.models(), self.port.created), {}
            model = self.port.encoders.resolve(name)
            return 200, shapes.write_model(model, self.port.created), {}
        except VecdbError as error:
            raise Failed(shapes.failure(error)) from None

    def _check_caller(self, known: str) -> None:
        """Raise Failed unless the caller may come in. Nothing of the body was read yet."""
        if self.port.door is None:
            return
        size = self.headers.get("Content-Length", "")
        try:
            self.port.door.check(
                f"{self.command} {known}",
                self.headers.get("Authorization", ""),
                str(self.client_address[0]),
                int(size) if size.isascii() and size.isdecimal() and len(size) < 19 else 0,
            )
        except VecdbError as error:
            raise Failed(shapes.failure(error)) from None

    def _embedded(self) -> bytes:
        size = self._body_size()
        taken = 0
        body = bytearray()
        try:
            self._clocked.allow(BODY_S, size + HEAD_BYTES)
            while len(body) < size:
                chunk = self.rfile.read1(min(CHUNK_BYTES, size - len(body)))
                if not chunk:
                    raise ConnectionError("the body was cut")
                self.port.take_bytes(len(chunk))
                taken += len(chunk)
                body += chunk
            self._is_body_read = True
            return self.port.embed(bytes(body), self.connection)
        except Overloaded as error:
            raise Failed(shapes.failure(error)) from None
        except TimeoutError:
            raise _failed(408, f"the body did not come within {BODY_S:g} s") from None
        finally:
            self.port.take_bytes(-taken)

    def _body_size(self) -> int:
        """Return the bytes of the body that comes. Raises Failed for one that is not read."""
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
        if kind != "application/json":
            # Any web page may have a browser send other types to this machine.
            raise _failed(415, f"Content-Type is {kind or 'absent'}, expected application/json")
        if self.headers.get("Content-Encoding", "identity") != "identity":
            raise _failed(415, "Content-Encoding is not taken: send the JSON as it is")
        sizes = set(self.headers.get_all("Content-Length", []))
        if "Transfer-Encoding" in self.headers or not sizes:
            raise _failed(411, "send Content-Length; Transfer-Encoding is not taken")
        size = sizes.pop()
        if sizes or not (size.isascii() and size.isdecimal()):
            raise _failed(400, "Content-Length is not one number")
        if len(size) > 18 or int(size) > self.port.body_max:
            raise _failed(
                413,
                f"the body has {size[:20]} bytes, at most {self.port.body_max} are taken: send "
                "several requests",
            )
        return int(size)

    def handle_expect_100(self) -> bool:
        """Say that the body may come, unless it would be refused."""
        try:
            if self.path.partition("?")[0] == EMBEDDINGS:
                self._body_size()
        except Failed:
            return True  # and the answer follows, without it
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        unread = not self._is_body_read and (
            "Transfer-Encoding" in self.headers
            or self.headers.get("Content-Length", "0").strip() != "0"
        )
        self.connection.settimeout(WRITE_S)
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        if "Connection" not in headers and (unread or self.port.crowded):
            self.send_header("Connection", "close")  # which is obeyed here, too
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
        if unread:
            self._linger()

    def _linger(self) -> None:
        """Read on for a while: closing at once would have the client lose the answer."""
        self._clocked.allow(LINGER_S, 1 << 40)
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(CHUNK_BYTES):
                pass
        except OSError as error:
            log.debug("a refused request went on: %s", error)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is none, as http.server found it."""
        self.close_connection = True
        self.request_version = self.protocol_version  # what is no request is taken for HTTP/0.9
        self.connection.settimeout(WRITE_S)
        body = shapes.write_error(code, message or self.responses[code][0])
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
        self.port.metrics.embed_http.labels("other", str(int(code))).inc()
        self._linger()

    def log_message(self, format: str, *args: object) -> None:
        """Log a request's first line, where that is asked for."""
        log.debug(format, *args)


def _is_models(path: str) -> bool:
    return path == MODELS or path.startswith(MODELS + "/")


def _failed(status: int, message: str, headers: dict[str, str] | None = None) -> Failed:
    return Failed(Failure(status, shapes.write_error(status, message), headers or {}))
