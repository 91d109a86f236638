"""What the commands share of the screen: consoles, number formats, the table of hits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vecdb_client import Hit

out = Console()
err = Console(stderr=True, soft_wrap=True)

_ONE_LINE = {mark: " " for mark in range(32)}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def warn(text: str) -> None:
    """Print a warning; no markup of ours is read in it."""
    err.print(Text(f"warning: {text}", style="yellow"))


def bytes_text(size: float) -> str:
    """Return a size as people read it."""
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def progress_bar(console: Console = err) -> Progress:
    """Return a progress bar for counted work."""
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", style="dim"),
        TimeRemainingColumn(),
        console=console,
    )


def hits_table(hits: Iterable[Hit], title: str = "") -> Table:
    """Return hits as a table: score, id, words that match, and the payload in one line."""
    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("id", style="cyan", overflow="fold", max_width=48)
    table.add_column("payload", ratio=1, no_wrap=True, overflow="ellipsis")
    for hit in hits:
        # Payloads are other people's text: no markup of ours is read in them.
        payload = Text(json.dumps(hit.payload, ensure_ascii=False))
        table.add_row(f"{hit.score:.4f}", Text(hit.id), Text("\n").join([*_marked(hit), payload]))
    return table


def _marked(hit: Hit) -> Iterator[Text]:
    """Yield the pieces of a hit's texts in which words match, one line a field."""
    for field, fragments in hit.highlights.items():
        line = Text(f"{field}: ", style="dim")
        for at, fragment in enumerate(fragments):
            line.append(" ... " if at else "")
            begun = len(line)
            line.append(fragment.text.translate(_ONE_LINE), style="not dim")
            for start, end in fragment.words:
                line.stylize("not dim bold yellow", begun + start, begun + end)
        yield line
