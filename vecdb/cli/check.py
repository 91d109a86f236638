"""`vecdb check`: read a data directory, say what does not hold together, and put it right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID
from rich.text import Text

from vecdb.cli.screen import err, out, progress_bar


def check(
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Data directory; may be in use.")
    ] = Path("./vecdb-data"),
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Put right what is found, while the server is stopped: build again what can be "
            "derived, remove points whose records cannot be read.",
        ),
    ] = False,
) -> None:
    """Check every record and segment of a data directory; exit 1 when something is wrong.

    Changes nothing without --repair, and may then run beside the server.
    """
    # Only now: the other commands need none of what reads a data directory.
    from vecdb.ops.check import check_database

    findings = 0
    points = 0
    wrong: list[str] = []
    with progress_bar() as progress:
        seen = _Bars(progress).seen
        for report in check_database(data, seen):
            points += report.points
            findings += len(report.findings)
            wrong += [report.name] if report.findings else []
            _name(report.name, report.findings)
    if not findings:
        out.print(f"[green]nothing wrong[/] in {points:,} points")
        return
    err.print(f"[red]{findings} findings[/] in {points:,} points")
    if not repair or not _repair(data, wrong):
        raise typer.Exit(1)


def _repair(data: Path, names: list[str]) -> bool:
    """Return whether nothing is wrong any more with collections."""
    from vecdb.config import StorageConfig
    from vecdb.ops.repair import repair_database

    with progress_bar() as progress:
        progress.add_task("repairing", total=None, rate="")
        repairs = repair_database(data, names, StorageConfig(), _Bars(progress).seen)
    for one in repairs:
        for what in one.done:
            err.print(Text(f"{one.name}: {what}"))
        for name in one.lost:
            err.print(Text(f"{one.name}: point {name!r} was lost: removed", style="red"))
        if one.left:
            err.print(Text(f"{one.name}: still wrong, restore it from a backup:", style="red"))
            _name(one.name, one.left)
    if "" in names:
        err.print("what belongs to no collection was left alone: remove it by hand")
    whole = [one for one in repairs if not one.left]
    lost = sum(len(one.lost) for one in repairs)
    out.print(f"{len(whole)} of {len(names)} repaired, {lost:,} points lost")
    return len(whole) == len(names)


def _name(collection: str, findings: list[str]) -> None:
    for finding in findings:
        said = f"{collection}: {finding}" if collection else finding
        err.print(Text(said, style="red"))


class _Bars:
    """A bar for each collection that is read."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def seen(self, collection: str, done: int, total: int) -> None:
        """Move a collection's bar."""
        if collection not in self._tasks:
            self._tasks[collection] = self._progress.add_task(collection, total=total, rate="")
        self._progress.update(self._tasks[collection], completed=done)
