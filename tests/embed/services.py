"""Models that a provider on loopback runs: what their tests share."""

import ssl
import time
from functools import cache
from importlib import import_module

import numpy as np
import pytest

from tests.embed.providers import APIS, DIM, MODEL, unit_of
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.kinds import KINDS
from vecdb.types import Metric

VARIABLE = "VECDB_TEST_SERVICE_KEY"
TEXTS = ["one", "two", "three", "four", "five"]
every_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.kind)


@cache
def certificates():
    """The world's certificates, read once: it takes longer than most tests."""
    return ssl.create_default_context()


def load(api, url, entry=(), **options):
    """Return the model of an API. entry: keys of its entry; options: of its options."""
    module, name = KINDS[api.kind].loader
    loader = getattr(import_module(f"vecdb.embed.{module}"), name)
    return loader(spec_of(api, url, dict(entry), **options), {}, Execution(1))


def spec_of(api, url, entry, **options):
    said = {"dim": DIM, "max_tokens": 256, "normalize": True} | entry
    return ModelSpec(
        name="remote",
        kind=api.kind,
        metric=Metric.COSINE,
        pooling="service",
        license="",
        files={},
        source=MODEL,
        options={"endpoint": url, "key_env": VARIABLE} | options,
        **said,
    )


def encode(encoder, texts, role=Role.DOCUMENT, within_s=10.0):
    batch = [one.input for one in encoder.prepare(texts, role)]
    return encoder.encode(batch, time.monotonic() + within_s)


def check(outputs, texts, query=False):
    """The right vectors, to the last of them."""
    assert len(outputs) == len(texts)
    for vector, text in zip(outputs, texts, strict=True):
        np.testing.assert_allclose(vector, unit_of(text, query), atol=1e-6)
        assert vector.dtype == np.float32
