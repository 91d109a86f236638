"""What the tests share: a real server in a process of its own, and the shared data where it is."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import IN_CI, examples
from tests.live import REPOSITORY, START_S, LiveServer
from vecdb_client import Client

MakeServer = Callable[..., LiveServer]

# No deadline: machines are shared. In CI the examples are always the same, so fewer will do.
USUAL = settings.get_profile("ci" if IN_CI else "default")
settings.register_profile("vecdb", USUAL, deadline=None, max_examples=examples(100))
settings.load_profile("vecdb")


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Return a function that starts a server; settings are ``{"section.key": value}``."""
    made: list[LiveServer] = []

    def make(name: str = "data", embed: bool = False, **settings: object) -> LiveServer:
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        dotted.setdefault("embed.enabled", str(embed).lower())
        server = LiveServer(tmp_path / name, dotted)
        made.append(server)
        return server.start()

    yield make
    for server in made:
        if server.process is not None:
            server.stop()


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """A server without an embedding worker, shared by the tests of a file.

    Of one process, or of as many workers as the file's parametrization says.
    """
    settings = {"embed.enabled": "false", "server.workers": getattr(request, "param", 1)}
    live = LiveServer(tmp_path_factory.mktemp("shared") / "data", settings)
    live.start()
    yield live
    assert live.stop() == 0


@pytest.fixture(scope="module")
def text_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with its embedding worker and the default model."""
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    live = LiveServer(tmp_path_factory.mktemp("texts") / "data").start()
    with live.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
    yield live
    assert live.stop() == 0


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    with server.client() as made:
        yield made


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The benchmark data that lies beside the checkout, where it does."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared benchmark data is not here")
    return folder


LONGEST = (
    "test_benchmarks",
    "test_graphs",
    "test_state_machine",
    "test_baseline",
    "test_segments",
    "test_worker_ends",
    "test_crash",
    "test_search",
    "test_many_collections",
    "test_rolling_restart",
    "test_crash_names",
    "test_demo",
    "test_export",
    "test_arm64",
)
"""Files that take the longest. A file is one process's work: begun last, it leaves others idle."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest first, and leave out tests that take turns and have none now.

    VECDB_TURN: which turn of how many it is, such as "1/3". Whose it is depends on the names of
    tests: those that differ by a parameter alone have turns of their own.
    """
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
    turn, _, of = os.environ.get("VECDB_TURN", "").partition("/")
    if not of:
        return
    kept, out = [], []
    for item in items:
        waits = item.get_closest_marker("takes_turns")
        others = waits and zlib.crc32(item.nodeid.encode()) % int(of) != int(turn)
        (out if others else kept).append(item)
    config.hook.pytest_deselected(items=out)
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have what tests log travel between processes, which half a surrogate pair cannot."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
