"""Rows of what other programs write: Qdrant's scroll, Chroma's get(), pgvector's COPY, word2vec."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from vecdb.cli.row_files import Row, Rows, csv_rows
from vecdb.cli.word_rows import WORD_ORIGINS
from vecdb.errors import InvalidArgument

READ_BYTES: Final = 1 << 20
_COLUMNS: Final = ("documents", "metadatas", "embeddings", "uris")
_SPARSE = re.compile(r"\{((?:\d+:[^,{}]+,?)*)\}/\d+", re.ASCII)


def foreign_reader(file: Path, origin: str) -> Rows:
    """Return the rows of another program's export. Raises InvalidArgument, here or at the row."""
    if origin not in ORIGINS:
        raise InvalidArgument(f"--from {origin}: expected {', '.join(ORIGINS)}")
    return Rows(ORIGINS[origin](file))


def _qdrant(file: Path) -> Iterator[Row]:
    """Yield the points of replies of POST /collections/NAME/points/scroll, with_vector true.

    One after the other in a file, whole or their `result`; or the points alone.
    """
    for value in json_values(file):
        if isinstance(value, dict):
            value = value.get("result", value)
        points = value.get("points", [value]) if isinstance(value, dict) else value
        if not isinstance(points, list):
            raise InvalidArgument(f"{file.name}: expected replies of scroll, got {_shown(value)}")
        for point in points:
            if not isinstance(point, dict) or "id" not in point:
                raise InvalidArgument(f"{file.name}: expected a point, got {_shown(point)}")
            row: Row = {"id": point["id"], "payload": point.get("payload") or {}}
            vector = point.get("vector")
            if isinstance(vector, dict):
                row["vectors"] = vector
            elif vector is not None:
                row["vector"] = vector
            yield row


def _chroma(file: Path) -> Iterator[Row]:
    """Yield the rows of results of collection.get(include=["embeddings", ...]), one or several.

    Metadata is the payload; the document and the URI join it, as `document` and `uri`.
    """
    for value in json_values(file):
        ids = value.get("ids") if isinstance(value, dict) else None
        if not isinstance(ids, list) or (ids and not isinstance(ids[0], str)):
            raise InvalidArgument(f"{file.name}: expected results of get(), got {_shown(value)}")
        columns = {name: value.get(name) or [None] * len(ids) for name in _COLUMNS}
        for name, column in columns.items():
            if len(column) != len(ids):
                raise InvalidArgument(
                    f"{file.name}: {len(ids)} ids and {len(column)} {name} in one result"
                )
        for id, document, metadata, vector, uri in zip(ids, *columns.values(), strict=True):
            added = {"document": document, "uri": uri}
            known = {key: value for key, value in added.items() if value is not None}
            row = {"id": id, "payload": {**(metadata or {}), **known}}
            yield row if vector is None else {**row, "vector": vector}


def _pgvector(file: Path) -> Iterator[Row]:
    """Yield the rows of COPY ... WITH (FORMAT csv, HEADER); empty fields are nulls, and left out.

    The column `embedding` is the vector; other columns of sparsevec are the spaces of their names.
    """
    for columns in csv_rows(file, ","):
        row = {name: value for name, value in columns.items() if value != ""}
        if "embedding" in row:
            row["vector"] = row.pop("embedding")
        texts = ((name, value) for name, value in row.items() if isinstance(value, str))
        sparse = {name: found for name, text in texts if (found := _sparsevec(text)) is not None}
        if "vector" in sparse:
            raise InvalidArgument(f"{file.name}: rename the column embedding: it is a sparsevec")
        rest = {name: value for name, value in row.items() if name not in sparse}
        given = {name: vector for name, vector in sparse.items() if vector["indices"]}
        yield {**rest, "vectors": given} if given else rest


def _sparsevec(text: str) -> dict[str, list[Any]] | None:
    """Return pgvector's {1:0.5,3:2}/5, whose indices begin at 1, or None for another text."""
    found = _SPARSE.fullmatch(text)
    if found is None:
        return None
    pairs = [pair.split(":") for pair in found[1].split(",") if pair]
    try:
        values = [float(value) for _, value in pairs]
    except ValueError:
        return None
    return {"indices": [int(index) - 1 for index, _ in pairs], "values": values}


ORIGINS: Final[dict[str, Callable[[Path], Iterator[Row]]]] = {
    "qdrant": _qdrant,
    "chroma": _chroma,
    "pgvector": _pgvector,
    **WORD_ORIGINS,
}


def json_values(file: Path) -> Iterator[Any]:
    """Yield the JSON values that stand in a file one after the other, with or without lines.

    As much is in memory as the largest of them, twice. Raises InvalidArgument.
    """
    decode = json.JSONDecoder().raw_decode
    text, wanted = "", READ_BYTES
    with file.open(encoding="utf-8-sig") as source:
        while True:
            try:
                more = source.read(wanted)
                text = (text + more).lstrip()
                while text:
                    value, end = decode(text)
                    # What ends where the file is cut may go on: a number, and only that.
                    if end == len(text) and more and not isinstance(value, (dict, list)):
                        break
                    yield value
                    text, wanted = text[end:].lstrip(), READ_BYTES
            except UnicodeDecodeError as error:
                raise InvalidArgument(f"{file.name}: not UTF-8: {error}") from None
            except (ValueError, RecursionError) as error:
                if not more:
                    raise InvalidArgument(f"{file.name}: not JSON: {error}") from None
                wanted = max(wanted, len(text))  # a value that is longer: twice as much, each time
            if not more:
                return


def _shown(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
