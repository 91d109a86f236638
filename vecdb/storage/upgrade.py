"""How a data directory comes to the format that this program reads: what `vecdb upgrade` does.

Environment by environment, each step in one transaction: whoever is killed half-way runs it again.
The catalog comes last, so that no node starts on what is half done. Segments are not touched: those
of another format count as damaged, and the node builds them again from the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecdb.errors import Corrupt, NotFound
from vecdb.storage import catalog, codec, store
from vecdb.storage.environment import Environment
from vecdb.storage.format import format_of, refuse_newer
from vecdb.storage.lock import acquire

Step = Callable[[Any, Mapping[bytes, Any]], None]
"""Takes an environment from one format to the next: a transaction, and the present databases."""

STORE_STEPS: dict[int, Step] = {}
CATALOG_STEPS: dict[int, Step] = {}
"""By the format that each begins with. None yet: format 1 is the first."""

_MAP_BYTES = 1 << 30
_SPARE = 4  # times its size: a step may write everything anew


@dataclass(frozen=True, slots=True)
class Upgraded:
    """One environment: of which format it was, and why it could not be upgraded, or ""."""

    path: Path
    was: int
    trouble: str = ""


def upgrade(data: Path) -> Iterator[Upgraded]:
    """Bring a data directory to the present format, and yield what became of each environment.

    One that is damaged is left as it is. Raises NotFound, FailedPrecondition while a node runs on
    it, and FormatTooNew before anything is changed.
    """
    if not (data / "catalog").exists():
        raise NotFound(f"{data} is no data directory: it has no catalog")
    lock = acquire(data)
    try:
        stores = sorted((data / "collections").glob("*/store"))
        found = [_look(path) for path in [*stores, data / "catalog"]]
        for one in found:
            refuse_newer(one.path, one.was)
        for one in found:
            if not one.trouble and one.was < codec.FORMAT_VERSION:
                _upgrade(one)
            yield one
    finally:
        os.close(lock)


def _look(path: Path) -> Upgraded:
    try:
        return Upgraded(path, format_of(path))
    except (Corrupt, NotFound) as error:
        return Upgraded(path, 0, str(error))


def _upgrade(one: Upgraded) -> None:
    """Take an environment through all steps from its format on."""
    is_catalog = one.path.name == "catalog"
    steps = CATALOG_STEPS if is_catalog else STORE_STEPS
    databases = catalog.DATABASES if is_catalog else store.DATABASES
    size = (one.path / "data.mdb").stat().st_size
    environment = Environment(
        one.path,
        databases,
        read_only=False,
        map_bytes=max(_MAP_BYTES, size * _SPARE),
        create=True,  # databases that its format did not have
    )
    try:
        for version in range(one.was, codec.FORMAT_VERSION):
            with environment.begin(write=True) as txn:
                steps[version](txn, environment.databases)
                sealed = codec.seal(b"meta", b"format", codec.u32(version + 1))
                txn.put(b"format", sealed, db=environment.databases[b"meta"])
    finally:
        environment.close()
