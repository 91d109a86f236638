"""Payload fields: what values a payload holds at a path, and an index of them for a segment's rows.

One rule says what a payload holds. `scalars` tells all of it, for the index on disk, `values_at`
what stands at one path, for rows in memory; tests hold them together, so that a filter means the
same everywhere:

- dots join the keys of nested objects; arrays are looked through; null is no value;
- a string is a keyword, compared by its UTF-8 bytes; true and false are no numbers;
- an integer outside int64 is a float; integers and floats compare as numbers, exactly.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vecdb.types import U32, Scalar

PATHS_MAX = 1_000
PATHS_PENDING_MAX = 16 * PATHS_MAX
PATH_CHARACTERS_MAX = 512
KEYWORD_BYTES_MAX = 256

Mask = NDArray[np.bool_]
Parsed = dict[int, Any]
"""Payloads that were parsed already, by row."""
_INT64 = range(-(1 << 63), 1 << 63)


class NotIndexed(Exception):
    """The index left this path out; the payloads themselves must be asked."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two bounds; None is no bound."""

    low: int | float | None = None
    high: int | float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: int | float) -> bool:
        """Whether a number lies inside, compared exactly."""
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return self.high is None or not (
            value > self.high or (self.open_high and value == self.high)
        )

    def closed_int(self) -> tuple[int, int]:
        """Return the same interval over int64, both ends included; low > high when empty."""
        low, high = _INT64[0], _INT64[-1]
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


class FieldSource(Protocol):
    """Rows that can be asked for payload values. Raises NotIndexed where it cannot tell."""

    rows: int

    def equal_any(self, path: str, values: Sequence[Scalar]) -> U32:
        """Return the rows that hold one of the values, in no order, maybe more than once."""

    def between(self, path: str, interval: Interval) -> U32:
        """Return the rows that hold a number inside the interval."""


def values_at(payload: Any, path: str) -> Iterator[Scalar]:  # noqa: ANN401 - JSON
    """Yield the values that a parsed payload holds at a path.

    A dot may step into an object or belong to a key: both are looked for.
    """
    if isinstance(payload, list):
        for inner in payload:
            yield from values_at(inner, path)
    elif isinstance(payload, dict):
        if path in payload:
            yield from _leaves(payload[path])
        dot = path.find(".")
        while dot >= 0:
            if path[:dot] in payload:
                yield from values_at(payload[path[:dot]], path[dot + 1 :])
            dot = path.find(".", dot + 1)


def _leaves(value: Any) -> Iterator[Scalar]:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, dict):
        yield value


def scalars(payload: bytes) -> Iterator[tuple[str, Scalar]]:
    """Yield path and value of everything that a payload holds.

    Paths of more than PATH_CHARACTERS_MAX are left out, and not descended into: a long key with
    many children would be copied for each of them.
    """
    if not payload:
        return
    stack: list[tuple[str, Any]] = list(json.loads(payload).items())
    while stack:
        path, value = stack.pop()
        if len(path) > PATH_CHARACTERS_MAX:
            continue
        if isinstance(value, dict):
            stack.extend((f"{path}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, list):
            stack.extend((path, inner) for inner in value)
        elif value is not None:
            yield path, value


def as_number(value: Scalar) -> int | float | None:
    """Return the number that a value counts as, or None when it is none."""
    if isinstance(value, (bool, str)):
        return None
    if isinstance(value, int) and value not in _INT64:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def keyword(value: str) -> bytes:
    """Return the bytes that a string is indexed and compared by."""
    encoded = value.encode("utf-8", "surrogatepass")
    if len(encoded) <= KEYWORD_BYTES_MAX:
        return encoded
    return b"\xff" + hashlib.blake2b(encoded, digest_size=16).digest()


class PayloadRows:
    """Rows whose payloads are at hand, each looked at: for the tail, and as a last resort.

    parsed: payloads that were parsed already; added to.
    """

    def __init__(self, rows: int, payload: Callable[[int], bytes], parsed: Parsed) -> None:
        self.rows = rows
        self._payload = payload
        self._parsed = parsed

    def equal_any(self, path: str, values: Sequence[Scalar]) -> U32:
        """Return the rows that hold one of the values."""
        sought = {_comparable(value) for value in values}
        return self._where(path, lambda held: _comparable(held) in sought)

    def between(self, path: str, interval: Interval) -> U32:
        """Return the rows that hold a number inside the interval."""

        def inside(held: Scalar) -> bool:
            number = as_number(held)
            return number is not None and number in interval

        return self._where(path, inside)

    def _where(self, path: str, holds: Callable[[Scalar], bool]) -> U32:
        found = [row for row in range(self.rows) if any(map(holds, self._held(row, path)))]
        return np.array(found, np.uint32)

    def _held(self, row: int, path: str) -> Iterator[Scalar]:
        parsed = self._parsed.get(row)
        if parsed is None:
            payload = self._payload(row)
            parsed = self._parsed[row] = json.loads(payload) if payload else {}
        return values_at(parsed, path)


def _comparable(value: Scalar) -> tuple[str, Scalar]:
    """Return what is equal for two values when they are equal: 1 is 1.0, and neither is true."""
    number = as_number(value)
    return (type(value).__name__, value) if number is None else ("number", number)


class FieldIndexBuilder:
    """Collects the payloads of a segment's rows, in row order."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[tuple[Any, int]]] = defaultdict(list)
        self._left_out = False
        self._partial: set[str] = set()  # paths of which a value was left out
        self._rows = 0

    def add(self, payload: bytes) -> None:
        """Take the payload of the next row."""
        for path, value in scalars(payload):
            key, held = (path, _kind(value)), _indexed(value)
            if len(self._values) >= PATHS_PENDING_MAX and key not in self._values:
                self._left_out = True  # keys that are values themselves, ids say: not for an index
                self._partial.add(path)
                continue
            self._values[key].append((held, self._rows))
        self._rows += 1

    def finish(self) -> tuple[NDArray[np.uint8], list[dict[str, Any]], bool]:
        """Return the `fields` array, its directory, and whether paths were left out."""
        pieces: list[bytes] = []
        size = 0
        directory: list[dict[str, Any]] = []
        paths = self._kept_paths()
        for (path, kind), held in sorted(self._values.items()):
            if path not in paths:
                continue
            parts: dict[str, list[object]] = {}
            for name, array in _arrays(kind, held).items():
                padding = -size % 64
                pieces += [bytes(padding), array.tobytes()]
                parts[name] = [size + padding, array.dtype.str, len(array)]
                size += padding + array.nbytes
            directory.append({"path": path, "kind": kind, "parts": parts})
        return np.frombuffer(b"".join(pieces), np.uint8), directory, self._left_out

    def _kept_paths(self) -> set[str]:
        held: dict[str, int] = defaultdict(int)
        for (path, _), values in self._values.items():
            if path not in self._partial:
                held[path] += len(values)
        if len(held) <= PATHS_MAX:
            return set(held)
        self._left_out = True
        return set(sorted(held, key=lambda path: (-held[path], path))[:PATHS_MAX])


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "keyword"
    return "int" if isinstance(as_number(value), int) else "float"


def _indexed(value: Scalar) -> bytes | int | float | bool:
    if isinstance(value, str):
        return keyword(value)
    number = as_number(value)
    return bool(value) if number is None else number


_DTYPES = {"int": "<i8", "float": "<f8", "bool": "|u1"}


def _arrays(kind: str, held: list[tuple[Any, int]]) -> dict[str, NDArray[Any]]:
    held.sort()
    rows = np.array([row for _, row in held], "<u4")
    if kind != "keyword":
        return {"values": np.array([value for value, _ in held], _DTYPES[kind]), "rows": rows}
    distinct: list[bytes] = []
    starts: list[int] = []
    for at, (value, _) in enumerate(held):
        if not distinct or distinct[-1] != value:
            distinct.append(value)
            starts.append(at)
    starts.append(len(held))
    offsets = np.zeros(len(distinct) + 1, "<u8")
    np.cumsum([len(value) for value in distinct], out=offsets[1:])
    blob = np.frombuffer(b"".join(distinct), np.uint8)
    return {"blob": blob, "offsets": offsets, "starts": np.array(starts, "<u8"), "rows": rows}


class FieldIndex:
    """The values of a segment's rows, read in place; bounds checked, as files may be damaged.

    paths: those that rows of the segment hold indexed values at.
    """

    def __init__(
        self,
        rows: int,
        array: NDArray[np.uint8],
        directory: Sequence[dict[str, Any]],
        left_out: bool,
    ) -> None:
        self.rows = rows
        self._left_out = left_out
        self._parts: dict[tuple[str, str], dict[str, NDArray[Any]]] = {}
        self.paths = {item["path"] for item in directory}
        for item in directory:
            self._parts[item["path"], item["kind"]] = {
                name: _piece(array, offset, np.dtype(dtype), count)
                for name, (offset, dtype, count) in item["parts"].items()
            }

    def equal_any(self, path: str, values: Sequence[Scalar]) -> U32:
        """Return the rows that hold one of the values."""
        return np.concatenate([self._equal(path, value) for value in values])

    def _equal(self, path: str, value: Scalar) -> U32:
        if isinstance(value, str):
            return self._keyword(path, keyword(value))
        if isinstance(value, bool):
            return self._sorted(path, "bool", int(value), int(value))
        number = as_number(value)
        return self.between(path, Interval(number, number))

    def between(self, path: str, interval: Interval) -> U32:
        """Return the rows that hold a number inside the interval."""
        ints = self._sorted(path, "int", *interval.closed_int())
        floats = self._sorted(path, "float", *interval.closed_float())
        return np.concatenate([ints, floats])

    def _part(self, path: str, kind: str) -> dict[str, NDArray[Any]] | None:
        left_out = self._left_out and path not in self.paths
        if left_out or len(path) > PATH_CHARACTERS_MAX:
            raise NotIndexed(path)
        return self._parts.get((path, kind))

    def _sorted(self, path: str, kind: str, low: float, high: float) -> U32:
        part = self._part(path, kind)
        if part is None or low > high:
            return np.empty(0, np.uint32)
        values = part["values"]
        start = np.searchsorted(values, np.array(low, values.dtype), "left")
        stop = np.searchsorted(values, np.array(high, values.dtype), "right")
        return self._safe(part["rows"][start:stop])

    def _keyword(self, path: str, sought: bytes) -> U32:
        part = self._part(path, "keyword")
        if part is None:
            return np.empty(0, np.uint32)
        blob, offsets, starts = part["blob"], part["offsets"], part["starts"]
        low, high = 0, len(offsets) - 1
        while low < high:
            middle = (low + high) // 2
            if blob[int(offsets[middle]) : int(offsets[middle + 1])].tobytes() < sought:
                low = middle + 1
            else:
                high = middle
        if low == len(offsets) - 1:
            return np.empty(0, np.uint32)
        if blob[int(offsets[low]) : int(offsets[low + 1])].tobytes() != sought:
            return np.empty(0, np.uint32)
        return self._safe(part["rows"][int(starts[low]) : int(starts[low + 1])])

    def _safe(self, rows: U32) -> U32:
        return rows[rows < self.rows]


def _piece(array: NDArray[np.uint8], offset: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    end = offset + count * dtype.itemsize
    if offset < 0 or count < 0 or end > len(array):
        raise ValueError(f"a field's part at {offset} to {end} lies outside {len(array)} bytes")
    return array[offset:end].view(dtype)
