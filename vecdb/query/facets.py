"""How many rows hold each value of a path, added up over parts."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from vecdb.query.sources import Source, read_fields
from vecdb.segment.bitmaps import rows_in, unpack
from vecdb.segment.fields import (
    BOOL,
    FLOAT,
    INT,
    INT64,
    KEYWORD,
    LONG,
    TRUE,
    FieldSource,
    Json,
    NotIndexed,
    Numbers,
    Tally,
    key_of,
    nodes_at,
    shortened,
)
from vecdb.segment.ranking import ordered
from vecdb.types import Bitmap, Scalar

Counts: TypeAlias = "dict[int | float, int]"


class FacetTotal:
    """Values of a path, with how many rows hold each.

    What `equals` takes for one value is one here: 1 and 1.0 are, true and 1 are not.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._strings: list[Tally] = []
        self._bools: Counts = {}
        self._numbers: Counts = {}

    @property
    def is_empty(self) -> bool:
        """Whether no row holds a value."""
        return not (self._bools or self._numbers or any(t.counts.any() for t in self._strings))

    def add(self, fields: FieldSource, mask: Bitmap | None, n: int) -> None:
        """Take n rows, those of the mask; None for all. Raises NotIndexed."""
        strings = fields.tally(self._path, KEYWORD, mask)
        bools = fields.tally(self._path, BOOL, mask)
        whole, rest = as_whole(fields.numbers(self._path, INT), fields.numbers(self._path, FLOAT))
        self._strings.append(strings)
        for at, count in enumerate(bools.counts.tolist()):
            _count(self._bools, [(bools.key(at) == TRUE, count)] if count else [])
        inside = None if mask is None else unpack(mask, n)
        for numbers in (whole, rest):
            _count(self._numbers, _distinct(numbers, inside))

    def best(self, limit: int, sources: Sequence[Source]) -> tuple[list[tuple[Scalar, int]], int]:
        """Return the values that most rows hold, and how many others there are."""
        strings, distinct = self._best_strings(limit)
        # By count, then false, true, numbers, strings, each ascending.
        ranked: list[tuple[int, int, int | float | bytes]] = [
            *((-count, 0, value) for value, count in self._bools.items()),
            *((-count, 1, value) for value, count in self._numbers.items()),
            *((-count, 2, key) for key, count in strings),
        ]
        best = heapq.nsmallest(limit, ranked)
        values: list[tuple[Scalar, int]] = []
        for count, _, value in best:
            text = value if isinstance(value, (int, float)) else self._text(value, sources)
            values.append((text, -count))
        return values, distinct + len(self._bools) + len(self._numbers) - len(best)

    def _best_strings(self, limit: int) -> tuple[list[tuple[bytes, int]], int]:
        """Return at least the `limit` strings that most rows hold, and how many there are."""
        held = [tally for tally in self._strings if tally.counts.any()]
        if len(held) == 1:
            (tally,) = held
            found = np.flatnonzero(tally.counts)
            # Keys ascend: of as many rows, the first ones stay.
            best = found[np.argsort(-tally.counts[found], kind="stable")[:limit]]
            return [(tally.key(at), int(tally.counts[at])) for at in best.tolist()], len(found)
        counts: dict[bytes, int] = {}
        for tally in held:
            for at in np.flatnonzero(tally.counts).tolist():
                key = tally.key(at)
                counts[key] = counts.get(key, 0) + int(tally.counts[at])
        return list(counts.items()), len(counts)

    def _text(self, key: bytes, sources: Sequence[Source]) -> str:
        """Return the string of a key; one that the index has shortened is read from a payload."""
        return text_of(key, self._path, self._holders(key, sources))

    def _holders(self, key: bytes, sources: Sequence[Source]) -> Iterable[Json]:
        """Yield payloads of rows that hold a key."""
        for source in sources:
            part, mask = source.candidates.part, source.candidates.mask
            try:
                bits = source.rows.fields.holding(self._path, KEYWORD, (key,))
            except NotIndexed:
                for chunk in read_fields(source, self._path):
                    held = rows_in(
                        chunk.fields.holding(self._path, KEYWORD, (key,)), len(chunk.rows)
                    )
                    yield from source.rows.payloads(chunk.rows[held].tolist())
                continue
            for row in rows_in(bits if mask is None else bits & mask, part.rows).tolist():
                yield from source.rows.payloads([row])


def text_of(key: bytes, path: str, holders: Iterable[Json]) -> str:
    """Return the string of a key. holders: payloads to read one from that is shortened."""
    if LONG in key:
        for payload in holders:
            for node in nodes_at(payload, path):
                if isinstance(node, str) and shortened(key_of(node)) == key:
                    return node
        key = key[: key.index(LONG)]  # nobody holds it whose record is sound
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # damaged, or cut in the middle of a character
        return key.decode("utf-8", "replace")


def _count(into: Counts, counted: Iterable[tuple[int | float, int]]) -> None:
    for value, count in counted:
        into[value] = into.get(value, 0) + count


def as_whole(ints: Numbers, floats: Numbers) -> tuple[Numbers, Numbers]:
    """Return the numbers that are whole and in int64, and the others."""
    values, rows = floats
    if not len(rows):
        return ints, floats
    with np.errstate(invalid="ignore"):  # NaN: damage
        whole = (values == np.floor(values)) & (values >= INT64[0]) & (values < float(INT64[-1]))
    merged = np.concatenate([ints.values, values[whole].astype(np.int64)])
    return Numbers(merged, np.concatenate([ints.rows, rows[whole]])), Numbers(
        values[~whole], rows[~whole]
    )


def _distinct(numbers: Numbers, inside: object) -> Iterable[tuple[int | float, int]]:
    """Return each value with the rows that hold it: each once, however often it holds it."""
    values, rows = numbers
    if isinstance(inside, np.ndarray):
        chosen = inside[rows]
        values, rows = values[chosen], rows[chosen]
    if not len(rows):
        return []
    values, rows = ordered(Numbers(values, rows))
    again = (values[1:] == values[:-1]) & (rows[1:] == rows[:-1])
    values = values[np.append(True, ~again)]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    counts = np.diff(np.append(starts, len(values)))
    return zip(values[starts].tolist(), counts.tolist(), strict=True)
