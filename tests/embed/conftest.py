"""The real model and a real worker process, shared by the tests that only read from them."""

import pytest

from tests.embed import providers, services
from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.client import Encoders
from vecdb.embed.encoder import Execution
from vecdb.embed.process import WorkerProcess

MODEL = "all-minilm-l6-v2"
TEXT_BYTES = 1 << 20
START_S = 60.0


@pytest.fixture(scope="session")
def spec():
    found = catalog.load_catalog()[MODEL]
    if reason := catalog.missing(found):
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def minilm(spec):
    from vecdb.embed.onnx_text import OnnxText

    return OnnxText(spec, catalog.resolve_files(spec), Execution(2))


@pytest.fixture
def start_worker(spec):
    """Start workers that are stopped after the test: start_worker(config) -> (worker, encoders)."""
    running = []

    def start(config=None, wait=True, **options):
        config = config or EmbedConfig()
        worker = WorkerProcess(config, text_bytes=TEXT_BYTES, **options)
        encoders = Encoders(config, worker, text_bytes=TEXT_BYTES)
        running.append((worker, encoders))
        worker.start()
        if wait:
            assert worker.wait_ready(START_S), worker.state.reason
        return worker, encoders

    yield start
    for worker, encoders in running:
        encoders.close()
        worker.stop()


@pytest.fixture(scope="session")
def encoders(spec):
    """A worker for tests that do it no harm."""
    worker = WorkerProcess(EmbedConfig(), text_bytes=TEXT_BYTES)
    shared = Encoders(EmbedConfig(), worker, text_bytes=TEXT_BYTES)
    worker.start()
    assert worker.wait_ready(START_S), worker.state.reason
    yield shared
    shared.close()
    worker.stop()


@pytest.fixture
def provider(monkeypatch):
    """A service on loopback that speaks every API, and where models of it find their key."""
    endpoint = pytest.importorskip("vecdb.embed.endpoint", reason="needs the remote extra")
    monkeypatch.setenv(services.VARIABLE, f" {providers.KEY}\n")
    monkeypatch.setattr(endpoint, "BACKOFF_S", 0.001)
    read = endpoint.certificates
    monkeypatch.setattr(
        endpoint, "certificates", lambda path: read(path) if path else services.certificates()
    )
    with providers.serving() as running:
        yield running


@pytest.fixture
def make_service(provider):
    """Load models of the provider: make_service(api, entry, options...) -> an Encoder."""
    made = []

    def make(api=providers.OPENAI, entry=(), **options):
        made.append(services.load(api, provider.url + api.base, entry, **options))
        return made[-1]

    yield make
    for encoder in made:
        encoder.close()
