"""`vecdb embed-worker`: the embedding worker by itself, for nodes on other machines."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb.cli.serve import configuration, start_logging
from vecdb.config import Config
from vecdb.errors import InvalidArgument

if TYPE_CHECKING:  # the command line answers --help without what serves
    from vecdb.embed.host import Host

log = logging.getLogger(__name__)


def embed_worker(
    listen: Annotated[
        str, typer.Option(help="gRPC address host:port or unix:PATH; port 0 picks one.")
    ] = "127.0.0.1:6365",
    metrics: Annotated[
        str, typer.Option(help="HTTP address of /metrics, /livez, /readyz; '' for none.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="TOML file; --print-config shows what it may say.")
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option(
            "--insecure", help="Allow an address that other machines reach, without keys."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings in force, as TOML, and exit.")
    ] = False,
    address_file: Annotated[
        Path | None, typer.Option(help="Write the addresses here, as JSON, once calls are taken.")
    ] = None,
) -> None:
    """Run the embedding worker alone, for the nodes whose embed.worker names it.

    What the settings of `vecdb serve` say of [embed] goes for it, and limits.text_bytes,
    limits.image_bytes, server.log_level, log.format, server.drain_s and server.insecure. Nodes and
    worker must agree on the models and on these limits. For nodes on other machines give it
    tls.cert_file and tls.key_file (nodes: embed.worker_ca_file) and, on both sides,
    embed.worker_key_file.
    """
    chosen = configuration(config, {"server.insecure": insecure}, set_ or [])
    if print_config:
        typer.echo(chosen.to_toml(), nl=False)
        return
    if not chosen.embed.enabled:
        raise InvalidArgument("embed.enabled is false: there is nothing to serve")
    # Only now: the command line answers --help without.
    from vecdb.ops.host import check_address

    insecure, encrypted = chosen.server.insecure, bool(chosen.tls.cert_file)
    check_address("--listen", listen, insecure=insecure, secured=encrypted)
    check_address("--metrics", metrics, insecure=insecure, secured=encrypted and chosen.tls.metrics)
    if chosen.tls.client_ca_file:
        raise InvalidArgument(
            "tls.client_ca_file: nodes show an embedding worker no certificate",
            hint="let nodes in by embed.worker_key_file",
        )
    start_logging(chosen)
    _run(chosen, listen, metrics, address_file)


def _run(config: Config, listen: str, metrics: str, address_file: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; return when stopped."""
    # Calls tokenize in threads of their own; the tokenizer's pool would only compete with them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # What asks services logs whole addresses, in which some put keys.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from prometheus_client.platform_collector import PlatformCollector
    from prometheus_client.process_collector import ProcessCollector

    from vecdb import stop
    from vecdb.embed.shared_keys import SharedKeys
    from vecdb.embed.wire import message_bytes
    from vecdb.embed.worker import configured, serving
    from vecdb.ops.host import allow_files, certificates_of, write_addresses
    from vecdb.ops.http import HttpPort
    from vecdb.rpc.tls import credentials

    # There is nothing to finish before calls are taken, and models may take minutes to load.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_at_once)
    allow_files()
    certificates = certificates_of(config.tls)
    keys = SharedKeys(config.embed.worker_key_file) if config.embed.worker_key_file else None
    host = configured(config.embed)
    phase = ["models are being loaded"]
    with ExitStack() as stack:
        http_address = ""
        if certificates:
            certificates.start()
            stack.callback(certificates.stop)
        if metrics:
            ProcessCollector(registry=host.meter.registry)
            PlatformCollector(registry=host.meter.registry)
            port = HttpPort(
                metrics,
                host.meter.registry,
                lambda: phase[0] or _ailment(host, config.embed.stalled_s),
                setting="--metrics",
                certificates=certificates if config.tls.metrics else None,
            )
            stack.callback(port.stop)
            port.start()
            http_address = port.address
            log.info("metrics on %s", http_address)
        limits = config.limits
        address = stack.enter_context(
            serving(
                host,
                listen,
                message_bytes(limits.text_bytes + limits.image_bytes),
                everything=config.embed.preload,
                drain_s=config.server.drain_s,
                credentials=credentials(certificates) if certificates else None,
                keys=keys,
            )
        )
        asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        stop.on_signals(asked.put)
        phase[0] = ""
        log.info("serving embeddings on %s, metrics on %s", address, http_address or "none")
        if address_file is not None:
            write_addresses(address_file, grpc=address, metrics=http_address)
        log.info("asked to stop by %s", signal.Signals(stop.wait(asked)).name)
        phase[0] = "stopping"
    log.info("stopped")


def _ailment(host: Host, stalled_s: float) -> str:
    """Return why texts are not encoded, or "": of the default model, or of all in a batch."""
    running_s = host.counters().running_s
    if running_s > stalled_s:
        return f"a batch has run for {running_s:.0f} s"
    return host.states()[0].reason


def _end_at_once(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
