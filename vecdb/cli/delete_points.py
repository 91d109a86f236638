"""vecdb delete: the points that some conditions match."""

from __future__ import annotations

from typing import Annotated

import typer

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect, parse_where
from vecdb.cli.screen import err, out, progress_bar
from vecdb.errors import InvalidArgument


def delete_points(
    name: Annotated[str, typer.Argument(help="The collection, or an alias of it.")],
    where: Annotated[
        list[str] | None,
        typer.Option("--where", "-w", metavar="FIELD=VALUE", help="Also != < <= > >=; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Delete the points that match all conditions."""
    chosen = parse_where(where or [])
    if chosen is None:
        raise InvalidArgument(
            "nothing says which points: expected --where FIELD=VALUE",
            hint="`vecdb collections truncate` removes them all",
        )
    with connect(address) as client:
        collection = client.collection(name)
        count, of = collection.count(chosen), collection.count()
        if not yes:
            typer.confirm(f"delete {count:,} of {of:,} points of {name} for good?", abort=True)
        with progress_bar() as bar:
            task = bar.add_task(f"deleting from {name}", total=count, rate="")
            report = collection.delete_where(
                chosen, progress=lambda done, total: bar.update(task, completed=done, total=total)
            )
    out.print(f"deleted {report.written:,} points of {name}")
    if report.damaged:
        err.print(f"{report.damaged:,} damaged points were left: `vecdb check` says more")
