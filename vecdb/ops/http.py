"""The HTTP port: /metrics, /livez, /readyz, and nothing else."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from vecdb.errors import InvalidArgument, Unavailable

log = logging.getLogger(__name__)

REQUEST_S = 10.0


class HttpPort:
    """Serves from start() to stop(). not_ready: why the node is not ready, or ""."""

    def __init__(
        self, address: str, registry: CollectorRegistry, not_ready: Callable[[], str]
    ) -> None:
        host, port = split_address(address)

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_S
            server_version = "vecdb"
            sys_version = ""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    encode, kind = choose_encoder(self.headers.get("Accept", ""))
                    self._answer(200, encode(registry), kind)
                elif path == "/livez":
                    self._answer(200, b"ok\n")
                elif path == "/readyz":
                    reason = not_ready()
                    self._answer(503 if reason else 200, (reason or "ok").encode() + b"\n")
                else:
                    self._answer(404, b"there is /metrics, /livez and /readyz\n")

            def _answer(self, code: int, body: bytes, kind: str = "text/plain") -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                log.debug(format, *args)

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            self._server = Server((host, port), Handler)
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {address} for metrics: {error.strerror}",
                hint="choose another server.metrics address, or '' for none",
            ) from None
        self._server.daemon_threads = True
        bound_host, bound_port = self._server.server_address[:2]
        self.address = (
            f"[{bound_host!s}]:{bound_port}" if ":" in host else f"{bound_host!s}:{bound_port}"
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="vecdb-http", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, or give the port back where that never began."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


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
