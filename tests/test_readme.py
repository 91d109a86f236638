"""The examples of the READMEs run as they stand, against a real server."""

from __future__ import annotations

import re

import pytest

from tests.live import REPOSITORY, LiveServer
from vecdb_client import Client, Collection, Documents


def examples(readme: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (REPOSITORY / readme).read_text(), re.S | re.M)


def run(code: str, server: LiveServer) -> None:
    code = code.replace('Client("127.0.0.1:6363"', f'Client("{server.address}"')
    code = code.replace("Client()", f'Client("{server.address}")')
    exec(compile(code, "README.md", "exec", dont_inherit=True), {})


def test_the_first_example(text_server: LiveServer, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = examples("README.md")
    assert len(code.strip().splitlines()) <= 10
    run(code, text_server)
    printed = capsys.readouterr().out.split()
    assert printed[0] == "dune"
    assert "'year': 1965" in " ".join(printed)
    with text_server.client() as client:
        client.delete_collection("books")


@pytest.mark.parametrize("code", examples("clients/python/README.md"))
def test_the_client(text_server: LiveServer, capsys: pytest.CaptureFixture[str], code: str) -> None:
    """One after the other: later examples speak of what earlier ones wrote."""
    run(code, text_server)
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "call",
    [
        f"{kind.__name__}.{name}"
        for kind in (Client, Collection, Documents)
        for name in dir(kind)
        if not name.startswith("_")
    ],
)
def test_every_call_has_an_example(call: str) -> None:
    code = "\n".join(examples("clients/python/README.md"))
    assert f".{call.partition('.')[2]}(" in code
