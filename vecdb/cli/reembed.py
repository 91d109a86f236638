"""`vecdb models reembed`: a space of a collection moves to another model, watched."""

from __future__ import annotations

import threading
from typing import Annotated

import typer
from rich.text import Text

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import err, out, progress_bar
from vecdb.errors import InvalidArgument
from vecdb_client import Collection, Reembedding, ReembedStep

POLL_S = 0.2
TIMEOUT_S = 120.0
"""Seconds that a step may take: a model may have to be loaded first."""

Flag = typer.Option


def reembed(
    collection: Annotated[str, typer.Argument(help="The collection, or an alias of it.")],
    model: Annotated[
        str, typer.Argument(help="The model to move to; none for where the move stands.")
    ] = "",
    space: Annotated[str, Flag(help="Its space; '' is the default one.")] = "",
    dim: Annotated[int, Flag(help="Dimensions, where the model has several.")] = 0,
    switch: Annotated[
        bool, Flag("--switch", help="Switch: with a MODEL once it is ready, else now.")
    ] = False,
    watch: Annotated[bool, Flag("--watch", help="Show how far it is until it is done.")] = False,
    status: Annotated[
        bool, Flag("--status", help="Measure anew how much the models agree.")
    ] = False,
    roll_back: Annotated[bool, Flag("--roll-back", help="Undo a switch.")] = False,
    finish: Annotated[
        bool, Flag("--finish", help="After a switch: drop the old model's vectors.")
    ] = False,
    cancel: Annotated[
        bool, Flag("--cancel", help="Before a switch: drop the new model's vectors.")
    ] = False,
    allow_missing: Annotated[
        bool, Flag("--allow-missing", help="Points without a text may lose their vectors.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Move a space to another model: its stored texts are encoded anew, then it switches at once.

    Searches and writes go on. The old vectors are kept until --finish, and the move can be rolled
    back until then.
    """
    step = _step(model, switch=switch, roll_back=roll_back, finish=finish, cancel=cancel)
    with connect(address, timeout_s=TIMEOUT_S) as client:
        chosen = client.collection(collection)
        if step == "start":
            now = chosen.reembed(model, space=space, dim=dim or None, switch=switch)
        else:
            now = chosen.reembed(
                step=step,
                space=space,
                allow_missing=allow_missing,
                measure=status and step == "status",
            )
        if watch:
            now = _watched(chosen, now)
    _show(now)


def _step(model: str, *, switch: bool, roll_back: bool, finish: bool, cancel: bool) -> ReembedStep:
    """Return what is asked for. Raises InvalidArgument for several things at once."""
    wanted: dict[ReembedStep, bool] = {
        "start": bool(model),
        "switch": switch and not model,
        "roll_back": roll_back,
        "finish": finish,
        "cancel": cancel,
    }
    steps = [step for step, asked in wanted.items() if asked]
    if len(steps) > 1:
        raise InvalidArgument(
            "one step at a time: a MODEL, --switch, --roll-back, --finish or --cancel"
        )
    return steps[0] if steps else "status"


def _watched(collection: Collection, now: Reembedding) -> Reembedding:
    """Show a move until no more comes by waiting; return where it stands then."""
    with progress_bar() as bar:
        task = bar.add_task(f"to {now.shadow_model or now.model}", total=None, rate="")
        while True:
            rate = f"{now.points_per_s:,.0f}/s" if now.points_per_s else ""
            bar.update(
                task,
                completed=now.done,
                total=now.total or None,
                rate=now.error or rate,
            )
            if now.is_settled:
                return now
            threading.Event().wait(POLL_S)
            now = collection.reembed(space=now.space)


def _show(now: Reembedding) -> None:
    """Print where a move stands, and what to do next."""
    name = f"{now.collection}, space {now.space!r}" if now.space else now.collection
    out.print(Text(f"{name}: {now.model} ({now.dim} dimensions)"))
    if now.state == "none":
        out.print("not being moved to another model")
        return
    out.print(Text(f"shadow {now.shadow!r}: {now.shadow_model} ({now.shadow_dim} dimensions)"))
    left = f", about {now.eta_s:,.0f} s left" if now.eta_s is not None else ""
    out.print(f"{now.state}: {now.done:,} of {now.total:,} points{left}", highlight=False)
    if now.overlap is not None:
        found = now.overlap
        out.print(
            f"overlap@10: {found.share:.3f} ({found.low:.3f} to {found.high:.3f}), over "
            f"{found.queries} stored {'vectors' if found.by_vectors else 'texts'}",
            highlight=False,
        )
    for count, what in (
        (now.missing_text, "points have no text: their vectors were given as numbers"),
        (now.failed, "points have a text that the model refuses"),
    ):
        if count:
            err.print(Text(f"{count:,} {what}", style="yellow"))
    if now.error:
        err.print(Text(f"the last try failed: {now.error}", style="yellow"))
    out.print(Text(_NEXT.get(now.state, ""), style="dim"))


_NEXT = {
    "filling": "it goes on by itself; --watch shows how far it is, --cancel ends it",
    "incomplete": "next: --switch --allow-missing, or --cancel",
    "ready": "next: --switch, or --cancel",
    "switched": "next: --finish, or --roll-back",
}
