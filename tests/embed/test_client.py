"""What the server can say and refuse without asking the worker."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.channel import WorkerState
from vecdb.embed.client import Encoders
from vecdb.embed.encoder import Role
from vecdb.embed.process import WorkerProcess
from vecdb.errors import InvalidArgument, LimitExceeded, NotFound, Unavailable
from vecdb.types import Metric

MODEL = "all-minilm-l6-v2"


class Down:
    address = "unix:/nowhere"
    state = WorkerState(reason="the embedding worker is restarting", retry_after_s=1.5)


@pytest.fixture
def down():
    made = Encoders(EmbedConfig(), Down(), text_bytes=100)
    yield made
    made.close()


def test_models_are_known_while_the_worker_is_down(down, spec):
    (info,) = down.models()
    assert (info.name, info.dim, info.metric) == (MODEL, 384, Metric.COSINE)
    assert (info.max_tokens, info.license) == (256, "Apache-2.0")
    assert info.fingerprint == catalog.fingerprint(spec)
    assert (info.ready, info.reason) == (False, "the embedding worker is restarting")


@pytest.mark.parametrize("name", ["", MODEL, "sentence-transformers/all-MiniLM-L6-v2"])
def test_a_model_is_found_by_name_alias_or_default(down, name):
    assert down.resolve(name).name == MODEL


def test_an_unknown_model_is_refused_with_the_names_there_are(down):
    with pytest.raises(NotFound, match=f"no model 'gpt'.*{MODEL}"):
        down.encode("gpt", ["text"], Role.QUERY)


def test_a_worker_that_is_down_says_when_to_come_back(down, spec):
    with pytest.raises(Unavailable, match="the embedding worker is restarting") as caught:
        down.encode("", ["text"], Role.QUERY)
    assert caught.value.retry_after_s == 1.5
    with pytest.raises(Unavailable):
        down.counters()


@pytest.mark.parametrize(
    ("texts", "kind", "said"),
    [
        ([], InvalidArgument, "nothing to encode"),
        (["good", ""], InvalidArgument, r"texts\[1\] is empty"),
        (["a\udc80"], InvalidArgument, r"texts\[0\] is not Unicode: a lone surrogate at char.* 1"),
        (["good", "é" * 51], LimitExceeded, r"texts\[1\] has 102 bytes, at most 100"),
    ],
)
def test_a_bad_text_is_named(down, texts, kind, said):
    with pytest.raises(kind, match=said):
        down.encode("", texts, Role.DOCUMENT)


def test_calls_are_split_by_texts_and_bytes(spec):
    encoders = Encoders(EmbedConfig(queue_texts=3), Down(), text_bytes=8 << 20)
    assert list(encoders._calls([1] * 7)) == [(0, 3), (3, 6), (6, 7)]
    mib = 1 << 20
    assert list(encoders._calls([5 * mib, 1, 3 * mib, 2 * mib])) == [(0, 1), (1, 3), (3, 4)]


def test_a_missing_installation_is_a_reason_and_no_process(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    worker = WorkerProcess(EmbedConfig(), text_bytes=100)
    worker.start()
    encoders = Encoders(EmbedConfig(), worker, text_bytes=100)
    (info,) = encoders.models()
    assert not info.ready
    assert "pip install 'vecdb[embed]'" in info.reason
    assert "pip install 'vecdb[embed]'" in worker.state.reason
    assert worker.pid is None
    worker.stop()


def test_embedding_can_be_switched_off(spec):
    config = EmbedConfig(enabled=False)
    worker = WorkerProcess(config, text_bytes=100)
    worker.start()
    (info,) = Encoders(config, worker, text_bytes=100).models()
    assert (info.ready, info.reason) == (False, "embedding is switched off: embed.enabled is false")
    assert worker.pid is None
    worker.stop()


def test_importing_the_client_imports_no_inference_library():
    code = (
        "import sys, vecdb.embed.client, vecdb.embed.process;"
        "sys.exit(bool({'onnxruntime', 'tokenizers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_texts_come_back_in_order_with_tokens_and_truncation(encoders):
    texts = ["one", "word " * 254, "word " * 255, "control \x01 characters"]
    encoded = encoders.encode("", texts, Role.DOCUMENT)
    assert encoded.vectors.shape == (4, 384)
    assert encoded.vectors.dtype == np.float32
    assert encoded.tokens == (3, 256, 256, 4)
    assert encoded.truncated == (False, False, True, False)
    assert encoded.fingerprint == encoders.resolve("").fingerprint
    assert encoded.queue_ms >= 0
    assert encoded.inference_ms > 0
    for row, text in enumerate(texts):
        alone = encoders.encode(MODEL, [text], Role.QUERY).vectors[0]
        np.testing.assert_allclose(encoded.vectors[row], alone, atol=1e-5, rtol=0)


def test_a_call_of_many_texts_is_one_answer(encoders):
    texts = [f"number {n}" for n in range(600)]
    encoded = encoders.encode("", texts, Role.DOCUMENT)
    assert encoded.vectors.shape == (600, 384)
    assert len(encoded.tokens) == len(encoded.truncated) == 600
    alone = encoders.encode("", [texts[599]], Role.DOCUMENT)
    np.testing.assert_allclose(encoded.vectors[599], alone.vectors[0], atol=1e-5, rtol=0)


def test_a_text_of_a_megabyte_travels(encoders):
    encoded = encoders.encode("", ["a " * (1 << 19)], Role.DOCUMENT)
    assert (encoded.tokens, encoded.truncated) == ((256,), (True,))


def test_a_worker_that_is_down_may_remember_still(down):
    with pytest.raises(Unavailable):
        down.forget()


def test_without_a_worker_there_is_nothing_to_forget(start_worker):
    _, encoders = start_worker(EmbedConfig(enabled=False), wait=False)
    assert encoders.forget() == 0
