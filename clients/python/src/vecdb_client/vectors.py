"""What a caller's numbers are on the wire: little-endian float32 bytes, and back.

Takes lists, ``array.array``, anything with the buffer protocol and, where the caller has loaded it,
numpy's arrays and what numpy can read. Never imports numpy itself.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from vecdb_client.errors import InvalidArgument
from vecdb_client.images import ImageFile

if TYPE_CHECKING:
    from typing_extensions import Buffer


class SupportsArray(Protocol):
    """What numpy's arrays are, and what numpy can read (tensors on the CPU, columns)."""

    def __array__(self) -> Any: ...  # noqa: ANN401 - numpy is not a dependency


Numbers: TypeAlias = "Sequence[float] | array[float] | Buffer | SupportsArray"
"""One vector's numbers, shape (dim,)."""


class Sparse(NamedTuple):
    """A sparse vector: values (m,) at indices (m,), in any order, no index twice.

    Where one is to be stored or searched, a plain tuple of the two, or a dict of index to value,
    does as well. A reply has array('I') and array('f').
    """

    indices: Sequence[int]
    values: Sequence[float]


SparseLike: TypeAlias = "Sparse | Mapping[int, float] | tuple[Sequence[int], Sequence[float]]"

VectorLike: TypeAlias = "Numbers | str | ImageFile | SparseLike | Sequence[Numbers]"
"""A vector to store: numbers, a text or an image that the space's model encodes, a sparse one, or
several."""

Floats: TypeAlias = "array[float]"
"""Numbers of a reply: ``array('f')``, a sequence and a buffer; ``np.asarray(v)`` copies nothing."""

Matrix: TypeAlias = "memoryview[float]"
"""Several vectors of a reply, (n, dim); ``np.asarray(v)`` copies nothing."""

_SWAP = sys.byteorder == "big"
_BLOCK_BYTES = 64 << 10  # larger ones come from fresh pages, which cost more than the copying


def f32_bytes(numbers: Numbers) -> bytes:
    """Return the numbers as little-endian float32, 4 * dim bytes.

    numbers: (dim,). Raises InvalidArgument (BAD_VECTOR) for another shape or what is no number.
    Whether the length fits, and NaN, are the server's to judge: it knows the space.
    """
    if isinstance(numbers, (list, tuple)):
        return _from_floats(numbers)
    if isinstance(numbers, (bytes, bytearray)):
        raise _bad("bytes could be numbers of any type; say which: memoryview(data).cast('f')")
    try:
        view = memoryview(numbers)  # type: ignore[arg-type]  # asking is how one finds out
    except (TypeError, ValueError, BufferError):
        view = None
    if view is None or view.format != "f":
        return _from_other(numbers, view)
    if view.ndim != 1:
        raise _bad_shape(view.shape or ())
    data = view.tobytes()
    return data if data and not _SWAP else _checked(_little(data))


def floats_of(data: bytes) -> Floats:
    """Return little-endian float32 bytes as array('f')."""
    values = array("f")
    values.frombytes(data)
    if _SWAP:
        values.byteswap()
    return values


def sparse_of(value: object) -> Sparse | None:
    """Return a sparse vector as lists, or None when the value is none.

    A tuple of two sequences is one; a list of two numbers, or a tuple of them, is a dense vector.
    Raises InvalidArgument (BAD_VECTOR) for what cannot be one.
    """
    pair: tuple[Any, Any]
    if isinstance(value, Mapping):
        pair = tuple(value.keys()), tuple(value.values())
    elif isinstance(value, tuple) and len(value) == 2 and all(hasattr(v, "__len__") for v in value):
        pair = value
    else:
        return None
    try:
        indices, values = array("I", map(index, pair[0])), array("f", pair[1])
    except (TypeError, ValueError, OverflowError) as error:
        raise _bad(f"a sparse vector is indices (0 to 2**32 - 1) and values: {error}") from None
    if len(indices) != len(values):
        raise _bad(f"{len(indices)} indices and {len(values)} values")
    return Sparse(indices, values)


def matrix_rows(vectors: object) -> Iterator[bytes] | None:
    """Return the float32 bytes of each row of a matrix, lazily, or None when it is no matrix.

    vectors: (n, dim) with the buffer protocol, or numpy's. A few rows at a time are converted, so
    that a memory map larger than RAM passes through.
    """
    shape = getattr(vectors, "shape", None)
    if shape is None or len(shape) != 2:
        return None
    return _rows(vectors, int(shape[0]), int(shape[1]))


def _rows(vectors: Any, n: int, dim: int) -> Iterator[bytes]:  # noqa: ANN401 - any matrix
    if dim == 0:
        raise _bad("it has no numbers")
    step = 4 * dim
    if isinstance(vectors, memoryview):  # which cannot be sliced in two dimensions
        if not (vectors.format == "f" and vectors.c_contiguous):
            raise _bad("a memoryview matrix must be C-contiguous and of format 'f'")
        flat = vectors.cast("B")
        for start in range(0, n * step, step):
            yield _little(bytes(flat[start : start + step]))
        return
    rows = max(1, _BLOCK_BYTES // step)
    for first in range(0, n, rows):
        block = _as_f32(vectors[first : first + rows]).tobytes()
        for start in range(0, len(block), step):
            yield block[start : start + step]


def _from_floats(numbers: Iterable[float]) -> bytes:
    try:
        values = array("f", numbers)
    except (TypeError, ValueError, OverflowError) as error:
        raise _bad(str(error)) from None
    data = values.tobytes()
    return data if data and not _SWAP else _checked(_little(data))


def _from_other(numbers: Any, view: memoryview | None) -> bytes:  # noqa: ANN401 - finds out
    """Return float32 bytes of numbers of another type: numpy's, a buffer's, or any iterable's."""
    if view is not None and view.ndim != 1:
        raise _bad_shape(view.shape or ())
    if hasattr(numbers, "__array__"):
        block = _as_f32(numbers)
        if block.ndim != 1:
            raise _bad_shape(block.shape)
        data: bytes = block.tobytes()
        return _checked(data)
    if isinstance(numbers, (str, dict, set, frozenset)) or not isinstance(numbers, Iterable):
        raise _bad(f"a {type(numbers).__name__} is no sequence of numbers")
    return _from_floats(numbers)


def _as_f32(numbers: Any) -> Any:  # noqa: ANN401 - numpy is not a dependency
    """Return a numpy array of little-endian float32. Takes what offers ``__array__``."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numbers, "__array__"):
        raise _bad(f"cannot read numbers from a {type(numbers).__name__}")
    block = numpy.asarray(numbers)
    if block.dtype.kind not in "fiu":
        raise _bad(f"numbers of type {block.dtype} are not real numbers")
    return block.astype("<f4", copy=False)


def _little(data: bytes) -> bytes:
    if not _SWAP:
        return data
    values = array("f")
    values.frombytes(data)
    values.byteswap()
    return values.tobytes()


def _checked(data: bytes) -> bytes:
    if not data:
        raise _bad("it has no numbers")
    return data


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"not a vector: {why}", reason="BAD_VECTOR")


def _bad_shape(shape: Sequence[int]) -> InvalidArgument:
    return _bad(
        f"expected one vector of shape (dim,), got shape {tuple(shape)}; many at once go in as "
        "upsert(ids=..., vectors=...)"
    )
