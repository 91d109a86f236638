"""`vecdb backup`, `backups` and `restore`: collections kept elsewhere, and brought back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from vecdb.backup.archive import Archive, ArchiveWriter
from vecdb.backup.keeping import Kept, keep, parts_of
from vecdb.backup.location import is_archive, repository_at, source_at
from vecdb.backup.making import CopiedCollection, ObjectBegin, Part
from vecdb.backup.manifest import ID_CHARS, Manifest, Object, decode_manifest
from vecdb.backup.offline import restore_offline
from vecdb.backup.repository import Repository
from vecdb.backup.restoring import Choice, Verified
from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import bytes_text, err, out, warn
from vecdb.errors import AlreadyExists, VecdbError
from vecdb_client import (
    BackupCollection,
    BackupObject,
    BackupPart,
    Client,
    RestoreStep,
    VerifiedCollection,
)

Place = Annotated[
    str, typer.Argument(metavar="PLACE", help="FILE.tar, a folder, or s3://bucket/prefix.")
]


def backup(
    place: Place,
    collections: Annotated[
        list[str] | None, typer.Argument(help="Names or aliases; none for all.")
    ] = None,
    keep_last: Annotated[
        int, typer.Option("--keep", help="Then remove all but so many backups there; 0 for none.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an archive.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Copy collections to a file, a folder or a bucket, while others read and write.

    A folder or bucket holds many backups, and each file once: a backup sends what the others have
    not. Credentials of a bucket come from the environment (AWS_ACCESS_KEY_ID and so on).
    """
    names = collections or []
    started = time.perf_counter()
    with connect(address) as client, _bar() as progress:
        task = progress.add_task("the server copies", total=None)

        def seen(what: CopiedCollection | int) -> None:
            if isinstance(what, int):
                progress.advance(task, what)
            elif not what.left_out:
                label = f"{what.name} ({what.number} of {what.count})"
                progress.reset(task, description=label, total=what.sent_bytes)

        if is_archive(place):
            archive = ArchiveWriter(Path(place), replace=force)
            try:
                kept = keep(_parts(client.backup(names)), archive, seen)
            except BaseException:
                archive.abandon()
                raise
        else:
            repository = repository_at(place, create=True)
            with repository.files.locked():
                parts = _parts(client.backup(names, held=repository.sound()))
                kept = keep(parts, repository, seen)
                pruned = repository.prune(keep_last, kept.manifest.id)
                if pruned.backups:
                    err.print(
                        f"removed {len(pruned.backups)} older backups, "
                        f"{bytes_text(pruned.bytes)} that no other needs"
                    )
    _say(kept, place, time.perf_counter() - started)


def _say(kept: Kept, place: str, took_s: float) -> None:
    manifest = kept.manifest
    points = sum(one.points for one in manifest.collections)
    out.print(
        f"backup {manifest.id} of {len(manifest.collections)} collections, {points:,} points, "
        f"{bytes_text(manifest.size)}: {bytes_text(kept.bytes)} written to {place} "
        f"in {took_s:.1f} s",
        highlight=False,
    )
    for name, why in manifest.left_out.items():
        warn(f"{name} is not in it: {why}")
    if manifest.left_out:
        raise typer.Exit(1)


def backups(
    place: Place,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file, and compare its checksum.")
    ] = False,
) -> None:
    """List the backups of a place, the oldest first; exit 1 when one is damaged."""
    table = Table(
        Column("backup", no_wrap=True, min_width=ID_CHARS),  # to be copied
        "made",
        "collections",
        Column("points", justify="right"),
        Column("size", justify="right"),
        "state",
    )
    damaged = False
    verified: set[str] = set()
    with source_at(place) as source:
        found = source.manifests() if isinstance(source, Repository) else _only(source)
        for one in found:
            state = (
                str(one) if isinstance(one, VecdbError) else _state(source, one, verified, verify)
            )
            damaged |= state != "ok"
            if as_json:
                row = _row(one, state) if isinstance(one, Manifest) else {"state": state}
                typer.echo(json.dumps(row))
            else:
                table.add_row(*_cells(one), Text(state, style="green" if state == "ok" else "red"))
    if not as_json:
        out.print(table)
    if damaged:
        raise typer.Exit(1)


def _cells(one: Manifest | VecdbError) -> tuple[str | Text, ...]:
    if isinstance(one, VecdbError):
        return ("", "", "", "", "")
    made = datetime.fromtimestamp(one.created_at_ms / 1e3, UTC)
    names = ", ".join(each.name for each in one.collections[:5])
    more = len(one.collections) - 5
    return (
        one.id,
        f"{made:%Y-%m-%d %H:%M}Z",
        Text(f"{names}{f' and {more} more' if more > 0 else ''}"),
        f"{sum(each.points for each in one.collections):,}",
        bytes_text(one.size),
    )


def _only(archive: Archive) -> Iterator[Manifest | VecdbError]:
    yield decode_manifest(archive.encoded())


def _state(source: Repository | Archive, one: Manifest, verified: set[str], verify: bool) -> str:
    """Return "ok", or what is wrong with a backup."""
    try:
        source.check(one)
        for each in one.objects().values():
            if verify and each.sha256 not in verified:
                for _ in source.read(each):
                    pass
                verified.add(each.sha256)
    except VecdbError as error:
        return error.message
    return "ok"


def _row(one: Manifest, state: str) -> dict[str, Any]:
    return {
        "id": one.id,
        "created_at_ms": one.created_at_ms,
        "vecdb": one.vecdb,
        "bytes": one.size,
        "points": sum(each.points for each in one.collections),
        "collections": {
            each.name: {"points": each.points, "seq": each.seq} for each in one.collections
        },
        "left_out": one.left_out,
        "state": state,
    }


def restore(
    place: Place,
    collections: Annotated[
        list[str] | None, typer.Argument(help="Names in the backup; none for all.")
    ] = None,
    identity: Annotated[
        str, typer.Option("--backup", metavar="ID", help="Which one; the newest by default.")
    ] = "",
    new_name: Annotated[str, typer.Option("--as", help="A new name for the collection.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace collections of these names, each at once.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Without a server, into a new data directory."),
    ] = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Bring collections back from a backup, through a server or into a new data directory.

    Everything is verified before anything changes. In place of a collection that is there, readers
    see the old one or the new one, and writes go on past both.
    """
    with source_at(place) as source, _bar() as progress:
        encoded = source.encoded(identity)
        manifest = decode_manifest(encoded)
        chosen = manifest.chosen(collections or [])
        source.check(manifest)
        objects = {one.sha256: one.size for each in chosen for one in each.objects()}
        total = sum(objects.values()) + len(encoded)
        task = progress.add_task("sending", total=total)

        def sent() -> Iterator[BackupPart]:
            for part in parts_of(source, encoded, chosen):
                if isinstance(part, ObjectBegin):
                    yield BackupObject(part.object.sha256, part.object.size, part.manifest)
                else:
                    progress.advance(task, len(part))
                    yield part
            progress.update(task, description="the server reads it through")

        names = tuple(one.name for one in chosen) if collections else ()
        choice = Choice(names, new_name, replace, aliases=not new_name)
        if data is not None:
            for each in restore_offline(
                source, encoded, data, choice, lambda size: progress.advance(task, size)
            ):
                if isinstance(each, Verified):
                    _say_verified(each.name, each.findings, each.rebuilt)
            _say_restored(manifest, f"{len(chosen)} collections in {data}")
            return
        with connect(address) as client:
            if not replace:
                _check_free(client, [new_name] if new_name else [one.name for one in chosen])
            done = client.restore(
                sent(),
                names,
                new_name=new_name,
                replace=replace,
                aliases=choice.aliases,
                progress=_on_step,
            )
    for one in done:
        what = "replaced" if one.replaced else "restored"
        _say_restored(manifest, f"{one.name} {what}, {one.points:,} points")


def _check_free(client: Client, names: Sequence[str]) -> None:
    """Raise AlreadyExists before anything is sent; the server would once it has all of it."""
    there = {one.name for one in client.list_collections()}
    for name in names:
        if name in there:
            raise AlreadyExists(
                f"collection {name!r} exists",
                hint="restore it under a new name with --as, or in its place with --replace",
            )


def _on_step(step: RestoreStep) -> None:
    if isinstance(step, VerifiedCollection):
        _say_verified(step.name, step.findings, step.rebuilt_segments)


def _say_verified(name: str, findings: tuple[str, ...], rebuilt: int) -> None:
    if rebuilt:
        warn(f"{name}: {rebuilt} segments are not of its points, and are built again from those")
    for finding in findings:
        warn(f"{name} was damaged when it was backed up: {finding}")


def _say_restored(manifest: Manifest, what: str) -> None:
    out.print(f"{what}, from backup {manifest.id}", highlight=False)


def _parts(parts: Iterator[BackupPart]) -> Iterator[Part]:
    """Yield what a server sends as what the library knows."""
    for part in parts:
        if isinstance(part, BackupObject):
            yield ObjectBegin(Object(part.sha256, part.size), part.manifest)
        elif isinstance(part, BackupCollection):
            yield CopiedCollection(
                part.name, part.number, part.count, part.size, part.sent, part.left_out
            )
        else:
            yield part


@contextmanager
def _bar() -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=err,
    ) as progress:
        yield progress
