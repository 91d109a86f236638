"""Rows of files: JSON lines, CSV, Parquet, and the vectors of an .npy array."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vecdb.errors import InvalidArgument

CELL_CHARACTERS_MAX = 64 << 20
NUMBER_CHARACTERS_MAX = 300
BATCH_ROWS = 2_000
NAMED = "vectors."
"""Before the name of a space, in the name of a Parquet column."""

JSON_LINES = (".jsonl", ".ndjson", ".json")

Row = dict[str, Any]


class Rows:
    """Rows with a look at the first one."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._ahead: list[Row] = []

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> Row:
        return self._ahead.pop() if self._ahead else next(self._rows)

    def peek(self) -> Row:
        """Return the next row without taking it; empty at the end."""
        if not self._ahead:
            self._ahead = list(islice(self._rows, 1))
        return self._ahead[0] if self._ahead else {}


def row_reader(file: Path) -> Rows:
    """Return the rows of a file. Raises InvalidArgument, here or when the bad row is reached."""
    suffix = file.suffix.lower()
    if suffix in JSON_LINES:
        return Rows(_json_lines(file))
    if suffix in (".csv", ".tsv"):
        return Rows(csv_rows(file, "\t" if suffix == ".tsv" else ","))
    if suffix == ".parquet":
        return Rows(_parquet_rows(file))
    if suffix == ".npy":
        return Rows(_npy_rows(file))
    raise InvalidArgument(f"{file.name}: expected .jsonl, .ndjson, .csv, .tsv, .parquet or .npy")


def beside(npy: Path) -> Path:
    """Return the file with the ids and payloads of an .npy array's rows."""
    return npy.with_suffix(".jsonl")


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


def csv_rows(file: Path, delimiter: str) -> Iterator[Row]:
    """Yield the rows of a table with a header: numbers and arrays where they read as such."""
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


def _npy_rows(file: Path) -> Iterator[Row]:
    try:
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise InvalidArgument(f"{file.name}: not an .npy array of numbers: {error}") from None
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise InvalidArgument(
            f"{file.name}: expected numbers of shape (n, dim), got {vectors.dtype} of "
            f"shape {vectors.shape}"
        )
    rows = _json_lines(beside(file)) if beside(file).exists() else None
    for number, vector in enumerate(vectors):
        row = {} if rows is None else next(rows, None)
        if row is None:
            raise InvalidArgument(
                f"{beside(file).name} has {number:,} rows, and {file.name} {len(vectors):,}"
            )
        yield {**row, "vector": np.asarray(vector, np.float32)}
    if rows is not None and next(rows, None) is not None:
        raise InvalidArgument(
            f"{beside(file).name} has more than the {len(vectors):,} of {file.name}"
        )


def _parquet_rows(file: Path) -> Iterator[Row]:
    arrow = pyarrow_for(file)
    try:
        for batch in arrow.parquet.ParquetFile(file).iter_batches(BATCH_ROWS):
            for row in batch.to_pylist():
                yield _from_columns(row)
    except (OSError, arrow.ArrowException) as error:
        raise InvalidArgument(f"{file.name}: not a sound Parquet file: {error}") from None


def pyarrow_for(file: Path) -> Any:  # noqa: ANN401 - a module
    """Return pyarrow with pyarrow.parquet. Raises InvalidArgument where it is not installed."""
    try:
        import pyarrow.parquet  # an extra
    except ImportError:
        raise InvalidArgument(
            f"{file.name}: Parquet needs pyarrow", hint="pip install 'vecdb[parquet]'"
        ) from None
    return pyarrow


def _from_columns(columns: Row) -> Row:
    """Return a row of Parquet as one of JSON lines: as `vecdb export` writes it, or any table."""
    row: Row = {}
    vectors: dict[str, object] = {}
    for name, value in columns.items():
        if value is None:
            continue
        if name.startswith(NAMED):
            vectors[name.removeprefix(NAMED)] = value
        elif name == "payload" and isinstance(value, str):
            row[name] = _payload(value)
        else:
            row[name] = _as_json(name, value)
    return {**row, "vectors": vectors} if vectors else row


def _payload(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _as_json(name: str, value: object) -> object:
    """Return a cell as JSON has it: times as RFC 3339, bytes refused."""
    if isinstance(value, datetime):
        return value.isoformat() if value.tzinfo else value.isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        raise InvalidArgument(f"column {name!r} has bytes, which no payload can hold")
    if isinstance(value, list):
        return [_as_json(name, each) for each in value]
    if isinstance(value, dict):
        return {key: _as_json(name, each) for key, each in value.items()}
    return value
