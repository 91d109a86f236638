"""Whether an environment is of the format that this program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vecdb.errors import Corrupt, FormatTooNew
from vecdb.storage import codec


def check_format(path: Path, txn: Any, meta: Any) -> None:  # noqa: ANN401 - py-lmdb has no types
    """Raise FormatTooNew or Corrupt unless the environment is of this program's format."""
    sealed = txn.get(b"format", db=meta)
    if sealed is None:
        raise Corrupt(f"{path} holds no format version", hint="is this a vecdb data directory?")
    version = codec.from_u32(codec.unseal(b"meta", b"format", sealed))
    if version > codec.FORMAT_VERSION:
        raise FormatTooNew(
            f"{path} is of format {version}, this vecdb reads up to {codec.FORMAT_VERSION}",
            hint="run the vecdb that wrote it, or a later one",
        )
