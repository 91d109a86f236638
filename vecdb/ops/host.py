"""A node and the machine it is on: who may reach it, how many files it may open, where it is."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

from vecdb.config import Config
from vecdb.errors import InvalidArgument
from vecdb.ops.http import is_loopback, split_address


def check_exposure(config: Config) -> None:
    """Refuse to serve other machines by accident: there is no key yet to keep strangers out."""
    if config.server.insecure:
        return
    for name in ("listen", "metrics"):
        address = getattr(config.server, name)
        if not address or address.startswith("unix:"):
            continue
        host, _ = split_address(address)
        if not is_loopback(host):
            raise InvalidArgument(
                f"server.{name} = {address} can be reached by other machines, without a key",
                hint="listen on 127.0.0.1, or say --insecure where the network itself is guarded",
            )


def allow_files() -> None:
    """Raise the soft limit of open files to the hard one: every mapped array holds a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def write_addresses(file: Path, grpc: str, metrics: str, embed_pid: int | None) -> None:
    """Say in a file, as JSON, where this process serves; the file is there whole or not at all."""
    content = {"grpc": grpc, "metrics": metrics, "pid": os.getpid(), "worker_pid": embed_pid}
    temporary = file.with_name(file.name + ".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(file)
