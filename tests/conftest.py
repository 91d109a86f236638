"""What the tests share: a real server in a process of its own, and the shared data where it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vecdb_client import Client

REPOSITORY = Path(__file__).resolve().parent.parent
START_S = 60.0


@dataclass
class LiveServer:
    """`vecdb serve` on free ports. Start, stop and kill it as often as a test likes."""

    data: Path
    settings: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    address: str = ""
    metrics: str = ""
    log: Path = Path()

    def start(self) -> LiveServer:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        addresses = self.data.with_name(self.data.name + "-addresses.json")
        addresses.unlink(missing_ok=True)
        self.log = self.data.with_name(self.data.name + "-server.log")
        command = [sys.executable, "-m", "vecdb", "serve", "--data", str(self.data)]
        command += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
        command += ["--address-file", str(addresses)]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not addresses.exists():
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, self.tail()
                continue
            raise AssertionError(f"the server ended: {self.tail()}")
        found = json.loads(addresses.read_text())
        self.address, self.metrics = found["grpc"], found["metrics"]
        with self.client() as client:
            client.wait_ready(START_S)
        return self

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def client(self, **options: object) -> Client:
        return Client(self.address, **options)  # type: ignore[arg-type]

    def kill(self) -> None:
        """kill -9 of the server alone: its children must notice by themselves."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"the server does not stop: {self.tail()}") from None


MakeServer = Callable[..., LiveServer]


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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server without an embedding worker, shared by the tests of a file."""
    live = LiveServer(tmp_path_factory.mktemp("shared") / "data", {"embed.enabled": "false"})
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
