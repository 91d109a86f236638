"""A node whose embedding worker is a process that it did not start."""

import queue
import signal
from dataclasses import replace
from itertools import groupby

import grpc
import numpy as np
import pytest

from tests.embed.alone import alone
from tests.live import wait_until
from vecdb.config import EmbedConfig
from vecdb.embed import catalog, elsewhere
from vecdb.embed.client import Encoders
from vecdb.embed.elsewhere import WorkerElsewhere
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument, NoModel, Unavailable

MODEL = "all-minilm-l6-v2"
TEXT_BYTES = (1 << 20) + (16 << 20)
PATIENCE_S = 60.0


@pytest.fixture
def worker(tmp_path, spec):
    with alone(tmp_path) as made:
        yield made


@pytest.fixture
def reach():
    """Look after workers until the test's end: reach(address) -> (WorkerElsewhere, Encoders)."""
    reached = []

    def make(address, **options):
        config = EmbedConfig(worker=address, **options.pop("config", {}))
        away = WorkerElsewhere(
            config, text_bytes=TEXT_BYTES, probe_interval_s=0.1, probe_timeout_s=1.0, **options
        )
        encoders = Encoders(config, away, text_bytes=1 << 20)
        reached.append((away, encoders))
        away.start()
        return away, encoders

    yield make
    for away, encoders in reached:
        encoders.close()
        away.stop()


@pytest.mark.parametrize("address", ["nonsense", "host", "host:port", "host:99999"])
def test_an_address_that_is_none(address):
    with pytest.raises(InvalidArgument, match="host:port"):
        WorkerElsewhere(EmbedConfig(worker=address), text_bytes=1)


def test_one_that_was_never_there(reach):
    away, encoders = reach("127.0.0.1:1")
    wait_until(lambda: "cannot be reached" in away.state.reason)
    with pytest.raises(Unavailable, match=r"worker at 127.0.0.1:1 cannot be reached") as caught:
        encoders.encode("", ["text"], Role.QUERY)
    assert caught.value.retry_after_s > 1
    assert not away.wait_ready(0.01)


def test_switched_off(reach):
    away, _ = reach("127.0.0.1:1", config={"enabled": False})
    assert away.state.reason == "embedding is switched off: embed.enabled is false"
    assert away.state.retry_after_s is None


def test_another_server_at_the_address(reach):
    server = grpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    away, _ = reach(f"127.0.0.1:{port}")
    wait_until(lambda: "cannot be used: " in away.state.reason)
    assert "UNIMPLEMENTED" in away.state.reason
    server.stop(None).wait()


def test_killed_hung_and_started_again(worker, reach, monkeypatch):
    monkeypatch.setattr(elsewhere, "BACKOFF_MAX_S", 0.5)
    states = queue.Queue()
    worker.start()
    away, encoders = reach(worker.address, on_change=states.put)
    assert away.wait_ready(PATIENCE_S), away.state.reason
    before = encoders.encode("", ["the same text"], Role.QUERY)
    assert (away.state.generation, away.restarts, away.pid) == (1, 0, None)

    worker.kill()
    wait_until(lambda: not away.state.ready)
    with pytest.raises(Unavailable, match="cannot be reached"):
        encoders.encode("", ["text"], Role.QUERY)
    worker.start(worker.address)
    assert away.wait_ready(PATIENCE_S), away.state.reason
    assert (away.state.generation, away.restarts) == (2, 1)
    again = encoders.encode("", ["the same text"], Role.QUERY)
    np.testing.assert_allclose(again.vectors, before.vectors, atol=1e-6)

    worker.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: "does not answer" in away.state.reason)
    worker.process.send_signal(signal.SIGCONT)
    assert away.wait_ready(PATIENCE_S), away.state.reason
    # The same worker, and a new connection to it.
    assert (away.state.generation, away.restarts) == (3, 1)
    assert encoders.encode("", ["the same text"], Role.QUERY).tokens == before.tokens
    seen = [states.get_nowait().ready for _ in range(states.qsize())]
    assert [ready for ready, _ in groupby(seen)] == [False, True, False, True, False, True]


def test_what_is_wrong_with_its_models_is_named(worker, reach, tmp_path, monkeypatch):
    socket = f"unix:{tmp_path / 'w.sock'}"
    worker.start(socket)
    assert worker.address == socket
    known = catalog.load_catalog()
    changed = {MODEL: replace(known[MODEL], query_prompt="query: ")}
    absent = next(name for name in known if name != MODEL)
    monkeypatch.setattr(catalog, "load_catalog", lambda path="": {**known, **changed})
    away, encoders = reach(socket, config={"models": absent})
    assert away.wait_ready(PATIENCE_S), away.state.reason
    models = {info.name: info for info in encoders.models()}
    assert not models[MODEL].ready
    expected = catalog.fingerprint(changed[MODEL])[:12]
    here = catalog.fingerprint(known[MODEL])[:12]
    assert here in models[MODEL].reason
    assert expected in models[MODEL].reason
    assert f"has no model {absent} but {MODEL}" in models[absent].reason
    with pytest.raises(NoModel, match="catalogue and packages"):
        encoders.encode("", ["text"], Role.QUERY)
