"""`vecdb check`: read everything in a data directory and say what does not hold together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vecdb.cli.screen import err, out, progress_bar


def check(
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Data directory; may be in use.")
    ] = Path("./vecdb-data"),
) -> None:
    """Check every record and segment of a data directory; exit 1 when something is wrong.

    Changes nothing, and may run beside the server.
    """
    # Only now: the other commands need none of what reads a data directory.
    from vecdb.ops.check import check_database

    findings = 0
    points = 0
    with progress_bar() as progress:
        tasks: dict[str, int] = {}

        def seen(collection: str, done: int, total: int) -> None:
            if collection not in tasks:
                tasks[collection] = progress.add_task(collection, total=total, rate="")
            progress.update(tasks[collection], completed=done)  # type: ignore[arg-type]

        for report in check_database(data, seen):
            points += report.points
            for finding in report.findings:
                findings += 1
                err.print(Text(f"{report.name}: {finding}", style="red"))
    if findings:
        err.print(f"[red]{findings} findings[/] in {points:,} points")
        raise typer.Exit(1)
    out.print(f"[green]nothing wrong[/] in {points:,} points")
