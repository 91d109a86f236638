"""How much memory a node may take, and how much it has taken, without what is mapped.

Pages of mapped files are not counted: the kernel takes them back before it kills anybody. Where
Linux does not say (there is no /proc), nothing is known, and nothing is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = Path("/")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def allowed_bytes(root: Path = _ROOT) -> int | None:
    """Return what may be taken: the least of the machine's and of the control groups' limits.

    root: where proc and sys are. None where none says.
    """
    found = [_meminfo(root, "MemTotal"), *_group_limits(root)]
    return min((one for one in found if one is not None), default=None)


def available_bytes(root: Path = _ROOT) -> int | None:
    """Return what the machine still has, for all of its programs; None where it does not say."""
    return _meminfo(root, "MemAvailable")


def taken_bytes(pids: Iterable[int], root: Path = _ROOT) -> int:
    """Return the memory of processes and of all that they have started, directly or not."""
    taken, pending, seen = 0, list(pids), set[int]()
    while pending:
        pid = pending.pop()
        if pid in seen:
            continue
        seen.add(pid)
        folder = root / "proc" / str(pid)
        try:
            taken += kibibytes(folder / "status", "RssAnon") or 0
            for task in os.listdir(folder / "task"):
                pending += map(int, (folder / "task" / task / "children").read_text().split())
        except (OSError, ValueError):
            continue  # it, or a thread of it, has ended meanwhile
    return taken


def resident_bytes(pid: int | str = "self") -> int:
    """Return the memory that a process has now, mapped files too; 0 where nobody can tell."""
    try:
        pages = (_ROOT / "proc" / str(pid) / "statm").read_text(encoding="ascii").split()[1]
        return int(pages) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def _meminfo(root: Path, name: str) -> int | None:
    return kibibytes(root / "proc" / "meminfo", name)


def kibibytes(file: Path, name: str) -> int | None:
    """Return a line of a file, such as "MemTotal:  123 kB", in bytes; None where it has none."""
    try:
        for line in file.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the limits of this process's control groups, of either version, and of those above.

    In a container the path may be the host's, which is not there: what is, is the container's.
    """
    groups = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if not kinds:
            top, name = groups, "memory.max"
        elif "memory" in kinds.split(","):
            top, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = top / path.strip("/")
        for each in (folder, *folder.parents):
            try:
                yield int((each / name).read_text(encoding="ascii"))
            except (OSError, ValueError):
                pass  # not there, or "max"
            if each == top:
                break
