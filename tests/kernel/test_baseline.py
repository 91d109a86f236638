"""What is built here runs on an x86-64 processor of 2009: nothing has this machine's instructions.

Wheels and images are made so. A native build of hnswlib or of the kernel ends with SIGILL below.
Needs an emulator (Debian: qemu-user-static).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EMULATOR = "qemu-x86_64-static"
PROGRAM = Path(__file__).with_name("baseline.py")
# The oldest that NumPy's own wheels start on (x86-64-v2): SSE4.2, no AVX.
OLD = "Nehalem"


def run(*before: str) -> dict[str, object]:
    done = subprocess.run(
        [*before, sys.executable, str(PROGRAM)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, object] = json.loads(done.stdout)
    return said


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which(EMULATOR),
    reason=f"needs x86-64 and {EMULATOR}",
)
@pytest.mark.timeout(600)
def test_an_old_processor_finds_the_same() -> None:
    here, there = run(), run(EMULATOR, "-cpu", OLD)
    assert there["loops"] == "baseline"
    assert there["graphs"] == here["graphs"] == 1
    assert there["found"] == here["found"]
