"""The cell of a sparse vector in a record: its indices, ascending, then its values beside them."""

from __future__ import annotations

import numpy as np

from vecdb.errors import Corrupt
from vecdb.types import SparseVector


def encode_sparse(vector: SparseVector) -> bytes:
    """Return the cell of a sparse vector whose indices ascend, m * 8 bytes."""
    return vector.indices.astype("<u4").tobytes() + vector.values.astype("<f4").tobytes()


def decode_sparse(cell: bytes) -> SparseVector:
    """Return the sparse vector of a cell. Raises Corrupt."""
    if len(cell) % 8:
        raise Corrupt(f"{len(cell)} bytes are no sparse vector", hint="run vecdb check")
    half = len(cell) // 2
    indices = np.frombuffer(cell[:half], "<u4").astype(np.uint32, copy=False)
    return SparseVector(indices, np.frombuffer(cell[half:], "<f4").astype(np.float32, copy=False))
