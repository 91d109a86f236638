"""`vecdb health`, as the list of commands shows it. It is answered before that list is loaded."""

from __future__ import annotations

import typer


def health(context: typer.Context) -> None:
    """Exit 0 when a server serves, 1 when it does not: quick, for orchestrators; see --help."""
    # Only now: the other commands need no gRPC of the server's.
    from vecdb.rpc.probe import main

    raise typer.Exit(main(context.args))
