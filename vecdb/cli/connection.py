"""How commands reach a server: the options that all which take --address have besides.

They are added to commands in one place, and read where a command connects.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

if TYPE_CHECKING:
    from vecdb_client import ApiKey, Tls

PANEL = "Connection"


class Reach(TypedDict):
    """What a client is given beside the address."""

    api_key: ApiKey | None
    tls: Tls | bool
    insecure: bool


_reach: ContextVar[Reach | None] = ContextVar("reach", default=None)


def _file(name: str, variable: str, meaning: str) -> Any:  # noqa: ANN401 - typer's own
    return typer.Option(
        name, envvar=variable, exists=True, dir_okay=False, help=meaning, rich_help_panel=PANEL
    )


def _chosen(
    api_key_file: Annotated[
        Path | None,
        _file(
            "--api-key-file",
            "VECDB_API_KEY_FILE",
            "File that holds the API key; without, VECDB_API_KEY is the key.",
        ),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            envvar="VECDB_USE_TLS",
            help="Use TLS, and trust whom the system trusts.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    ca: Annotated[
        Path | None,
        _file("--ca", "VECDB_CA", "Use TLS, and trust the certificates in this PEM file."),
    ] = None,
    client_cert: Annotated[
        Path | None,
        _file("--client-cert", "VECDB_CLIENT_CERT", "Use TLS, and show this certificate (mTLS)."),
    ] = None,
    client_key: Annotated[
        Path | None,
        _file("--client-key", "VECDB_CLIENT_KEY", "The private key of --client-cert."),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Let the key travel to another machine in plain text.",
            rich_help_panel=PANEL,
        ),
    ] = False,
) -> Reach:
    """Return what these options say."""
    from vecdb_client import Tls  # not every command has use for a client

    api_key: ApiKey | None = api_key_file or os.environ.get("VECDB_API_KEY") or None
    if ca or client_cert or client_key:
        certain = Tls(ca_file=ca, cert_file=client_cert, key_file=client_key)
        return {"api_key": api_key, "tls": certain, "insecure": insecure}
    return {"api_key": api_key, "tls": tls, "insecure": insecure}


def add_connection_options(app: typer.Typer) -> None:
    """Give all commands of an app that have an address the options above, groups included."""
    for command in app.registered_commands:
        if command.callback is None:
            continue
        own = inspect.signature(command.callback).parameters
        if "address" in own and "api_key_file" not in own:
            command.callback = _reaching(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_connection_options(group.typer_instance)


def reach() -> Reach:
    """Return what the command that runs was told, by its options and the environment."""
    return _reach.get() or _chosen()


def _reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with more options, which it finds by reach()."""
    own = inspect.signature(command, eval_str=True)
    more = inspect.signature(_chosen, eval_str=True).parameters

    @functools.wraps(command)
    def run(**given: Any) -> Any:  # noqa: ANN401
        _reach.set(_chosen(**{name: given.pop(name) for name in more}))
        return command(**given)

    parameters = {**own.parameters, **more}
    run.__signature__ = own.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {name: one.annotation for name, one in parameters.items()}
    return run
