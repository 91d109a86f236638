"""`vecdb upgrade`: bring a data directory of an earlier vecdb to the format of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vecdb.cli.screen import err, out


def upgrade(
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Data directory; not in use.")
    ] = Path("./vecdb-data"),
) -> None:
    """Bring a data directory to the format of this vecdb; exit 1 when a part of it is damaged.

    Killed half-way, the same command goes on. What a later vecdb wrote is refused and left alone.
    """
    # Only now: the other commands need none of what reads a data directory.
    from vecdb.storage.codec import FORMAT_VERSION
    from vecdb.storage.upgrade import upgrade as upgraded

    stores = changed = damaged = 0
    for one in upgraded(data):
        stores += 1
        if one.trouble:
            damaged += 1
            err.print(Text(f"left as it is: {one.trouble}", style="red"))
        elif one.was < FORMAT_VERSION:
            changed += 1
    if damaged:
        err.print(f"[red]{damaged} of {stores} stores are damaged[/]; vecdb check says more")
        raise typer.Exit(1)
    done = f"{changed} upgraded" if changed else "nothing to do"
    out.print(f"[green]format {FORMAT_VERSION}[/]: {stores} stores, {done}")
