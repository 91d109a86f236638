"""The README's example runs as it stands, against a real server."""

from __future__ import annotations

import re

import pytest

from tests.live import REPOSITORY, LiveServer


def test_readme_example(text_server: LiveServer, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    exec(code.replace("127.0.0.1:6363", text_server.address), {})
    printed = capsys.readouterr().out.split()
    assert printed[0] == "dune"
    assert "'year': 1965" in " ".join(printed)
