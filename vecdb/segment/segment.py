"""An immutable segment on disk: written whole, published by a rename, read in place.

Opening checks the manifest, and every array's size, dtype and shape, without reading the arrays;
`verify` reads them all and compares checksums. Both raise Corrupt, naming the file.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from vecdb import kernel
from vecdb.errors import Corrupt, Unavailable
from vecdb.segment.fields import FieldIndex, FieldIndexBuilder, FieldSource, Mask
from vecdb.segment.memory import Row
from vecdb.segment.vectors import comparable, pack, scan_codes
from vecdb.types import F32, U32, U64, Schema, Space

FORMAT_VERSION = 1
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class _SpaceArrays:
    vectors: F32
    codes: NDArray[np.uint8]
    bounds: F32
    rows: U32 | None


class Segment:
    """Rows of a contiguous range of slots, by ascending slot."""

    def __init__(self, folder: Path, seal: int, schema: Schema, numbers: dict[str, int]) -> None:
        """Open the segment of a folder. Raises Corrupt when it is not what `seal` promises."""
        self.folder = folder
        self._manifest = _read_manifest(folder, seal)
        try:
            self.first: int = self._manifest["first"]
            self.end: int = self._manifest["end"]
            self.rows: int = self._manifest["rows"]
            self.bytes = sum(array["bytes"] for array in self._manifest["arrays"].values())
            self.slots: U64 = self._open("slots", "<u8", (self.rows,))
            self._spaces = {
                space.name: self._open_space(space, numbers[space.name]) for space in schema.spaces
            }
            self.fields: FieldSource = FieldIndex(
                self.rows,
                self._open("fields", "|u1", (self._manifest["arrays"]["fields"]["shape"][0],)),
                self._manifest["fields"],
                self._manifest["unindexed"],
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self._corrupt(f"does not hold together: {error!r}") from None

    def _open_space(self, space: Space, number: int) -> _SpaceArrays:
        name = f"rows-{number}"
        rows: U32 | None = None
        count = self.rows
        if name in self._manifest["arrays"]:
            count = self._manifest["arrays"][name]["shape"][0]
            rows = self._open(name, "<u4", (count,))
            if count and int(rows.max()) >= self.rows:
                raise self._corrupt(f"{name}.npy names a row past the last")
        return _SpaceArrays(
            self._open(f"vectors-{number}", "<f4", (count, space.dim)),
            self._open(f"codes-{number}", "|u1", (count, space.dim)),
            self._open(f"bounds-{number}", "<f4", (count, 3)),
            rows,
        )

    def _open(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        path = self.folder / f"{name}.npy"
        promised = self._manifest["arrays"][name]
        try:
            if path.stat().st_size != promised["bytes"]:
                raise self._corrupt(
                    f"{path.name} has {path.stat().st_size} bytes, not {promised['bytes']}"
                )
            if 0 in shape:  # nothing to map
                return np.empty(shape, dtype)
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            _raise_unless_of_the_file(error)
            raise self._corrupt(f"{path.name} cannot be opened: {error}") from None
        if array.dtype.str != dtype or array.shape != shape or not array.flags.c_contiguous:
            raise self._corrupt(
                f"{path.name} is {array.dtype.str} {array.shape}, expected {dtype} {shape}"
            )
        # The plain array over the map: numpy's memmap class costs on every slice.
        return array.view(np.ndarray)

    def _corrupt(self, what: str) -> Corrupt:
        return _corrupt(self.folder, what)

    def verify(self) -> None:
        """Read every file and compare its checksum. Raises Corrupt."""
        for name, promised in self._manifest["arrays"].items():
            checksum = 0
            try:
                with (self.folder / f"{name}.npy").open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        checksum = google_crc32c.extend(checksum, chunk)
            except OSError as error:
                _raise_unless_of_the_file(error)
                raise self._corrupt(f"{name}.npy cannot be read: {error}") from None
            if checksum != promised["crc32c"]:
                raise self._corrupt(f"{name}.npy fails its checksum")

    def vectors(self, space: str) -> tuple[F32, U32 | None]:
        """Return the comparable vectors of a space, and the rows they belong to; None for all."""
        arrays = self._spaces[space]
        return arrays.vectors, arrays.rows

    def scan(self, space: Space, query: F32, k: int, mask: Mask | None) -> tuple[U32, F32]:
        """Return up to k rows of the mask nearest to the query, best first, and kernel scores."""
        arrays = self._spaces[space.name]
        if mask is not None and arrays.rows is not None:
            mask = mask[arrays.rows]
        rows, scores = scan_codes(
            space.metric,
            arrays.codes,
            arrays.bounds,
            arrays.vectors,
            query,
            k,
            None if mask is None else pack(mask),
        )
        return (rows if arrays.rows is None else arrays.rows[rows]), scores


# What says that this process may not open one more file now, and nothing about the file.
_NOT_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EINTR)


def _raise_unless_of_the_file(error: Exception) -> None:
    """Raise Unavailable for an error that would pass, so that no sound file is taken for bad."""
    if isinstance(error, OSError) and error.errno in _NOT_NOW:
        raise Unavailable(
            f"a segment cannot be opened now: {error.strerror}",
            hint="raise the limit of open files (ulimit -n), or lower storage.open_collections",
            retry_after_s=1.0,
        ) from None


def _corrupt(folder: Path, what: str) -> Corrupt:
    return Corrupt(
        f"segment {folder.name}: {what}",
        hint="it is rebuilt from the store; vecdb check says whether more is damaged",
        segment=folder.name,
    )


def _read_manifest(folder: Path, seal: int) -> dict[str, Any]:
    try:
        content = (folder / "manifest.json").read_bytes()
    except OSError as error:
        _raise_unless_of_the_file(error)
        raise _corrupt(folder, f"manifest.json cannot be read: {error}") from None
    if google_crc32c.value(content) != seal:
        raise _corrupt(folder, "manifest.json fails its checksum")
    manifest: dict[str, Any] = json.loads(content)
    if manifest["format"] != FORMAT_VERSION:
        raise _corrupt(folder, f"is of format {manifest['format']}, not {FORMAT_VERSION}")
    return manifest


def write_segment(
    folder: Path,
    rows: Iterable[Row],
    schema: Schema,
    numbers: dict[str, int],
    described: dict[str, object],
) -> tuple[int, int]:
    """Write a flat segment into a new folder, synced; return its rows and its manifest's crc32c.

    rows: by ascending slot. described: what else the manifest says of its origin.
    """
    folder.mkdir()
    slots: list[int] = []
    cells: dict[str, list[bytes]] = {space.name: [] for space in schema.spaces}
    members: dict[str, list[int]] = {space.name: [] for space in schema.spaces}
    fields = FieldIndexBuilder()
    for row, (slot, payload, vectors) in enumerate(rows):
        slots.append(slot)
        fields.add(payload)
        for name, vector in vectors.items():
            cells[name].append(vector)
            members[name].append(row)
    arrays: dict[str, dict[str, object]] = {}

    def save(name: str, array: NDArray[Any]) -> None:
        arrays[name] = _save(folder / f"{name}.npy", array)

    save("slots", np.array(slots, "<u8"))
    for space in schema.spaces:
        number = numbers[space.name]
        matrix = np.frombuffer(b"".join(cells.pop(space.name)), "<f4").reshape(-1, space.dim)
        compared = comparable(matrix.astype(np.float32, copy=False), space.metric)
        codes, bounds = kernel.quantize(compared)
        save(f"vectors-{number}", compared)
        save(f"codes-{number}", codes)
        save(f"bounds-{number}", bounds)
        if len(members[space.name]) < len(slots):
            save(f"rows-{number}", np.array(members[space.name], "<u4"))
    index, directory, left_out = fields.finish()
    save("fields", index)
    manifest = {
        **described,
        "format": FORMAT_VERSION,
        "rows": len(slots),
        "arrays": arrays,
        "fields": directory,
        "unindexed": left_out,
    }
    content = json.dumps(manifest, sort_keys=True).encode()
    _write_synced(folder / "manifest.json", content)
    sync_folder(folder)
    return len(slots), google_crc32c.value(content)


class _Checked:
    """A file that keeps the size and checksum of what is written to it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self.bytes = 0
        self.crc32c = 0

    def write(self, part: Any) -> int:  # noqa: ANN401 - any buffer
        view = memoryview(part).cast("B")
        self.crc32c = google_crc32c.extend(self.crc32c, bytes(view))
        self.bytes += len(view)
        return self._file.write(view)

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _save(path: Path, array: NDArray[Any]) -> dict[str, object]:
    file = _Checked(path)
    try:
        np.lib.format.write_array_header_1_0(
            file, {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
        )
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for start in range(0, len(flat), _CHUNK):
            file.write(flat[start : start + _CHUNK])
    finally:
        file.close()
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "bytes": file.bytes,
        "crc32c": file.crc32c,
    }


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
