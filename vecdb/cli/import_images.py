"""`vecdb import FOLDER`: image files as points, which the server encodes."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import typer
from rich.text import Text

from vecdb.cli.screen import err, out, progress_bar
from vecdb.errors import InvalidArgument, NotFound
from vecdb_client import Client, Collection, ItemFailure

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})
CHUNK_FILES = 256
SHOWN_FAILURES = 10


def import_images(
    client: Client, folder: Path, name: str, *, model: str | None, restart: bool
) -> None:
    """Store every image below a folder, its path in there as id and in the payload.

    Files whose point is there are left out, unless restart; exits with 1 where one is not stored.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not files:
        raise InvalidArgument(f"{folder} holds no image: {', '.join(sorted(SUFFIXES))}")
    target = _target(client, name, model)
    started = time.perf_counter()
    written = left_out = 0
    failures: list[ItemFailure] = []
    waiting = iter(files)
    with progress_bar() as progress:
        task = progress.add_task(folder.name, total=len(files), rate="")
        while chunk := list(islice(waiting, CHUNK_FILES)):
            named = {path.relative_to(folder).as_posix(): path for path in chunk}
            if not restart:
                for point in target.get(named, with_payload=False).points:
                    del named[point.id]
            left_out += len(chunk) - len(named)
            points = ({"id": id, "image": at, "payload": {"path": id}} for id, at in named.items())
            report = target.upsert(points, on_error="collect")
            written += report.written
            failures += report.failures
            rate = f"{written / (time.perf_counter() - started):,.0f} images/s"
            progress.update(task, advance=len(chunk), rate=rate)
    took = time.perf_counter() - started
    out.print(f"{written:,} images imported in {took:.1f} s; {left_out:,} were there already")
    for failure in failures[:SHOWN_FAILURES]:
        err.print(Text(f"{failure.id}: {failure.message}", style="yellow"))
    if failures:
        err.print(f"[red]{len(failures):,} images were not stored[/]")
        raise typer.Exit(1)


def _target(client: Client, name: str, model: str | None) -> Collection:
    """Return the collection, made for a model that reads images where it is missing."""
    if any(one.name == name for one in client.list_collections()):
        return client.collection(name)
    if model is None:
        reads = [one.name for one in client.list_models() if "image" in one.takes]
        if not reads:
            raise NotFound(
                "the server has no model that reads images",
                hint="set embed.models, such as opennsfw-resnet50; see vecdb models list",
            )
        model = reads[0]
    return client.create_collection(name, model=model)
