"""A node and the machine it is on: who may reach it, how many files it may open, where it is."""

from __future__ import annotations

import json
import logging
import os
import resource
from pathlib import Path

from vecdb.auth.authenticator import Authenticator
from vecdb.auth.keys import KeysOnDisk
from vecdb.certificates import Certificates
from vecdb.config import Config, TlsConfig
from vecdb.errors import InvalidArgument
from vecdb.sockets import is_loopback, split_address

log = logging.getLogger(__name__)


def check_exposure(config: Config) -> None:
    """Refuse to serve other machines by accident: in plain text, and without a key.

    A key does for all ports, as each asks for it; it then travels in plain text, which is said.
    """
    has_keys = _has_keys(config)
    for name, address in (
        ("server.listen", config.server.listen),
        ("server.metrics", config.server.metrics),
        ("embed.http", config.embed.http),
    ):
        has_tls = bool(config.tls.cert_file) and (name != "server.metrics" or config.tls.metrics)
        if has_keys and not has_tls and _is_exposed(address):
            log.warning(
                "%s = %s: keys travel to it in plain text, as tls.* is not set", name, address
            )
        secured = has_tls or has_keys
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
    if not insecure and not secured and _is_exposed(address):
        raise InvalidArgument(
            f"{name} = {address} can be reached by other machines, without a key or TLS",
            hint="listen on 127.0.0.1; set tls.cert_file and tls.key_file; make a key with "
            "vecdb keys create --data DIR; or say --insecure where the network itself is guarded",
        )


def _is_exposed(address: str) -> bool:
    if not address or address.startswith("unix:"):
        return False
    host, _ = split_address(address)
    return not is_loopback(host)


def _has_keys(config: Config) -> bool:
    """Return whether callers will be asked who they are."""
    keys = KeysOnDisk(Path(config.server.data))
    try:
        return Authenticator(config.auth, keys).is_required()
    finally:
        keys.close()


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
