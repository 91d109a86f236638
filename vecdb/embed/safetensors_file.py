"""The arrays of a safetensors file, looked at where they lie: nothing is copied, nothing is run.

The format: eight bytes that say how long the header is, a JSON object of names with types, shapes
and places, and the numbers. Files come from elsewhere, so every place is checked before it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import Corrupt, FailedPrecondition
from vecdb.types import F32

Array = NDArray[Any]

# What the format's own library allows.
HEADER_BYTES_MAX = 100_000_000
_LENGTH_BYTES = 8
_ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
_FLOATS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class _Place:
    """Where an array is, checked against the file. Raises ValueError for what cannot be."""

    def __init__(self, said: Mapping[str, Any], size: int) -> None:
        kind, shape, (begin, end) = said["dtype"], said["shape"], said["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        if not whole or kind not in _ITEM_BYTES:
            raise ValueError(f"{kind} of shape {shape} at {begin} to {end}")
        if not begin <= end <= size or end - begin != math.prod(shape) * _ITEM_BYTES[kind]:
            raise ValueError(f"{kind} of shape {shape} is not at {begin} to {end} of {size} bytes")
        self.kind, self.shape, self.begin, self.end = kind, tuple(shape), begin, end


class Tensors:
    """The arrays of one file, or of the parts of one, by name. Raises Corrupt that says where.

    content: of each path, verified and mapped. Arrays lie in it, and keep it open.
    """

    def __init__(self, content: Mapping[Path, bytes | bytearray | mmap]) -> None:
        self._places: dict[str, tuple[_Place, Array, Path]] = {}
        for path, mapped in content.items():
            whole = np.frombuffer(mapped, np.uint8)
            for name, place in _header(whole, path):
                if name in self._places:
                    raise Corrupt(f"{path}: {name} is in another file too", path=path)
                self._places[name] = place, whole, path
        self.path = next(iter(content), Path())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def raw(self, name: str) -> tuple[str, tuple[int, ...], Array]:
        """Return the type of an array as the format calls it, its shape, and its bytes (b,) uint8.

        They lie in the file and begin where they can be read as that type.
        """
        place, whole, _ = self._places[name]
        content = whole[place.begin : place.end]
        odd = content.ctypes.data % _ITEM_BYTES[place.kind]
        return place.kind, place.shape, content.copy() if odd else content

    def floats(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return an array as it lies in the file, float32 or float16; of bfloat16 a float32 copy.

        Raises FailedPrecondition that names it, where it is not there or is of another shape.
        """
        if name not in self._places:
            raise FailedPrecondition(f"{self.path} has no {name}", path=self.path)
        place, whole, path = self._places[name]
        if place.shape != shape:
            raise FailedPrecondition(
                f"{path}: {name} is {list(place.shape)}, the configuration says {list(shape)}",
                path=path,
            )
        if place.kind not in _FLOATS:
            raise FailedPrecondition(
                f"{path}: {name} is {place.kind}, expected one of {', '.join(_FLOATS)}",
                hint="save the model again with float32 or float16 weights",
                path=path,
            )
        array: Array = whole[place.begin : place.end].view(_FLOATS[place.kind]).reshape(shape)
        if place.kind == "BF16":  # the upper half of a float32
            return (array.astype(np.uint32) << 16).view(np.float32)
        # A header of any length may come before; whoever reads 4 bytes at once wants them in line.
        return np.require(array, requirements="A")


def float32(array: Array) -> F32:
    """Return an array in single precision: itself, if it is that already."""
    return array.astype(np.float32, copy=False)


def _header(whole: Array, path: Path) -> Iterator[tuple[str, _Place]]:
    """Yield name and place of each array, whose begin and end are of the whole file."""
    size = len(whole)
    length = int.from_bytes(whole[:_LENGTH_BYTES].tobytes(), "little")
    if size < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, HEADER_BYTES_MAX):
        raise Corrupt(f"{path} is no safetensors file, or its end is missing", path=path)
    start = _LENGTH_BYTES + length
    try:
        text = whole[_LENGTH_BYTES:start].tobytes().decode()
        said = json.loads(text, object_pairs_hook=_once)
        said.pop("__metadata__", None)
        places = {name: _Place(one, size - start) for name, one in said.items()}
        _check_layout(places.values(), size - start)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Corrupt(f"{path} has a header that cannot be: {error}", path=path) from None
    for name, place in places.items():
        place.begin += start
        place.end += start
        yield name, place


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _check_layout(places: Iterable[_Place], size: int) -> None:
    """Raise ValueError unless the arrays fill the file, each a place of its own."""
    at = 0
    for place in sorted(places, key=lambda one: (one.begin, one.end)):
        if place.begin != at:
            raise ValueError(f"an array begins at byte {place.begin}, expected {at}")
        at = place.end
    if at != size:
        raise ValueError(f"arrays end at byte {at} of {size}")
