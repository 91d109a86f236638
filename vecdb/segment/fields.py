"""Payload fields: what a payload holds at its paths, and how rows are asked for it.

One rule says what a payload holds; indexes on disk (`fields_disk`) and in memory (`fields_memory`)
are made from it, so that a filter means the same everywhere:

- dots join the keys of nested objects; arrays are looked through;
- a string is a keyword, compared by its UTF-8 bytes, and a time as well if it is one (`times`);
- true and false are no numbers; integers and floats compare as numbers, exactly; an integer
  outside int64 is a float;
- an object is a value too, and a place as well if it is one (`geo`); null is none.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.segment.bitmaps import Kept, KeptBitmaps
from vecdb.types import U32, Bitmap, GeoShape, Scalar

PATHS_MAX = 1_000
PATHS_PENDING_MAX = 16 * PATHS_MAX
PATH_CHARACTERS_MAX = 512
KEYWORD_BYTES_MAX = 256
KEYWORD_HEAD_BYTES = 47
LONG: Final = b"\xff"
"""Parts the head of a long keyword from its digest."""

Json: TypeAlias = Any
"""A parsed payload, or a part of one."""

# What is known of a path, by kind. Of a dictionary kind, keys and the rows that hold each:
KEYWORD: Final = "keyword"
BOOL: Final = "bool"
STATE: Final = "state"
DICTIONARIES = (KEYWORD, BOOL, STATE)
# Of a column kind, numbers and the row that holds each:
INT: Final = "int"
FLOAT: Final = "float"
TIME: Final = "time"
COUNT: Final = "count"
COLUMNS = {INT: "<i8", FLOAT: "<f8", TIME: "<i8", COUNT: "<i8"}
NUMBERS = (INT, FLOAT)
# And places, with the row that holds each:
GEO: Final = "geo"

HELD: Final = b"held"
"""Key of STATE: rows that hold at least one value."""
NULL: Final = b"null"
"""Key of STATE: rows that hold null, by itself or in an array."""
FALSE: Final = b"false"
TRUE: Final = b"true"

INT64 = range(-(1 << 63), 1 << 63)


class NotIndexed(Exception):
    """The index cannot tell; the payloads themselves must be asked."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two bounds; None is no bound."""

    low: int | float | None = None
    high: int | float | None = None
    open_low: bool = False
    open_high: bool = False

    def closed(self, kind: str) -> tuple[int, int] | tuple[float, float]:
        """Return the same interval over a column's type, ends included; low > high when empty."""
        return self.closed_float() if kind == FLOAT else self.closed_int()

    def closed_int(self) -> tuple[int, int]:
        """Return the same interval over int64, both ends included; low > high when empty."""
        low, high = INT64[0], INT64[-1]
        if self.low is not None and self.low != -math.inf:
            if self.low == math.inf:
                return 1, 0
            low = max(low, math.floor(self.low) + 1 if self.open_low else math.ceil(self.low))
        if self.high is not None and self.high != math.inf:
            if self.high == -math.inf:
                return 1, 0
            high = min(high, math.ceil(self.high) - 1 if self.open_high else math.floor(self.high))
        return low, high

    def closed_float(self) -> tuple[float, float]:
        """Return the same interval over float64, both ends included."""
        low, high = -math.inf, math.inf
        if self.low is not None:
            low = float(self.low)
            if low < self.low or (self.open_low and low == self.low):
                low = math.nextafter(low, math.inf)
        if self.high is not None:
            high = float(self.high)
            if high > self.high or (self.open_high and high == self.high):
                high = math.nextafter(high, -math.inf)
        return low, high


class Tally(NamedTuple):
    """How many rows hold each key of a dictionary: counts (d,) int64, keys by position, sorted."""

    counts: NDArray[np.int64]
    key: Callable[[int], bytes]


class Entries(NamedTuple):
    """A dictionary as a column: for each row of a key the key's position (m,) and the row (m,).

    Both u32, by position, then by row. keys: how many there are.
    """

    positions: U32
    rows: U32
    keys: int
    key: Callable[[int], bytes]


class Numbers(NamedTuple):
    """The numbers of a column kind (m,), and the row that holds each: (m,) u32. In any order."""

    values: NDArray[Any]
    rows: U32


class FieldSource(Protocol):
    """Rows that can be asked what they hold at a path. Raises NotIndexed where it cannot tell.

    Every bitmap is a new one of the rows. Where the rows never change, answers are kept. matches:
    bitmaps of whole filters, by their key; rankings: see `ranking`; groupings: see
    `query.grouping`.
    """

    matches: KeptBitmaps | None
    rankings: Kept[Any] | None
    groupings: Kept[Any] | None

    def holding(self, path: str, kind: str, keys: Sequence[bytes]) -> Bitmap:
        """Return the rows that hold one of the keys of a dictionary kind; of strings, `key_of`."""

    def beginning(self, path: str, prefix: bytes) -> Bitmap:
        """Return the rows that hold a keyword which begins so. prefix: not empty."""

    def between(self, path: str, kinds: Sequence[str], intervals: Sequence[Interval]) -> Bitmap:
        """Return the rows that hold a number of one of the column kinds in one of the intervals."""

    def within(self, path: str, shape: GeoShape) -> Bitmap:
        """Return the rows that hold a place inside a shape."""

    def tally(self, path: str, kind: str, mask: Bitmap | None) -> Tally:
        """Return how many rows of the mask, None for all, hold each key of a dictionary kind."""

    def entries(self, path: str, kind: str) -> Entries:
        """Return the rows of each key of a dictionary kind."""

    def numbers(self, path: str, kind: str) -> Numbers:
        """Return all numbers of a column kind."""

    def kinds(self) -> Mapping[str, Collection[str]]:
        """Return the paths that the index knows, with the kinds that rows hold there."""


def nodes(payload: Json) -> Iterator[tuple[str, Json]]:
    """Yield path and node of everything that a payload holds: scalars, nulls and objects.

    Paths of more than PATH_CHARACTERS_MAX are left out, and not descended into: a long key with
    many children would be copied for each of them.
    """
    stack: list[tuple[str, Json]] = list(payload.items())
    while stack:
        path, node = stack.pop()
        if len(path) > PATH_CHARACTERS_MAX:
            continue
        if isinstance(node, list):
            stack.extend([(path, inner) for inner in node])
            continue
        yield path, node
        if isinstance(node, dict):
            stack.extend([(f"{path}.{key}", inner) for key, inner in node.items()])


def nodes_at(payload: Json, path: str) -> Iterator[Json]:
    """Yield the nodes that a payload holds at a path.

    A dot may step into an object or belong to a key: both are looked for.
    """
    if isinstance(payload, list):
        for inner in payload:
            yield from nodes_at(inner, path)
    elif isinstance(payload, dict):
        if path in payload:
            yield from _flat(payload[path])
        dot = path.find(".")
        while dot >= 0:
            if path[:dot] in payload:
                yield from nodes_at(payload[path[:dot]], path[dot + 1 :])
            dot = path.find(".", dot + 1)


def _flat(node: Json) -> Iterator[Json]:
    if isinstance(node, list):
        for inner in node:
            yield from _flat(inner)
    else:
        yield node


def parse(payload: bytes) -> Json:
    """Return a stored payload as Python has it; no payload is an empty object."""
    return json.loads(payload) if payload else {}


def as_number(value: Scalar) -> int | float | None:
    """Return the number that a value counts as, or None when it is none."""
    if isinstance(value, (bool, str)):
        return None
    if isinstance(value, int) and value not in INT64:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def key_of(text: str) -> bytes:
    """Return the bytes that strings are compared by."""
    return text.encode("utf-8", "surrogatepass")


def shortened(key: bytes) -> bytes:
    """Return the key that an index holds a string under: its bytes, or their begin and a digest.

    No UTF-8 has the byte 0xFF, so that both are told apart, and it is the highest, so that the long
    ones stand among the others where their first bytes belong.
    """
    if len(key) <= KEYWORD_BYTES_MAX:
        return key
    return key[:KEYWORD_HEAD_BYTES] + LONG + hashlib.blake2b(key, digest_size=16).digest()
