"""`vecdb serve`: run a node until it is told to stop."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from vecdb import logs
from vecdb.auth.call import request_id
from vecdb.config import Config, load, settings
from vecdb.errors import InvalidArgument


def serve(
    data: Annotated[str | None, typer.Option(help="Data directory; made when missing.")] = None,
    listen: Annotated[
        str | None, typer.Option(help="gRPC address host:port or unix:PATH; port 0 picks one.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="HTTP address of /metrics, /livez, /readyz; '' for none.")
    ] = None,
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
    """Run a server until SIGTERM or Ctrl-C; calls under way are finished first.

    Settings come from flags, then VECDB_<SECTION>_<KEY>, then --config FILE, then the defaults.
    """
    chosen = configuration(
        config,
        {
            "server.data": data,
            "server.listen": listen,
            "server.metrics": metrics,
            "server.insecure": insecure,
        },
        set_ or [],
    )
    if print_config:
        typer.echo(chosen.to_toml(), nl=False)
        return
    start_logging(chosen)
    workers = chosen.server.workers or len(os.sched_getaffinity(0))
    # Only now, and only the one: the command line answers --help without either.
    if workers == 1:
        from vecdb.server import run

        run(chosen, address_file)
    else:
        from vecdb.supervisor import supervise

        server = dataclasses.replace(chosen.server, workers=workers)
        supervise(dataclasses.replace(chosen, server=server), address_file)


def configuration(file: Path | None, flags: dict[str, object], assignments: list[str]) -> Config:
    """Return the configuration of a process; assignments are ``section.key=value``."""
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise InvalidArgument(f"--set {assignment}: expected SECTION.KEY=VALUE")
        if flags.get(name) is not None:
            raise InvalidArgument(f"--set {name}: given by its own flag too")
        flags = {**flags, name: value}
    return load(file, os.environ, flags)


def start_logging(chosen: Config) -> None:
    """Send log lines of this process to standard error. Raises InvalidArgument."""
    level = chosen.server.log_level
    names = logging.getLevelNamesMapping()
    if level.upper() not in names:
        known = settings()["server.log_level"].metadata["doc"]
        raise InvalidArgument(f"server.log_level is {level!r}, expected {known}")
    logs.start(level, chosen.log.format, request_id=request_id)
