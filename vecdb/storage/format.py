"""Whether an environment is of the format that this program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vecdb.errors import Corrupt, FormatTooNew, FormatTooOld
from vecdb.storage import codec
from vecdb.storage.environment import Environment


def check_format(path: Path, txn: Any, meta: Any) -> None:  # noqa: ANN401 - py-lmdb has no types
    """Raise FormatTooNew, FormatTooOld or Corrupt unless it is of this program's format."""
    check_version(path, read_format(path, txn, meta))


def check_version(path: Path, version: int) -> None:
    """Raise FormatTooNew or FormatTooOld unless it is this program's format."""
    refuse_newer(path, version)
    if version < codec.FORMAT_VERSION:
        raise FormatTooOld(
            f"{path} is of format {version}, this vecdb reads {codec.FORMAT_VERSION}",
            hint="make a copy of the data directory, then run: vecdb upgrade --data DIR",
        )


def refuse_newer(path: Path, version: int) -> None:
    """Raise FormatTooNew for a format that this program does not know."""
    if version > codec.FORMAT_VERSION:
        raise FormatTooNew(
            f"{path} is of format {version}, this vecdb reads up to {codec.FORMAT_VERSION}",
            hint="run the vecdb that wrote it, or a later one",
        )


def read_format(path: Path, txn: Any, meta: Any) -> int:  # noqa: ANN401
    """Return the format of an environment, in a transaction. Raises Corrupt."""
    sealed = txn.get(b"format", db=meta)
    if sealed is None:
        raise Corrupt(f"{path} holds no format version", hint="is this a vecdb data directory?")
    return codec.from_u32(codec.unseal(b"meta", b"format", sealed))


def format_of(path: Path) -> int:
    """Return the format of an environment that is not open, and touch nothing. Raises Corrupt."""
    environment = Environment(path, (b"meta",), read_only=True, map_bytes=1 << 20)
    try:
        with environment.begin() as txn:
            return read_format(path, txn, environment.databases[b"meta"])
    finally:
        environment.close()
