"""Random operations on a real server beside a dict, restarts and kill -9 included.

After every step: the count, and every point. Small segments, so that flushes, merges and rebuilds
happen all the time. VECDB_EXAMPLES: runs of each metric; CI takes fewer, always the same.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from tests.examples import IN_CI
from tests.filters import to_client
from tests.live import LiveServer
from tests.machine import draw
from tests.machine.collections import Collections
from tests.machine.coverage import CONDITIONS, EXERCISED, KINDS, METHODS
from tests.machine.reads import CHANGES_RETAINED
from tests.machine.reorders import Reorders
from tests.machine.searches import Searches
from tests.machine.writes import Writes
from vecdb_client.filters import filter_message

pytestmark = pytest.mark.takes_turns

EXAMPLES = int(os.environ.get("VECDB_EXAMPLES", "3" if IN_CI else "5"))


class ServerMachine(Writes, Collections, Searches, Reorders):
    """All rules."""


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclid", "manhattan"])
def test_server_agrees_with_the_model(metric: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="vecdb-machine-"))
    live = LiveServer(
        folder / "data",
        {
            "embed.enabled": "false",
            "storage.tail_points": 16,
            "storage.segment_points": 1024,
            "storage.changes_retained": CHANGES_RETAINED,
        },
    ).start()
    machine = type(f"{metric}Machine", (ServerMachine,), {"metric": metric, "server": live})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except BaseException:
        live.stop()
        raise
    assert live.stop() == 0
    shutil.rmtree(folder)


def test_every_call_and_every_kind_of_it_has_a_rule() -> None:
    assert EXERCISED.keys() == METHODS | KINDS


def test_every_condition_is_drawn() -> None:
    """By the rules that take a filter."""
    assert draw.CONDITIONS.keys() == CONDITIONS


@pytest.mark.parametrize("condition", sorted(CONDITIONS))
@given(st.data())
@settings(max_examples=3)
def test_a_condition_is_sent_as_it_is_named(condition: str, data: st.DataObject) -> None:
    message = filter_message(to_client(data.draw(draw.CONDITIONS[condition])))
    # Of one filter the client makes no list.
    assert message.WhichOneof("kind") == condition or condition in ("and", "or")
