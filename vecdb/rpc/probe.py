"""`vecdb health`: does the server at an address serve? Asked over grpc.health.v1, by orchestrators.

They ask every few seconds and start a process each time. So this loads nothing of the command line
but what it needs: see __main__.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

CHECK = "/grpc.health.v1.Health/Check"
DEFAULT_ADDRESS = "127.0.0.1:6363"

State = health_pb2.HealthCheckResponse.ServingStatus


def ask(
    address: str,
    service: str = "",
    *,
    timeout_s: float,
    credentials: grpc.ChannelCredentials | None = None,
    server_name: str = "",
) -> str:
    """Return "" for a server that serves, or why it does not.

    address: host:port or unix:PATH. service: a full name such as vecdb.v1.Search; "" for the
    server. credentials: of TLS. server_name: of its certificate; "" for the address's host.
    """
    # A proxy of the environment is no way to the server that stands next to this process.
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    channel = (
        grpc.secure_channel(address, credentials, options)
        if credentials
        else grpc.insecure_channel(address, options)
    )
    with channel:
        check = channel.unary_unary(
            CHECK,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            reply = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return "" if reply.status == State.SERVING else str(State.Name(reply.status))


def main(arguments: list[str]) -> int:
    """Return the exit status of `vecdb health`: 0 when the server serves, 1 when it does not."""
    given = _arguments(arguments)
    try:
        credentials = _credentials(given)
        reason = ask(
            given.address,
            given.service,
            timeout_s=given.timeout_s,
            credentials=credentials,
            server_name=given.server_name,
        )
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    if not reason:
        sys.stdout.write("SERVING\n")
        return 0
    sys.stderr.write(f"error: {given.address} does not serve: {reason}\n")
    return 1


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "vecdb health", description="Exit 0 when a server serves, 1 when it does not."
    )
    parser.add_argument(
        "--address",
        "-a",
        default=os.environ.get("VECDB_ADDRESS", DEFAULT_ADDRESS),
        help="host:port or unix:PATH; else VECDB_ADDRESS, else %(default)s",
    )
    parser.add_argument("--service", default="", help="such as vecdb.v1.Models; '' for the server")
    parser.add_argument("--timeout-s", type=float, default=3.0, help="seconds to wait; %(default)s")
    for name, variable, meaning in (
        ("--ca", "VECDB_CA", "PEM file of whom to trust: use TLS"),
        ("--client-cert", "VECDB_CLIENT_CERT", "PEM file of the client's certificate (mTLS)"),
        ("--client-key", "VECDB_CLIENT_KEY", "PEM file of its private key"),
    ):
        parser.add_argument(
            name, type=Path, default=os.environ.get(variable), help=f"{meaning}; else {variable}"
        )
    parser.add_argument(
        "--tls",
        action="store_true",
        default=os.environ.get("VECDB_USE_TLS", "").lower() in ("1", "true", "yes", "on"),
        help="use TLS, and trust whom gRPC trusts; else VECDB_USE_TLS",
    )
    parser.add_argument(
        "--server-name", default="", help="the name in its certificate; else the address's host"
    )
    return parser.parse_args(arguments)


def _credentials(given: argparse.Namespace) -> grpc.ChannelCredentials | None:
    """Return the credentials of TLS, where it is asked for. Raises OSError."""
    ca, key, certificate = (
        Path(file).read_bytes() if file else None
        for file in (given.ca, given.client_key, given.client_cert)
    )
    if not (given.tls or ca or certificate):
        return None
    return grpc.ssl_channel_credentials(ca, key, certificate)
