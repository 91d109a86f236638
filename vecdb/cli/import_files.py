"""`vecdb import`: points from JSON lines or CSV, resumable."""

from __future__ import annotations

import csv
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import err, out, progress_bar
from vecdb.errors import InvalidArgument, NotFound
from vecdb_client import Client, Collection, ItemFailure, WriteReport

CHUNK_ROWS = 2_000
SHOWN_FAILURES = 10
CELL_CHARACTERS_MAX = 64 << 20
NUMBER_CHARACTERS_MAX = 300
_RESERVED = ("vector", "vectors", "payload")

Row = dict[str, Any]


@dataclass(slots=True)
class _State:
    """How far an import came: kept beside the file until it is complete."""

    collection: str
    size: int
    modified_ns: int
    rows: int = 0
    failed: int = 0


def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="*.jsonl or *.csv.")],
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
    restart: Annotated[
        bool, typer.Option("--restart", help="From the first row, whatever was done before.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Import points from JSON lines or CSV. Stopped half-way, the same command goes on.

    A JSON line is {"id", "vector": [...] | "vectors": {space: [...]}, "payload": {...}}; without
    "payload" all other fields are the payload. A CSV row's other columns are the payload, numbers
    where they read as such. Points of ids that exist are replaced.
    """
    rows = _reader(file)
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
    rows: _Rows,
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
            report: WriteReport = target.upsert(points, on_error="collect")
            for failure in report.failures:
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
            state.failed += len(report.failures)
            _save(file, state)
            done += len(chunk)
            rate = f"{done / (time.perf_counter() - started):,.0f} rows/s"
            progress.update(task, completed=state.rows, rate=rate)
        progress.update(task, total=state.rows)
    return failures


def _target(
    client: Client,
    name: str,
    rows: _Rows,
    text_field: str | None,
    model: str | None,
    metric: str | None,
) -> Collection:
    target = client.collection(name)
    if any(one.name == name for one in client.list_collections()):
        return target
    if metric not in (None, "cosine", "dot", "euclid"):
        raise InvalidArgument(f"--metric {metric}: expected cosine, dot or euclid")
    if text_field is not None or model is not None:
        models = client.list_models()
        if not models:
            raise NotFound("the server has no model to encode text with")
        return client.create_collection(name, model=model or models[0].name, metric=metric)  # type: ignore[arg-type]
    vector = rows.peek().get("vector")
    if not isinstance(vector, list):
        raise InvalidArgument(
            f"collection {name!r} does not exist, and the first row has no vector to make it for",
            hint="encode a text field with --text FIELD, or make it: vecdb collections create",
        )
    return client.create_collection(name, dim=len(vector), metric=metric or "cosine")  # type: ignore[arg-type]


class _Rows:
    """Rows with a look at the first one."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._ahead: list[Row] = []

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> Row:
        return self._ahead.pop() if self._ahead else next(self._rows)

    def peek(self) -> Row:
        """Return the next row without taking it; empty at the end."""
        if not self._ahead:
            self._ahead = list(islice(self._rows, 1))
        return self._ahead[0] if self._ahead else {}


def _reader(file: Path) -> _Rows:
    suffix = file.suffix.lower()
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _Rows(_json_lines(file))
    if suffix in (".csv", ".tsv"):
        return _Rows(_csv_rows(file, "\t" if suffix == ".tsv" else ","))
    raise InvalidArgument(f"{file.name}: expected .jsonl, .ndjson, .csv or .tsv")


def _json_lines(file: Path) -> Iterator[Row]:
    for number, line in _text_lines(file):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"{file.name}, line {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise InvalidArgument(
                f"{file.name}, line {number}: expected an object, got {type(row).__name__}"
            )
        yield row


def _csv_rows(file: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    reader = csv.DictReader((line for _, line in _text_lines(file)), delimiter=delimiter)
    try:
        for row in reader:
            if None in row:
                raise InvalidArgument(
                    f"{file.name}, line {reader.line_num}: more columns than the header has"
                )
            yield {name: _typed(value) for name, value in row.items() if value is not None}
    except csv.Error as error:
        raise InvalidArgument(f"{file.name}, line {reader.line_num}: {error}") from None


def _text_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line. Raises InvalidArgument for one that is not UTF-8."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InvalidArgument(f"{file.name}, line {number}: not UTF-8: {error}") from None


# As a person writes a number: 007 and 1_000 are names, and nan and inf are no JSON.
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def _typed(value: str) -> object:
    if value.startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    found = _NUMBER.fullmatch(value)
    if found is None or len(value) > NUMBER_CHARACTERS_MAX:
        return value
    number = int(value) if found[1] is None and found[2] is None else float(value)
    return number if math.isfinite(number) else value


def _point(row: Row, number: int, id_field: str, text_field: str | None) -> Row:
    name = row.get(id_field)
    point: Row = {"id": str(number + 1) if name is None or name == "" else str(name)}
    for key in ("vector", "vectors"):
        if key in row:
            point[key] = row[key]
    payload = row.get("payload")
    if not isinstance(payload, dict):
        payload = {key: value for key, value in row.items() if key not in (*_RESERVED, id_field)}
    point["payload"] = payload
    if text_field is not None and (text := row.get(text_field, payload.get(text_field))):
        point["text"] = str(text)
    return point


def _state_path(file: Path) -> Path:
    return file.with_name(file.name + ".vecdb-import")


def _resumed(file: Path, fresh: _State) -> _State:
    try:
        saved = _State(**json.loads(_state_path(file).read_text()))
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError, TypeError) as error:
        raise InvalidArgument(
            f"{_state_path(file)} cannot be read: {error}", hint="use --restart to begin again"
        ) from None
    same = (saved.collection, saved.size, saved.modified_ns)
    if same != (fresh.collection, fresh.size, fresh.modified_ns):
        raise InvalidArgument(
            f"{_state_path(file).name} is of another import: {saved.collection}, "
            f"{saved.size} bytes",
            hint="use --restart to import this file from its first row",
        )
    return saved


def _save(file: Path, state: _State) -> None:
    path = _state_path(file)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(asdict(state)))
    temporary.replace(path)
