"""How far a write is: a callable of the caller's, or a bar on the terminal, by rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called where the caller waits with the items that have an answer, and the total or None."""


@contextmanager
def shown(progress: Progress | bool | None, what: str) -> Iterator[Progress | None]:
    """Yield what to call as a write goes on, None for nothing; a bar named `what` for True.

    Raises ImportError, where rich is not installed, that says how to install it.
    """
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    try:
        from rich import progress as bars
        from rich.console import Console
    except ImportError as error:
        raise ImportError(
            "progress=True needs rich: pip install 'vecdb-client[progress]'"
        ) from error
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    # On stderr: what a program prints is its own.
    with bars.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield update
