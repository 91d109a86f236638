"""The LOCK file of a data directory: held by the one process that writes, while it lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vecdb.errors import FailedPrecondition


def acquire(path: Path) -> int:
    """Return the descriptor of the held LOCK file; makes the directory.

    Raises FailedPrecondition.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FailedPrecondition(
            f"{path} cannot be the data directory: {error.strerror}",
            hint="choose a folder that this user may write to",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise FailedPrecondition(
            f"another process writes to {path}",
            hint="stop it, or open another data directory",
        ) from None
    return descriptor
