"""`vecdb import`: points from a file of rows, resumable."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.text import Text

from vecdb.cli.client_commands import DEFAULT_ADDRESS, METRICS, Address, connect
from vecdb.cli.foreign_rows import foreign_reader
from vecdb.cli.import_images import import_images
from vecdb.cli.resume import keep, load
from vecdb.cli.row_files import Row, Rows, row_reader
from vecdb.cli.screen import err, out, progress_bar
from vecdb.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from vecdb_client import Client, Collection, ItemFailure, Sparse

CHUNK_ROWS = 2_000
# The server waits for a model within each call's time; this is beside that.
TRIES = 3
_PASSING = ("UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED")
_NO_MODEL = ("NO_MODEL", "MODEL_MISMATCH")  # of all texts that are still to come, too
SHOWN_FAILURES = 10
_RESERVED = ("vector", "vectors", "payload")


@dataclass(slots=True)
class _State:
    """How far an import came: kept beside the file until it is complete."""

    collection: str
    size: int
    modified_ns: int
    rows: int = 0
    failed: int = 0


def import_file(
    file: Annotated[
        Path,
        typer.Argument(exists=True, help="*.jsonl, *.csv, *.parquet, *.npy; a folder of images."),
    ],
    collection: Annotated[str, typer.Argument(help="Made when it is missing.")],
    id_field: Annotated[
        str, typer.Option("--id", help="Field of the id; the row number where it is missing.")
    ] = "id",
    text_field: Annotated[
        str | None,
        typer.Option("--text", help="Field to encode on the server; stays in the payload."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of a new collection; the default model with --text.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of a new collection.")] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="What wrote it: qdrant, chroma, pgvector, word2vec, node2vec, glove ...",
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="From the first row, whatever was done before.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Import points from JSON lines, CSV, Parquet or .npy. Stopped, the same command goes on.

    A JSON line is {"id", "vector": [...] | "vectors": {space: [...]}, "payload": {...}}, and
    "expires_at" where it is to; without "payload" all other fields are the payload. Rows of CSV and
    Parquet likewise: other columns are the payload, numbers where they read as such. The rows of an
    .npy array (n, dim) are vectors; NAME.jsonl beside NAME.npy has a line with id and payload for
    each. Points of ids that exist are replaced. What `vecdb export` wrote comes back as it was.

    --from qdrant: the JSON replies of scroll, one after the other. --from chroma: the JSON of get()
    with embeddings, documents and metadatas. --from pgvector: COPY ... WITH (FORMAT csv, HEADER),
    the vector in the column `embedding`. --from word2vec, word2vec-binary, node2vec, glove: words,
    or nodes of a graph, which are the ids, and their vectors. Their metric is not in there: give
    --metric.

    Of a folder, every image in it and below is a point that the server encodes; its path is the id.
    Those that are there already are left out.
    """
    if file.is_dir():
        if text_field is not None or metric is not None or origin is not None:
            raise InvalidArgument("--text, --metric and --from are of files, not of images")
        with connect(address, timeout_s=300.0) as client:
            import_images(client, file, collection, model=model, restart=restart)
        return
    rows = foreign_reader(file, origin) if origin else row_reader(file)
    stat = file.stat()
    state = _State(collection, stat.st_size, stat.st_mtime_ns)
    if not restart:
        state = _resumed(file, state)
    if state.rows:
        err.print(f"going on after row {state.rows:,} ({_state_path(file).name})")
    with connect(address, timeout_s=300.0) as client:
        target = _target(client, collection, rows, text_field, model, metric)
        started = time.perf_counter()
        failures = _run(file, target, rows, state, id_field, text_field)
    took = time.perf_counter() - started
    _state_path(file).unlink(missing_ok=True)
    out.print(f"{state.rows - state.failed:,} points imported in {took:.1f} s")
    _tell(state, failures)


def _tell(state: _State, failures: list[ItemFailure]) -> None:
    """Say what was not stored; exit with 1 where there is any."""
    for failure in failures[:SHOWN_FAILURES]:
        err.print(
            Text(f"row {failure.index + 1} ({failure.id}): {failure.message}", style="yellow")
        )
    if state.failed:
        err.print(f"[red]{state.failed:,} rows were not stored[/]")
        raise typer.Exit(1)


def _run(
    file: Path,
    target: Collection,
    rows: Rows,
    state: _State,
    id_field: str,
    text_field: str | None,
) -> list[ItemFailure]:
    failures: list[ItemFailure] = []
    for _ in islice(rows, state.rows):
        pass
    with progress_bar() as progress:
        task = progress.add_task(file.name, total=None, completed=state.rows, rate="")
        started = time.perf_counter()
        done = 0
        while chunk := list(islice(rows, CHUNK_ROWS)):
            first = state.rows
            points = [_point(row, first + at, id_field, text_field) for at, row in enumerate(chunk)]
            failed = _stored(target, points, first)
            for failure in failed:
                if len(failures) < SHOWN_FAILURES:
                    failures.append(
                        ItemFailure(
                            first + failure.index,
                            failure.id,
                            failure.code,
                            failure.reason,
                            failure.message,
                        )
                    )
            state.rows += len(chunk)
            state.failed += len(failed)
            keep(_state_path(file), state)
            done += len(chunk)
            rate = f"{done / (time.perf_counter() - started):,.0f} rows/s"
            progress.update(task, completed=state.rows, rate=rate)
        progress.update(task, total=state.rows)
    return failures


def _stored(target: Collection, points: list[Row], first: int) -> list[ItemFailure]:
    """Store points; return those that cannot be, for reasons of their own.

    first: row of the first one. Raises Unavailable where texts could not be encoded, though they
    may be later: what was stored is stored again then, which changes nothing;
    FailedPrecondition where there is no model for them.
    """
    wanted = list(range(len(points)))
    failures: list[ItemFailure] = []
    for _ in range(TRIES):
        report = target.upsert([points[at] for at in wanted], on_error="collect")
        found = [replace(one, index=wanted[one.index]) for one in report.failures]
        lost = next((one for one in found if one.reason in _NO_MODEL), None)
        if lost is not None:
            raise FailedPrecondition(
                f"row {first + lost.index + 1}: {lost.message}",
                hint=f"the same command goes on after row {first:,}",
            )
        failures += [one for one in found if one.reason not in _PASSING]
        passing = [one for one in found if one.reason in _PASSING]
        if not passing:
            return sorted(failures, key=lambda one: one.index)
        wanted = [one.index for one in passing]
    raise Unavailable(
        f"row {first + wanted[0] + 1}: {passing[0].message}",
        hint=f"the same command goes on after row {first:,}",
    )


def _target(
    client: Client,
    name: str,
    rows: Rows,
    text_field: str | None,
    model: str | None,
    metric: str | None,
) -> Collection:
    target = client.collection(name)
    if any(one.name == name for one in client.list_collections()):
        return target
    if metric not in (None, *METRICS):
        raise InvalidArgument(f"--metric {metric}: expected {', '.join(METRICS)}")
    if text_field is not None or model is not None:
        models = client.list_models()
        if not models:
            raise NotFound("the server has no model to encode text with")
        return client.create_collection(name, model=model or models[0].name, metric=metric)  # type: ignore[arg-type]
    vector = rows.peek().get("vector")
    if not isinstance(vector, (list, np.ndarray)):
        raise InvalidArgument(
            f"collection {name!r} does not exist, and the first row has no vector to make it for",
            hint="encode a text field with --text FIELD, or make it: vecdb collections create",
        )
    return client.create_collection(name, dim=len(vector), metric=metric or "cosine")  # type: ignore[arg-type]


def _point(row: Row, number: int, id_field: str, text_field: str | None) -> Row:
    name = row.get(id_field)
    point: Row = {"id": str(number + 1) if name is None or name == "" else str(name)}
    if "vector" in row:
        point["vector"] = row["vector"]
    if "vectors" in row:
        point["vectors"] = {name: _vector(value) for name, value in row["vectors"].items()}
    payload = row.get("payload")
    if isinstance(payload, dict):
        if row.get("expires_at") is not None:  # as `vecdb export` writes it; else it is payload
            point["expires_at"] = _moment(row["expires_at"])
    else:
        payload = {key: value for key, value in row.items() if key not in (*_RESERVED, id_field)}
    point["payload"] = payload
    if text_field is not None and (text := row.get(text_field, payload.get(text_field))):
        point["text"] = str(text)
    return point


def _moment(value: object) -> object:
    """Return a time as the client takes it; what is none, for it to refuse."""
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return value


def _vector(value: object) -> object:
    """Return a vector as the client takes it: a sparse one is an object in a file."""
    if isinstance(value, dict) and value.keys() == {"indices", "values"}:
        return Sparse(**value)
    return value


def _state_path(file: Path) -> Path:
    return file.with_name(file.name + ".vecdb-import")


def _resumed(file: Path, fresh: _State) -> _State:
    saved = load(_state_path(file), _State)
    if saved is None:
        return fresh
    same = (saved.collection, saved.size, saved.modified_ns)
    if same != (fresh.collection, fresh.size, fresh.modified_ns):
        raise InvalidArgument(
            f"{_state_path(file).name} is of another import: {saved.collection}, "
            f"{saved.size} bytes",
            hint="use --restart to import this file from its first row",
        )
    return saved
