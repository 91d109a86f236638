"""The heap of a node's processes: what threads free is to be had again, by others and the kernel.

All of it is glibc's; where another C library allocates, nothing is known, and nothing is done.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_MAPPED_BYTES, _USUAL_BYTES = 1 << 20, 32 << 20

_allocator = threading.Lock()  # guards the thresholds, which are the process's


def use_one_heap() -> None:
    """Have all threads of this process allocate from one heap.

    By itself glibc gives each thread a heap of its own, and keeps up to 64 MiB of what was freed at
    the end of each, where give_back does not reach. To be called while there is one thread.
    """
    _set_option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the kernel what this process has freed and its allocator keeps."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


@contextmanager
def mapped_blocks() -> Iterator[None]:
    """Have blocks from 1 MiB on, which are allocated in this block, be maps of their own.

    LMDB takes 3 MiB for each store that may be written to, for transactions larger than most ever
    are. As a fresh map that is next to nothing. But glibc, once it has freed a block of that size,
    takes the next from memory that was used before, and calloc clears all of it: 64 open
    collections of three points each took 200 MiB, and take 5 MiB so.
    """
    with _allocator:
        _set_option(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        try:
            yield
        finally:
            # What glibc's own rule comes to where blocks of such sizes are freed. Faulted in anew
            # for each, the arrays of writes would take 1.4 times the processor time.
            _set_option(_M_MMAP_THRESHOLD, _USUAL_BYTES)
            _set_option(_M_TRIM_THRESHOLD, 2 * _USUAL_BYTES)


def _set_option(option: int, value: int) -> None:
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(option, value)
