"""A node and the machine it is on: who may reach it, how many files it may open, where it is."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

from vecdb.certificates import Certificates
from vecdb.config import Config, TlsConfig
from vecdb.errors import InvalidArgument
from vecdb.sockets import is_loopback, split_address


def check_exposure(config: Config) -> None:
    """Refuse to serve other machines by accident: in plain text, and without a key."""
    for name, address in (
        ("server.listen", config.server.listen),
        ("server.metrics", config.server.metrics),
        ("embed.http", config.embed.http),
    ):
        secured = bool(config.tls.cert_file) and (name != "server.metrics" or config.tls.metrics)
        check_address(name, address, insecure=config.server.insecure, secured=secured)


def certificates_of(tls: TlsConfig) -> Certificates | None:
    """Return what TLS shows, None without. Raises InvalidArgument for files that are none."""
    if not (tls.cert_file or tls.key_file or tls.client_ca_file):
        return None
    return Certificates(tls.cert_file, tls.key_file, tls.client_ca_file)


def check_address(name: str, address: str, *, insecure: bool, secured: bool = False) -> None:
    """Refuse an address that other machines reach, unless that is meant. name: who says it.

    secured: whether it has TLS, or a key.
    """
    if insecure or secured or not address or address.startswith("unix:"):
        return
    host, _ = split_address(address)
    if not is_loopback(host):
        raise InvalidArgument(
            f"{name} = {address} can be reached by other machines, without a key or TLS",
            hint="listen on 127.0.0.1, set tls.cert_file and tls.key_file, or say --insecure where "
            "the network itself is guarded",
        )


def allow_files() -> None:
    """Raise the soft limit of open files to the hard one: every mapped array holds a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def write_addresses(file: Path, **addresses: object) -> None:
    """Say in a file, as JSON, where this process serves; the file is there whole or not at all.

    addresses: "grpc" and others, "" for what is not served, beside which "pid" is this process's.
    """
    content = {**addresses, "pid": os.getpid()}
    temporary = file.with_name(file.name + ".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(file)
