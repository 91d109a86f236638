"""What the tests of backups share: the commands, run in this process by the `main` of all."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from tests.live import LiveServer
from vecdb.cli import main

Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def vecdb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command, against a server where one is given."""

    def run(*words: object, server: LiveServer | None = None) -> CompletedProcess[str]:
        capsys.readouterr()
        if server is not None:
            monkeypatch.setenv("VECDB_ADDRESS", server.address)
        monkeypatch.setattr("sys.argv", ["vecdb", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said, complaints = capsys.readouterr()
        status = ended.value.code or 0
        assert isinstance(status, int)
        assert "Traceback" not in complaints
        return CompletedProcess(words, status, " ".join(said.split()), " ".join(complaints.split()))

    return run
