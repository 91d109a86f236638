"""The rows that a question about payload fields goes to, and reading them where no index tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vecdb.query.filter import ROWS_AT_ONCE, Rows
from vecdb.query.search import Candidates
from vecdb.segment.bitmaps import all_rows, rows_in
from vecdb.segment.fields import nodes_at
from vecdb.segment.fields_memory import CollectedFields
from vecdb.types import U32


class Source(NamedTuple):
    """A part: those of its rows that match, and what can be asked about them."""

    candidates: Candidates
    rows: Rows


class ReadChunk(NamedTuple):
    """Rows of a part (m,) u32 whose payloads were read: row i of `fields` is rows[i]."""

    rows: U32
    fields: CollectedFields


def read_fields(
    source: Source, path: str, into: CollectedFields | None = None
) -> Iterator[ReadChunk]:
    """Yield what the rows that match hold at a path, some at a time. Raises DeadlineExceeded.

    into: collects all of them; without it each chunk has fields of its own.
    """
    part, mask = source.candidates.part, source.candidates.mask
    rows = rows_in(all_rows(part.rows) if mask is None else mask, part.rows).astype(np.uint32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chunk = rows[start : start + ROWS_AT_ONCE]
        fields = CollectedFields() if into is None else into
        for payload in source.rows.payloads(chunk.tolist()):
            fields.add([(path, node) for node in nodes_at(payload, path)])
        yield ReadChunk(chunk, fields)
