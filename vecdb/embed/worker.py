"""The embedding worker: ``python -m vecdb.embed.worker``, which turns content into vectors.

Started and watched by process.py. Says "ready" on its standard output once its default model is
loaded and its socket answers, and loads the others then; lives while its standard input is open,
so it cannot outlive its parent. A model that does not load is listed with the reason and does not
stop the others. `vecdb embed-worker` runs the same by itself, for a node on another machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue

import grpc

from vecdb import logs, stop
from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.host import Host
from vecdb.embed.serving import THREADS, EncoderService, KeyCheck
from vecdb.embed.shared_keys import SharedKeys
from vecdb.embed.wire import READY
from vecdb.errors import Unavailable

log = logging.getLogger("vecdb.embed.worker")

DRAIN_S = 5.0
SWEEP_S = 10.0


def configured(config: EmbedConfig) -> Host:
    """Return a host of the configured models, none of which is loaded yet."""
    known = catalog.load_catalog(config.catalog)
    return Host(catalog.select(known, config.models, config.model), config)


@contextmanager
def serving(
    host: Host,
    listen: str,
    message_bytes: int,
    *,
    everything: bool,
    drain_s: float = DRAIN_S,
    credentials: grpc.ServerCredentials | None = None,
    keys: SharedKeys | None = None,
) -> Iterator[str]:
    """Yield the address that a host answers on by then, its default model loaded.

    listen: ``unix:PATH``, or ``host:port`` of which port 0 picks a free one. everything: whether
    to load the other models, too, while it serves. credentials, keys: TLS, and whom to let in; of a
    worker that nodes elsewhere have. At the end calls under way get drain_s seconds,
    and the host is closed. Raises Unavailable when the address cannot be had.
    """
    server = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="call"),
        interceptors=[KeyCheck(keys)] if keys else [],
        options=[
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.max_send_message_length", message_bytes),
            ("grpc.so_reuseport", 0),
            # Nodes elsewhere ask whether we are alive while they wait for a long batch.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    server.add_generic_rpc_handlers((EncoderService(host).handler(),))
    host.residents.preload(everything=False)
    # The socket is made inside this call; nobody but the user who runs the server may connect.
    before = os.umask(0o177)
    try:
        port = (
            server.add_secure_port(listen, credentials)
            if credentials and not listen.startswith("unix:")
            else server.add_insecure_port(listen)
        )
    except RuntimeError:
        raise Unavailable(f"cannot listen on {listen}", hint="choose another address") from None
    finally:
        os.umask(before)
    server.start()
    ended = threading.Event()
    threading.Thread(
        target=_look_after, args=(host, ended, everything), name="models", daemon=True
    ).start()
    address = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    try:
        yield address
    finally:
        ended.set()
        server.stop(drain_s).wait()
        host.close()


def _look_after(host: Host, ended: threading.Event, everything: bool) -> None:
    """Load the models that are to be there, then let go of those that nobody uses."""
    host.residents.preload(everything=everything)
    while not ended.wait(SWEEP_S):
        host.residents.sweep()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker of a node and return its exit status."""
    arguments = _parse(argv)
    logs.start(arguments.log_level, arguments.log_format, "embedding")
    # What asks services logs whole addresses, in which some put keys.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # The pipe is for the parent alone: whatever a library prints goes to the log instead.
    parent = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    stopping: SimpleQueue[str] = SimpleQueue()
    stop.on_signals(lambda number: stopping.put(signal.Signals(number).name), (signal.SIGTERM,))
    # Ctrl-C reaches the whole process group; whether to stop is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orphaned = threading.Event()
    watch = threading.Thread(target=_watch_parent, args=(orphaned, stopping), daemon=True)
    watch.start()
    config = EmbedConfig(**json.loads(arguments.config))
    socket = f"unix:{arguments.socket}"
    with serving(configured(config), socket, arguments.message_bytes, everything=config.preload):
        _say_ready(parent)
        log.info("stopping: %s", stop.wait(stopping))
    if orphaned.is_set():
        # Nobody else is left to remove the directory that the parent made for the socket.
        with suppress(OSError):
            os.unlink(arguments.socket)
        with suppress(OSError):
            os.rmdir(os.path.dirname(arguments.socket))
    return 0


def _say_ready(parent: int) -> None:
    try:
        os.write(parent, READY)
    except BrokenPipeError:
        log.warning("the parent is gone already")


def _watch_parent(orphaned: threading.Event, stopping: SimpleQueue[str]) -> None:
    while os.read(0, 4096):
        pass
    orphaned.set()
    stopping.put("the parent has gone or closed the pipe")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vecdb.embed.worker", description=__doc__)
    parser.add_argument("--socket", required=True, help="path of the Unix socket to make")
    parser.add_argument("--config", required=True, help="settings of [embed], as JSON")
    parser.add_argument("--message-bytes", type=int, required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="text")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
