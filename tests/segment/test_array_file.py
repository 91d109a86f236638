"""Arrays in their files: written, and mapped by many threads at once."""

from __future__ import annotations

import gc
import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vecdb.segment.array_file import map_array, save_array


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """Have threads take turns in the middle of whatever they do."""
    before = gc.get_threshold()

    def let_others(phase: str, details: object) -> None:
        select.select([], [], [], 0)  # lets go of the interpreter

    gc.callbacks.append(let_others)
    gc.set_threshold(3)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(let_others)


@pytest.mark.usefixtures("busy_collector")
def test_threads_open_arrays_side_by_side(tmp_path: Path) -> None:
    made = np.arange(12, dtype="<f4").reshape(3, 4)
    path = tmp_path / "made.npy"
    said = save_array(path, made)
    assert (said["dtype"], said["shape"], said["bytes"]) == ("<f4", [3, 4], path.stat().st_size)

    def open_often(_: int) -> bool:
        return all(np.array_equal(map_array(path), made) for _ in range(300))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(open_often, range(4)))
