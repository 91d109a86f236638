"""`vecdb collections`: make, name, look at, compact, empty and delete them."""

from __future__ import annotations

import json
import threading
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from vecdb.cli import schema_commands
from vecdb.cli.client_commands import (
    DEFAULT_ADDRESS,
    METRICS,
    Address,
    Where,
    connect,
    parse_where,
)
from vecdb.cli.screen import out, progress_bar, warn
from vecdb.errors import InvalidArgument

POLL_S = 0.2
EFS = (16, 32, 64, 128, 256)

collections = typer.Typer(
    no_args_is_help=True, help="List, create, name, compact, measure, empty, delete collections."
)

aliases = typer.Typer(
    no_args_is_help=True, help="Other names of collections: point them elsewhere at once."
)
collections.add_typer(aliases, name="alias")
collections.command("update")(schema_commands.update)
collections.command("clone")(schema_commands.clone)


@collections.command("list")
def list_collections(address: Address = DEFAULT_ADDRESS) -> None:
    """Print the names of all collections."""
    with connect(address) as client:
        for one in client.list_collections(with_metadata=False):
            typer.echo(one.name)


@collections.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Letters, digits, '_', '-', '.'.")],
    dim: Annotated[
        int | None, typer.Option(help="Length of vectors; a model brings its own.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help=f"{', '.join(METRICS)}.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model that encodes text; see vecdb info.")
    ] = None,
    ttl: Annotated[float | None, typer.Option(help="Seconds that points are there.")] = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Create a collection with one space."""
    if dim is None and model is None:
        raise InvalidArgument("give --dim for vectors of your own, or --model to send text")
    if metric not in (None, *METRICS):
        raise InvalidArgument(f"--metric {metric}: expected {', '.join(METRICS)}")
    with connect(address) as client:
        client.create_collection(name, dim=dim, metric=metric, model=model, ttl_s=ttl)  # type: ignore[arg-type]
    out.print(f"created {name}")


@collections.command("compact")
def compact(
    name: Annotated[str, typer.Argument(help="The collection to compact.")],
    wait: Annotated[bool, typer.Option(help="Show how far it is until it is done.")] = True,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Merge a collection's segments and give back the space of deleted points."""
    with connect(address) as client:
        collection = client.collection(name)
        before = collection.stats()
        collection.compact(wait=False)
        with progress_bar() as bar:
            task = bar.add_task("compacting", total=None, rate="")
            while wait and (stats := collection.stats()).compacting:
                for build in stats.builds[:1]:
                    bar.update(
                        task,
                        description=f"segment {build.number}: {build.phase}",
                        completed=build.done,
                        total=build.total or None,
                        rate=stats.upkeep_error,
                    )
                threading.Event().wait(POLL_S)
        if wait:
            after = collection.stats()
            out.print(f"{len(before.segments)} segments became {len(after.segments)}")


@collections.command("recall")
def recall(
    name: Annotated[str, typer.Argument(help="The collection to look at.")],
    space: Annotated[str, typer.Option(help="Its space; '' is the default one.")] = "",
    k: Annotated[int, typer.Option("-k", help="Neighbours compared.")] = 10,
    samples: Annotated[int, typer.Option(help="Queries compared.")] = 100,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Show how many of the true neighbours searches find, and with which ef how many."""
    with connect(address, timeout_s=600) as client:
        report = client.collection(name).estimate_recall(space=space, k=k, samples=samples, efs=EFS)
    table = Table("ef", f"recall@{k}", "95 % bounds", "median search", title_justify="left")
    for title, one in [("now", report.now), *(("", one) for one in report.by_ef)]:
        table.add_row(
            f"{title} {one.ef or 'exact'}".strip(),
            f"{one.recall:.4f}",
            f"{one.low:.4f} to {one.high:.4f}",
            f"{one.search_us / 1e3:.2f} ms",
        )
    table.title = (
        f"{report.samples} queries, {report.live_samples} of them asked lately; "
        f"the space aims at {report.target_recall:g}"
    )
    out.print(table)


@collections.command("truncate")
def truncate(
    name: Annotated[str, typer.Argument(help="The collection to empty, or an alias of it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Remove all points of a collection; its schema, metadata and aliases stay."""
    with connect(address) as client:
        collection = client.collection(name)
        name, count = collection.info().name, collection.count()
        if not yes:
            typer.confirm(f"remove all {count:,} points of {name} for good?", abort=True)
        removed = client.truncate_collection(name).points
    out.print(f"removed {removed:,} points of {name}")


@aliases.command("set")
def set_alias(
    alias: Annotated[str, typer.Argument(help="The alias; it is moved if it is there.")],
    collection: Annotated[str, typer.Argument(help="The collection that it is to stand for.")],
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Create an alias of a collection, or move it."""
    with connect(address) as client:
        client.set_aliases({alias: collection})
    out.print(f"{alias} is {collection}")


@aliases.command("delete")
def delete_alias(
    alias: Annotated[str, typer.Argument(help="The alias; its collection stays.")],
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Delete an alias."""
    with connect(address) as client:
        client.set_aliases({alias: None})
    out.print(f"deleted alias {alias}")


@aliases.command("list")
def list_aliases(
    collection: Annotated[str, typer.Argument(help="Of this one alone.")] = "",
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Print aliases and their collections, a tab between."""
    with connect(address) as client:
        for alias, name in client.list_aliases(collection).items():
            typer.echo(f"{alias}\t{name}")


@collections.command("facets")
def facets(
    name: Annotated[str, typer.Argument(help="The collection to look at.")],
    path: Annotated[str, typer.Argument(help="A payload field, such as author.name.")],
    where: Where = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Values shown.")] = 20,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Show the values of a payload field, and how many points hold each."""
    with connect(address) as client:
        chosen = client.collection(name)
        found = chosen.aggregate(parse_where(where or []), facets={path: limit}, numbers=path)
    counted, numbers = found.facets[path], found.numbers[path]
    table = Table("value", "points", "share", title_justify="left")
    for one in counted:
        text = one.value if isinstance(one.value, str) else json.dumps(one.value)
        table.add_row(Text(text), f"{one.points:,}", f"{one.points / found.points:.1%}")
    table.title = f"{found.points:,} points, {len(counted) + counted.other_values:,} values"
    out.print(table)
    if counted.other_values:
        out.print(f"[dim]{counted.other_values:,} other values[/]")
    if numbers.avg is not None:
        out.print(
            f"numbers: {numbers.count:,}, from {numbers.min:g} to {numbers.max:g}, "
            f"{numbers.avg:g} on average"
        )
    for warning in dict.fromkeys(found.warnings):
        warn(warning)


@collections.command("delete")
def delete(
    name: Annotated[str, typer.Argument(help="The collection to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Delete a collection and everything in it."""
    with connect(address) as client:
        count = client.collection(name).count()
        if not yes:
            typer.confirm(f"delete {name} and its {count:,} points for good?", abort=True)
        client.delete_collection(name)
    out.print(f"deleted {name}")
