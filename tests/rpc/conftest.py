"""What a server answers does not depend on how many processes it is: these files ask both."""

from __future__ import annotations

import pytest

from tests.conftest import MakeServer
from tests.live import LiveServer
from tests.rpc.nodes import WORKERS

BOTH = (
    "test_aggregate",
    "test_bad_collections",
    "test_bad_input",
    "test_bad_queries",
    "test_hostile",
    "test_idempotency",
    "test_odd_input",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames and metafunc.module.__name__.endswith(BOTH):
        metafunc.parametrize(
            "server", [1, 2], indirect=True, scope="module", ids=["one process", "two workers"]
        )


@pytest.fixture
def node(make_server: MakeServer) -> LiveServer:
    """Return a server of several processes."""
    return make_server(server__workers=WORKERS)
