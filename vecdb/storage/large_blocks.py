"""Where LMDB's large blocks of memory come from: maps of their own, which cost what is touched.

A store that may be written to takes 3 MiB when it is opened, for transactions larger than most
ever are. As a fresh map that is next to nothing. But glibc, once it has freed a block of that size,
takes the next from memory that was used before, and calloc clears all of it: 64 open collections of
three points each took 200 MiB, and take 5 MiB so.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MAPPED_BYTES = 1 << 20
# What glibc's own rule comes to where blocks of such sizes are freed: for all that is not LMDB's.
_USUAL_BYTES, _USUAL_TRIM_BYTES = 32 << 20, 64 << 20

_one = threading.Lock()  # guards the threshold, which is the process's


@contextmanager
def mapped() -> Iterator[None]:
    """Have blocks from 1 MiB on, which are allocated in this block, be maps of their own."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library, of which this is not known
        yield
        return
    with _one:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        try:
            yield
        finally:
            mallopt(_M_MMAP_THRESHOLD, _USUAL_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _USUAL_TRIM_BYTES)
