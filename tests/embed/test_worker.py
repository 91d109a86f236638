"""The worker as a process: killed, hung, orphaned, overloaded, fed with a tampered model."""

import json
import os
import queue
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.encoder import Role
from vecdb.errors import DeadlineExceeded, NoModel, Overloaded, Unavailable

pytestmark = pytest.mark.takes_turns

PATIENCE_S = 60.0
LONG = "a text that fills the model " * 60


def different(n):
    """Return n long texts of which no two are one."""
    return [f"{number} {LONG}" for number in range(n)]


ORPHAN = """
import sys, time
from vecdb.config import EmbedConfig
from vecdb.embed.process import WorkerProcess
worker = WorkerProcess(EmbedConfig(), text_bytes=1000)
worker.start()
assert worker.wait_ready(60)
print(worker.pid, worker.address, flush=True)
sys.stdin.read()
"""


def ends(pid, action):
    """Return whether the process ends after the action; it need not be a child of ours."""
    descriptor = os.pidfd_open(pid)
    try:
        action()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(PATIENCE_S * 1e3))
    finally:
        os.close(descriptor)


def await_state(states, wanted):
    """Return the first state that is as wanted, of those that on_change() put on the queue."""
    while True:
        state = states.get(timeout=PATIENCE_S)
        if wanted(state):
            return state


def test_the_socket_is_for_its_user_alone(start_worker):
    worker, _ = start_worker()
    path = Path(worker.address.removeprefix("unix:"))
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    worker.stop()
    assert not path.parent.exists()


def test_a_killed_worker_is_unavailable_then_back_with_the_same_vectors(start_worker):
    states = queue.Queue()
    worker, encoders = start_worker(on_change=states.put)
    before = encoders.encode("", ["the same text"], Role.QUERY)
    await_state(states, lambda state: state.ready)
    first = worker.pid

    raised = []

    def keep_encoding():
        try:
            encoders.encode("", different(1000), Role.DOCUMENT)
        except Exception as error:
            raised.append(error)

    caller = threading.Thread(target=keep_encoding)
    caller.start()
    while encoders.counters(PATIENCE_S).running_s == 0:
        pass
    os.kill(first, signal.SIGKILL)
    caller.join(PATIENCE_S)
    (error,) = raised
    assert isinstance(error, Unavailable)
    assert "the embedding worker is restarting" in str(error)
    assert error.retry_after_s > 0

    down = await_state(states, lambda state: not state.ready)
    assert down.reason == "the embedding worker is restarting"
    back = await_state(states, lambda state: state.ready)
    assert back.generation == 2
    assert worker.restarts == 1
    assert worker.pid != first
    after = encoders.encode("", ["the same text"], Role.QUERY)
    np.testing.assert_array_equal(before.vectors, after.vectors)


def test_calls_while_the_worker_is_down_fail_at_once(start_worker):
    states = queue.Queue()
    worker, encoders = start_worker(on_change=states.put)
    for _ in range(3):  # each time the pause gets longer
        await_state(states, lambda state: state.ready)
        os.kill(worker.pid, signal.SIGKILL)
        await_state(states, lambda state: not state.ready)
        with pytest.raises(Unavailable, match="restarting") as caught:
            encoders.encode("", ["text"], Role.QUERY)
        assert caught.value.retry_after_s > 0
        assert encoders.models()[0].reason == "the embedding worker is restarting"
    await_state(states, lambda state: state.ready)
    assert worker.restarts == 3


def test_a_worker_that_hangs_is_replaced(start_worker):
    states = queue.Queue()
    worker, encoders = start_worker(
        on_change=states.put, probe_interval_s=0.05, probe_timeout_s=0.3
    )
    await_state(states, lambda state: state.ready)
    hung = worker.pid
    assert ends(hung, lambda: os.kill(hung, signal.SIGSTOP))
    await_state(states, lambda state: state.ready and state.generation == 2)
    assert encoders.encode("", ["text"], Role.QUERY).tokens == (3,)


def test_a_worker_does_not_outlive_its_parent(spec):
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid, address = parent.stdout.readline().split()
        assert ends(int(pid), parent.kill)
    assert not Path(address.removeprefix("unix:")).parent.exists()


def test_sigterm_ends_a_worker_well_and_sigint_does_not(tmp_path, spec):
    arguments = {
        "socket": tmp_path / "s",
        "config": json.dumps(asdict(EmbedConfig(threads=1))),
        "message-bytes": 1 << 20,
    }
    command = [sys.executable, "-m", "vecdb.embed.worker"]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"ready\n"
        worker.send_signal(signal.SIGINT)
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0


def test_stop_lets_calls_under_way_finish(start_worker):
    worker, encoders = start_worker()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(encoders.encode, "", different(8), Role.DOCUMENT)
        while encoders.counters(PATIENCE_S).running_s == 0:
            pass
        worker.stop()
        assert call.result().vectors.shape == (8, 384)
    assert worker.state.reason == "the embedding worker was stopped"
    with pytest.raises(Unavailable, match="was stopped"):
        encoders.encode("", ["text"], Role.QUERY)


def test_a_tampered_model_is_listed_with_the_reason(start_worker, spec, tmp_path):
    lines = []
    for role, path in catalog.resolve_files(spec).items():
        copy = tmp_path / path.name
        shutil.copyfile(path, copy)
        lines.append(
            f'files.{role} = {{ path = "{copy.name}", sha256 = "{spec.files[role].sha256}" }}'
        )
    with (tmp_path / "model.onnx").open("r+b") as model:
        model.seek(1 << 20)
        model.write(b"tampered")
    own = tmp_path / "catalog.toml"
    own.write_text(
        '[models.tampered]\nkind = "onnx-text"\ndim = 384\nmetric = "cosine"\nmax_tokens = 256\n'
        'pooling = "mean"\nnormalize = true\nlicense = "Apache-2.0"\n' + "\n".join(lines)
    )
    worker, encoders = start_worker(EmbedConfig(model="tampered", catalog=str(own)))
    (info,) = encoders.models()
    assert not info.ready
    assert f"the catalogue expects {spec.files['model'].sha256}" in info.reason
    with pytest.raises(NoModel, match="sha256"):
        encoders.encode("", ["text"], Role.QUERY)
    assert worker.restarts == 0  # starting again would not mend it


def test_more_than_the_queue_holds_is_overload(start_worker):
    _, encoders = start_worker(EmbedConfig(queue_texts=8))

    def encode(_):
        try:
            return encoders.encode("", different(8), Role.DOCUMENT).vectors
        except Overloaded as error:
            return error.retry_after_s

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(encode, range(16)))
    refused = [outcome for outcome in outcomes if isinstance(outcome, float)]
    assert refused
    assert len(refused) < 16
    assert all(0 < retry_after_s <= 60 for retry_after_s in refused)
    assert encoders.counters(PATIENCE_S).rejected_texts == 8 * len(refused)


def test_a_caller_that_hangs_up_frees_its_place(start_worker):
    _, encoders = start_worker()
    hang_up = queue.Queue()
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(encoders.encode, "", different(16), Role.DOCUMENT)
        gone = pool.submit(
            encoders.encode, "", different(200), Role.DOCUMENT, on_hangup=hang_up.put
        )
        cancel = hang_up.get(timeout=PATIENCE_S)
        while encoders.counters(PATIENCE_S).waiting_texts < 100:
            pass
        cancel()
        with pytest.raises(DeadlineExceeded, match="the caller has gone"):
            gone.result(PATIENCE_S)
        assert busy.result(PATIENCE_S).vectors.shape == (16, 384)
        while encoders.counters(PATIENCE_S).waiting_texts:
            pass
    assert encoders.counters(PATIENCE_S).dropped_texts > 100


def test_a_deadline_is_kept(start_worker):
    _, encoders = start_worker()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        encoders.encode("", different(256), Role.DOCUMENT, timeout_s=0.3)
    assert time.monotonic() - began < 5
    with pytest.raises(DeadlineExceeded):
        encoders.encode("", ["text"], Role.QUERY, timeout_s=0.0)


def test_sixteen_threads_get_their_own_vectors(encoders):
    texts = [f"sentence number {n} is about topic {n % 7}" for n in range(64)]
    expected = encoders.encode("", texts, Role.DOCUMENT).vectors

    def encode(thread):
        role = Role.QUERY if thread % 2 else Role.DOCUMENT
        for n in range(thread, 64, 4):
            (vector,) = encoders.encode("", [texts[n]], role).vectors
            np.testing.assert_allclose(vector, expected[n], atol=1e-5, rtol=0)
        return thread

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(encode, range(16))) == list(range(16))


def test_a_query_does_not_wait_for_the_documents_before_it(encoders):
    with ThreadPoolExecutor(1) as pool:
        ingest = pool.submit(encoders.encode, "", different(40), Role.DOCUMENT)
        while encoders.counters(PATIENCE_S).running_s == 0:
            pass
        encoders.encode("", ["a short query"], Role.QUERY)
        assert not ingest.done()
        ingest.result(PATIENCE_S)


def test_what_was_encoded_is_forgotten_when_asked(start_worker):
    _, encoders = start_worker()
    texts = different(3)
    first = encoders.encode("", texts, Role.DOCUMENT)
    assert encoders.forget() == 3
    assert encoders.forget() == 0
    tokens = encoders.counters().tokens
    again = encoders.encode("", texts, Role.DOCUMENT)
    assert encoders.counters().tokens > tokens
    np.testing.assert_allclose(again.vectors, first.vectors, atol=1e-5)
