"""Where a benchmark ran: the machine, the commit, the libraries."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from vecdb import kernel

REPOSITORY = Path(__file__).resolve().parent.parent
LIBRARIES = ("grpcio", "protobuf", "lmdb", "numpy", "onnxruntime", "tokenizers")


def facts(folder: Path) -> dict[str, str | float]:
    """Return what the figures of a run depend on. folder: where the run keeps its data."""
    found: dict[str, str | float] = {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(_meminfo("MemTotal") / (1 << 20), 1),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": file_system(folder),
        "commit": commit(),
        "python": platform.python_version(),
        "instruction_set": kernel.instruction_set(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    for name in LIBRARIES:
        found[name] = _version(name)
    return found


def commit() -> str:
    """Return the commit of the checkout, with a + when files differ from it."""
    if not (REPOSITORY / ".git").exists():
        return "unknown"
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return (head or "unknown") + ("+" if changed else "")


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on: on tmpfs a sync costs nothing."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return kind
    path = str(folder.resolve())
    for line in mounts:
        _, point, fs_type = line.split()[:3]
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fs_type
    return kind


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(REPOSITORY), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "cpu family", "model")
    values = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in lines)
        if key.strip() in wanted
    }
    name = values.get("model name", platform.processor())
    return f"{name} (family {values.get('cpu family', '?')}, model {values.get('model', '?')})"


def _meminfo(field: str) -> float:
    """Return a field of /proc/meminfo in KiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1])
    return 0.0


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
