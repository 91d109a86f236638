"""Whether a node has room for more points: on its disk and in its memory.

Asked before a command is made, never while one is applied: what is applied does not depend on the
machine. A mark is reached when less than its reserve is left, and is left again once there is a
quarter more than that, so that a node near to it does not change its mind with every call.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vecdb import heap, memory
from vecdb.conditions import Condition
from vecdb.config import LimitsConfig, StorageConfig
from vecdb.errors import MemoryLow
from vecdb.storage.environment import disk_full, free_bytes

RESUME = 1.25
"""Times the reserve that must be left before puts are taken again."""
SHARE = 0.1
"""Of the memory that is left by puts, where nothing else is said."""
NEAR, DISK_NEAR = 2.0, 4
"""Times the reserve below which it is said that the mark is near, of memory and of disk."""
DISK_SHARE = 0.05
"""Of the disk that is free, below which that is said as well."""
LOOK_S = 0.5
"""Seconds for which a look at the memory is good: it costs a millisecond."""
RETRY_S = 5.0


class Mark:
    """A reserve that puts must leave. Threads may share it."""

    def __init__(self, reserve_bytes: int) -> None:
        self.reserve_bytes = reserve_bytes
        self._lock = threading.Lock()  # guards the next
        self._reached = False

    def is_reached(self, left_bytes: int) -> bool:
        """Return whether puts are to be refused, now that so many bytes are left."""
        with self._lock:
            most = self.reserve_bytes * (RESUME if self._reached else 1)
            self._reached = left_bytes < most
            return self._reached


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a look at the memory found. left: before limit is taken, or the machine has no more."""

    taken: int
    limit: int
    left: int


class MemoryMeter:
    """Looks at what the processes of a node have taken, at most every LOOK_S."""

    def __init__(self, limit_bytes: int, pids: Callable[[], Iterable[int]]) -> None:
        """limit_bytes: 0 for what there is. pids: returns processes that started all others."""
        self._chosen = limit_bytes
        self._pids = pids
        self._lock = threading.Lock()  # guards the next two
        self._at = -LOOK_S
        self._last: MemoryUse | None = None

    def use(self) -> MemoryUse | None:
        """Return how it is by now, None where this machine does not say."""
        with self._lock:
            now = time.monotonic()
            if now - self._at >= LOOK_S:
                self._at, self._last = now, self._look()
            return self._last

    def _look(self) -> MemoryUse | None:
        limit = self._chosen or memory.allowed_bytes()
        if limit is None:
            return None
        taken = memory.taken_bytes(self._pids())
        left = limit - taken
        available = None if self._chosen else memory.available_bytes()
        return MemoryUse(taken, limit, left if available is None else min(left, available))


class Room:
    """The marks of a node's disk and memory."""

    def __init__(
        self,
        path: Path,
        disk_reserve_bytes: int,
        memory_use: Callable[[], MemoryUse | None] = lambda: None,
        memory_reserve_bytes: int = 0,
    ) -> None:
        """path: the data directory. memory_reserve_bytes: what puts leave; 0 for SHARE of it."""
        self._path = path
        self._disk = Mark(disk_reserve_bytes)
        self._memory_use = memory_use
        self._memory_reserve_bytes = memory_reserve_bytes
        self._memory = Mark(memory_reserve_bytes)

    def check(self) -> None:
        """Return if there is room for puts. Raises StorageFull, MemoryLow."""
        if self._disk.is_reached(free_bytes(self._path)):
            raise disk_full()
        use = self._memory_use()
        if use is not None and self._is_low(use):
            raise MemoryLow(
                f"memory is low, {_mib(use.left)} are left: nothing of this write was kept, reads "
                "and deletes go on",
                hint="send less at once, give the node more memory, or raise limits.memory_bytes",
                retry_after_s=RETRY_S,
            )

    def relieve(self) -> None:
        """Give back what this process has freed, if memory is low or nearly so: it heals by that.

        To be called every second or so, in each process of a node.
        """
        use = self._memory_use()
        if use is not None and use.left < NEAR * self._reserve_of(use):
            heap.give_back()

    def memory(self) -> MemoryUse | None:
        """Return what the node has taken of its memory, None where nobody knows."""
        return self._memory_use()

    def conditions(self) -> Iterator[Condition]:
        """Yield how disk and memory are, unless well."""
        yield from self._disk_conditions()
        yield from self._memory_conditions()

    def _disk_conditions(self) -> Iterator[Condition]:
        disk, reserve_bytes = os.statvfs(self._path), self._disk.reserve_bytes
        free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        said = f"{_mib(free)} of {_mib(whole)} are free"
        advice = "free space on the data directory's file system, or move it to a larger one"
        if self._disk.is_reached(free):
            yield Condition("disk", "error", f"{said}: puts are refused, deletes work", advice)
        elif free < max(DISK_NEAR * reserve_bytes, DISK_SHARE * whole):
            least = f"puts are refused below {_mib(reserve_bytes)}"
            yield Condition("disk", "warning", f"{said}; {least}", advice)

    def _memory_conditions(self) -> Iterator[Condition]:
        use = self._memory_use()
        if use is None:
            return
        said = f"{_mib(use.taken)} of {_mib(use.limit)} are taken, {_mib(use.left)} are left"
        advice = (
            "give the node more memory or fewer collections and models: see limits.memory_bytes"
        )
        if self._is_low(use):
            yield Condition("memory", "error", f"{said}: puts are refused, deletes work", advice)
        elif use.left < NEAR * self._memory.reserve_bytes:
            least = f"puts are refused below {_mib(self._memory.reserve_bytes)}"
            yield Condition("memory", "warning", f"{said}; {least}", advice)

    def _is_low(self, use: MemoryUse) -> bool:
        self._memory.reserve_bytes = self._reserve_of(use)
        return self._memory.is_reached(use.left)

    def _reserve_of(self, use: MemoryUse) -> int:
        return self._memory_reserve_bytes or int(use.limit * SHARE)


def room_of(
    path: Path, storage: StorageConfig, limits: LimitsConfig, pids: Callable[[], Iterable[int]]
) -> Room:
    """Return the room of a node. pids: see MemoryMeter."""
    meter = MemoryMeter(limits.memory_bytes, pids)
    return Room(path, storage.disk_reserve_bytes, meter.use, limits.memory_reserve_bytes)


def _mib(size: int) -> str:
    return f"{max(0, size) >> 20:,} MiB"
