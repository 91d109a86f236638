"""What is around a node, and can be made bad: its disk, and its clock."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[bool]:
    """Have a folder on a file system of its own, where that may be; yield whether it is."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class FakedClock:
    """The wall clock of the node's processes, by libfaketime; the monotonic one is left alone."""

    def __init__(self, file: Path) -> None:
        self._file = file
        found = [Path(each) / "faketime" / "libfaketimeMT.so.1" for each in LIBRARIES]
        self.library = next((each for each in found if each.exists()), None)
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        if self.library is None:
            return {}
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, offset_s: float) -> None:
        """Have the node believe that it is so much later, or earlier."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+.0f}\n")
        fresh.rename(self._file)
