"""A service's model inside of the worker, through queue, socket and client."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.embed.providers import BAD, DIM, KEY, MODEL, cut, status, unit_of
from tests.embed.services import VARIABLE
from vecdb.config import EmbedConfig
from vecdb.embed.encoder import Role
from vecdb.errors import FailedPrecondition, InvalidArgument, Unavailable, VecdbError

ENTRY = """
[models.remote]
kind = "openai"
source = "{model}"
dim = {dim}
dims = [3]
metric = "cosine"
max_tokens = 64
pooling = "service"
normalize = true
license = "MIT"
query_prompt = "Q: "

[models.remote.options]
endpoint = "{url}/v1"
key_env = "{variable}"
batch_items = 16
at_once = 3
"""


@pytest.fixture
def encoders(provider, start_worker, tmp_path):
    own = tmp_path / "catalog.toml"
    own.write_text(ENTRY.format(model=MODEL, dim=DIM, url=provider.url, variable=VARIABLE))
    return start_worker(EmbedConfig(model="remote", catalog=str(own), cache_bytes=0))[1]


def test_one_bad_text_of_many_is_refused_whatever_else_fails_meanwhile(encoders, provider):
    texts = [f"text {n}" for n in range(200)]
    texts[77] = f"a {BAD} text"
    texts[100] = "long " * 200
    provider.faults += [status(429, Retry_After="1"), status(500), cut(0), cut(30)]
    found = encoders.encode("remote", texts, Role.DOCUMENT, 60.0, patient=True)
    assert list(found.refused) == [77]
    assert isinstance(found.refused[77], InvalidArgument)
    assert "refused the text" in str(found.refused[77])
    assert [at for at, cut_short in enumerate(found.truncated) if cut_short] == [100]
    for at, text in enumerate(texts):
        if at not in (77, 100):
            np.testing.assert_allclose(found.vectors[at], unit_of(text), atol=1e-6)
    assert max(map(len, provider.texts)) <= 16


def test_a_query_has_its_prompt_and_shorter_vectors_are_of_unit_length(encoders, provider):
    found = encoders.encode("remote", ["a"], Role.QUERY, 30.0, dim=3)
    np.testing.assert_allclose(found.vectors[0], unit_of("Q: a", dim=3), atol=1e-6)
    assert provider.texts == [["Q: a"]]


def test_as_many_requests_as_the_entry_says_are_under_way(encoders, provider):
    together = threading.Barrier(3)

    def meet(reply, _):
        together.wait(30)

    provider.faults += [meet] * 3
    with ThreadPoolExecutor(1) as pool:  # of the three that it may have, one is for queries
        documents = [f"text {n}" for n in range(32)]
        asked = pool.submit(encoders.encode, "remote", documents, Role.DOCUMENT, 60.0)
        encoders.encode("remote", ["a query"], Role.QUERY, 60.0)
        asked.result(60)
    assert len(provider.seen) == 3


def test_an_outage_is_waited_for_until_the_deadline_and_named(encoders, provider):
    provider.faults += [status(503, "asleep")] * 1000
    with pytest.raises(Unavailable, match=f"{provider.host} answered HTTP 503: asleep") as caught:
        encoders.encode("remote", ["a"], Role.QUERY, 2.0)
    assert caught.value.retry_after_s > 0
    found = encoders.encode("remote", ["a", "b"], Role.DOCUMENT, 2.0, patient=True)
    assert set(found.refused) == {0, 1}
    provider.faults.clear()
    found = encoders.encode("remote", ["a"], Role.DOCUMENT, 30.0)
    np.testing.assert_allclose(found.vectors[0], unit_of("a"), atol=1e-6)


def test_a_refused_key_is_said_and_not_shown(encoders, provider):
    provider.key = "another"
    with pytest.raises(
        FailedPrecondition, match=f"refused the key of remote.*{VARIABLE}"
    ) as caught:
        encoders.encode("remote", ["a"], Role.QUERY, 30.0)
    assert KEY not in str(caught.value)


def test_a_missing_key_is_why_the_model_does_not_load(
    provider, start_worker, tmp_path, monkeypatch
):
    monkeypatch.delenv(VARIABLE)
    own = tmp_path / "catalog.toml"
    own.write_text(ENTRY.format(model=MODEL, dim=DIM, url=provider.url, variable=VARIABLE))
    config = EmbedConfig(model="remote", models="all-minilm-l6-v2", catalog=str(own))
    encoders = start_worker(config)[1]
    with pytest.raises(VecdbError, match=f"key is missing.*{VARIABLE}"):
        encoders.encode("remote", ["a"], Role.QUERY, 30.0)
    assert len(encoders.encode("all-minilm-l6-v2", ["a"], Role.QUERY, 30.0).vectors) == 1
