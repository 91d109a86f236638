"""`vecdb models`: what can encode on a running server, and having it do so."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from vecdb.cli import model_bench, model_files, reembed
from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import bytes_text, out
from vecdb.errors import InvalidArgument, NotFound
from vecdb_client import Embedding, ModelInfo

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a model.")]

models = typer.Typer(no_args_is_help=True, help="Look at the models that encode texts and images.")
models.command("pull")(model_files.pull_model)
models.command("check")(model_files.check_models)
models.command("bench")(model_bench.bench_model)
models.command("reembed")(reembed.reembed)


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
    for title in ("kind", "gives", "dim", "memory"):
        table.add_column(title, no_wrap=True)
    table.add_column("state")
    for model in found:
        table.add_row(
            Text(model.name),
            model.kind,
            model.gives,
            str(model.dim) if model.gives == "dense" else "",
            bytes_text(model.memory_bytes) if model.loaded else "",
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
        ("takes", Text(", ".join(model.takes))),
        ("gives", Text(model.gives)),
        ("dim", Text(str(model.dim))),
        (
            "shorter",
            Text(", ".join(map(str, model.dims)) or "no", style="" if model.dims else "dim"),
        ),
        ("metric", Text(str(model.metric))),
        ("max tokens", Text(f"{model.max_tokens:,}")),
        ("query prompt", _prompt(model.query_prompt)),
        ("document prompt", _prompt(model.document_prompt)),
        ("in memory", _memory(model)),
        ("source", Text(model.source, overflow="fold")),
        ("note", Text(model.note)),
        ("licence", Text(model.license)),
        ("fingerprint", Text(model.fingerprint, overflow="fold")),
    ):
        if value:
            table.add_row(Text(title, style="bold"), value)
    out.print(table)


@models.command("load")
def load(
    name: Annotated[str, typer.Argument(help="A model, or an alias of it.")],
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Have a model loaded now, also one that did not load before."""
    with connect(address) as client:
        took_s = client.load_model(name)
    typer.echo(f"{name} is loaded after {took_s:.1f} s" if took_s else f"{name} was loaded already")


@models.command("unload")
def unload(
    name: Annotated[str, typer.Argument(help="A model, or an alias of it.")],
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Have a model give its memory back, once nobody uses it; it loads when it is next asked."""
    with connect(address) as client:
        unloaded = client.unload_model(name)
    typer.echo(f"{name} is unloaded" if unloaded else f"{name} was not loaded")


@models.command("embed")
def embed(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to encode.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="An image file to encode.")] = None,
    model: Annotated[str, typer.Option(help="A model, or an alias of it.")] = "",
    query: Annotated[bool, typer.Option("--query", help="As queries, not documents.")] = False,
    dim: Annotated[int, typer.Option(help="Of shorter vectors, where the model has them.")] = 0,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Print the vectors of texts or images, one JSON object a line."""
    if bool(texts) == bool(image):
        raise InvalidArgument("name texts, or --image, and not both")
    try:
        images = [path.read_bytes() for path in image or ()]
    except OSError as error:
        raise InvalidArgument(f"cannot read {error.filename}: {error.strerror}") from None
    with connect(address) as client:
        for one in client.embed(
            texts or (),
            images=images,
            model=model,
            role="query" if query else "document",
            dim=dim,
        ):
            typer.echo(json.dumps(_embedding(one)))


def _embedding(one: Embedding) -> dict[str, object]:
    found: dict[str, object] = {"tokens": one.tokens, "truncated": one.truncated}
    if one.sparse is None:
        return {**found, "vector": one.vector.tolist()}
    return {
        **found,
        "sparse": {"indices": list(one.sparse.indices), "values": list(one.sparse.values)},
    }


def _json(model: ModelInfo) -> str:
    return json.dumps(asdict(model), ensure_ascii=False)


def _memory(model: ModelInfo) -> Text:
    if not model.loaded:
        return Text("no", style="dim")
    return Text(f"about {bytes_text(model.memory_bytes)}")


def _state(model: ModelInfo) -> Text:
    return Text("ready", "green") if model.ready else Text(model.reason, "yellow", overflow="fold")


def _prompt(prompt: str) -> Text:
    """Return a prompt with its spaces and newlines to be seen."""
    return Text(json.dumps(prompt, ensure_ascii=False)) if prompt else Text("none", style="dim")
