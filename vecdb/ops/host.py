"""A node and the machine it is on: who may reach it, how many files it may open, when to end."""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from vecdb.config import Config
from vecdb.errors import InvalidArgument
from vecdb.ops.http import is_loopback, split_address

WAKE_S = 0.5


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


def on_stop_signals(put: Callable[[int], object]) -> None:
    """Have SIGTERM and SIGINT put on a SimpleQueue from now on.

    A SimpleQueue may be put to from a signal handler; an Event may not: its lock may be held by
    the very thread that the handler interrupts.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: put(caught))


def wait_signal(asked: queue.SimpleQueue[int]) -> int:
    """Return the first signal put on a queue by on_stop_signals; for the main thread.

    Python's handlers run in the main thread, once it runs. A signal that comes between its last
    look for one and its falling asleep does not wake it, so it does not sleep for long.
    """
    while True:
        try:
            return asked.get(timeout=WAKE_S)
        except queue.Empty:
            continue


def write_addresses(file: Path, grpc: str, metrics: str, embed_pid: int | None) -> None:
    """Say in a file, as JSON, where this process serves; the file is there whole or not at all."""
    content = {"grpc": grpc, "metrics": metrics, "pid": os.getpid(), "worker_pid": embed_pid}
    temporary = file.with_name(file.name + ".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(file)
