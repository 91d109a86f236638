"""Room for puts: marks that are left later than they are reached, and what Linux says of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vecdb import memory
from vecdb.errors import MemoryLow, StorageFull
from vecdb.room import Mark, MemoryMeter, MemoryUse, Room

MIB = 1 << 20
GIB = 1 << 30


def test_a_mark_is_left_once_there_is_a_quarter_more_than_its_reserve() -> None:
    mark = Mark(1_000)
    said = [mark.is_reached(left) for left in (1_000, 999, 1_000, 1_249, 1_250, 1_000, 0)]
    assert said == [False, True, True, True, False, False, True]
    assert not Mark(0).is_reached(0)


def test_puts_are_refused_while_memory_is_low_and_it_is_told(tmp_path: Path) -> None:
    left = [900 * MIB]
    room = Room(tmp_path, 0, lambda: MemoryUse(GIB - left[0], GIB, left[0]), 102 * MIB)
    seen = []
    for now in (900, 150, 100, 110, 150, 400):
        left[0] = now * MIB
        refusal: MemoryLow | None = None
        try:
            room.check()
        except MemoryLow as error:
            refusal = error
        if refusal is not None:
            assert f"{now} MiB are left" in refusal.message
            assert refusal.retry_after_s
            assert "limits.memory_bytes" in refusal.hint
        seen.append((refusal is not None, [one.state for one in room.conditions()]))
    assert seen == [
        (False, []),
        (False, ["warning"]),
        (True, ["error"]),
        (True, ["error"]),
        (False, ["warning"]),
        (False, []),
    ]


def test_puts_are_refused_while_the_disk_is_nearly_full(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    Room(tmp_path, free // 4).check()
    with pytest.raises(StorageFull):
        Room(tmp_path, 4 * free).check()


def test_where_memory_is_not_known_nothing_is_refused(tmp_path: Path) -> None:
    room = Room(tmp_path, 0, lambda: None, 1)
    room.check()
    assert list(room.conditions()) == []


def written(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal:  2048 kB\nMemAvailable: 1024 kB\n"}, 2 * MIB),
        (  # version 2, a service below a slice
            {
                "proc/meminfo": "MemTotal: 4096 kB\n",
                "proc/self/cgroup": "0::/a.slice/b.service\n",
                "sys/fs/cgroup/a.slice/memory.max": f"{3 * MIB}\n",
                "sys/fs/cgroup/a.slice/b.service/memory.max": "max\n",
            },
            3 * MIB,
        ),
        (  # version 1 in a container, whose path is the host's
            {
                "proc/meminfo": "MemTotal: 4096 kB\n",
                "proc/self/cgroup": "4:cpu,memory:/docker/123\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{MIB}\n",
            },
            MIB,
        ),
        (  # version 1 without a limit
            {
                "proc/meminfo": "MemTotal: 4096 kB\n",
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            4 * MIB,
        ),
    ],
)
def test_what_may_be_taken(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    assert memory.allowed_bytes(written(tmp_path, files)) == expected


def test_what_processes_have_taken_is_counted_with_what_they_started() -> None:
    before = memory.taken_bytes([os.getpid()])
    assert 0 < before < (memory.allowed_bytes() or 0)
    hold = "import sys; held = bytearray(200 << 20); print('held', flush=True); sys.stdin.read()"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdin
        assert child.stdout.readline() == b"held\n"
        during = memory.taken_bytes([os.getpid()])
        child.stdin.close()
    assert during - before > 190 * MIB
    assert memory.taken_bytes([child.pid]) == 0  # it is no more


def test_a_look_is_good_for_a_while() -> None:
    meter = MemoryMeter(64 * GIB, lambda: [os.getpid()])
    use = meter.use()
    assert use is not None
    assert use.limit == 64 * GIB
    assert use.left == 64 * GIB - use.taken
    assert meter.use() is use


@pytest.mark.parametrize("heaps", ["one", "many"])
def test_what_threads_have_freed_is_given_back_from_one_heap_alone(heaps: str) -> None:
    """In a process of its own: the allocator's options are the process's."""
    work = f"""
import threading
from vecdb import heap, memory

def taken():
    return memory.kibibytes(memory.Path("/proc/self/status"), "RssAnon") >> 20

def work():
    blocks = [bytearray(b"1" * (900 << 10)) for _ in range(40)]
    with heap.mapped_blocks():
        pass
    del blocks

if "{heaps}" == "one":
    heap.use_one_heap()
before = taken()
thread = threading.Thread(target=work)
thread.start()
thread.join()
freed = taken()
heap.give_back()
print(freed - before, taken() - before)
"""
    done = subprocess.run([sys.executable, "-c", work], check=True, capture_output=True, text=True)
    freed, kept = map(int, done.stdout.split())
    assert freed > 25
    if heaps == "one":
        assert kept < 8
    else:  # or one heap would be for nothing
        assert kept > 25
