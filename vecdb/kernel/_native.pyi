import numpy as np
from numpy.typing import NDArray

DOT: int
"""Score is the dot product; cosine similarity when rows and query have unit length."""
L2: int
"""Score is minus the squared euclidean distance."""
DIM_MAX: int
"""The most values a row may have, so that integer dot products stay within 32 bits."""

def instruction_set() -> str:
    """Return the name of the instruction set that the loops run with."""

def quantize(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return codes (n, dim) uint8 and bounds (n, 3) float32 of vectors (n, dim) float32.

    With scale = max|x| / 127, codes[i, j] = round(x / scale) + 128. bounds[i] is (scale, error,
    norm2): error is the euclidean norm of x - scale * (code - 128), norm2 the squared norm of
    scale * (code - 128), both rounded up. A row with a value that is not finite has error = inf.
    """

def scan_f32(
    metric: int,
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return the rows and scores of the best min(k, allowed rows), best first, ties by lower row.

    vectors: (n, dim), n < 2**32, 1 <= dim <= DIM_MAX. query: (dim,). metric: DOT or L2. k >= 1.
    allowed: bit i & 63 of word i >> 6 admits row i, bits beyond n are ignored; None admits all.
    A score that is not a number ranks last. The bits of a score depend on the row and the query
    only, not on the machine. Raises TypeError for a wrong type or dtype, ValueError for a wrong
    value, shape or layout.
    """

def scan_i8(
    metric: int,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.uint64] | None,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return what scan_f32 returns, bit for bit, reading one byte per value of most rows.

    codes (n, dim) and bounds (n, 3) are what `quantize` made of vectors; if they are not, the rows
    returned may not be the best, but they are allowed rows with their true scores. Otherwise as
    scan_f32.
    """
