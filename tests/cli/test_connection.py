"""How commands reach a server: each that asks one has the options, and a key stays out of sight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from vecdb.cli import application

OPTIONS = {"--api-key-file", "--tls", "--ca", "--client-cert", "--client-key", "--insecure"}
ELSEWHERE = "192.0.2.1:6363"  # of a network that is nobody's
KEY = "a-key-that-nobody-may-see"


def commands(group: click.Command, path: str) -> Iterator[tuple[str, set[str]]]:
    for name, command in getattr(group, "commands", {}).items():
        options = {word for one in command.params for word in one.opts}
        yield f"{path} {name}", options
        yield from commands(command, f"{path} {name}")


def test_each_command_that_asks_a_server_has_the_options() -> None:
    found = dict(commands(typer.main.get_command(application()), "vecdb"))
    asking = {name: options for name, options in found.items() if "--address" in options}
    assert len(asking) > 20
    lacking = {name: OPTIONS - options for name, options in asking.items() if OPTIONS - options}
    assert lacking == {}


@pytest.mark.parametrize("words", [("--api-key-file", "FILE"), ()])
def test_a_key_does_not_travel_in_plain_text(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    given = [str(file) if word == "FILE" else word for word in words]
    environment = {} if words else {"VECDB_API_KEY": KEY}
    ended = CliRunner().invoke(application(), ["info", "-a", ELSEWHERE, *given], env=environment)
    assert ended.exit_code
    assert "plain text" in str(ended.exception)
    assert KEY not in ended.output + str(ended.exception)


def test_a_file_that_holds_no_key_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY} and more")
    ended = CliRunner().invoke(application(), ["info", "--api-key-file", str(file)])
    assert ended.exit_code
    assert "is no key" in str(ended.exception)
    assert KEY not in ended.output + str(ended.exception)


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("no certificate")
    ended = CliRunner().invoke(application(), ["info", "--client-cert", str(file)])
    assert ended.exit_code
    assert "cert_file" in str(ended.exception)
