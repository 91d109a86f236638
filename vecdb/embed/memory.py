"""How much memory a model may still take: what the machine has, and what the container leaves."""

from __future__ import annotations

from pathlib import Path

from vecdb.memory import kibibytes

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Return how many bytes can be taken before something is killed, None where none can tell.

    meminfo, cgroup: where Linux says so. Of a container's use, cached file pages do not count: they
    are given back when memory is asked for.
    """
    found = [one for one in (kibibytes(meminfo, "MemAvailable"), _left(cgroup)) if one is not None]
    return min(found, default=None)


def _left(cgroup: Path) -> int | None:
    """Return what the limit of a control group (version 2) leaves, None without one."""
    try:
        most = (cgroup / "memory.max").read_text(encoding="ascii").strip()
        if most == "max":
            return None
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        stat = (cgroup / "memory.stat").read_text(encoding="ascii").split()
        cached = int(stat[stat.index("inactive_file") + 1]) if "inactive_file" in stat else 0
        return max(0, int(most) - used + cached)
    except (OSError, ValueError, IndexError):
        return None
