"""HTTP ports: how one is bound, and that of /metrics, /livez, /readyz, and nothing else."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from vecdb.auth.door import Door
from vecdb.certificates import Certificates
from vecdb.errors import PermissionDenied, Unauthenticated, Unavailable, VecdbError
from vecdb.sockets import split_address

log = logging.getLogger(__name__)

REQUEST_S = 10.0


class Connections(ThreadingHTTPServer):
    """The connections of a port, under TLS where it has certificates.

    One that its peer breaks off is no news. asks_clients: whether clients show certificates too.
    """

    certificates: Certificates | None = None
    asks_clients = False

    def get_request(self) -> tuple[Any, Any]:
        """Return a connection; nothing was read from it yet."""
        connection, client = super().get_request()
        if self.certificates is None:
            return connection, client
        shown = self.certificates.shown
        context = shown.asking if self.asks_clients else shown.plain
        secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secured, client

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Log what ended a connection: as an error only where it is ours."""
        level = logging.DEBUG if isinstance(sys.exception(), OSError) else logging.ERROR
        log.log(level, "a connection ended", exc_info=True)


class Listener:
    """A bound HTTP port, which answers from start() to stop().

    purpose: what it is for, and setting: which address it is, for whoever cannot have it.
    certificates: what TLS shows, None for plain text. asks_clients: whether to hold clients to
    certificates where those say so. The handshake is part of the first read of a connection, in
    its own thread and under the handler's timeout, so that who is slow holds up nobody else.
    """

    def __init__(
        self,
        address: str,
        handler: type[BaseHTTPRequestHandler],
        *,
        purpose: str,
        setting: str,
        kind: type[Connections] = Connections,
        certificates: Certificates | None = None,
        asks_clients: bool = False,
    ) -> None:
        """Bind the address. Raises Unavailable when it cannot be had, InvalidArgument."""
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        about: dict[str, Any] = {"address_family": family, "daemon_threads": True}
        about |= {"certificates": certificates, "asks_clients": asks_clients}
        server = type("Server", (kind,), about)
        try:
            self._server: Connections = server((host, port), handler)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {address} for {purpose}: {error.strerror}",
                hint=f"choose another {setting} address, or '' for none",
            ) from None
        bound_host, bound_port = self._server.server_address[:2]
        self.address = (
            f"[{bound_host!s}]:{bound_port}" if ":" in host else f"{bound_host!s}:{bound_port}"
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, name=f"vecdb-{purpose}", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, or give the port back where that never began."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class HttpPort(Listener):
    """Serves from start() to stop().

    not_ready: why the node is not ready, or "". more: lines of /readyz below that. door: says who
    may have /metrics; None lets in all. The others are for probes, which have no key.
    """

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        not_ready: Callable[[], str],
        *,
        setting: str = "server.metrics",
        more: Callable[[], str] = lambda: "",
        certificates: Certificates | None = None,
        door: Door | None = None,
    ) -> None:
        self.registry = registry
        self.not_ready = not_ready
        self.more = more
        self.door = door
        handler = type("Handler", (_Handler,), {"port": self})
        super().__init__(
            address, handler, purpose="metrics", setting=setting, certificates=certificates
        )


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    port: HttpPort
    timeout = REQUEST_S
    server_version = "vecdb"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer_metrics()
        elif path == "/livez":
            self._answer(200, b"ok\n")
        elif path == "/readyz":
            reason = self.port.not_ready()
            text = f"{reason or 'ok'}\n{self.port.more()}"
            self._answer(503 if reason else 200, text.encode())
        else:
            self._answer(404, b"there is /metrics, /livez and /readyz\n")

    def _answer_metrics(self) -> None:
        authorization = self.headers.get("Authorization", "")
        try:
            if self.port.door is not None:
                self.port.door.check("GET /metrics", authorization, str(self.client_address[0]))
        except Unauthenticated as error:
            self._answer(401, f"{error}\n".encode(), challenge=True)
        except VecdbError as error:
            code = 403 if isinstance(error, PermissionDenied) else 503
            self._answer(code, f"{error}\n".encode())
        else:
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, encode(self.port.registry), kind)

    def _answer(
        self, code: int, body: bytes, kind: str = "text/plain", *, challenge: bool = False
    ) -> None:
        self.send_response(code)
        if challenge:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log a request's first line, where that is asked for."""
        log.debug(format, *args)
