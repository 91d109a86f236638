"""The `vecdb` command: the one place where everything is put together.

`serve` and `demo` start a node, `embed-worker` a part of one; `check` looks at a data directory;
the others are clients of a running server and use nothing but the public client package.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from vecdb import __version__, errors
from vecdb.cli.connection import add_connection_options

COMMANDS = {
    "serve": "serve.serve",
    "embed-worker": "embed_worker.embed_worker",
    "demo": "demo.demo",
    "import": "import_files.import_file",
    "export": "export_file.export_file",
    "search": "client_commands.search",
    "ingest": "ingest.ingest",
    "ask": "ask.ask",
    "get": "client_commands.get",
    "eval": "evaluate.evaluate",
    "delete": "delete_points.delete_points",
    "info": "client_commands.info",
    "status": "status.status",
    "limits": "status.limits",
    "backup": "backup.backup",
    "backups": "backup.backups",
    "restore": "backup.restore",
    "check": "check.check",
    "upgrade": "upgrade.upgrade",
    "health": "health.health",
    "collections": "collection_commands.collections",
    "models": "model_commands.models",
    "keys": "keys.keys",
}
"""The commands, as help lists them, and where each lies: a function, or a group of its own."""

_UNREAD = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_CONTEXTS = {"health": _UNREAD}


def application(only: str | None = None) -> typer.Typer:
    """Return the command line: with all its commands, or the one that is asked for.

    A server is up a second earlier for not having read what the others need.
    """
    app = typer.Typer(
        name="vecdb",
        help="A self-hosted vector database.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    quick = only == "--version" or only in COMMANDS
    for name in COMMANDS.keys() & {only} if quick else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(".")
        command = getattr(import_module(f"vecdb.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, context_settings=_CONTEXTS.get(name))(command)
    add_connection_options(app)
    return app


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"vecdb {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Run a self-hosted vector database, or talk to one."""


def main() -> None:
    """Run the command line; an expected error is a message and exit status 1, not a traceback."""
    try:
        application(*sys.argv[1:2])()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not isinstance(error, _expected()):
            raise
        from rich.markup import escape

        from vecdb.cli.screen import err

        err.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)


def _expected() -> tuple[type[Exception], ...]:
    """Return what errors are told without a traceback: ours, and those of the client's if used."""
    client = sys.modules.get("vecdb_client")
    return (errors.VecdbError, client.VecdbError) if client else (errors.VecdbError,)
