"""`vecdb export`: a collection into a file that `vecdb import` reads back, resumable."""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Protocol, cast

import numpy as np
import typer

from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, Where, connect, parse_where
from vecdb.cli.resume import keep, load
from vecdb.cli.row_files import JSON_LINES, NAMED, beside, pyarrow_for
from vecdb.cli.screen import err, progress_bar
from vecdb.errors import InvalidArgument
from vecdb_client import Collection, MultiDenseSpace, Space, SparseSpace, StoredPoint
from vecdb_client import Filter as ClientFilter

LITTLE_F32 = np.dtype("<f4")


@dataclass(slots=True)
class _State:
    """How far an export came: kept beside the file until it is complete.

    part: of how many, as --slice says it. sizes: bytes of the files it writes that are good. token:
    of the next page.
    """

    collection: str
    where: list[str]
    part: str
    points: int
    sizes: list[int]
    token: str


def export_file(
    collection: Annotated[str, typer.Argument(help="The collection to read.")],
    file: Annotated[
        Path, typer.Argument(dir_okay=False, help="*.jsonl, *.parquet or *.npy to write.")
    ],
    where: Where = None,
    space: Annotated[str, typer.Option(help="Whose vectors an .npy file gets.")] = "",
    part: Annotated[
        str,
        typer.Option("--slice", metavar="I/N", help="The I-th of N parts, from 0 on: 0/4 to 3/4."),
    ] = "0/1",
    restart: Annotated[
        bool, typer.Option("--restart", help="From the first point, whatever is in the file.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Export points to JSON lines, Parquet or .npy. Stopped half-way, the same command goes on.

    In the order of their ids, while others write: a point that is there throughout is there once.
    A JSON line is {"id", "vector": [...], "vectors": {space: [...]}, "payload": {...}}, the numbers
    such that they come back bit by bit, and "expires_at" for points that expire. NAME.npy gets the
    vectors of one space, shape (n, dim), and NAME.jsonl beside it a line with the rest for each;
    points without a vector are left out.
    A Parquet file cannot be gone on with: it is begun again.
    Most of the time goes into writing numbers: where there are many points, run several commands
    side by side, each with a --slice and a file of its own. Together they hold every point once.
    """
    conditions = where or []
    slice = _slice(part)
    state = _State(collection, conditions, part, 0, [], "")
    if file.exists() and not restart:
        state = _resumed(file, state)
        err.print(f"going on after point {state.points:,} ({_state_path(file).name})")
    with connect(address, timeout_s=300.0) as client:
        source = client.collection(collection)
        filter = parse_where(conditions)
        spaces = source.info().own_spaces
        total = source.count(filter) // slice[1]  # about as many: slices are made by chance
        sink = _sink(file, spaces, space, state)
        started = time.perf_counter()
        damaged = _run(file, source, filter, slice, sink, state, total)
    took = time.perf_counter() - started
    _state_path(file).unlink(missing_ok=True)
    err.print(f"{state.points:,} points exported in {took:.1f} s")
    if sink.left_out:
        err.print(f"[yellow]{sink.left_out:,} points have no vector in space {space!r}[/]")
    for name in damaged:
        err.print(f"[red]the record of {name!r} is damaged: run vecdb check[/]", highlight=False)
    if damaged:
        raise typer.Exit(1)


def _run(
    file: Path,
    source: Collection,
    filter: ClientFilter | None,
    slice: tuple[int, int],
    sink: _Sink,
    state: _State,
    total: int,
) -> list[str]:
    """Write page after page; return the ids of damaged records."""
    damaged: list[str] = []
    with sink, progress_bar() as progress:
        task = progress.add_task(file.name, total=total, completed=state.points, rate="")
        started, before = time.perf_counter(), state.points
        for page in source.export_pages(
            filter,
            slice=slice if slice[1] > 1 else None,
            page_token=state.token,
            with_vectors=True,
        ):
            state.points += sink.write(page.points)
            damaged += page.damaged
            state.token, state.sizes = page.next_page_token, sink.flush()
            if state.sizes and state.token:  # from the last page on there is nothing to go on to
                keep(_state_path(file), state)
            rate = (state.points - before) / (time.perf_counter() - started)
            progress.update(task, completed=state.points, rate=f"{rate:,.0f} points/s")
        progress.update(task, total=state.points)
    return damaged


# --- what is written


class _Sink(Protocol):
    """A file that points are written to.

    left_out: points that it cannot hold.
    """

    left_out: int

    def write(self, points: Sequence[StoredPoint]) -> int:
        """Write points, in their order; return how many."""

    def flush(self) -> list[int]:
        """Make all durable; return the sizes to go on from, none where that cannot be."""

    def __enter__(self) -> object: ...

    def __exit__(self, *raised: object) -> None: ...


def _sink(file: Path, spaces: dict[str, Any], space: str, state: _State) -> _Sink:
    suffix = file.suffix.lower()
    if suffix in JSON_LINES:
        return _JsonLines(file, state.sizes)
    if suffix == ".npy":
        dense = [name for name, one in spaces.items() if isinstance(one, Space)]
        if space not in dense:
            raise InvalidArgument(f"--space {space!r}: expected one of {dense}")
        return _Npy(file, space, spaces[space].dim, state.sizes)
    if suffix == ".parquet":
        if state.sizes or state.points:
            raise InvalidArgument(f"{file.name} cannot be gone on with", hint="use --restart")
        return _Parquet(file, spaces)
    raise InvalidArgument(f"{file.name}: expected .jsonl, .ndjson, .parquet or .npy")


class _JsonLines:
    """A point a line."""

    left_out = 0

    def __init__(self, file: Path, sizes: Sequence[int]) -> None:
        self._lines = _opened(file, sizes[0] if sizes else 0)

    def write(self, points: Sequence[StoredPoint]) -> int:
        self._lines.writelines(map(_line, points))
        return len(points)

    def flush(self) -> list[int]:
        return [_synced(self._lines)]

    def __enter__(self) -> object:
        return self

    def __exit__(self, *raised: object) -> None:
        self._lines.close()


class _Npy:
    """The vectors of one space, and what else the points have beside them."""

    def __init__(self, file: Path, space: str, dim: int, sizes: Sequence[int]) -> None:
        self.left_out = 0
        self._space, self._dim = space, dim
        self._vectors = _opened(file, sizes[0] if sizes else 0)
        self._lines = _opened(beside(file), sizes[1] if sizes else 0)
        self._header = len(self._made_header(0))
        if not sizes:
            self._vectors.write(self._made_header(0))
        self._rows = (self._vectors.tell() - self._header) // (4 * dim)

    def write(self, points: Sequence[StoredPoint]) -> int:
        held = [point for point in points if self._space in point.vectors]
        self.left_out += len(points) - len(held)
        for point in held:
            self._vectors.write(np.asarray(point.vectors[self._space], LITTLE_F32).tobytes())
            self._lines.write(_line(point, with_vectors=False))
        self._rows += len(held)
        return len(held)

    def flush(self) -> list[int]:
        """Write how many rows there are by now, so that what is there is an array at any time."""
        end = self._vectors.tell()
        self._vectors.seek(0)
        self._vectors.write(self._made_header(self._rows))
        self._vectors.seek(end)
        return [_synced(self._vectors), _synced(self._lines)]

    def _made_header(self, rows: int) -> bytes:
        # As numpy.lib.format describes version 1.0, always as long as with the most rows.
        shape = f"({rows}, {self._dim})"
        described = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        return b"\x93NUMPY\x01\x00\x76\x00" + described.ljust(117).encode() + b"\n"

    def __enter__(self) -> object:
        return self

    def __exit__(self, *raised: object) -> None:
        self._vectors.close()
        self._lines.close()


class _Parquet:
    """A column for ids, payloads as JSON, and each space. Complete, or not there."""

    left_out = 0

    def __init__(self, file: Path, spaces: dict[str, Any]) -> None:
        self._arrow = arrow = pyarrow_for(file)
        self._spaces = spaces
        fields = [("id", arrow.string()), ("payload", arrow.string())]
        fields.append(("expires_at", arrow.timestamp("ms", "UTC")))
        for name, space in spaces.items():
            fields.append((_column(name), _arrow_type(arrow, space)))
        self._schema = arrow.schema(fields)
        self._file, self._temporary = file, file.with_name(file.name + ".new")
        self._writer = arrow.parquet.ParquetWriter(self._temporary, self._schema)

    def write(self, points: Sequence[StoredPoint]) -> int:
        columns: dict[str, list[object]] = {
            "id": [point.id for point in points],
            "payload": [json.dumps(point.payload, ensure_ascii=False) for point in points],
            "expires_at": [point.expires_at for point in points],
        }
        for name, space in self._spaces.items():
            columns[_column(name)] = [_cell(point, name, space) for point in points]
        if points:
            self._writer.write_table(self._arrow.table(columns, self._schema))
        return len(points)

    def flush(self) -> list[int]:
        return []

    def __enter__(self) -> object:
        return self

    def __exit__(self, *raised: object) -> None:
        self._writer.close()
        if raised[0] is None:
            self._temporary.replace(self._file)
        else:
            self._temporary.unlink()


def _column(space: str) -> str:
    return NAMED + space if space else "vector"


def _arrow_type(arrow: Any, space: object) -> Any:  # noqa: ANN401 - a module and its types
    if isinstance(space, SparseSpace):
        return arrow.struct(
            [("indices", arrow.list_(arrow.uint32())), ("values", arrow.list_(arrow.float32()))]
        )
    vector = arrow.list_(arrow.float32())
    return arrow.list_(vector) if isinstance(space, MultiDenseSpace) else vector


def _cell(point: StoredPoint, name: str, space: object) -> object:
    """Return what a column of a space holds of a point; None without a vector."""
    if isinstance(space, MultiDenseSpace):
        return point.multi[name].tolist() if name in point.multi else None
    if not isinstance(space, SparseSpace):
        return point.vectors.get(name)
    sparse = point.sparse.get(name)
    if sparse is None:
        return None
    return {"indices": list(sparse.indices), "values": list(sparse.values)}


def _line(point: StoredPoint, *, with_vectors: bool = True) -> bytes:
    parts = [f'{{"id":{json.dumps(point.id, ensure_ascii=False)}']
    if with_vectors:
        if point.vector is not None:
            parts.append(f'"vector":{_numbers(point.vector)}')
        if named := list(_named_vectors(point)):
            parts.append(f'"vectors":{{{",".join(named)}}}')
    if point.expires_at is not None:
        parts.append(f'"expires_at":"{point.expires_at.isoformat()}"')
    # As it was stored, unless it has lines of its own.
    raw = point.payload_bytes or b"{}"
    text = raw.decode()
    if "\n" in text or "\r" in text:
        text = json.dumps(point.payload, ensure_ascii=False)
    parts.append(f'"payload":{text}}}\n')
    return ",".join(parts).encode()


def _named_vectors(point: StoredPoint) -> Iterator[str]:
    for name, vector in point.vectors.items():
        if name:
            yield f"{json.dumps(name, ensure_ascii=False)}:{_numbers(vector)}"
    for name, sparse in point.sparse.items():
        indices = json.dumps(list(sparse.indices))
        values = _numbers(array("f", sparse.values))
        key = json.dumps(name, ensure_ascii=False)
        yield f'{key}:{{"indices":{indices},"values":{values}}}'
    for name, several in point.multi.items():
        rows = ",".join(map(_numbers, cast(list[list[float]], several.tolist())))
        yield f"{json.dumps(name, ensure_ascii=False)}:[{rows}]"


def _numbers(values: Sequence[float]) -> str:
    # Nine digits tell every float32 from the next.
    return "[" + ",".join([f"{value:.9g}" for value in values]) + "]"


# --- going on


def _opened(file: Path, size: int) -> BinaryIO:
    """Return a file to write on from a size; what is behind it is cut off."""
    if not size:
        return file.open("wb")
    if not file.exists() or file.stat().st_size < size:
        raise InvalidArgument(f"{file.name} has lost what was written", hint="use --restart")
    opened = file.open("r+b")
    opened.truncate(size)
    opened.seek(size)
    return opened


def _synced(file: BinaryIO) -> int:
    """Make a file durable; return how long it is."""
    file.flush()
    os.fsync(file.fileno())
    return file.tell()


def _slice(text: str) -> tuple[int, int]:
    """Return which part, of how many."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InvalidArgument(f"--slice {text}: expected I/N, the I-th of N parts from 0 on: 0/4")
    return int(index), int(count)


def _state_path(file: Path) -> Path:
    return file.with_name(file.name + ".vecdb-export")


def _resumed(file: Path, fresh: _State) -> _State:
    saved = load(_state_path(file), _State)
    if saved is None:
        raise InvalidArgument(f"{file} exists", hint="use --restart to replace it")
    asked = (fresh.collection, fresh.where, fresh.part)
    if (saved.collection, saved.where, saved.part) != asked:
        raise InvalidArgument(
            f"{_state_path(file).name} is of another export: {saved.collection} {saved.where} "
            f"{saved.part}",
            hint="use --restart to export from the first point",
        )
    return saved
