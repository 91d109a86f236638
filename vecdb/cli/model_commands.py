"""`vecdb models`: what can encode text on a running server."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import out
from vecdb.errors import NotFound
from vecdb_client import ModelInfo

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a model.")]

models = typer.Typer(no_args_is_help=True, help="Look at the models that encode text.")


@models.command("list")
def list_models(as_json: AsJson = False, address: Address = DEFAULT_ADDRESS) -> None:
    """Show the models that the operator configured, the default first, and which are not ready."""
    with connect(address) as client:
        found = client.list_models()
    if as_json:
        for model in found:
            typer.echo(_json(model))
        return
    table = Table()
    table.add_column("model", no_wrap=True)
    for title in ("kind", "dim", "metric", "max tokens", "state"):
        table.add_column(title)
    for model in found:
        table.add_row(
            Text(model.name),
            model.kind,
            str(model.dim),
            str(model.metric),
            f"{model.max_tokens:,}",
            _state(model),
        )
    out.print(table)


@models.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A model, or an alias of it.")],
    as_json: AsJson = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Show all that a server says of a model: its other names, prompts and fingerprint too."""
    with connect(address) as client:
        found = client.list_models()
    model = next((one for one in found if name in (one.name, *one.aliases)), None)
    if model is None:
        raise NotFound(
            f"the server has no model {name!r}",
            hint=f"it has {', '.join(one.name for one in found)}; embed.models adds others",
        )
    if as_json:
        typer.echo(_json(model))
        return
    table = Table.grid(padding=(0, 2))
    for title, value in (
        ("model", Text(model.name)),
        ("state", _state(model)),
        ("aliases", Text(", ".join(model.aliases))),
        ("kind", Text(model.kind)),
        ("dim", Text(str(model.dim))),
        ("metric", Text(str(model.metric))),
        ("max tokens", Text(f"{model.max_tokens:,}")),
        ("query prompt", _prompt(model.query_prompt)),
        ("document prompt", _prompt(model.document_prompt)),
        ("licence", Text(model.license)),
        ("fingerprint", Text(model.fingerprint, overflow="fold")),
    ):
        table.add_row(Text(title, style="bold"), value)
    out.print(table)


def _json(model: ModelInfo) -> str:
    return json.dumps(asdict(model), ensure_ascii=False)


def _state(model: ModelInfo) -> Text:
    return Text("ready", "green") if model.ready else Text(model.reason, "yellow", overflow="fold")


def _prompt(prompt: str) -> Text:
    """Return a prompt with its spaces and newlines to be seen."""
    return Text(json.dumps(prompt, ensure_ascii=False)) if prompt else Text("none", style="dim")
