"""`vecdb ingest`: files of a folder as documents. What is unchanged costs next to nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import err, out, progress_bar
from vecdb.errors import InvalidArgument
from vecdb_client import Client, Document, Documents, NotFound, PutDocument, TextField
from vecdb_client.document_types import MediaType

MEDIA: dict[str, MediaType] = {
    ".htm": "html",
    ".html": "html",
    ".markdown": "markdown",
    ".md": "markdown",
    ".pdf": "pdf",
    ".rst": "text",
    ".text": "text",
    ".txt": "text",
    ".xhtml": "html",
}
SHOWN = 20
"""Documents that were refused which are shown."""


def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(exists=True, help="Folders, looked through with all below, or files."),
    ],
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="Made when it is not there.")
    ] = "documents",
    model: Annotated[
        str | None,
        typer.Option(help="Of a collection that is made: what encodes it; the server's default."),
    ] = None,
    language: Annotated[
        str,
        typer.Option(help="Of a collection that is made: whose words are stemmed, as english."),
    ] = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", "-m", metavar="NAME=VALUE", help="Of all; repeatable."),
    ] = None,
    chunk_tokens: Annotated[int, typer.Option(help="Most tokens of a chunk.")] = 0,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents whose files are not there any more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a document.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Put files into a collection as documents: Markdown, HTML, PDF and plain text.

    A document's id is its path below the folder. Run it again whenever files have changed: only
    what is new in them is encoded. Exit 1 when a file was refused.
    """
    files = list(_files(paths))
    if not files:
        raise InvalidArgument(
            f"no file that could be read: {', '.join(map(str, paths))}",
            hint=f"files end in {', '.join(MEDIA)}",
        )
    fields = _metadata(metadata or [])
    with connect(address) as client:
        _make(client, collection, model, language)
        documents = client.documents(collection)
        results = _put(documents, files, fields, chunk_tokens)
        removed = _prune(documents, [name for name, _ in files]) if prune else 0
    if as_json:
        for one in results:
            typer.echo(json.dumps(asdict(one), ensure_ascii=False))
    else:
        _show(results, collection, removed)
    if any(one.error for one in results):
        raise typer.Exit(1)


def _files(paths: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Yield id and path of each file, in the order of their names; hidden ones are left out."""
    for path in paths:
        if path.is_file():
            yield path.name, path
            continue
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                found = Path(folder) / name
                if found.suffix.lower() in MEDIA and not name.startswith(".") and found.is_file():
                    yield found.relative_to(path).as_posix(), found


def _make(client: Client, name: str, model: str | None, language: str) -> None:
    """Make a collection for documents, unless it is there."""
    try:
        client.collection(name).info()
    except NotFound:
        fields = [TextField("text", language), TextField("section", language)]
        models = client.list_models()
        chosen = model or (models[0].name if models else None)  # without one, by words alone
        client.create_collection(name, model=chosen, text_fields=fields)
        err.print(f"made collection {name}", style="dim")


def _put(
    documents: Documents,
    files: Sequence[tuple[str, Path]],
    metadata: dict[str, Any],
    chunk_tokens: int,
) -> list[PutDocument]:
    """Return what became of each file; they are read as the client sends them."""
    unreadable: list[PutDocument] = []
    with progress_bar() as bar:
        task = bar.add_task("ingesting", total=len(files), rate="")

        def read() -> Iterator[Document]:
            for name, path in files:
                try:
                    content = path.read_bytes()
                except OSError as error:
                    unreadable.append(_unreadable(name, error))
                    continue
                media = MEDIA.get(path.suffix.lower(), "")
                yield Document(name, content, media_type=media, metadata=metadata)
                bar.update(task, rate=name)

        def told(done: int, _: int | None) -> None:
            bar.update(task, completed=done + len(unreadable))

        found = documents.put(read(), chunk_tokens=chunk_tokens, progress=told)
        bar.update(task, completed=len(files))
    place = {name: at for at, (name, _) in enumerate(files)}
    return sorted([*found, *unreadable], key=lambda one: place[one.id])


def _unreadable(name: str, error: OSError) -> PutDocument:
    reason = error.strerror or str(error)
    return PutDocument(name, 0, 0, 0, 0, 0, 0, (), "UNREADABLE", reason)


def _prune(documents: Documents, names: Sequence[str]) -> int:
    there = frozenset(names)
    gone = [one.id for one in documents.list() if one.id not in there]
    for at in range(0, len(gone), 1_000):
        documents.delete(gone[at : at + 1_000])
    return len(gone)


def _metadata(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given:
        name, equals, raw = one.partition("=")
        if not (name and equals):
            raise InvalidArgument(f"--metadata {one!r}: expected NAME=VALUE")
        try:
            found[name] = json.loads(raw)
        except ValueError:
            found[name] = raw
    return found


def _show(results: Sequence[PutDocument], collection: str, removed: int) -> None:
    refused = [one for one in results if one.error]
    if refused:
        table = Table(title=f"{len(refused)} refused", title_justify="left")
        table.add_column("document", style="cyan", overflow="fold")
        table.add_column("why", overflow="fold")
        for one in refused[:SHOWN]:
            table.add_row(Text(one.id), Text(one.error))
        out.print(table)
    for one in results:
        for warning in one.warnings:
            err.print(Text(f"{one.id}: {warning}", style="yellow"))
    changed = sum(1 for one in results if one.added or one.removed)
    unchanged = len(results) - changed - len(refused)
    out.print(
        f"{changed} documents stored, {unchanged} unchanged, {len(refused)} refused"
        + (f", {removed} removed" if removed else "")
        + f"; chunks: {sum(one.added for one in results)} new, "
        f"{sum(one.kept for one in results)} kept, {sum(one.removed for one in results)} removed"
    )
    out.print(f"[dim]ask them: vecdb ask -c {collection} 'your question'[/]")
