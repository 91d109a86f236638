"""One setting: its default, bounds and meaning, what it may be, and how it is written."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import field
from typing import Any, TypeVar

from vecdb.errors import InvalidArgument

T = TypeVar("T")


def setting(
    default: T,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    *,
    one_of: tuple[str, ...] = (),
) -> T:
    """Return a dataclass field that knows its meaning and bounds (inclusive).

    one_of: the values there are, where those are words.
    """
    known = {"doc": doc, "low": low, "high": high, "one_of": one_of}
    made: T = field(default=default, metadata=known)
    return made


def checked(name: str, item: dataclasses.Field[Any], value: object, source: str) -> object:
    """Return a value as the setting has it. Raises InvalidArgument. source: who says it."""
    kind = type(item.default)
    wrong = InvalidArgument(
        f"{source}: {name} expects {kind.__name__}{bounds(item)}, got {value!r}"
    )
    if isinstance(value, str) and kind is not str:
        value = _parsed(kind, value, wrong)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise wrong
    if item.metadata["one_of"] and value not in item.metadata["one_of"]:
        raise wrong
    low, high = item.metadata["low"], item.metadata["high"]
    if isinstance(value, (int, float)) and low is not None and not low <= value <= high:
        raise wrong
    return value


def _parsed(kind: type, text: str, wrong: InvalidArgument) -> object:
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise wrong
    try:
        return kind(text)
    except ValueError:
        raise wrong from None


def bounds(item: dataclasses.Field[Any]) -> str:
    """Return what a setting may be, in parentheses; "" for anything."""
    low, high, words = (item.metadata[key] for key in ("low", "high", "one_of"))
    if words:
        return f" ({', '.join(words[:-1])} or {words[-1]})"
    return "" if low is None else f" ({low} to {high})"


def toml(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's strings are TOML's, but for one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
