"""An entry of a catalogue as TOML, and a catalogue that it is added to.

The file may be an operator's own, with comments: what stands there stays as it is, byte for byte.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def entry_text(name: str, entry: Mapping[str, Any]) -> str:
    """Return a model's entry as TOML; values are texts, numbers, lists and tables of those."""
    return "\n".join(_table(("models", name), entry))


def added(catalog: Path, text: str) -> str:
    """Return the text of a catalogue, which need not be there yet, with an entry behind it."""
    before = catalog.read_text(encoding="utf-8") if catalog.exists() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    return f"{before}\n{text}\n" if before else f"{text}\n"


def replace(path: Path, text: str) -> None:
    """Write a file so that whoever looks sees what was, or all of what is now."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the disk keep which names are in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _table(path: tuple[str, ...], values: Mapping[str, Any]) -> list[str]:
    lines = [f"[{'.'.join(map(_key, path))}]"]
    tables = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            tables[key] = value
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, table in tables.items():
        lines += ["", *_table((*path, key), table)]
    return lines if len(lines) > 1 and lines[1] else lines[2:] or lines


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # TOML escapes what JSON does, and DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
