"""What a key uses is counted once, by however many threads and processes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vecdb.auth.scopes import Principal
from vecdb.auth.usage import Usage
from vecdb.errors import Overloaded, QuotaExceeded

DAY_S = 86_400


class Clock:
    """Wall and steady clock of a test, in seconds."""

    def __init__(self) -> None:
        self.wall = 20_000.0 * DAY_S
        self.steady = 50.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def usage(tmp_path: Path, clock: Clock) -> Usage:
    return Usage(tmp_path, wall_s=lambda: clock.wall, steady_s=lambda: clock.steady)


def key(number: int = 0, *, calls: int = 0, size: int = 0) -> Principal:
    return Principal(f"key{number}", (), number=number, calls_per_s=calls, bytes_per_day=size)


def taken(usage: Usage, who: Principal, times: int) -> int:
    """Return how many of so many calls were let through."""
    passed = 0
    for _ in range(times):
        try:
            usage.take(who, 0)
        except Overloaded:
            continue
        passed += 1
    return passed


def test_calls_a_second_are_what_it_may(usage: Usage, clock: Clock) -> None:
    who = key(calls=10)
    assert taken(usage, who, 30) == 10
    with pytest.raises(Overloaded, match="10 calls a second") as caught:
        usage.take(who, 0)
    assert caught.value.retry_after_s == pytest.approx(0.1)
    clock.steady += 0.1
    assert taken(usage, who, 30) == 1
    clock.steady += 100  # what was not used is not saved
    assert taken(usage, who, 30) == 10


def test_keys_do_not_use_each_others(usage: Usage) -> None:
    assert taken(usage, key(3, calls=2), 5) == 2
    assert taken(usage, key(4, calls=3), 5) == 3


def test_bytes_of_a_day_end_with_it(usage: Usage, clock: Clock) -> None:
    who = key(size=100)
    usage.take(who, 60)
    with pytest.raises(QuotaExceeded, match="60 today"):
        usage.take(who, 41)
    usage.take(who, 40)
    assert usage.bytes_today(0) == 100
    clock.wall += DAY_S
    assert usage.bytes_today(0) == 0
    usage.take(who, 100)


def test_a_clock_that_jumped_back_locks_nobody_out(usage: Usage, clock: Clock) -> None:
    clock.wall += 400 * DAY_S
    usage.take(key(size=100), 100)
    clock.wall -= 400 * DAY_S
    usage.take(key(size=100), 100)


def test_a_machine_that_began_again_begins_a_second(usage: Usage, clock: Clock) -> None:
    who = key(calls=5)
    assert taken(usage, who, 9) == 5
    clock.steady = 1.0
    assert taken(usage, who, 9) == 5


def test_counts_outlive_their_process(tmp_path: Path, usage: Usage, clock: Clock) -> None:
    usage.take(key(size=100), 90)
    usage.close()
    again = Usage(tmp_path, wall_s=lambda: clock.wall, steady_s=lambda: clock.steady)
    with pytest.raises(QuotaExceeded):
        again.take(key(size=100), 11)


def test_threads_share_a_second(tmp_path: Path) -> None:
    usage = Usage(tmp_path, steady_s=lambda: 7.0)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: taken(usage, key(calls=50), 25), range(8))) == 50


def test_processes_share_a_second(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.auth.test_usage import key, taken\n"
        "from vecdb.auth.usage import Usage\n"
        "usage = Usage(Path(sys.argv[1]), steady_s=lambda: 7.0)\n"
        "print(taken(usage, key(calls=100), 300))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert sum(int(one.communicate(timeout=60)[0]) for one in running) == 100


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path: Path, caplog) -> None:
    usage = Usage(tmp_path / "absent")
    usage.take(key(calls=1), 0)
    assert "not counted" in caplog.text
