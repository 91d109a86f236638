"""`vecdb status`: how a node is, what ails it, and what to do about it; `vecdb limits`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import bytes_text, out
from vecdb_client import NodeStatus

_STYLES = {
    "ok": "green",
    "building": "cyan",
    "warning": "yellow",
    "degraded": "yellow",
    "error": "red",
    "quarantined": "red",
}


def status(
    collections: Annotated[int, typer.Option(help="Collections shown, at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Show a node's processes, collections and what ails it; exit 1 where that is an error."""
    with connect(address) as client:
        found = client.status(collections=collections)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        out.print(_headline(found))
        for table in _tables(found):
            if table.rows:
                out.print(table)
    if found.state == "error":
        raise typer.Exit(1)


def limits(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Show the most that a request to a node may ask. Each is a setting, limits.NAME."""
    with connect(address) as client:
        found = client.limits()
    if as_json:
        shown = {name: asdict(one) for name, one in found.items()}
        typer.echo(json.dumps(shown, ensure_ascii=False))
        return
    table = Table("limits.", Column("value", justify="right"), "of", title_justify="left")
    for name, one in found.items():
        table.add_row(name, f"{one.value:,}", Text(one.meaning))
    out.print(table)


def _headline(found: NodeStatus) -> Text:
    up = timedelta(seconds=int(found.uptime_s))
    text = Text.assemble(_state(found.state), f"  vecdb {found.version}, up {up}\n")
    data, embedding = found.data, found.embedding
    for name, address in found.addresses.items():
        text.append(f"{name} {address}  ")
    text.append(
        f"\n{data.directory} (format {data.format_version}): {data.collections:,} collections, "
        f"{data.collections_open:,} open, {data.points:,} points, {data.tail_points:,} of them in "
        f"memory, {bytes_text(data.store_bytes)} stores, {bytes_text(data.segment_bytes)} segments"
        f"\n{bytes_text(data.disk_free_bytes)} of {bytes_text(data.disk_bytes)} disk free, "
        f"{bytes_text(found.memory_bytes)} memory, {data.writes_waiting:,} writes waiting, "
        f"{found.builds.running} builds running, {found.builds.segments:,} done, "
        f"{found.builds.failures:,} failed"
    )
    if embedding.enabled:
        said = "ready" if embedding.ready else embedding.reason
        text.append(f"\nembedding: {said}; {', '.join(embedding.models) or 'no models'}")
    return text


def _tables(found: NodeStatus) -> Iterator[Table]:
    table = Table("condition", "state", "reason", "what to do", title_justify="left")
    for one in found.conditions:
        table.add_row(one.name, _state(one.state), Text(one.reason), Text(one.advice))
    yield table
    table = Table("process", "pid", "state", "memory", "restarts", title_justify="left")
    for process in found.processes:
        state = "ready" if process.ready else "starting"
        memory = bytes_text(process.memory_bytes)
        table.add_row(process.name, str(process.pid), state, memory, str(process.restarts))
    yield table
    table = Table(
        "collection", "state", "points", "in memory", "segments", "store", "files", "reason"
    )
    for each in found.collections:
        table.add_row(
            Text(each.name),
            _state(each.state),
            f"{each.points:,}",
            f"{each.tail_points:,}",
            f"{each.segments:,}",
            bytes_text(each.store_bytes),
            bytes_text(each.segment_bytes),
            Text(each.reason),
        )
    yield table


def _state(state: str) -> Text:
    return Text(state, style=_STYLES[state])
