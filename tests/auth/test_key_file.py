"""The operator's own keys, in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vecdb import kept_file
from vecdb.auth.authenticator import Authenticator
from vecdb.auth.scopes import ACTIONS, ANYBODY
from vecdb.config import AuthConfig
from vecdb.errors import InvalidArgument, Unauthenticated

KEY, NEXT = "a-key-of-the-operator-1", "a-key-of-the-operator-2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"{KEY}\n")
    return path


def test_a_key_of_the_file_may_do_everything(file: Path) -> None:
    ask = Authenticator(AuthConfig(key_file=str(file)), lambda: None)
    assert ask.is_required()
    found = ask.principal(f"Bearer {KEY}")
    assert all(found.may(action, "*") for action in ACTIONS)
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    "given", ["", KEY, f"Basic {KEY}", "Bearer", "Bearer ", f"Bearer {NEXT}", f"Bearer {KEY} x"]
)
def test_whatever_else_is_said_opens_nothing(file: Path, given: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Authenticator(AuthConfig(key_file=str(file)), lambda: None).principal(given)
    assert KEY not in str(caught.value)
    assert NEXT not in str(caught.value)


def test_keys_are_replaced_without_a_start(file: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(kept_file, "CHECK_S", 0.0)
    ask = Authenticator(AuthConfig(key_file=str(file)), lambda: None)
    file.write_text(f"{KEY}\n{NEXT}\n")
    ask.principal(f"Bearer {NEXT}")
    ask.principal(f"Bearer {KEY}")
    file.write_text(f"{NEXT}\n")
    ask.principal(f"Bearer {NEXT}")
    with pytest.raises(Unauthenticated):
        ask.principal(f"Bearer {KEY}")
    file.unlink()  # a mistake locks nobody out
    ask.principal(f"Bearer {NEXT}")
    assert "stay good" in caplog.text
    assert NEXT not in caplog.text


@pytest.mark.parametrize(
    "content", ["", "\n\n", "short", "with spaces in it, and long", "höchst-geheim-und-lang"]
)
def test_a_file_that_holds_no_good_key_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(InvalidArgument, match=r"auth\.key_file"):
        Authenticator(AuthConfig(key_file=str(file)), lambda: None)


def test_without_any_setting_nobody_is_asked() -> None:
    assert Authenticator(AuthConfig(), lambda: None).principal("Bearer whatever") is ANYBODY
