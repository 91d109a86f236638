"""`vecdb collections update` and `clone`: collections that change."""

from __future__ import annotations

from typing import Annotated

import typer

from vecdb.cli.client_commands import DEFAULT_ADDRESS, METRICS, Address, connect
from vecdb.cli.screen import out
from vecdb.errors import InvalidArgument
from vecdb_client import Space, SparseSpace, TextField

Strings = list[str] | None


def update(
    name: Annotated[str, typer.Argument(help="The collection to change, or an alias of it.")],
    add_space: Annotated[
        Strings,
        typer.Option(
            metavar="NAME=KIND",
            help="KIND: 384, 384:dot, a model, sparse, sparse:idf, sparse:idf:MODEL.",
        ),
    ] = None,
    drop_space: Annotated[Strings, typer.Option(metavar="NAME", help="With all vectors.")] = None,
    add_text: Annotated[
        Strings,
        typer.Option(metavar="PATH[:LANGUAGE]", help="Search a payload field by its words."),
    ] = None,
    drop_text: Annotated[Strings, typer.Option(metavar="PATH", help="Search it no more.")] = None,
    points_max: Annotated[
        int | None, typer.Option(min=0, help="Points that it may hold; 0 for any number.")
    ] = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Add and drop spaces and text fields, limit it; points stay, and searches go on."""
    if not (add_space or drop_space or add_text or drop_text) and points_max is None:
        raise InvalidArgument("nothing to change: give --add-space, --drop-space, --add-text ...")
    with connect(address) as client:
        info = client.update_collection(
            name,
            points_max=points_max,
            add_spaces=dict(map(_space, add_space or [])),
            drop_spaces=drop_space or [],
            add_text_fields=[_text_field(text) for text in add_text or []],
            drop_text_fields=drop_text or [],
        )
        pending = client.collection(name).stats().text_pending_points
    spaces = ", ".join(space or "(default)" for space in sorted(info.spaces)) or "no spaces"
    texts = ", ".join(field.path for field in info.text_fields) or "none"
    out.print(f"{info.name}: {spaces}; text fields: {texts}", highlight=False)
    if pending:
        out.print(f"{pending:,} points are being indexed in the background; see Stats")


def clone(
    name: Annotated[str, typer.Argument(help="The collection to copy, or an alias of it.")],
    new_name: Annotated[str, typer.Argument(help="The name of the copy.")],
    timeout: Annotated[float, typer.Option(help="Seconds that copying may take.")] = 3600.0,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Make a new collection with all that another holds; reads and writes go on."""
    with connect(address, timeout_s=timeout) as client, out.status(f"copying {name}"):
        count = client.clone_collection(name, new_name).count()
    out.print(f"{new_name} has {count:,} points", highlight=False)


def _space(text: str) -> tuple[str, Space | SparseSpace]:
    """Return name and space of an option such as ``cover=384:dot``."""
    name, found, kind = text.partition("=")
    dim, _, metric = kind.partition(":")
    if not found or not kind:
        raise InvalidArgument(f"--add-space {text!r}: expected NAME=KIND, such as cover=384:dot")
    if dim == "sparse":
        idf, _, model = metric.partition(":")
        if idf in ("", "idf"):
            return name, SparseSpace(idf == "idf", model)
    if not dim.isdecimal():
        return name, Space(model=kind)
    if metric not in ("", *METRICS):
        raise InvalidArgument(f"--add-space {text!r}: expected {', '.join(METRICS)}")
    return name, Space(dim=int(dim), metric=metric or None)  # type: ignore[arg-type]


def _text_field(text: str) -> TextField:
    path, _, language = text.partition(":")
    return TextField(path, language)
