"""The `vecdb` command: the one place where everything is put together.

`serve` and `demo` start a node, `embed-worker` a part of one; `check` looks at a data directory;
the others are clients of a running server and use nothing but the public client package.
"""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from vecdb import __version__, errors
from vecdb.cli import (
    ask,
    backup,
    check,
    client_commands,
    collection_commands,
    delete_points,
    demo,
    embed_worker,
    evaluate,
    export_file,
    health,
    import_files,
    ingest,
    keys,
    model_bench,
    model_commands,
    model_files,
    reembed,
    schema_commands,
    serve,
    status,
    upgrade,
)
from vecdb.cli.connection import add_connection_options
from vecdb.cli.screen import err
from vecdb_client import VecdbError as ClientError

app = typer.Typer(
    name="vecdb",
    help="A self-hosted vector database.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("embed-worker")(embed_worker.embed_worker)
app.command("demo")(demo.demo)
app.command("import")(import_files.import_file)
app.command("export")(export_file.export_file)
app.command("search")(client_commands.search)
app.command("ingest")(ingest.ingest)
app.command("ask")(ask.ask)
app.command("get")(client_commands.get)
app.command("eval")(evaluate.evaluate)
app.command("delete")(delete_points.delete_points)
app.command("info")(client_commands.info)
app.command("status")(status.status)
collection_commands.collections.command("update")(schema_commands.update)
collection_commands.collections.command("clone")(schema_commands.clone)
app.add_typer(collection_commands.collections, name="collections")
model_commands.models.command("pull")(model_files.pull_model)
model_commands.models.command("check")(model_files.check_models)
model_commands.models.command("bench")(model_bench.bench_model)
model_commands.models.command("reembed")(reembed.reembed)
app.add_typer(model_commands.models, name="models")
app.add_typer(keys.keys, name="keys")
app.command("backup")(backup.backup)
app.command("backups")(backup.backups)
app.command("restore")(backup.restore)
app.command("check")(check.check)
app.command("upgrade")(upgrade.upgrade)
add_connection_options(app)
app.command("health", context_settings=health.AS_IT_CAME)(health.health)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"vecdb {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Run a self-hosted vector database, or talk to one."""


def main() -> None:
    """Run the command line; an expected error is a message and exit status 1, not a traceback."""
    try:
        app()
    except (errors.VecdbError, ClientError) as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
