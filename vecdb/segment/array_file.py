"""One array of a segment, on its way to a file, and in place in it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_CHUNK = 4 << 20

_parsing = threading.Lock()  # before 3.11.8 Python's parser fails in two threads: gh-106905


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


def save_array(path: Path, array: NDArray[Any]) -> dict[str, object]:
    """Write an array as a new .npy file, synced; return what a manifest says of it."""
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


def map_array(path: Path) -> NDArray[Any]:
    """Return the array of a file, in place. Raises what numpy does for a file that is none."""
    with _parsing:  # the header is Python
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
