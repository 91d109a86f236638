"""Payloads as a filter asks for them: as a segment keeps them, and as the tail does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.model import holds
from vecdb.query.filter import matching
from vecdb.segment.bitmaps import unpack
from vecdb.segment.fields import FieldSource, nodes, parse
from vecdb.segment.fields_disk import FieldIndex, write_fields
from vecdb.segment.fields_memory import CollectedFields, MemoryFields, SharedFields
from vecdb.types import Filter


class Source:
    """Rows as a filter asks for them. reads: how many payloads were read."""

    def __init__(self, payloads: list[bytes], made: FieldSource) -> None:
        self.rows = len(payloads)
        self.fields = made
        self.reads = 0
        self._payloads = payloads

    def payloads(self, rows: Sequence[int]) -> list[Any]:
        self.reads += len(rows)
        return [parse(self._payloads[row]) for row in rows]


def collect(payloads: list[bytes]) -> CollectedFields:
    collected = CollectedFields()
    for payload in payloads:
        collected.add(nodes(parse(payload)))
    return collected


def index_of(payloads: list[bytes]) -> FieldIndex:
    """Return the index of payloads, through the bytes and the JSON that a segment keeps."""
    array, directory, left_out = write_fields(collect(payloads))
    return FieldIndex(len(payloads), array, json.loads(json.dumps(directory)), left_out)


def on_disk(payloads: list[bytes]) -> Source:
    return Source(payloads, index_of(payloads))


def in_memory(payloads: list[bytes]) -> Source:
    return Source(payloads, MemoryFields(len(payloads), payloads, SharedFields()))


def matched(filter: Filter, source: Source) -> list[bool]:
    return unpack(matching(filter, source), source.rows).tolist()


def expected_of(filter: Filter, payloads: list[bytes]) -> list[bool]:
    return [holds(filter, parse(payload), "", frozenset()) for payload in payloads]


def agree(payloads: list[bytes], filter: Filter) -> None:
    expected = expected_of(filter, payloads)
    assert matched(filter, on_disk(payloads)) == expected
    assert matched(filter, in_memory(payloads)) == expected
