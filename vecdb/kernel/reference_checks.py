"""What the reference raises for arguments that are not what a function takes.

The native kernel raises the same types with the same messages.
"""

import operator
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

DOT = 0
L2 = 1
L1 = 2
DIM_MAX = 65536

_ROWS_MAX = 2**32 - 1


def check_array(name: str, array: object, dtype: type[np.generic], ndim: int) -> None:
    """Raise unless this is an aligned, C-contiguous array of a dtype and number of dimensions."""
    wanted = np.dtype(dtype)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected a {wanted} array, got {type(array).__name__}")
    if array.dtype != wanted:
        raise TypeError(f"{name}: expected dtype {wanted}, got {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimension(s), got {array.ndim}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: expected a C-contiguous array, got a strided one")
    if not array.flags.aligned:
        raise ValueError(f"{name}: expected an aligned array, got one at an odd address")


def check_shape(name: str, array: NDArray[np.generic], expected: tuple[int, ...]) -> None:
    """Raise unless the array has the shape."""
    if array.shape != expected:
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")


def check_vectors(vectors: NDArray[np.float32]) -> None:
    """Raise unless these are rows of float32."""
    check_array("vectors", vectors, np.float32, 2)
    check_rows("vectors", vectors)


def check_rows(name: str, array: NDArray[np.generic]) -> None:
    """Raise unless the array has as many rows, of as many values, as can be numbered."""
    n, dim = array.shape
    if n > _ROWS_MAX:
        raise ValueError(f"{name}: expected fewer than 2**32 rows, got {n}")
    if not 1 <= dim <= DIM_MAX:
        raise ValueError(f"{name}: expected 1 to {DIM_MAX} values a row, got {dim}")


def check_query(query: NDArray[np.float32], dim: int) -> None:
    """Raise unless this is one row of float32 of `dim` values."""
    check_array("query", query, np.float32, 1)
    check_shape("query", query, (dim,))


def _integer(name: str, value: SupportsIndex) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}") from None


def check_metric(metric: SupportsIndex) -> None:
    """Raise unless this is DOT, L2 or L1."""
    value = _integer("metric", metric)
    if value not in (DOT, L2, L1):
        raise ValueError(f"metric: expected DOT (0), L2 (1) or L1 (2), got {value}")


def check_positive(name: str, number: SupportsIndex) -> int:
    """Return a number that is at least 1."""
    value = _integer(name, number)
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
    return value


def check_row_count(number: SupportsIndex) -> int:
    """Return a number of rows that 32 bits can count."""
    value = _integer("n", number)
    if not 0 <= value <= _ROWS_MAX:
        raise ValueError(f"n: expected 0 to 2**32 - 1, got {value}")
    return value


def check_between(name: str, number: SupportsIndex, most: int) -> int:
    """Return a number from 1 to `most`."""
    value = _integer(name, number)
    if not 1 <= value <= most:
        raise ValueError(f"{name}: expected 1 to {most}, got {value}")
    return value


def check_alpha(alpha: float) -> float:
    """Return a factor that is at least 1."""
    if not (hasattr(alpha, "__float__") or hasattr(alpha, "__index__")):
        raise TypeError(f"alpha: expected a float, got {type(alpha).__name__}")
    value = float(alpha)
    if not value >= 1:
        raise ValueError(f"alpha: expected at least 1, got {alpha!r}")
    return value


def check_coded(
    codes: NDArray[np.uint8], bounds: NDArray[np.float32], vectors: NDArray[np.float32]
) -> None:
    """Raise unless these are rows with codes and bounds for each."""
    check_array("codes", codes, np.uint8, 2)
    check_array("bounds", bounds, np.float32, 2)
    check_vectors(vectors)
    check_shape("codes", codes, vectors.shape)
    check_shape("bounds", bounds, (len(vectors), 3))


def check_graph(
    links0: NDArray[np.uint32],
    upper_offsets: NDArray[np.uint64],
    upper_rows: NDArray[np.uint32],
    upper_links: NDArray[np.uint32],
    n: int,
) -> None:
    """Raise unless these are the links of n rows, and of those on upper levels."""
    check_array("links0", links0, np.uint32, 2)
    check_array("upper_offsets", upper_offsets, np.uint64, 1)
    check_array("upper_rows", upper_rows, np.uint32, 1)
    check_array("upper_links", upper_links, np.uint32, 2)
    check_shape("links0", links0, (n, links0.shape[1]))
    check_shape("upper_links", upper_links, (len(upper_rows), upper_links.shape[1]))
    offsets = upper_offsets.tolist()
    if offsets[:1] != [0] or offsets[-1] != len(upper_rows) or offsets != sorted(offsets):
        raise ValueError(f"upper_offsets: expected ascending values from 0 to {len(upper_rows)}")


def check_entry(entry: SupportsIndex, n: int) -> int:
    """Return the number of a row, or any number when there are no rows."""
    value = _integer("entry", entry)
    if n > 0 and not 0 <= value < n:
        raise ValueError(f"entry: expected 0 to {n - 1}, got {value}")
    return value
