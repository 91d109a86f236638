"""Arrow tables as points, and points as record batches. Imports pyarrow where a table is used.

Any table goes in that has Arrow's PyCapsule interface: those of pyarrow, pandas (from 2.2) and
Polars, and readers that stream. Columns: `id`; `vector` for the default space and `vectors.NAME`
for others, as lists, or structs of indices and values; `text`, `if_version`, `ttl_s`, `expires_at`
as of Point; `payload`, as JSON or struct, or else all other columns are the payload, without their
nulls. `vecdb export` writes such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from vecdb_client.errors import InvalidArgument
from vecdb_client.multi import MultiDenseSpace
from vecdb_client.types import Space, SparseSpace, StoredPoint
from vecdb_client.vectors import Sparse

if TYPE_CHECKING:
    import pyarrow

NAMED: Final = "vectors."
_ROWS: Final = 1_000
"""Rows that are made Python's at a time."""
_KEYS: Final = ("id", "text", "if_version", "ttl_s", "expires_at")


class ArrowStream(Protocol):
    """A table: pyarrow.Table and RecordBatchReader, pandas.DataFrame, polars.DataFrame ..."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class ArrowArray(Protocol):
    """A pyarrow.RecordBatch."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> object: ...


Table: TypeAlias = ArrowStream | ArrowArray

Fields: TypeAlias = "Mapping[str, pyarrow.DataType | str]"
"""Payload paths, and the Arrow types of their columns, or names of such: "int64", "string" ..."""


def is_table(value: object) -> bool:
    """Return whether a value is a table that Arrow can read."""
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")


# --- in


def table_points(table: Table) -> Iterator[dict[str, Any]]:
    """Yield a table's rows as points, some at a time.

    Raises InvalidArgument for a table without ids, and for columns that Arrow cannot read.
    """
    arrow = arrow_library()
    try:
        if hasattr(table, "__arrow_c_stream__"):
            batches = arrow.RecordBatchReader.from_stream(table)
        else:
            batches = [arrow.record_batch(table)]
        for batch in batches:
            for first in range(0, batch.num_rows, _ROWS):
                yield from _rows(batch.slice(first, _ROWS), arrow)
    except (arrow.ArrowException, arrow.ArrowTypeError) as error:
        raise InvalidArgument(f"a table that Arrow cannot read: {error}") from None


def _rows(batch: Any, arrow: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - pyarrow's
    # The index of a pandas.DataFrame that is more than a count, and has no name, is no column.
    names = [name for name in batch.schema.names if not name.startswith("__index_level_")]
    if "id" not in names:
        raise InvalidArgument(f"the table has no column 'id': it has {', '.join(names)}")
    vectors = [name for name in names if name == "vector" or name.startswith(NAMED)]
    rest = [name for name in names if name not in _KEYS and name not in vectors]
    if "payload" in rest and len(rest) > 1:
        rest.remove("payload")
        raise InvalidArgument(
            f"the table has a column 'payload', and others: {', '.join(rest)}; payloads are either "
            "the one column, or all others"
        )
    columns = {name: _column(batch.column(name), arrow) for name in names}
    for row in zip(*columns.values(), strict=True):
        given = {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        point = {key: given[key] for key in _KEYS if key in given}
        if isinstance(point.get("id"), int):
            point["id"] = str(point["id"])
        spaces = {name.removeprefix(NAMED): given[name] for name in vectors if name in given}
        if "vector" in spaces:
            point["vector"] = spaces.pop("vector")
        if spaces:
            point["vectors"] = spaces
        payload = given.get("payload") if rest == ["payload"] else _chosen(given, rest)
        yield {**point, "payload": payload}


def _chosen(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _column(column: Any, arrow: Any) -> Sequence[Any]:  # noqa: ANN401 - pyarrow's
    """Return a column's values: vectors as views of their numbers, times with a time zone."""
    kind = column.type
    if arrow.types.is_timestamp(kind):
        column = column.cast(arrow.timestamp("us", "UTC"), safe=False)
    elif arrow.types.is_struct(kind) and {one.name for one in kind} == {"indices", "values"}:
        values = column.to_pylist()
        return [None if one is None else Sparse(one["indices"], one["values"]) for one in values]
    elif _is_list(kind, arrow) and arrow.types.is_floating(kind.value_type):
        numbers = column.flatten().cast(arrow.float32(), safe=False)  # of these rows, not null
        if not numbers.null_count:
            return _views(numbers, column.value_lengths().to_pylist())
    listed: list[Any] = column.to_pylist()
    return listed


def _is_list(kind: Any, arrow: Any) -> bool:  # noqa: ANN401 - pyarrow's
    of = arrow.types
    return bool(of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind))


def _views(numbers: Any, lengths: Sequence[int | None]) -> list[Any]:  # noqa: ANN401
    """Return runs of an array's numbers as memoryviews, None for null; none is copied."""
    data = numbers.buffers()[1] if len(numbers) else b""
    flat = memoryview(data)[4 * numbers.offset : 4 * (numbers.offset + len(numbers))].cast("f")
    views: list[memoryview[float] | None] = []
    start = 0
    for length in lengths:
        views.append(None if length is None else flat[start : start + length])
        start += length or 0
    return views


# --- out


def batch_schema(
    spaces: Mapping[str, Space | SparseSpace | MultiDenseSpace],
    fields: Fields | None,
    with_vectors: bool,
) -> pyarrow.Schema:
    """Return the schema of a collection's record batches.

    spaces: by name. fields: columns for the payload; None for one column `payload` of JSON.
    """
    arrow = arrow_library()
    columns = [("id", arrow.string())]
    if fields is None:
        columns.append(("payload", arrow.string()))
    for path, kind in (fields or {}).items():
        if path in ("id", "expires_at", "vector") or path.startswith(NAMED):
            raise InvalidArgument(f"fields: {path!r} is the name of another column")
        columns.append((path, arrow.type_for_alias(kind) if isinstance(kind, str) else kind))
    columns.append(("expires_at", arrow.timestamp("ms", "UTC")))
    for name, space in sorted(spaces.items()) if with_vectors else ():
        if isinstance(space, SparseSpace):
            parts = [("indices", arrow.uint32()), ("values", arrow.float32())]
            kind = arrow.struct([(part, arrow.list_(of)) for part, of in parts])
        else:
            kind = arrow.list_(arrow.float32(), space.dim)
            if isinstance(space, MultiDenseSpace):
                kind = arrow.list_(kind)
        columns.append((NAMED + name if name else "vector", kind))
    return arrow.schema(columns)


def record_batch(points: Sequence[StoredPoint], schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """Return points as rows. Raises InvalidArgument for a value that its column cannot hold."""
    arrow = arrow_library()
    columns = []
    for column in schema:
        if column.name == "id":
            values = arrow.array([point.id for point in points], column.type)
        elif column.name == "payload":
            values = arrow.array([str(point.payload_bytes or b"{}", "utf-8") for point in points])
        elif column.name == "expires_at":
            values = arrow.array([point.expires_at for point in points], column.type)
        elif column.name == "vector" or column.name.startswith(NAMED):
            values = _vectors(points, column, arrow)
        else:
            values = _payload_column(points, column, arrow)
        columns.append(values)
    return arrow.record_batch(columns, schema=schema)


def _vectors(points: Sequence[StoredPoint], column: Any, arrow: Any) -> Any:  # noqa: ANN401
    space = column.name.removeprefix(NAMED) if column.name != "vector" else ""
    if arrow.types.is_struct(column.type):
        found = [point.sparse.get(space) for point in points]
        return arrow.array([one and one._asdict() for one in found], column.type)
    if not arrow.types.is_fixed_size_list(column.type):
        several = [point.multi.get(space) for point in points]
        return arrow.array([one if one is None else one.tolist() for one in several], column.type)
    dense = [point.vectors.get(space) for point in points]
    none = bytes(4 * column.type.list_size)
    data = b"".join(none if one is None else one.tobytes() for one in dense)
    size = len(data) // 4
    numbers = arrow.Array.from_buffers(arrow.float32(), size, [None, arrow.py_buffer(data)])
    absent = arrow.array([one is None for one in dense], arrow.bool_())
    return arrow.FixedSizeListArray.from_arrays(numbers, type=column.type, mask=absent)


def _payload_column(points: Sequence[StoredPoint], column: Any, arrow: Any) -> Any:  # noqa: ANN401
    values = [_at(point.payload, column.name) for point in points]
    try:
        if arrow.types.is_temporal(column.type):
            return arrow.array(values, arrow.string()).cast(column.type)
        return arrow.array(values, column.type)
    except (arrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(
            f"fields: {column.name!r} does not fit {column.type} in all points: {error}",
            reason="PAYLOAD_MISMATCH",
        ) from None


def _at(payload: Any, path: str) -> Any:  # noqa: ANN401 - any value of JSON
    for step in path.split("."):
        payload = payload.get(step) if isinstance(payload, dict) else None
    return payload


def arrow_library() -> Any:  # noqa: ANN401 - a module
    """Return pyarrow. Raises ImportError that says how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("tables need pyarrow: pip install 'vecdb-client[arrow]'") from error
    return pyarrow
