"""The kernel's core on 64-bit Arm: it builds, and finds the same rows with the same bits.

Needs a cross compiler and an emulator (Debian: g++-aarch64-linux-gnu and qemu-user-static).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.takes_turns

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "vecdb" / "kernel" / "src"
CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
# As CMakeLists.txt has them: no fused multiply-add, or scores would depend on the machine.
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS.append("-pthread")


def build(compiler: str, out: Path, *flags: str) -> Path:
    core = [path for path in sorted(SOURCES.glob("*.cpp")) if not path.name.startswith("bindings")]
    sources = [Path(__file__).with_name("check_core.cpp"), *core]
    command = [compiler, *FLAGS, *flags, f"-I{SOURCES}", *map(str, sources), "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


@pytest.mark.skipif(
    not shutil.which(CROSS) or not shutil.which(EMULATOR),
    reason=f"needs {CROSS} and {EMULATOR}",
)
def test_arm64_finds_the_same_bits(tmp_path: Path) -> None:
    here = subprocess.run(
        [build("g++", tmp_path / "here")], check=True, capture_output=True, text=True
    )
    arm = build(CROSS, tmp_path / "arm", "-static")
    there = subprocess.run([EMULATOR, arm], check=True, capture_output=True, text=True)
    assert len(here.stdout.splitlines()) == 5 * (1 + 3 * 2 * 3 * 10 + 3 * 2 * 2) + 2 * 10
    assert there.stderr.strip() == "neon"
    assert there.stdout == here.stdout
